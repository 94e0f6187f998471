"""Figures of a search: scores against costs, and the probabilities of choices, as shapes of small SVG drawings.

Units are those of a drawing's view box; y grows downwards.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from bertpress.reports.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, axis, path_of, span, ticks
from bertpress.values import shown

AXES = {
    "encoder_parameters": ("encoder parameters (M)", 1e-6),
    "macs": ("MACs (M)", 1e-6),
    "latency_ms": ("latency (ms)", 1.0),
}
"""Cost that a front is drawn against to the name of its axis and the scale shown."""
HEAT_WIDTH, SIDE, ROW, GAP = 400, 58, 18, 26
LEAST_FOR_NUMBER, LEAST_FOR_LABEL = 19, 16  # widths that two and three digits need
SHADE = 0.5  # the darkest cell: the numbers on it stay readable in light and in dark colours

FRONT = (
    "Each circle is a sub-network that no cheaper one matches in loss on the rows of the search; bars are 95 % "
    "intervals of its score, and the upright dashed line is the budget."
)
CHOICES = (
    "Probability of each option in percent: number of layers, then heads and width of each layer. The stronger the "
    "colour, the more probable; what was chosen is framed. Where nothing was learned, all options of a row are alike. "
    "Of a search at several costs, what it learned is shown for the chosen number of layers, by rising cost."
)


class Mark(NamedTuple):
    """A sub-network in a front."""

    x: float
    y: float
    bar: tuple[float, float] | None
    """ends of the interval of its score"""
    chosen: bool
    text: str
    label: str = ""
    """written beside it; what was chosen has its word below it"""
    level: tuple[float, float] | None = None
    """ends of the interval of its cost"""
    label_y: float = 0.0


class Front(NamedTuple):
    """Scores, or losses where there are none, against a cost."""

    title: str
    description: str
    width: float
    height: float
    x_name: str
    marks: list[Mark]
    path: str
    limit: float | None
    """where the budget ends"""
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


class Cell(NamedTuple):
    """The probability of an option."""

    x: float
    y: float
    width: float
    shade: float
    text: str
    chosen: bool


class Label(NamedTuple):
    """A word beside the cells."""

    x: float
    y: float
    anchor: str
    text: str


class Heat(NamedTuple):
    """Probabilities by layer and option."""

    title: str
    description: str
    width: float
    height: float
    cells: list[Cell]
    labels: list[Label]


def fronts(search: dict[str, Any]) -> list[Front]:
    """A front for each cost of which something is known."""
    return [front for cost in AXES if (front := _front(search, cost)) is not None]


def _front(search: dict[str, Any], cost: str) -> Front | None:
    measure, scale = ("score", 100) if any(p["score"] is not None for p in search["points"]) else ("loss", 1)
    points = [point for point in search["points"] if point[cost] is not None and point[measure] is not None]
    if not points:
        return None
    points.sort(key=lambda point: float(point[cost]))
    name, unit = AXES[cost]
    budgets = [unit * most for most in _limits(search, cost)]
    x_values = [*(unit * point[cost] for point in points), *budgets]
    ends = [scale * end for point in points for end in _interval(point, measure)]
    y_values = [*(scale * point[measure] for point in points), *ends]
    if not all(map(math.isfinite, (max(x_values), max(y_values) - min(y_values)))):
        return None
    (x_low, x_high), (y_low, y_high) = roomy(*span(x_values), 0.06), roomy(*span(y_values), 0.12)
    across = axis(x_low, x_high, LEFT, WIDTH - RIGHT)
    up = axis(y_low, y_high, HEIGHT - BOTTOM, TOP)
    marks = []
    for point in points:
        text = f"{point['name']}: {shown(point[measure], 1 if scale > 1 else 4, scale)} at {unit * point[cost]:.4g}"
        bar = tuple(up(scale * end) for end in _interval(point, measure))
        y = up(scale * point[measure])
        marks.append(Mark(across(unit * point[cost]), y, (bar[0], bar[1]) if bar else None, point["chosen"], text))
    words = f"{_measure(search, measure)} against {name}"
    return Front(
        words,
        f"{words}: " + ", ".join(mark.text for mark in marks),
        WIDTH,
        HEIGHT,
        name,
        marks,
        path_of((mark.x, mark.y) for mark in marks),
        across(min(budgets)) if budgets else None,
        [(across(tick), f"{tick:g}") for tick in ticks(x_low, x_high, 6)],
        [(up(tick), f"{tick:.4g}") for tick in ticks(y_low, y_high, 6)],
    )


def _limits(search: dict[str, Any], cost: str) -> list[float]:
    """What the budget allows of a cost; half as many multiply-adds as floating-point operations."""
    counted = {cost: 1.0, **({"flops": 0.5} if cost == "macs" else {})}
    limits = [limit for limit in search["limits"] if limit["name"] in counted and limit["most"] is not None]
    return [counted[limit["name"]] * limit["most"] for limit in limits]


def _measure(search: dict[str, Any], measure: str) -> str:
    return (search["metric"] or "score") if measure == "score" else "loss of the search"


def _interval(point: dict[str, Any], measure: str) -> list[float]:
    """The ends of the interval of a score, if both are known."""
    ends = [point["low"], point["high"]]
    return ends if measure == "score" and None not in ends else []


def roomy(low: float, high: float, share: float) -> tuple[float, float]:
    """A little more on both sides, so that nothing is drawn on the edge."""
    room = share * (high - low)
    return low - room, high + room


def heats(search: dict[str, Any]) -> list[Heat]:
    """A drawing for each distribution: what training learned, then what the search did; the chosen options marked."""
    network: list[dict[str, int]] = next((point["network"] for point in search["points"] if point["chosen"]), [])
    return [_heat(learned, network) for learned in search["maps"]]


def _heat(learned: dict[str, Any], network: list[dict[str, int]]) -> Heat:
    """The depths above, if it is about those, then a row for each layer with a column for each option of any."""
    marked = network if learned["depth"] in (None, len(network)) else []
    cells, labels, top = _depths(learned["depths"], len(marked))
    said = []
    if cells:
        depth, share = max(learned["depths"], key=lambda option: float(option[1]))
        said.append(f"most often {depth} layers ({_percent(share)} %)")
    options = sorted({(width, heads) for slot in learned["slots"] for heads, width, _ in slot["options"]})
    column = {option: place for place, option in enumerate(options)}
    wide = (HEAT_WIDTH - SIDE) / len(options)
    most = max(p for slot in learned["slots"] for *_, p in slot["options"]) or 1
    shapes = {layer["origin"]: (layer["intermediate_size"], layer["heads"]) for layer in marked}
    for row, slot in enumerate(learned["slots"]):
        name = "all layers" if slot["layer"] is None else f"layer {slot['layer']}"
        shape = next(iter(shapes.values()), None) if slot["layer"] is None else shapes.get(slot["layer"])
        y = top + ROW * row
        labels.append(Label(SIDE - 6, y + 13, "end", name))
        for heads, width, p in slot["options"]:
            x = SIDE + wide * column[width, heads]
            cells.append(_cell(x, y, wide, p, most, shape == (width, heads)))
        heads, width, p = max(slot["options"], key=lambda option: float(option[2]))
        said.append(f"{name}: {heads} heads, width {width} ({_percent(p)} %)")
    bottom = top + ROW * len(learned["slots"])
    labels += _option_labels(options, wide, bottom)
    title = _title(learned)
    return Heat(title, f"{title}, the most probable: " + "; ".join(said), HEAT_WIDTH, bottom + 32, cells, labels)


def _title(learned: dict[str, Any]) -> str:
    if learned["depth"] is None:
        return "What training learned"
    level = f", cost level {learned['group']}" if learned["group"] else ""
    return f"What the search learned for {learned['depth']} layers{level}"


def _depths(depths: list[list[float]], chosen: int) -> tuple[list[Cell], list[Label], float]:
    """A row of cells for the depths, if there is a choice, their numbers above; and where what follows begins."""
    if len(depths) < 2:
        return [], [], 2.0
    wide = (HEAT_WIDTH - SIDE) / len(depths)
    most = max(p for _, p in depths) or 1
    cells, labels = [], [Label(SIDE - 6, 12, "end", "layers")]
    for place, (layers, p) in enumerate(depths):
        x = SIDE + wide * place
        labels += [Label(_middle(x, wide), 12, "middle", f"{layers}")] if wide >= LEAST_FOR_LABEL else []
        cells.append(_cell(x, 18, wide, p, most, layers == chosen))
    return cells, labels, 18.0 + GAP


def _cell(x: float, y: float, wide: float, p: float, most: float, chosen: bool) -> Cell:
    text = _percent(p) if wide >= LEAST_FOR_NUMBER else ""
    return Cell(round(x, 1), y, round(wide, 1), round(SHADE * p / most, 3), text, chosen)


def _percent(p: float) -> str:
    return f"{100 * p:.0f}"


def _middle(x: float, wide: float) -> float:
    return round(x + wide / 2, 1)


def _option_labels(options: list[tuple[int, int]], wide: float, top: float) -> list[Label]:
    """Heads below each column, and below those the width of all columns that share it."""
    labels = [Label(SIDE - 6, top + 13, "end", "heads"), Label(SIDE - 6, top + 28, "end", "width")]
    every = math.ceil(LEAST_FOR_LABEL / wide)
    for place, (_, heads) in list(enumerate(options))[::every]:
        labels.append(Label(_middle(SIDE + wide * place, wide), top + 13, "middle", f"{heads}"))
    widths = [width for width, _ in options]
    free = 0.0
    for width in dict.fromkeys(widths):
        count, first = widths.count(width), widths.index(width)
        middle, half = _middle(SIDE + wide * first, wide * count), 4 * len(str(width))
        if middle - half >= free:
            labels.append(Label(middle, top + 28, "middle", f"{width}"))
            free = middle + half
    return labels
