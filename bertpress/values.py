"""Values of JSON and YAML that may hold anything: as mappings, as numbers and as printable words."""

from __future__ import annotations

import math
from typing import Any


def mapping(value: Any, *keys: Any) -> dict[str, Any]:
    """What lies under `keys`; empty where that is no mapping."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def number(value: Any, *keys: Any) -> float | None:
    """The finite number under `keys`; None for anything else."""
    found = mapping(value, *keys[:-1]).get(keys[-1])
    if not isinstance(found, int | float) or isinstance(found, bool):
        return None
    try:
        return found if math.isfinite(found) else None
    except OverflowError:  # an integer beyond any float
        return None


def words(value: Any) -> str:
    """Any value as one line of printable text."""
    if isinstance(value, list):
        value = " ".join(map(words, value))
    if isinstance(value, dict):
        value = ", ".join(f"{name} {words(item)}" for name, item in value.items())
    return _printable(" ".join(("" if value is None else str(value)).split()))


def lines(text: str) -> str:
    """Text as printable lines: tabs and line ends stay, other control characters do not."""
    return "\n".join(_printable(line.expandtabs(4)) for line in text.splitlines())


def as_written(text: str) -> str:
    """Text character by character: line ends, tabs and joiners stay, other control characters do not."""
    text = text.replace("\r\n", "\n")
    return "".join(char if char in "\n\t\u200c\u200d" else _printable(char) for char in text)


def cut(text: str, most: int) -> str:
    """At most the first `most` characters, with a mark where any are left out."""
    return text if len(text) <= most else text[:most] + "…"


def shown(value: float | None, digits: int = 1, scale: float = 1) -> str:
    """A number with separators, or a dash."""
    return "-" if value is None else f"{scale * value:,.{digits}f}"


def shown_points(share: float) -> str:
    """A difference of scores in points, with its sign."""
    points = round(100 * share, 1)
    return f"{points:+.1f}" if points else "0.0"


def shown_interval(test: dict[str, Any]) -> str:
    """The interval of a difference of scores in points; a dash where there is none."""
    low, high = number(test, "low"), number(test, "high")
    return "-" if low is None or high is None else f"{shown_points(low)} to {shown_points(high)}"


def shown_speedup(ratio: float | None, low: float | None, high: float | None) -> str:
    """A ratio with its interval, in words where that covers 1."""
    if ratio is None or low is None or high is None:
        return "-"
    return f"{'no measured speed-up' if low <= 1 <= high else f'{ratio:.2f}x'} ({low:.2f}-{high:.2f})"


def shown_amount(value: float, digits: int = 2) -> str:
    """A number as people write a limit: whole if it is large, else with at most so many digits behind the point."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{round(value, digits) + 0.0:,g}"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
