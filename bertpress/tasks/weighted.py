"""The metrics of `metrics` where each row counts several times, for many such weightings at once.

Resampling needs a metric thousands of times; in terms of counts that is a few matrix products. Counts are whole numbers
of shape (draws, rows), kept as floats for the products; labels have shape (rows,), predictions (rows,) or, where a row
is not answered by one number, (rows, numbers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bertpress.statistics import bootstrap_interval

Floats = NDArray[np.float64]
Weighted = Callable[[Floats, Floats, Floats, int], Floats]


def _accuracy(counts: Floats, labels: Floats, predictions: Floats, positive: int) -> Floats:
    return _ratio(counts @ (labels == predictions), counts.sum(axis=1))


def _f1(counts: Floats, labels: Floats, predictions: Floats, positive: int) -> Floats:
    actual, predicted, hits = _totals(counts, labels, predictions, np.array([positive]))
    return _ratio(2 * hits, actual + predicted)[:, 0]


def _f1_macro(counts: Floats, labels: Floats, predictions: Floats, positive: int) -> Floats:
    actual, predicted, hits = _totals(counts, labels, predictions, np.unique([labels, predictions]))
    present = (actual + predicted > 0).sum(axis=1)  # a class that is nowhere in a draw has no part in its mean
    return _ratio(_ratio(2 * hits, actual + predicted).sum(axis=1), present)


def _matthews_correlation(counts: Floats, labels: Floats, predictions: Floats, positive: int) -> Floats:
    """The correlation of K classes: J. Gorodkin, "Comparing two K-category assignments ..." (2004)."""
    actual, predicted, hits = _totals(counts, labels, predictions, np.unique([labels, predictions]))
    rows = counts.sum(axis=1)
    together = hits.sum(axis=1) * rows - (actual * predicted).sum(axis=1)
    spread = (rows**2 - (predicted**2).sum(axis=1)) * (rows**2 - (actual**2).sum(axis=1))
    return _ratio(together, np.sqrt(spread))


def _totals(
    counts: Floats, labels: Floats, predictions: Floats, classes: NDArray[np.generic]
) -> tuple[Floats, Floats, Floats]:
    """How often each class is the label, is predicted and is both; each of shape (draws, classes)."""
    is_label = (labels[:, None] == classes).astype(np.float64)
    is_predicted = (predictions[:, None] == classes).astype(np.float64)
    return counts @ is_label, counts @ is_predicted, counts @ (is_label * is_predicted)


def _pearson(counts: Floats, labels: Floats, predictions: Floats, positive: int) -> Floats:
    sides = [values - values.mean() for values in (labels, predictions)]
    return _correlation(counts, sides[0][None], sides[1][None])


def _spearmanr(counts: Floats, labels: Floats, predictions: Floats, positive: int) -> Floats:
    middle = (counts.sum(axis=1, keepdims=True) + 1) / 2  # the mean of all ranks
    return _correlation(counts, _ranks(counts, labels) - middle, _ranks(counts, predictions) - middle)


def _ranks(counts: Floats, values: Floats) -> Floats:
    """Rank of each row among all repeated rows, from 1, ties sharing the mean of theirs; shape (draws, rows)."""
    _, group = np.unique(values, return_inverse=True)
    starts = np.flatnonzero(np.diff(np.sort(group), prepend=-1))
    tied = np.add.reduceat(counts[:, np.argsort(group, kind="stable")], starts, axis=1)
    ranks: Floats = np.cumsum(tied, axis=1) - (tied - 1) / 2
    return ranks[:, group]


def _correlation(counts: Floats, first: Floats, second: Floats) -> Floats:
    """Pearson correlation of values of shape (draws or 1, rows), 0 where a side is constant."""
    rows = counts.sum(axis=1)
    products = [(first, second), (first, first), (second, second)]
    means = [(counts * side).sum(axis=1) / rows for side in (first, second)]
    centres = [means[0] * means[1], means[0] ** 2, means[1] ** 2]
    pairs = zip(products, centres, strict=True)
    both, one, other = [(counts * a * b).sum(axis=1) / rows - centre for (a, b), centre in pairs]
    # Rounding leaves a constant side a variance of this order.
    constant = [spread <= 1e-12 * (side**2).mean(axis=1) for spread, side in ((one, first), (other, second))]
    varies = ~(constant[0] | constant[1])
    return np.clip(_ratio(both * varies, np.sqrt(np.maximum(one * other, 0))), -1, 1)


def _masked_accuracy(counts: Floats, labels: Floats, predictions: Floats, positive: int) -> Floats:
    return _ratio(counts @ predictions, counts @ labels)


def _span_f1(counts: Floats, labels: Floats, predictions: Floats, positive: int) -> Floats:
    """Labels are numbers of true spans, predictions pairs: spans found that are right, spans found."""
    correct, predicted = predictions.T
    return _ratio(2 * counts @ correct, counts @ (labels + predicted))


def _span_precision(counts: Floats, labels: Floats, predictions: Floats, positive: int) -> Floats:
    correct, predicted = predictions.T
    return _ratio(counts @ correct, counts @ predicted)


def _span_recall(counts: Floats, labels: Floats, predictions: Floats, positive: int) -> Floats:
    return _ratio(counts @ predictions[:, 0], counts @ labels)


def _mean_of_column(column: int) -> Weighted:
    """The mean over rows of what is already a score of each."""

    def mean(counts: Floats, labels: Floats, predictions: Floats, positive: int) -> Floats:
        return _ratio(counts @ predictions[:, column], counts.sum(axis=1))

    return mean


def _mean_of(first: str, second: str) -> Weighted:
    def mean(counts: Floats, labels: Floats, predictions: Floats, positive: int) -> Floats:
        values = [WEIGHTED[name](counts, labels, predictions, positive) for name in (first, second)]
        return (values[0] + values[1]) / 2

    return mean


def _ratio(above: Floats, below: Floats) -> Floats:
    """Their ratio, 0 where it is 0 / 0."""
    return np.divide(above, below, out=np.zeros_like(above, dtype=np.float64), where=below > 0)


WEIGHTED: dict[str, Weighted] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "accuracy_f1": _mean_of("accuracy", "f1"),
    "matthews_correlation": _matthews_correlation,
    "pearson": _pearson,
    "spearmanr": _spearmanr,
    "pearson_spearmanr": _mean_of("pearson", "spearmanr"),
    "masked_accuracy": _masked_accuracy,
    "span_f1": _span_f1,
    "span_precision": _span_precision,
    "span_recall": _span_recall,
    "answer_f1": _mean_of_column(0),
    "exact_match": _mean_of_column(1),
    "facts_f1": _mean_of_column(2),
    "facts_exact_match": _mean_of_column(3),
    "joint_f1": _mean_of_column(4),
    "joint_exact_match": _mean_of_column(5),
    "retrieval_accuracy": _mean_of_column(0),
}
"""(counts, labels, predictions, index of the positive class) to one number per draw; names as in `METRICS`."""


def score_interval(labels: Floats, answers: Floats, metric: str, positive: int) -> tuple[float | None, float | None]:
    """The interval of one model's metric over resamples of the rows; none of a metric without a weighted form.

    Args:
        labels: (rows,) what the answers should have been.
        answers: what the model gave, as the metric takes predictions.
    """
    if metric not in WEIGHTED:
        return None, None
    sides = [labels, answers]
    rows, repeats = np.unique(np.column_stack(sides), axis=0, return_counts=True)
    true, given = unstacked(rows, sides)
    _, low, high = bootstrap_interval(lambda counts: WEIGHTED[metric](counts, true, given, positive), repeats)
    return low, high


def unstacked(rows: Floats, like: Sequence[Floats]) -> list[Floats]:
    """The columns of what `np.column_stack` made of arrays, taken apart to their shapes."""
    ends = np.cumsum([1 if side.ndim == 1 else side.shape[1] for side in like])
    parts = np.split(rows, ends[:-1], axis=1)
    return [part[:, 0] if side.ndim == 1 else part for part, side in zip(parts, like, strict=True)]
