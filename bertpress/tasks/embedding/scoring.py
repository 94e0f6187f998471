"""Scores of pairs, and how good vectors are by the pairs that they were made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bertpress.errors import RequestError

Array = NDArray[np.floating]
AT_ONCE = 1024


def score_range(
    scores: Mapping[str, Sequence[float]], given: tuple[float, float] | None, name: str
) -> tuple[float, float]:
    """The scores that become 0 and 1: those given, else the lowest and the highest of the first split.

    Args:
        scores: of each split that has some.
        name: of the data.

    Raises:
        RequestError: scores outside of a range that was given, or all the same.
    """
    if given is None:
        first = next(iter(scores.values()), (0.0, 1.0))
        if min(first) == max(first):
            raise RequestError(
                f"All scores of {name} are {first[0]:g}, so no pair is more alike than another; give others, or "
                "score_range."
            )
        return min(first), max(first)
    low, high = given
    for split, values in scores.items():
        if outside := [score for score in values if not low <= score <= high]:
            raise RequestError(
                f"Expected scores from {low:g} to {high:g} (score_range), but {len(outside)} of the {split} split lie "
                f"outside, such as {outside[0]:g}: correct them or change the range."
            )
    return low, high


def unit(vectors: Array) -> NDArray[np.float64]:
    """Vectors of length 1 in the same directions; one of length 0 stays."""
    exact = vectors.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=-1, keepdims=True)
    result: NDArray[np.float64] = np.divide(exact, lengths, out=np.zeros_like(exact), where=lengths > 0)
    return result


def similarities(first: Array, second: Array) -> NDArray[np.float64]:
    """(pairs,) cosine of the angle between two vectors; 0 where one has length 0."""
    found: NDArray[np.float64] = (unit(first) * unit(second)).sum(axis=1)
    return found


def partners_found(first: Array, second: Array, texts: Sequence[str]) -> NDArray[np.bool_]:
    """(pairs,) True where no other second text is as similar to the first one as its own; the same text is no other.

    Args:
        texts: the second ones.
    """
    own, others = unit(first), unit(second)
    _, names = np.unique(np.asarray(texts, dtype=object).astype(str), return_inverse=True)
    found = np.empty(len(own), dtype=np.bool_)
    for start in range(0, len(own), AT_ONCE):
        rows = np.arange(start, min(start + AT_ONCE, len(own)))
        alike = own[rows] @ others.T
        right = alike[np.arange(len(rows)), rows].copy()
        alike[names[rows][:, None] == names[None]] = -np.inf
        found[rows] = right > alike.max(axis=1)
    return found
