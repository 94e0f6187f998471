"""A search for sub-networks in sentences and tables: what was chosen of how many, and what else could have been."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from bertpress.methods.yoco.costs import UNITS
from bertpress.reports.tables import Section
from bertpress.values import shown, words

Search = dict[str, Any]
"""What `searches.search_of` gives, with the name of its step."""
READING = (
    "Points of a search are its sub-networks that no cheaper one matches in loss on rows held out for it; their "
    "scores, with 95 % intervals, are on the development split, which chose nothing; encoder % and MACs % are of the "
    "largest sub-network."
)


class Column(NamedTuple):
    """What of a point is shown, and how."""

    head: str
    key: str
    digits: int = 1
    scale: float = 1


LAYERS = Column("layers", "layers", 0)
ENCODER = Column("encoder (M)", "encoder_parameters", 2, 1e-6)
MACS = Column("MACs (M)", "macs", 1, 1e-6)
FLOPS = Column("FLOPs (M)", "flops", 1, 1e-6)
LATENCY = Column("ms", "latency_ms", 2)
SCORE = Column("score", "score", 1, 100)
FULL = (
    LAYERS,
    Column("parameters (M)", "parameters", 2, 1e-6),
    ENCODER,
    Column("encoder %", "encoder_share", 1, 100),
    MACS,
    Column("MACs %", "macs_share", 1, 100),
    FLOPS,
    LATENCY,
    Column("loss of the search", "loss", 4),
    SCORE,
)
BRIEF = (LAYERS, ENCODER, MACS, FLOPS, LATENCY, SCORE)
"""What there is room for in a terminal."""


def table(search: Search) -> Section:
    """The points of a search with all that is known of them."""
    section = _table(search, FULL)
    intervals = [_interval(point) for point in search["points"]]
    if not any(intervals):
        return section
    rows = [[*row, interval or "-"] for row, interval in zip(section.rows, intervals, strict=True)]
    return section._replace(head=[*section.head, "95 % interval"], rows=rows)


def brief_table(search: Search) -> Section:
    """The points of a search in few columns."""
    return _table(search, BRIEF)


def _table(search: Search, columns: tuple[Column, ...]) -> Section:
    """Those of these columns in which something is known."""
    points = search["points"]
    known = [column for column in columns if any(point[column.key] is not None for point in points)]
    cells = [_cells([point[column.key] for point in points], column) for column in known]
    rows = [[point["name"], *(column[place] for column in cells)] for place, point in enumerate(points)]
    return Section(caption(search), ["name", *(column.head for column in known)], rows)


def _cells(values: list[float | None], column: Column) -> list[str]:
    """A column of numbers, with more digits where the largest of them is small."""
    digits = column.digits
    largest = max((column.scale * value for value in values if value), default=0)
    if 0 < largest < 1:
        digits = min(max(digits, 2 - math.floor(math.log10(largest))), 9)
    return [shown(value, digits, column.scale) for value in values]


def _interval(point: dict[str, Any]) -> str:
    low, high = point["low"], point["high"]
    return "" if low is None or high is None else f"{shown(low, scale=100)} to {shown(high, scale=100)}"


def caption(search: Search) -> str:
    """What was searched, how much of it, and for what."""
    parts = [f"Sub-networks of the search of {words(search['name'])}"]
    if seen := _seen(search):
        parts[0] += f": {seen}"
    if search["forwards"] is not None:
        parts[0] += f", with {amount(search['forwards'])} example forwards"
    if limits := _limits(search):
        parts.append(f"budget {limits}")
    if search["metric"] and search["split"]:
        parts.append(f"score is {search['metric']} on {search['split']}")
    return "; ".join(parts)


def finding(search: Search) -> str:
    """What was chosen, in one sentence without its end."""
    point = next((point for point in search["points"] if point["chosen"]), None)
    if point is None:
        return "a search, of which is not known what it chose"
    layers = "" if point["layers"] is None else f" of {point['layers']} layer" + "s" * (point["layers"] != 1)
    parts = [f"the search chose a sub-network{layers}"]
    if point["encoder_share"] is not None:
        parts[0] += f" with {shown(point['encoder_share'], scale=100)} % of the largest one's encoder parameters"
    parts += [f"within {limits}"] if (limits := _limits(search)) else []
    parts += [seen] if (seen := _seen(search)) else []
    return "; ".join(parts)


def _seen(search: Search) -> str:
    """How many were looked at, of how many."""
    seen, there_are = search["evaluated"], search["sub_networks"]
    if seen is None:
        return ""
    return f"looked at {amount(seen)}" + ("" if there_are is None else f" of {amount(there_are)}")


def _limits(search: Search) -> str:
    """The budget as it was asked for, a share also as the number that it stands for."""
    texts = []
    for limit in search["limits"]:
        unit = UNITS.get(limit["name"], limit["name"])
        number = "" if limit["most"] is None else amount(limit["most"])
        asked = limit["asked"] or number
        texts.append(f"{asked} {unit}" if asked in (number, "") else f"{asked} ({number} {unit})")
    return " and ".join(texts)


def amount(number: float) -> str:
    """A count with separators, a very large one by its power of ten, and a few digits of anything else."""
    if number >= 1e12:
        digits, _, power = f"{number:.1e}".partition("e")
        return f"{digits} x 10^{int(power)}"
    return f"{number:,.0f}" if number == int(number) else f"{number:,.4g}"
