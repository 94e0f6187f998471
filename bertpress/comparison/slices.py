"""Where a difference comes from: two models on the rows of each class, each type of entity, each range of lengths."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertpress.comparison.comparing import Predictions, paired_test
from bertpress.tasks.judging import Array

LEAST_ROWS = 30
"""A slice with fewer is shown without an interval and without a verdict."""
LENGTH_GROUPS = 4
Slice = tuple[str, str, str, Predictions, Predictions]
"""By what it is a slice, its name, the metric, and the rows of result and other"""


def length_groups(lengths: Array, groups: int = LENGTH_GROUPS) -> list[NDArray[np.bool_]]:
    """Which rows are in each of up to `groups` groups of about as many rows, the shortest first.

    Equal lengths stay together, so there may be fewer groups, and none is empty.

    Args:
        lengths: (rows,).
    """
    ends = np.unique(np.quantile(lengths, np.arange(1, groups + 1) / groups, method="inverted_cdf"))
    place = np.searchsorted(ends, lengths)
    return [place == group for group in range(len(ends))]


def slices(result: Predictions, other: Predictions, metric: str) -> list[dict[str, Any]]:
    """Scores of two models on each slice of their rows, and the difference with its interval.

    Classes are judged by the share of their rows that was answered right, since most metrics mean nothing on rows of
    one class; anything else by `metric`. Intervals are those of `paired_test`, for one slice: they are not corrected
    for how many slices there are.

    Returns:
        `by` (class, entity type or length), `name`, `metric`, `rows`, scores of `result` and `other`, `difference`,
        and `low`, `high` and `differs`, which are None of fewer than `LEAST_ROWS` rows.
    """
    found = []
    parts = chain(_classes(result, other), _types(result, other, metric), _lengths(result, other, metric))
    for by, name, measured, ours, theirs in parts:
        scores = {"result": ours.score(measured), "other": theirs.score(measured)}
        row = {"by": by, "name": name, "metric": measured, "rows": len(ours.labels), **scores}
        test: dict[str, Any] = {"low": None, "high": None, "differs": None}
        if len(ours.labels) >= LEAST_ROWS:
            test = {key: value for key, value in paired_test(ours, theirs, measured).items() if key in test}
        found.append({**row, "difference": scores["result"] - scores["other"], **test})
    return found


def _classes(result: Predictions, other: Predictions) -> Iterator[Slice]:
    for number, name in enumerate(result.names):
        where = result.labels == number
        if where.any():
            yield "class", name, "accuracy", result.rows(where), other.rows(where)


def _types(result: Predictions, other: Predictions, metric: str) -> Iterator[Slice]:
    """The sentences in which a type of entity is, or is found by one of the two."""
    for name in dict.fromkeys((*other.parts, *result.parts)):
        ours, theirs = result.part(name), other.part(name)
        where = (theirs.labels > 0) | ours.logits.any(axis=1) | theirs.logits.any(axis=1)
        if where.any() and np.array_equal(ours.labels, theirs.labels):
            yield "entity type", name, metric, ours.rows(where), theirs.rows(where)


def _lengths(result: Predictions, other: Predictions, metric: str) -> Iterator[Slice]:
    """By the tokens that the other one read: the result's tokenizer may be another."""
    lengths = result.lengths if other.lengths is None else other.lengths
    if lengths is None:
        return
    for where in length_groups(lengths):
        low, high = (f"{end:,.0f}" for end in (lengths[where].min(), lengths[where].max()))
        name = f"{low} tokens" if low == high else f"{low} to {high} tokens"
        yield "length", name, metric, result.rows(where), other.rows(where)
