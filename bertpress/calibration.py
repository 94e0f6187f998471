"""The search for a budget: which number makes a cost the wanted one, given a function from the one to the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

CLOSE = 0.001
"""A cost this near to the wanted one is not searched for any further."""
NEAR = 0.01
"""A cost this near to the wanted one counts as that one."""


@dataclass(frozen=True)
class Calibration:
    """What a search found."""

    value: float
    cost: float
    """at `value`"""
    target: float
    tried: int
    """how often the cost was asked for"""

    @property
    def is_met(self) -> bool:
        """True if the cost is the wanted one, as nearly as `NEAR` says."""
        return abs(self.cost - self.target) <= NEAR


def calibrated(
    cost_of: Callable[[float], float],
    target: float,
    generous: float,
    strict: float,
    guess: Callable[[float, float], float | None] | None = None,
    close: float = CLOSE,
    most: int = 60,
) -> Calibration:
    """The number between two others whose cost comes nearest to `target`.

    The cost need not be monotone, nor continuous: a crossing of the target is bracketed ever more closely.

    Args:
        cost_of: the cost at a number.
        target: the wanted cost.
        generous: where the cost is highest.
        strict: where it is lowest; less or more than `generous`.
        guess: the next number to try between a generous and a strict one, None where none promises more; default:
            their mean.
        close: the search ends at a cost as near as this.
        most: the cost is asked for at most so often.
    """
    tried = {end: cost_of(end) for end in (generous, strict)}
    inside = tried[strict] < target < tried[generous]
    while inside and len(tried) < most and min(abs(cost - target) for cost in tried.values()) > close:
        value = generous + (strict - generous) / 2 if guess is None else guess(generous, strict)
        if value is None:
            break
        if not min(generous, strict) < value < max(generous, strict):
            value = generous + (strict - generous) / 2
        if value in tried:
            break  # no number lies between the two
        tried[value] = cost_of(value)
        generous, strict = (value, strict) if tried[value] > target else (generous, value)
    best = min(tried, key=lambda value: (abs(tried[value] - target), tried[value]))
    return Calibration(best, tried[best], target, len(tried))
