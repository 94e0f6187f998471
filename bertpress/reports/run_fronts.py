"""Several runs side by side: score against each cost for the runs of one task, with the best of them marked.

Units of drawings are those of their view boxes; y grows downwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from bertpress.reports.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, axis, path_of, span, ticks
from bertpress.reports.search_figures import Front, Mark, roomy
from bertpress.reports.tables import Section
from bertpress.values import number, shown, shown_speedup, words

NOTE = (
    "Numbers are those of the table below. Bars are 95 % intervals, upright of the score and level of the time. Filled "
    "circles are models that no other one of a drawing beats: none is as cheap and better, or as good and cheaper. "
    "Models of different runs did not take turns, so a busy machine may have slowed one run more than another: across "
    "runs trust times that differ by far, or let bertpress check measure two models in turns."
)
COSTS = {"latency": ("time (ms)", 1.0), "parameters": ("parameters (M)", 1e-6), "macs": ("MACs (M)", 1e-6)}
LETTERS = (15.0, 12.0)
"""Width and height of a number in a drawing"""


class Group(NamedTuple):
    """The runs that were scored by one metric on as many rows of one split of one task."""

    title: str
    points: list[dict[str, Any]]
    """`name`, `score`, `score_low`, `score_high`, `parameters`, `macs`, `latency`, `latency_low` and `latency_high`"""
    timed: str
    """what latency was measured at"""


def groups(reports: Sequence[dict[str, Any]]) -> list[Group]:
    """Every model of runs that can be set side by side; a start that several runs share stands there once."""
    by_rows: dict[str, list[dict[str, Any]]] = {}
    for report in reports:
        title = words(report["task"])
        if report["primary_metric"]:
            rows = "" if report["examples"] is None else f", {report['examples']:,} rows"
            title += f": {words(report['primary_metric'])} on {words(report['split'])}{rows}"
        by_rows.setdefault(title, []).append(report)
    return [_group(title, own) for title, own in by_rows.items()]


def _group(title: str, reports: Sequence[dict[str, Any]]) -> Group:
    entries = [entry for report in reports for row in report["rows"] for entry in row["latency"]]
    single = [_setting(entry) for entry in entries if number(entry, "batch") == 1]
    setting = single[0] if single else ""
    points: list[dict[str, Any]] = []
    starts = set()
    for report in reports:
        steps = [row for row in report["rows"] if row["name"] in report["recovered"]]
        for row in report["rows"]:
            is_start = row["name"] == "start"
            same = (report["model"], row["score"], row["parameters"], row["macs"]) if is_start else None
            if same is not None and same in starts:
                continue
            starts.add(same)
            whole = is_start or (steps and row is steps[-1])
            name = f"start: {words(report['model'])}" if is_start else words(report["run"])
            points.append(_point(name if whole else f"{name}: {words(row['name'])}", row, setting))
    return Group(title, points, setting)


def _setting(entry: dict[str, Any]) -> str:
    texts = {"batch": "batch {}", "threads": "threads {}", "device": "{}"}
    return ", ".join(text.format(words(entry[key])) for key, text in texts.items() if entry.get(key) is not None)


def _point(name: str, row: dict[str, Any], setting: str) -> dict[str, Any]:
    entry: dict[str, Any] = next((entry for entry in row["latency"] if _setting(entry) == setting), {})
    speedups = {f"speedup{end}": number(entry, f"speedup{end}") for end in ("", "_low", "_high")}
    times = {"latency": "median_ms", "latency_low": "low", "latency_high": "high"}
    costs = {key: number(entry, name) for key, name in times.items()}
    known = {key: row[key] for key in ("score", "score_low", "score_high", "parameters", "macs")}
    return {"name": name, **known, **costs, **speedups}


def best(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Of each pair of cost and score whether no other one beats it: as cheap and better, or as good and cheaper."""
    return [
        not any(
            other_cost <= cost and other_score >= score and (other_cost < cost or other_score > score)
            for other_cost, other_score in points
        )
        for cost, score in points
    ]


def table(group: Group) -> Section:
    """The points in numbers, each with the costs at which it is among the best."""
    marks: dict[int, list[str]] = {}
    for cost in COSTS:
        known = _known(group, cost)
        for place, is_best in zip(known, best([_pair(group.points[place], cost) for place in known]), strict=True):
            marks.setdefault(place, []).extend([cost] * is_best)
    body = []
    for place, point in enumerate(group.points):
        cells = [f"{place + 1}. {point['name']}", shown(point["score"], 1, 100), _range(point, "score", 1, 100)]
        cells += [shown(point["parameters"], 2, 1e-6), shown(point["macs"], 1, 1e-6), shown(point["latency"], 2)]
        cells += [_range(point, "latency", 2, 1), _speed(point), ", ".join(marks.get(place, [])) or "-"]
        body.append(cells)
    head = ["model", "score", "95 % interval", "parameters (M)", "MACs (M)", "ms", "95 % interval "]
    timed = f"; timed at {group.timed}" if group.timed else ""
    return Section(f"{group.title}{timed}", [*head, "speed-up over its start", "best by"], body)


def _speed(point: dict[str, Any]) -> str:
    return shown_speedup(*(point[f"speedup{end}"] for end in ("", "_low", "_high")))


def _range(point: dict[str, Any], name: str, digits: int, scale: float) -> str:
    low, high = point[f"{name}_low"], point[f"{name}_high"]
    return "-" if low is None or high is None else f"{shown(low, digits, scale)}-{shown(high, digits, scale)}"


def _known(group: Group, cost: str) -> list[int]:
    return [place for place, point in enumerate(group.points) if None not in (point[cost], point["score"])]


def _pair(point: dict[str, Any], cost: str) -> tuple[float, float]:
    return point[cost], point["score"]


def fronts(group: Group) -> list[Front]:
    """A drawing for each cost that at least two models have."""
    return [drawn for cost in COSTS if (drawn := _front(group, cost)) is not None]


def _label_places(marks: Sequence[Mark]) -> list[float]:
    """Where the number of each mark stands: beside it, or further down if another one is there."""
    taken: list[tuple[float, float]] = []
    places = {}
    for place, mark in sorted(enumerate(marks), key=lambda pair: pair[1].y):
        y = mark.y - 6
        for x, other in sorted(taken, key=lambda each: each[1]):
            if abs(x - mark.x) < LETTERS[0] and abs(other - y) < LETTERS[1]:
                y = other + LETTERS[1]
        taken.append((mark.x, y))
        places[place] = round(y, 1)
    return [places[place] for place in range(len(marks))]


def _front(group: Group, cost: str) -> Front | None:
    places = sorted(_known(group, cost), key=lambda place: float(group.points[place][cost]))
    if len(places) < 2:
        return None
    points = [group.points[place] for place in places]
    name, unit = COSTS[cost]
    x_values = [
        unit * point[key]
        for point in points
        for key in (cost, f"{cost}_low", f"{cost}_high")
        if point.get(key) is not None
    ]
    y_values = [
        100 * point[key] for point in points for key in ("score", "score_low", "score_high") if point[key] is not None
    ]
    if not all(map(math.isfinite, (*x_values, *y_values))):
        return None
    (x_low, x_high), (y_low, y_high) = roomy(*span(x_values), 0.08), roomy(*span(y_values), 0.12)
    across, up = axis(x_low, x_high, LEFT, WIDTH - RIGHT), axis(y_low, y_high, HEIGHT - BOTTOM, TOP)
    marks = []
    for place, point, is_best in zip(places, points, best([_pair(point, cost) for point in points]), strict=True):
        ends = [point["score_low"], point["score_high"]]
        sides = [point.get(f"{cost}_low"), point.get(f"{cost}_high")]
        text = f"{place + 1} {point['name']}: {shown(point['score'], 1, 100)} at {unit * point[cost]:.4g}"
        bar = None if None in ends else (up(100 * ends[0]), up(100 * ends[1]))
        level = None if sides[0] is None or sides[1] is None else (across(unit * sides[0]), across(unit * sides[1]))
        x, y = across(unit * point[cost]), up(100 * point["score"])
        marks.append(Mark(x, y, bar, is_best, text, str(place + 1), level))
    marks = [mark._replace(label_y=y) for mark, y in zip(marks, _label_places(marks), strict=True)]
    line = [mark for mark in marks if mark.chosen]
    said = f"score against {name}"
    return Front(
        said,
        f"{said}: " + ", ".join(mark.text + " (best)" * mark.chosen for mark in marks),
        WIDTH,
        HEIGHT,
        name,
        marks,
        path_of((mark.x, mark.y) for mark in line),
        None,
        [(across(tick), f"{tick:g}") for tick in ticks(x_low, x_high, 6)],
        [(up(tick), f"{tick:.4g}") for tick in ticks(y_low, y_high, 6)],
    )
