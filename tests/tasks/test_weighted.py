"""Weighted metrics against the metrics themselves on rows repeated as often as their counts say."""

from __future__ import annotations

import time

import numpy as np
import pytest

from bertpress.statistics import bootstrap_interval
from bertpress.tasks.judging import KINDS
from bertpress.tasks.metrics import METRICS
from bertpress.tasks.weighted import WEIGHTED

REGRESSION = ("pearson", "spearmanr", "pearson_spearmanr")
generator = np.random.default_rng(3)


def rows_of(name: str, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions that agree more often than not."""
    if name in REGRESSION:
        labels = np.round(generator.uniform(0, 5, count), 1)  # rounded, so that there are ties
        return labels, np.round(labels + generator.normal(size=count), 1)
    labels = generator.integers(classes, size=count).astype(float)
    return labels, np.where(generator.random(count) < 0.7, labels, generator.integers(classes, size=count)).astype(
        float
    )


def test_every_metric_has_a_weighted_form() -> None:
    assert set(METRICS) <= set(WEIGHTED)
    assert set(WEIGHTED) == {metric for kind in KINDS.values() for metric in kind.metrics}


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("name", METRICS)
def test_a_count_is_a_repeated_row(name: str, classes: int) -> None:
    labels, predictions = rows_of(name, 12, classes)
    counts = generator.multinomial(12, [1 / 12] * 12, size=40).astype(float)
    values = WEIGHTED[name](counts, labels, predictions, 1)
    for value, row in zip(values, counts.astype(int), strict=True):
        naive = METRICS[name](np.repeat(labels, row), np.repeat(predictions, row), 1)
        assert value == pytest.approx(naive, abs=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_draws_of_a_single_row_are_numbers(name: str) -> None:
    labels, predictions = np.array([1.0, 0.1]), np.array([1.0, 0.3])
    value = WEIGHTED[name](np.array([[9.0, 0.0]]), labels, predictions, 1)[0]
    assert value == (0 if name in (*REGRESSION, "matthews_correlation") else 1)


def test_by_hand() -> None:
    labels, predictions = np.array([1.0, 1, 0, 0]), np.array([1.0, 0, 1, 0])
    counts = np.array([[4.0, 1, 2, 3]])  # 4 hits, 1 missed, 2 false, 3 rightly left
    values = {name: WEIGHTED[name](counts, labels, predictions, 1)[0] for name in ("accuracy", "f1", "f1_macro")}
    assert values == pytest.approx({"accuracy": 0.7, "f1": 8 / 11, "f1_macro": (8 / 11 + 6 / 9) / 2})
    matthews = WEIGHTED["matthews_correlation"](counts, labels, predictions, 1)[0]
    assert matthews == pytest.approx((4 * 3 - 2 * 1) / np.sqrt(6 * 5 * 5 * 4))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seconds"), [("accuracy", 1), ("matthews_correlation", 1), ("pearson_spearmanr", 20)])
def test_resampling_is_quick(name: str, seconds: float) -> None:
    labels, predictions = rows_of(name, 10_000, 3)
    kinds, repeats = np.unique([labels, predictions], axis=1, return_counts=True)
    began = time.perf_counter()
    bootstrap_interval(lambda counts: WEIGHTED[name](counts, *kinds, 1), repeats)
    assert time.perf_counter() - began < seconds
