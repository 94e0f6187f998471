"""Metrics by name: thin calls of scikit-learn and SciPy, the official ones of GLUE among them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np


def _f1_macro(labels: np.ndarray, predictions: np.ndarray, positive: int) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average="macro", zero_division=0))


def _f1(labels: np.ndarray, predictions: np.ndarray, positive: int) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels == positive, predictions == positive, zero_division=0))


def _accuracy(labels: np.ndarray, predictions: np.ndarray, positive: int) -> float:
    return float((labels == predictions).mean())


def _matthews_correlation(labels: np.ndarray, predictions: np.ndarray, positive: int) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, predictions))


def _correlation(name: str) -> Callable[[np.ndarray, np.ndarray, int], float]:
    def correlation(labels: np.ndarray, predictions: np.ndarray, positive: int) -> float:
        from scipy import stats

        if len(labels) < 2:
            return 0.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.ConstantInputWarning)
            value = float(getattr(stats, name)(labels, predictions).statistic)
        return 0.0 if math.isnan(value) else value  # constant predictions correlate with nothing

    return correlation


def _mean_of(first: str, second: str) -> Callable[[np.ndarray, np.ndarray, int], float]:
    def mean(labels: np.ndarray, predictions: np.ndarray, positive: int) -> float:
        return (METRICS[first](labels, predictions, positive) + METRICS[second](labels, predictions, positive)) / 2

    return mean


def _masked_accuracy(labels: np.ndarray, predictions: np.ndarray, positive: int) -> float:
    asked = labels.sum()
    return float(predictions.sum() / asked) if asked else 0.0


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, int], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "accuracy_f1": _mean_of("accuracy", "f1"),
    "matthews_correlation": _matthews_correlation,
    "pearson": _correlation("pearsonr"),
    "spearmanr": _correlation("spearmanr"),
    "pearson_spearmanr": _mean_of("pearson", "spearmanr"),
    "masked_accuracy": _masked_accuracy,
}
"""(labels, predictions, index of the positive class) to a number; labels are ids or, for correlations, numbers.

For masked_accuracy they are, of each row, the number of tokens asked for and the number of these that were guessed.
"""
