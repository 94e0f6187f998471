"""What a sub-network may cost: amounts as people write them, and the budget that is made of them. No torch here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, InstanceOf, PlainSerializer, model_validator

from bertpress.config import Config

Scope = Literal["total", "backbone", "encoder"]
"""Which parameters count: of the whole model; of all but the layer that gives the logits; of the encoder's layers."""
WRITTEN = re.compile(r"(?P<number>[\d.]+(?:e[+-]?\d{1,2})?|\d+\s*/\s*\d+)\s*(?P<unit>%|ms|[kmg])?", re.IGNORECASE)
SCALES = {"k": 10**3, "m": 10**6, "g": 10**9}
SHARES = "a share of the largest network such as 40%, 0.4 or 2/5"
EXPECTED = {
    "count": f"expected a number such as 15M, 5.6G or 400k, or {SHARES}",
    "ms": f"expected a time such as 7.8 or 0.5ms, or {SHARES}",
}


@dataclass(frozen=True)
class Amount:
    """A number of units, or a share of what the largest network of a space has; exactly as it was written."""

    value: Fraction
    unit: Literal["count", "ms", "share"]

    @property
    def is_share(self) -> bool:
        """True for a share of the largest network."""
        return self.unit == "share"

    def of(self, largest: float) -> Fraction:
        """The limit that it is where the largest network costs `largest`."""
        return self.value * Fraction(largest) if self.is_share else self.value

    def plain(self) -> int | float | str:
        """The value of JSON and YAML that is read as the same amount again."""
        if self.unit == "count":
            return int(self.value)
        number = float(self.value)
        if self.unit == "ms":
            return f"{number!r} ms"
        return number if Fraction(repr(number)) == self.value else str(self.value)

    def plain_time(self) -> int | float | str:
        """The same of a time, of which a bare number would not say whether it is a share."""
        return f"{self.value.numerator}/{self.value.denominator}" if self.is_share else self.plain()

    def __str__(self) -> str:
        """A share in per cent, anything else as a number."""
        if self.is_share:
            return f"{float(100 * self.value):.10g}%"
        return f"{float(self.value):,.10g}" if self.unit == "ms" else f"{int(self.value):,}"


def parse_amount(value: Any, unit: Literal["count", "ms"]) -> Amount:
    """An amount of 15M, 66.5m, 5.6G, 400k and plain integers; of 7.8 and 7.8ms; and of the shares 40%, 0.4 and 2/5.

    A number without a unit is a share if it has a point or an exponent and is at most 1; of time, where it could be
    either, it is refused.

    Raises:
        ValueError: says what was expected.
    """
    if isinstance(value, Amount):
        return value
    text = repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    found = WRITTEN.fullmatch(text.strip()) if isinstance(text, str) else None
    try:
        number = Fraction(re.sub(r"\s", "", found["number"])) if found else Fraction(0)
    except (ValueError, ZeroDivisionError):
        number = Fraction(0)
    if found is None or number == 0:
        raise ValueError(EXPECTED[unit])
    suffix, is_fraction = (found["unit"] or "").lower(), "/" in found["number"]
    if (is_fraction and suffix) or (suffix not in ("", "%") and (suffix == "ms") != (unit == "ms")):
        raise ValueError(EXPECTED[unit])
    if suffix == "%" or is_fraction or (not suffix and not found["number"].isdigit() and number <= 1):
        share = number / 100 if suffix == "%" else number
        if share > 1:
            raise ValueError("a share of the largest network is above 0 and at most 100%")
        return Amount(share, "share")
    number *= SCALES.get(suffix, 1)
    if unit == "count" and number.denominator != 1:
        raise ValueError(f"{EXPECTED[unit]}; a number above 1 must be whole")
    return Amount(number, unit)


def _count(value: Any) -> Amount:
    return parse_amount(value, "count")


def _time(value: Any) -> Amount:
    return parse_amount(value, "ms")


Count = Annotated[InstanceOf[Amount], BeforeValidator(_count), PlainSerializer(Amount.plain)]
Time = Annotated[InstanceOf[Amount], BeforeValidator(_time), PlainSerializer(Amount.plain)]


class Budget(Config):
    """Limits that a sub-network has to meet, all of them; a limit that is met exactly is met."""

    parameters: Count | None = None
    """most parameters: 15M, or a share of the largest network's: 40%. A share counts the encoder's layers, a number the
    whole model with its head"""
    macs: Count | None = None
    """most multiply-adds of a sequence of the length given: 1.2G or 30%"""
    flops: Count | None = None
    """most floating-point operations, of which a multiply-add has two: 2.4G or 30%"""
    latency_ms: Time | None = None
    """most milliseconds of a batch, as measured on this machine: 7.8 or 0.5ms, or a share: 50%"""
    scope: Scope | None = None
    """which parameters count, whatever the limit is written as: total, backbone (all but the layer that gives the
    logits) or encoder (its layers alone)"""

    @model_validator(mode="after")
    def _fits(self) -> Budget:
        if self.scope is not None and self.parameters is None:
            raise ValueError("scope says which parameters count, but there is no limit on parameters; give one")
        return self

    def given(self) -> dict[str, Amount]:
        """Name to amount of each limit that is set, in a fixed order; none for an empty budget."""
        amounts = {name: getattr(self, name) for name in ("parameters", "macs", "flops", "latency_ms")}
        return {name: amount for name, amount in amounts.items() if amount is not None}


HALF = Budget(parameters="50%")
"""What a result may cost where nothing is said."""
