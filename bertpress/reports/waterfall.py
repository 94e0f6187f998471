"""What each step of a run cost and gave: from the start over every step to the result, as a table and as drawings.

Units of drawings are those of their view boxes; y grows downwards.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from bertpress.comparison.pairing import of_export
from bertpress.reports.curves import axis, span, ticks
from bertpress.reports.tables import Section
from bertpress.values import cut, number, shown, shown_interval, shown_points, words

WIDTH, LEFT, RIGHT, TOP, ROW, BOTTOM = 360, 92, 52, 6, 26, 24
"""Room for the names on the left and for the numbers on the right of the bars"""
MOST_LETTERS = 14
COSTS = {"parameters": "parameters", "macs": "multiply-adds", "time": "time at batch 1"}
NOTE = (
    "Each bar is a step, or an export of the last step: exports stand side by side. Of the score it runs from what it "
    "was given to what it made of it, with the 95 % interval of that difference; of the costs the strong part is what "
    "is left of the start's, the pale part what was taken away."
)


class Bar(NamedTuple):
    """One stage."""

    y: float
    name: str
    text: str
    kept: tuple[float, float] | None
    """ends of the strong part"""
    taken: tuple[float, float] | None
    """ends of the pale part"""
    whisker: tuple[float, float] | None
    mark: float | None
    """where the start stands"""


class Waterfall(NamedTuple):
    """Stages below each other, of one measure."""

    title: str
    description: str
    width: float
    height: float
    bars: list[Bar]
    x_ticks: list[tuple[float, str]]


def stages(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The start, every step and every export of a run of several: what is left of each cost, and the paired tests.

    Returns:
        `name`, `score`, `of` (the number of the stage that it was made of, None of the start), `step` and `whole` (the
        tests against that stage and against the start, or None), `parameters`, `macs` and `time` as shares of the
        start's; nothing of a run with fewer than two steps and exports.
    """
    rows = [row for row in report["rows"] if row["name"] == "start" or row["name"] in report["recovered"]]
    if len(rows) < 3 or rows[0]["name"] != "start":
        return []
    tests = {(test["name"], test["against"]): test for test in report["comparisons"]}
    found: list[dict[str, Any]] = []
    last: int | None = None
    for place, row in enumerate(rows):
        of: int | None = last
        last = last if of_export(row["folder"]) else place
        shares = {name: _share(row[name], rows[0][name]) for name in ("parameters", "macs")}
        whole = tests.get((row["name"], "start"))
        step = None if of is None else tests.get((row["name"], rows[of]["name"]))
        time = _time(row) if place else {"share": 1.0 if rows[0]["latency"] else None, "low": None, "high": None}
        scores = {"name": row["name"], "score": row["score"], "of": of, "step": step, "whole": whole}
        found.append({**scores, **shares, "time": time["share"], "time_interval": (time["low"], time["high"])})
    return found


def _before(found: list[dict[str, Any]], stage: dict[str, Any], measure: str) -> Any:
    """A measure of what a stage was made of, or, where that is not known, of what stands before it."""
    while stage["of"] is not None:
        stage = found[stage["of"]]
        if stage[measure] is not None:
            return stage[measure]
    return None


def _share(value: float | None, whole: float | None) -> float | None:
    return value / whole if value is not None and whole else None


def _time(row: dict[str, Any]) -> dict[str, float | None]:
    """The time of one input as a share of the start's, which took turns with it: the inverse of the speed-up."""
    entry: dict[str, Any] = next((entry for entry in row["latency"] if number(entry, "batch") == 1), {})
    ratios = (number(entry, f"speedup{end}") for end in ("", "_high", "_low"))
    return {
        name: 1 / ratio if ratio is not None and ratio > 0 else None
        for name, ratio in zip(("share", "low", "high"), ratios, strict=True)
    }


def table(report: dict[str, Any]) -> Section:
    """The stages in numbers; costs as what is left of the start's, and what the step took away of it."""
    body = []
    found = stages(report)
    for stage in found:
        cells = [words(stage["name"]), shown(stage["score"], 1, 100)]
        for test in (stage["step"], stage["whole"]):
            cells += [shown_points(test["difference"]), shown_interval(test)] if test else ["-", "-"]
        for name in COSTS:
            before = _before(found, stage, name)
            taken = f" ({shown_points(stage[name] - before)})" if None not in (before, stage[name]) else ""
            cells.append(shown(stage[name], 1, 100) + taken)
        low, high = stage["time_interval"]
        body.append([*cells, "-" if None in (low, high) else f"{shown(low, 1, 100)}-{shown(high, 1, 100)}"])
    head = ["stage", "score", "points of the step", "95 % interval", "points since start", "95 % interval "]
    head += [f"{name} %" for name in COSTS.values()]
    return Section("What each step cost and gave; costs in % of the start's", [*head, "95 % interval of time"], body)


def waterfalls(report: dict[str, Any]) -> list[Waterfall]:
    """A drawing of the score and one of each cost of which at least the start and the result are known."""
    found = stages(report)
    if not found:
        return []
    drawn = [_score(report, found)] if None not in (found[0]["score"], found[-1]["score"]) else []
    return [*drawn, *(_cost(name, found) for name in COSTS if None not in (found[0][name], found[-1][name]))]


def _score(report: dict[str, Any], found: list[dict[str, Any]]) -> Waterfall:
    known = [stage for stage in found if stage["score"] is not None]
    scores = [100 * stage["score"] for stage in known]
    pairs = [(stage, 100 * _before(found, stage, "score")) for stage in known[1:]]
    ends = [before + 100 * stage["step"][end] for stage, before in pairs if stage["step"] for end in ("low", "high")]
    low, high = span([*scores, *ends])
    room = 0.05 * (high - low)
    across = axis(low - room, high + room, LEFT, WIDTH - RIGHT)
    bars = [Bar(TOP, _name(known[0]), f"{scores[0]:.1f}", None, None, None, across(scores[0]))]
    for place, ((stage, before), score) in enumerate(zip(pairs, scores[1:], strict=True), start=1):
        test = stage["step"]
        whisker = (across(before + 100 * test["low"]), across(before + 100 * test["high"])) if test else None
        points = shown_points((score - before) / 100)
        bar = (across(min(before, score)), across(max(before, score)))
        bars.append(Bar(TOP + ROW * place, _name(stage), points, bar, None, whisker, None))
    title = f"{words(report['primary_metric'])}, in points"
    steps = ", ".join(
        f"{words(stage['name'])} to {score:.1f}" for stage, score in zip(known[1:], scores[1:], strict=True)
    )
    return _sheet(title, f"{title}: start {scores[0]:.1f}, {steps}", bars, low - room, high + room)


def _cost(name: str, found: list[dict[str, Any]]) -> Waterfall:
    known = [stage for stage in found if stage[name] is not None]
    shares = [100 * stage[name] for stage in known]
    high = max(100.0, *shares)
    across = axis(0, high, LEFT, WIDTH - RIGHT)
    bars = []
    for place, (stage, share) in enumerate(zip(known, shares, strict=True)):
        before = 100 * (_before(found, stage, name) or stage[name])
        taken = (across(min(share, before)), across(max(share, before))) if before > share else None
        low, most = stage["time_interval"] if name == "time" else (None, None)
        whisker = None if low is None or most is None else (across(100 * low), across(min(100 * most, high)))
        bars.append(
            Bar(TOP + ROW * place, _name(stage), f"{share:.0f} %", (across(0), across(share)), taken, whisker, None)
        )
    title = f"{COSTS[name]}, in % of the start's"
    steps = ", ".join(f"{words(stage['name'])} {share:.1f}" for stage, share in zip(known, shares, strict=True))
    return _sheet(title, f"{title}: {steps}", bars, 0, high)


def _name(stage: dict[str, Any]) -> str:
    return cut(words(stage["name"]), MOST_LETTERS)


def _sheet(title: str, description: str, bars: list[Bar], low: float, high: float) -> Waterfall:
    across = axis(low, high, LEFT, WIDTH - RIGHT)
    marks = [(across(tick), f"{tick:g}") for tick in ticks(low, high, 6)]
    return Waterfall(title, description, WIDTH, TOP + ROW * len(bars) + BOTTOM, bars, marks)
