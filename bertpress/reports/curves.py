"""Training curves: from a phase's log to the points and paths of small SVG charts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from bertpress.values import number, words

Points = list[list[float]]
WIDTH, HEIGHT = 320, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 8, 36  # room for the labels of the axes
MOST_POINTS = 400
SERIES = {
    "loss": ("loss", min, "lowest", 1),
    "score": ("dev score", max, "highest", 100),
    "replace_rate": ("replace rate", None, "", 1),
}
"""Key in the report to the chart's title, which point is best and how it is called, and the scale shown."""


class Chart(NamedTuple):
    """A chart in the units of its view box, with all its words; y grows downwards."""

    title: str
    description: str
    width: float
    height: float
    path: str
    dots: list[tuple[float, float]]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def read_log(file: Path) -> list[dict[str, Any]]:
    """The entries of a log; lines that are no JSON mapping are left out, and so is a log that cannot be read."""
    entries = []
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        entries += [entry] if isinstance(entry, dict) else []
    return entries


def series_of(log: list[dict[str, Any]], metric: str | None) -> dict[str, Points]:
    """What `SERIES` names, each as [step, value] by step; empty ones and values that are no numbers are left out."""
    keys = {"loss": "loss", "score": f"eval_{metric}", "replace_rate": "replace_rate"}
    found = {}
    for name, key in keys.items():
        pairs = [(number(entry, "step"), number(entry, key)) for entry in log]
        points = sorted([step, value] for step, value in pairs if step is not None and value is not None)
        if points:
            found[name] = thinned(points)
    return found


def thinned(points: Points, most: int = MOST_POINTS) -> Points:
    """At most `most` points, evenly chosen, the first and the last among them."""
    if len(points) <= most:
        return points
    return [points[round(index * (len(points) - 1) / (most - 1))] for index in range(most)]


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers within [low, high], 1, 2 or 5 times a power of ten apart, about as many as asked for."""
    if not high > low or not math.isfinite(rough := (high - low) / about):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    gap = next((power * factor for factor in (1, 2, 5) if power * factor >= rough * (1 - 1e-9)), 10 * power)
    first, last = math.ceil(low / gap - 1e-9), math.floor(high / gap + 1e-9)
    digits = 12 - math.floor(math.log10(gap))
    return [round(index * gap, digits) if digits < 300 else index * gap for index in range(first, last + 1)] or [low]


def chart(name: str, points: Points) -> Chart:
    """The chart of one series of at least one point."""
    title, best, best_word, scale = SERIES[name]
    points = [[float(step), scale * float(value)] for step, value in points]
    (x_low, x_high), (y_low, y_high) = (span(values) for values in map(list, zip(*points, strict=True)))
    across, up = axis(x_low, x_high, LEFT, WIDTH - RIGHT), axis(y_low, y_high, HEIGHT - BOTTOM, TOP)
    named = [("first", points[0]), ("last", points[-1])]
    dots = [points[-1]]
    if best is not None:
        chosen = best(points, key=lambda point: point[1])
        named.insert(1, (best_word, chosen))
        dots = [chosen]
    return Chart(
        title,
        f"{title} by step: " + ", ".join(f"{word} {value:.3g} at step {step:g}" for word, (step, value) in named),
        WIDTH,
        HEIGHT,
        path_of([(across(step), up(value)) for step, value in points]),
        [(across(step), up(value)) for step, value in dots],
        [(across(tick), f"{tick:g}") for tick in ticks(x_low, x_high, 6)],
        [(up(tick), f"{tick:.4g}") for tick in ticks(y_low, y_high)],
    )


def span(values: list[float]) -> tuple[float, float]:
    """Lowest and highest, kept apart where they are one: the ends of an axis."""
    low, high = min(values), max(values)
    if high - low > 1e-9 * max(abs(low), abs(high)) + 1e-300:
        return low, high
    room = abs(low) / 2 or 0.5
    return low - room, high + room


def axis(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """From values to places: `low` at `start`, `high` at `end`."""
    return lambda value: round(start + (value - low) / (high - low) * (end - start), 1)


def path_of(places: Iterable[tuple[float, float]]) -> str:
    """A line through places, in the language of SVG."""
    return " ".join(f"{'L' if number else 'M'}{x:g} {y:g}" for number, (x, y) in enumerate(places))


def phases(folder: Path, order: list[Any], metric: str | None) -> dict[str, dict[str, Points]]:
    """The series of every phase of a step that left a log, in the order of its phases."""
    known = {words(phase): place for place, phase in enumerate(order)}
    logs = sorted(folder.glob("*/log.jsonl"), key=lambda file: (known.get(file.parent.name, len(known)), file))
    found = {file.parent.name: series_of(read_log(file), metric) for file in logs}
    return {phase: series for phase, series in found.items() if series}
