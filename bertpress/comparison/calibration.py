"""How far probabilities can be believed: calibration error, Brier score and log loss of two models on the same rows.

Each measure is a mean over rows or over bins of rows, in terms of how often each row counts, so that the interval of a
difference comes from resampling the rows as that of any metric does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bertpress.comparison.comparing import RESAMPLES, Predictions
from bertpress.statistics import bootstrap_intervals
from bertpress.tasks.judging import KINDS, Array

BINS = 15
LEAST_PROBABILITY = 1e-12
"""What a smaller one counts as in a log loss, which would be infinite for 0"""
Measure = Callable[[Array], Array]
"""How often each row counts, (draws, rows), to values, (draws,)"""


def calibration_error(counts: Array, confidence: Array, right: Array, bins: int = BINS) -> Array:
    """Expected calibration error of each draw, (draws,): C. Guo et al., "On Calibration of ..." (arXiv 1706.04599), 3.

    Rows are put into bins of equal width by the probability of their answer, the first bin being [0, 1/bins] and each
    other one open below. A bin's error is the distance of its mean confidence from its share of right answers, and bins
    count by their rows.

    Args:
        counts: (draws, rows) how often each row counts.
        confidence: (rows,) probability that was given to the answer.
        right: (rows,) 1 where the answer was right, else 0.
    """
    places = np.searchsorted(np.arange(1, bins) / bins, confidence)
    excess = np.zeros((len(places), bins))
    excess[np.arange(len(places)), places] = confidence - right
    error: Array = np.abs(counts @ excess).sum(axis=1) / counts.sum(axis=1)
    return error


def brier_scores(shares: Array, labels: Array) -> Array:
    """Of each row the squared distance of its probabilities from the truth, 0 to 2: G. Brier (1950).

    Args:
        shares: (rows, classes).
        labels: (rows,).
    """
    truth = np.eye(shares.shape[1])[labels.astype(int)]
    scores: Array = ((shares - truth) ** 2).sum(axis=1)
    return scores


def log_losses(probabilities: Array) -> Array:
    """Of each row the negative logarithm of the probability that was given to the truth."""
    losses: Array = -np.log(np.maximum(probabilities, LEAST_PROBABILITY))
    return losses


def calibration(result: Predictions, other: Predictions) -> list[dict[str, Any]]:
    """What both sides measure, and their difference, result minus other, with its interval; less is better in all.

    Returns:
        `measure`, `result`, `other`, `difference`, `low` and `high` of each measure that the kind of task allows: all
        three where every class has a probability, log loss alone where the true answer has one, else none. The interval
        of a calibration error is rough: resampling makes the errors of small bins larger, if on both sides.
    """
    ours, theirs = _measures(result), _measures(other)
    if not ours:
        return []

    def values(counts: Array) -> Array:
        """Of each draw and measure both sides and their difference, (draws, 3 * measures)."""
        pairs = [(ours[name](counts), theirs[name](counts)) for name in ours]
        return np.stack([value for one, two in pairs for value in (one, two, one - two)], axis=1)

    found = bootstrap_intervals(values, np.ones(len(result.labels), dtype=np.int64), RESAMPLES)
    return [
        {"measure": name, "result": one[0], "other": two[0]}
        | dict(zip(("difference", "low", "high"), difference, strict=True))
        for name, one, two, difference in zip(ours, found[::3], found[1::3], found[2::3], strict=True)
    ]


def _measures(side: Predictions) -> dict[str, Measure]:
    kind = KINDS[side.kind]
    measures: dict[str, Measure] = {}
    if kind.shares is not None:
        shares = kind.shares(side.logits)
        confidence, right = shares.max(axis=1), (shares.argmax(axis=1) == side.labels).astype(np.float64)
        measures["calibration error"] = lambda counts: calibration_error(counts, confidence, right)
        measures["Brier score"] = _mean(brier_scores(shares, side.labels))
    if kind.fit_is_probability:
        measures["log loss"] = _mean(log_losses(side.fit))
    return measures


def _mean(values: Array) -> Measure:
    return lambda counts: (counts @ values) / counts.sum(axis=1)
