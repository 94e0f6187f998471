"""Schedules as pure functions of the number of finished optimizer steps.

Source: arXiv 2002.02925, section 3.2 (curriculum replacement), and the replacement scheduler of its published code.
"""

from __future__ import annotations


def linear(step: int, base: float, slope: float) -> float:
    """Replace rate ``min(1, slope * step + base)`` after `step` finished steps."""
    return min(1.0, slope * step + base)


def constant(step: int, rate: float, switch: float) -> float:
    """Replace rate `rate` before step `switch` and 1 from then on (``math.inf`` never switches)."""
    return rate if step < switch else 1.0


def slope_until_full(base: float, steps: float) -> float:
    """Slope with which `linear` reaches rate 1 after `steps` steps."""
    return (1.0 - base) / steps
