"""Limits of a cost as people write them: 15M, 2G, 7.8ms, 40%. No torch here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, InstanceOf, PlainSerializer

WRITTEN = re.compile(r"(?P<number>[\d.]+(?:e[+-]?\d{1,2})?|\d+\s*/\s*\d+)\s*(?P<unit>%|ms|[kmg])?", re.IGNORECASE)
SCALES = {"k": 10**3, "m": 10**6, "g": 10**9}
SHARES = "a share such as 40%, 0.4 or 2/5"
EXPECTED = {
    "count": f"expected a number such as 15M, 5.6G or 400k, or {SHARES}",
    "ms": f"expected a time such as 7.8 or 0.5ms, or {SHARES}",
}


@dataclass(frozen=True)
class Amount:
    """A number of units, or a share of what another model has; exactly as it was written."""

    value: Fraction
    unit: Literal["count", "ms", "share"]

    @property
    def is_share(self) -> bool:
        """True for a share of what another model has."""
        return self.unit == "share"

    def of(self, whole: float) -> Fraction:
        """The limit that it is where the other model has `whole`."""
        return self.value * Fraction(whole) if self.is_share else self.value

    def plain(self) -> int | float | str:
        """The value of JSON and YAML that is read as the same amount again."""
        if self.unit == "count":
            return int(self.value)
        number = float(self.value)
        if self.unit == "ms":
            return f"{number!r} ms"
        return number if Fraction(repr(number)) == self.value else str(self.value)

    def __str__(self) -> str:
        """A share in per cent, anything else as a number."""
        if self.is_share:
            return f"{float(100 * self.value):.10g}%"
        return f"{float(self.value):,.10g}" if self.unit == "ms" else f"{int(self.value):,}"


def parse_amount(value: Any, unit: Literal["count", "ms"]) -> Amount:
    """An amount of 15M, 66.5m, 5.6G, 400k and plain integers; of 7.8 and 7.8ms; and of the shares 40%, 0.4 and 2/5.

    A number without a unit is a share if it has a point or an exponent and is at most 1, of time too: 0.5 is a
    half, 0.5ms a time.

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
            raise ValueError("a share is above 0 and at most 100%")
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
