"""Which teacher layer each student layer learns from: pure functions of the two depths.

Layers are counted from 1; 0 stands for the embeddings. Source: arXiv 1909.10351, section 3.1 and table 4 (uniform 75.6,
top 70.9, bottom 71.3 on average over four development sets).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

Strategy = Literal["uniform", "top", "bottom", "last_only"]
Pairs = tuple[tuple[int, int], ...]
"""(student layer, teacher layer)"""


def layer_pairs(strategy: Strategy | Sequence[Sequence[int]], student: int, teacher: int) -> Pairs:
    """The pairs of compared layers, embeddings not included.

    Args:
        strategy: `uniform` spreads the student's layers over the teacher's, ``round(m N / M)`` with halves up; `top`
            and `bottom` take neighbouring ones; `last_only` compares the last layers; or a list of pairs.
        student: depth M.
        teacher: depth N.

    Raises:
        ValueError: a student that is deeper than its teacher, or a pair out of range.
    """
    if not isinstance(strategy, str):
        return _checked(strategy, student, teacher)
    if strategy == "last_only":
        return ((student, teacher),)
    if student > teacher:
        raise ValueError(
            f"'{strategy}' needs a student of at most the teacher's {teacher} layers, got {student}; "
            "give a list of pairs"
        )
    layers = range(1, student + 1)
    if strategy == "uniform":
        return tuple((layer, (2 * layer * teacher + student) // (2 * student)) for layer in layers)
    return tuple((layer, layer + (teacher - student if strategy == "top" else 0)) for layer in layers)


def _checked(pairs: Sequence[Sequence[int]], student: int, teacher: int) -> Pairs:
    for pair in pairs:
        if len(pair) != 2 or not 0 <= pair[0] <= student or not 0 <= pair[1] <= teacher:
            raise ValueError(
                f"expected pairs of a student layer up to {student} and a teacher layer up to {teacher} "
                f"(0: the embeddings), got {list(pair)}"
            )
    if len({pair[0] for pair in pairs}) < len(pairs):
        raise ValueError("a student layer is paired twice; pair each once")
    return tuple((int(pair[0]), int(pair[1])) for pair in pairs)


def rises(pairs: Pairs) -> bool:
    """True if deeper student layers learn from deeper teacher layers."""
    ordered = sorted(pairs)
    return all(low[1] < high[1] for low, high in pairwise(ordered))


def weights(value: float | Sequence[float], count: int, what: str) -> tuple[float, ...]:
    """One weight for each of `count` terms.

    Raises:
        ValueError: a list of another length.
    """
    if isinstance(value, int | float):
        return (float(value),) * count
    if len(value) != count:
        raise ValueError(f"{what}: expected one number or {count}, got {len(value)}")
    return tuple(map(float, value))


def describe(pairs: Pairs) -> str:
    """``1-2, 2-4, 3-6``."""
    return ", ".join(f"{student}-{teacher}" for student, teacher in pairs)
