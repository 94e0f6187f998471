"""Everything of a run set against each other by the predictions it kept, and the cells of a sweep by their scores."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from bertpress.comparison.certificate import certificate
from bertpress.comparison.comparing import NotComparable, Predictions, paired_test, read_predictions
from bertpress.values import number

BASELINE = "truncated baseline"
EXPORTS = "export"
"""The folder of a run in which its exports lie"""
Named = list[tuple[str, str, dict[str, Any]]]
"""(row name, folder, result) of everything that a run compares."""


def of_export(place: str | PurePath) -> bool:
    """Whether a result's folder is that of an export, which is made of the last step: others beside it are too."""
    return PurePath(place).parent.name == EXPORTS


def pairs_of(places: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Who is tested against whom: all against start and baseline, and each against the step that it was made of.

    Args:
        places: names with folders, in order.
    """
    names, others, step = [name for name, _ in places], dict[str, list[str]](), ""
    for name, place in places:
        others[name] = ["start", BASELINE, *[step] * (name != BASELINE)] if name != "start" else []
        step = step if name in ("start", BASELINE) or of_export(place) else name
    return [(name, other) for name in names for other in others[name] if other in names and other != name]


def compared(folder: Path, named: Named, split: str | None, primary: str | None) -> dict[str, Any]:
    """What the predictions of a run's results say.

    Returns:
        `comparisons`: the paired test of each pair; `certificates`: of each step against the start (without the rows
        that changed, which are in `changes`); `intervals`: name to the ends of its score's interval; `examples`: number
        of rows, None where no file tells; `notes`: why something of it is missing.
    """
    found, reasons = {}, {}
    for name, place, result in named:
        try:
            found[name] = read_predictions(folder / place, split, result)
        except NotComparable as reason:
            reasons[name] = str(reason)
    pairs: dict[str, Any] = {"comparisons": [], "changes": [], "certificates": [], "notes": []}
    for name, against in pairs_of([(name, place) for name, place, _ in named]):
        about = {"name": name, "against": against}
        try:
            if missing := [reasons[side] for side in (name, against) if side in reasons]:
                raise NotComparable(missing[0])
            if against == "start" and name != BASELINE:
                whole = certificate(found[name], found[against], primary)
                pairs["changes"].append({**about, **whole.pop("changes")})
                pairs["certificates"].append({**about, **whole})
                test = whole["test"]
            else:
                test = paired_test(found[name], found[against], primary)
            pairs["comparisons"].append({**about, **test})
        except NotComparable as reason:
            pairs["notes"].append(f"no paired test of {name} against {against}: {reason}")
    pairs["intervals"] = {name: _interval(side, primary) for name, side in found.items()}
    return {**pairs, "examples": next((len(side.labels) for side in found.values()), None)}


def _interval(side: Predictions, metric: str | None) -> tuple[float | None, float | None]:
    return (None, None) if metric is None else side.score_interval(metric)


def over_cells(cells: Sequence[tuple[str, Named]], split: str | None, metric: str | None) -> dict[str, Any] | None:
    """How far the difference of result and start moves from cell to cell of a sweep, such as from seed to seed.

    Args:
        cells: settings and what the cell compares; those without both scores are left out.

    Returns:
        `cells` with `settings`, scores of `result` and `other`, and `difference`; `median`, `low` and `high` of the
        differences, which are the least and the greatest; None without a cell that has both.
    """
    found: list[dict[str, Any]] = []
    for settings, named in cells:
        start = next((result for name, _, result in named if name == "start"), None)
        last = [result for name, _, result in named if name not in ("start", BASELINE)][-1:]
        scores = [number(result, "metrics", split, metric) for result in (*last, start)]
        if len(scores) == 2 and scores[0] is not None and scores[1] is not None:
            sides = {"result": scores[0], "other": scores[1], "difference": scores[0] - scores[1]}
            found.append({"settings": settings, **sides})
    if not found:
        return None
    differences = [cell["difference"] for cell in found]
    ends = {"median": statistics.median(differences), "low": min(differences), "high": max(differences)}
    return {"cells": found, **ends}
