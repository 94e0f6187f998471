"""Result against start: `build` reads a run's folder into one plain dict, which `rendering` shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bertpress.comparison.certificate import document
from bertpress.comparison.pairing import BASELINE, Named, compared, over_cells
from bertpress.errors import RequestError
from bertpress.files import best_cell, is_sweep, write_json, write_text
from bertpress.reports import curves, traces
from bertpress.reports.recorded import (
    cells_of,
    entries,
    planned_folders,
    read_mapping,
    results_of,
    row_of,
    task_words,
)
from bertpress.reports.rendering import drawings, html, markdown
from bertpress.reports.searches import search_of
from bertpress.reports.sections import Report
from bertpress.reports.tables import Section
from bertpress.values import mapping, number, words


def build(run_folder: str | Path) -> Report:
    """The report of a run; of a sweep, the report of its best cell with the sweep's summary under `sweep`."""
    folder = Path(run_folder)
    if not is_sweep(folder):
        return _build_run(folder)
    sweep = read_mapping(folder / "summary.json")
    place = best_cell(folder)
    best = place.relative_to(folder)
    report = _build_run(place)
    rows = [{**row, "folder": f"{best}/{row['folder']}"} for row in report["rows"]]
    searches = [{**search, "folder": f"{best}/{search['folder']}"} for search in report["searches"]]
    seeds = over_cells(cells_of(folder), report["split"], report["primary_metric"])
    told = {**sweep, "cells": [cell for cell in entries(sweep.get("cells")) if isinstance(cell, dict)]}
    return {
        **report,
        "run": words(folder.resolve().name),
        "rows": rows,
        "searches": searches,
        "seeds": seeds,
        "sweep": told,
    }


def _build_run(folder: Path) -> Report:
    if not (folder / "recipe.yaml").is_file():
        raise RequestError(f"{folder} is not a run: expected a folder with a recipe.yaml, as --out makes it")
    recipe = read_mapping(folder / "recipe.yaml")
    planned = planned_folders(recipe)
    if not (named := results_of(folder, planned)):
        raise RequestError(f"{folder} holds no result.json yet: run its recipe until a step has finished")
    results = [result for _, _, result in named]
    primaries = [result.get("primary_metric") for result in results]
    primary = next((name for name in primaries if isinstance(name, str) and name), None)
    # One split for all rows, so that no score is set against that of another split.
    splits = [split for result in results for split in mapping(result, "metrics")]
    split = "validation" if "validation" in splits else next(iter(splits), None)
    rows = _with_start_in_turns([row_of(name, place, result, split, primary) for name, place, result in named])
    start = next((row["score"] for row in rows if row["name"] == "start"), None)
    pairs = compared(folder, named, split, primary)
    searches, unread = _searches(folder, named)
    found_traces, unshown = traces.traces_of(folder, rows)
    for row in rows:
        row["retention"] = row["score"] / start if row["score"] is not None and start and start > 0 else None
        row["score_low"], row["score_high"] = pairs["intervals"].get(row["name"], (None, None))
    return {
        "schema": 1,
        "run": words(folder.resolve().name),
        "model": words(recipe.get("model")),
        "task": task_words(recipe.get("task")),
        "seed": next((seed for record in (recipe, *results) if (seed := number(record, "seed")) is not None), None),
        "primary_metric": primary if splits else None,
        "split": split,
        "rows": rows,
        "recovered": _recovered(rows),
        **{name: pairs[name] for name in ("examples", "comparisons", "changes", "certificates")},
        "curves": _curves(folder, named, planned, primary),
        "searches": searches,
        "traces": found_traces,
        "recipe": (folder / "recipe.yaml").read_text(encoding="utf-8"),
        "environment": read_mapping(folder / "environment.json") if (folder / "environment.json").is_file() else {},
        "notes": [f"{place} has not finished" for place in _unfinished(folder, planned)]
        + ["no score of the start model to compare with"] * (start is None)
        + pairs["notes"]
        + unread
        + unshown,
    }


def _unfinished(folder: Path, planned: list[str]) -> list[str]:
    """Steps, and a baseline that was begun, without a result."""
    begun = ["baseline"] * (folder / "baseline").is_dir()
    return [place for place in (*planned, *begun) if not (folder / place / "result.json").is_file()]


def _with_start_in_turns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, with the start's times from its turns with the last step: a busy machine slows both sides alike."""
    setting = ("batch", "threads", "device")
    turns = {str([entry.get(key) for key in setting]): mapping(entry, "against") for entry in rows[-1]["latency"]}
    start, *others = rows
    if start["name"] != "start" or rows[-1]["name"] == BASELINE:
        return rows
    times = [{**entry, **turns.get(str([entry.get(key) for key in setting]), {})} for entry in start["latency"]]
    return [{**start, "latency": times}, *others]


def _recovered(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Per step, the share won back of what truncation lost; None without a baseline that lost any.

    A result is compared with a baseline of its depth, or, where its layers differ in shape, with one at least as large.
    """
    named = {row["name"]: row for row in rows}
    start, truncated = number(named, "start", "score"), number(named, BASELINE, "score")
    recovered: dict[str, float | None] = {name: None for name in named if name not in ("start", BASELINE)}
    if start is None or truncated is None or start <= truncated:
        return recovered
    for name in recovered:
        row, truncated_row = named[name], named[BASELINE]
        depths = {row["layers"], truncated_row["layers"]} - {None}
        sizes = [each["encoder_parameters"] or math.inf for each in (row, truncated_row)]
        if row["score"] is not None and (len(depths) < 2 or sizes[0] <= sizes[1] < math.inf):
            recovered[name] = (row["score"] - truncated) / (start - truncated)
    return recovered


def _curves(folder: Path, named: Named, planned: list[str], primary: str | None) -> list[dict[str, Any]]:
    """The training curves of each row; those of a start that the run fine-tuned lie with its first step."""
    drawn = []
    for name, place, result in named:
        own = planned[0] if place == "start" and planned[:1] == ["00-finetune"] else place
        phases = curves.phases(folder / own, entries(result.get("phases")), primary)
        drawn += [{"name": name, "phase": phase, "series": series} for phase, series in phases.items()]
    return drawn


def _searches(folder: Path, named: Named) -> tuple[list[dict[str, Any]], list[str]]:
    """What the searches of steps found, and notes on those that cannot be read."""
    found, notes = [], []
    for name, place, _ in named:
        if not (file := folder / place / "search" / "found.json").is_file():
            continue
        try:
            found.append({"name": name, "folder": place, **search_of(read_mapping(file))})
        except RequestError as reason:
            notes.append(f"the search of {name} is not shown: {reason}")
    return found, notes


def write(run_folder: str | Path) -> Report:
    """Write a run's report as JSON, Markdown and page, its certificate and figures of its searches."""
    report = build(run_folder)
    _save(report, Path(run_folder))
    return report


def _save(report: Report, folder: Path) -> None:
    write_json(folder / "report.json", report)
    write_text(folder / "report.md", markdown(report))
    write_text(folder / "report.html", html(report))
    if _last_is_certified(report):
        write_json(folder / "certificate.json", _certificate(report))
    else:  # one of an earlier state would be taken for this one's
        (folder / "certificate.json").unlink(missing_ok=True)
    for search in report["searches"]:
        for name, drawing in drawings(search).items():
            write_text(folder / search["folder"] / "search" / f"{name}.svg", drawing)


def _last_is_certified(report: Report) -> bool:
    """Whether what the run gives, and not only a step before it, could be compared with the start."""
    made = [row["name"] for row in report["rows"] if row["name"] != BASELINE]
    return bool(report["certificates"]) and report["certificates"][-1]["name"] == made[-1]


def _certificate(report: Report) -> dict[str, Any]:
    """The certificate of a run: that of its last step against the start."""
    found = report["certificates"][-1]
    name = found["name"]
    about = {key: report[key] for key in ("model", "task", "split", "seed")}
    about |= {"result": f"{report['run']}: {name}", "against": f"{report['run']}: {found['against']}"}
    costs = [row for row in report["rows"] if row["name"] in ("start", name)]
    changes = next(change for change in report["changes"] if change["name"] == name)
    return document(about, {**found, "changes": changes}, costs, report.get("seeds"))


def combined(run_folders: Sequence[str | Path], out: Path, say: Callable[[str], None] = lambda _: None) -> list[Report]:
    """Write one page over all runs, and the report of each into its folder, where that may be written to.

    A folder that has no report is named on the page with the reason, and said.

    Raises:
        RequestError: none of the folders has a report.
    """
    reports: list[Report] = []
    refused: list[tuple[str, str]] = []
    for folder in run_folders:
        try:
            report = build(folder)
            html(report)  # what cannot be shown should not be in the way of the others
        except RequestError as error:
            refused.append((str(folder), str(error)))
            continue
        except (OSError, RecursionError) as error:
            refused.append((str(folder), f"{folder} cannot be shown ({type(error).__name__}: {error})"))
            continue
        with suppress(OSError):
            _save(report, Path(folder))
        reports.append(report)
    if not reports:
        raise RequestError(refused[0][1])
    rows = [[words(folder), words(reason)] for folder, reason in refused]
    for folder, reason in rows:
        say(f"not shown: {folder}: {reason}")
    missing = Section("Not shown", ["folder", "reason"], rows, False) if rows else None
    write_text(out, html(*reports, missing=missing))
    return [*reports]
