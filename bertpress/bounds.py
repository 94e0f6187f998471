"""What a result may cost at most and must give at least, and whether it does. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bertpress.amounts import Count
from bertpress.config import Config
from bertpress.errors import RequestError
from bertpress.values import number

if TYPE_CHECKING:
    from bertpress.comparison.certificate import Certificate

ROUNDING = 1e-9
"""A bound that is met exactly is met, although 0.8 - 0.795 is a little more than 0.005"""


class Bounds(Config):
    """Limits that a result has to keep, all of them; one that is met exactly is kept."""

    max_drop: float | None = Field(None, ge=0, allow_inf_nan=False)
    """most points of the primary metric that may be lost; the loss itself counts, not its interval"""
    confident: bool = False
    """the unfavourable end of the interval of the loss has to keep max_drop, too"""
    min_speedup: float | None = Field(None, gt=0, allow_inf_nan=False)
    """least speed-up over the other model, of which the unfavourable end of the interval counts"""
    max_latency_ms: float | None = Field(None, gt=0, allow_inf_nan=False)
    """most milliseconds of a batch, of which the unfavourable end of the interval counts"""
    max_parameters: Count | None = None
    """most parameters, the head included: 15M, or a share of the other model's: 40%"""
    max_macs: Count | None = None
    """most multiply-adds of an input of mean length: 1.2G, or a share of the other model's"""
    batch_size: int = Field(1, ge=1)
    """inputs at a time for min_speedup and max_latency_ms"""

    @property
    def needs_time(self) -> bool:
        """Whether a model has to be timed."""
        return self.min_speedup is not None or self.max_latency_ms is not None

    def require_one(self) -> None:
        """Refuse to check nothing.

        Raises:
            RequestError: names the bounds.
        """
        names = ("max_drop", "min_speedup", "max_latency_ms", "max_parameters", "max_macs")
        if all(getattr(self, name) is None for name in names):
            flags = ", ".join("--" + name.replace("_", "-") for name in names)
            raise RequestError(f"There is nothing to check; give at least one of {flags}.")
        if self.confident and self.max_drop is None:
            raise RequestError("confident is about the loss of points; give max_drop (--max-drop) with it.")


def judged(bounds: Bounds, found: Certificate) -> list[dict[str, Any]]:
    """Each bound that was asked for, in order.

    Args:
        found: a document whose `costs` are the rows of the other model and of the result.

    Returns:
        `bound`, `limit`, `value`, the ends of its interval `low` and `high` (None of what is counted), `unit`, `kept`.

    Raises:
        RequestError: a number that a bound is about is not known.
    """
    other, own = found["costs"]
    rows = []
    if bounds.max_drop is not None:
        lost, low, high = (-100 * found["test"][name] for name in ("difference", "high", "low"))
        worst = max(lost, high) if bounds.confident else lost
        name = "max-drop, confident" if bounds.confident else "max-drop"
        rows.append(_row(name, bounds.max_drop, lost, low, high, "points", worst <= bounds.max_drop + ROUNDING))
    times = [entry for entry in own["latency"] if number(entry, "batch") == bounds.batch_size]
    entry: Mapping[str, Any] = times[0] if times else {}
    at = f"at batch {bounds.batch_size}"
    if bounds.min_speedup is not None:
        value, low, high = (_known(entry, f"speedup{end}", "min-speedup", at) for end in ("", "_low", "_high"))
        kept = low >= bounds.min_speedup - ROUNDING
        rows.append(_row("min-speedup", bounds.min_speedup, value, low, high, f"times {at}", kept))
    if bounds.max_latency_ms is not None:
        value, low, high = (_known(entry, name, "max-latency-ms", at) for name in ("median_ms", "low", "high"))
        kept = high <= bounds.max_latency_ms + ROUNDING
        rows.append(_row("max-latency-ms", bounds.max_latency_ms, value, low, high, f"ms {at}", kept))
    for key, amount in (("parameters", bounds.max_parameters), ("macs", bounds.max_macs)):
        if amount is not None:
            value = _known(own, key, f"max-{key}", "")
            limit = float(amount.of(_known(other, key, f"max-{key}", "")) if amount.is_share else amount.value)
            rows.append(_row(f"max-{key}", limit, value, None, None, key, value <= limit + ROUNDING * limit))
    return rows


def _row(
    bound: str, limit: float, value: float, low: float | None, high: float | None, unit: str, kept: bool
) -> dict[str, Any]:
    return {"bound": bound, "limit": limit, "value": value, "low": low, "high": high, "unit": unit, "kept": kept}


def _known(row: Mapping[str, Any], key: str, bound: str, where: str) -> float:
    value = number(row, key)
    if value is None:
        known = f"The result does not tell the {key} {where}".rstrip()
        raise RequestError(f"{known} that {bound} is about; name the task with --task to measure both models now.")
    return value
