"""A grid of settings: each cell an ordinary run in ``cells/``; the best on the dev split stands for the whole."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bertpress.engine.run import Runtime, Stopped
from bertpress.errors import RequestError
from bertpress.files import write_json
from bertpress.processes import barrier, is_first_process
from bertpress.recipe import Recipe, make_recipe, override
from bertpress.reports import reporting
from bertpress.runs.pipeline import carry_out, prepare
from bertpress.runs.run_folder import check_run, open_run

Cell = tuple[dict[str, Any], Recipe]
"""Settings that differ from cell to cell, and the whole recipe."""


def sweep(
    values: Mapping[str, Any], grid: Mapping[str, Sequence[Any]], out: str | Path, runtime: Runtime | None = None
) -> dict[str, Any]:
    """Run a grid of settings, or go on with it.

    Args:
        values: a recipe as plain values.
        grid: path (as after ``--set``) to the values to try; ``seed`` among them.
        out: the folder of the whole.
        runtime: device, threads, progress.

    Returns:
        the summary: cells with their scores, best, median, low and high over all cells.
    """
    out, runtime = Path(out), runtime or Runtime()
    cells, whole = list(_cells(values, grid)), make_recipe(values)
    if (out / "recipe.yaml").is_file() and not (out / "cells").is_dir():
        raise RequestError(f"{out} holds a run of its own; choose another --out for the sweep.")
    check_run(out, whole)
    for _, recipe in cells:  # a mistake in the last cell should not wait for the others
        job = prepare(recipe, runtime)
        if not job.task.metrics or not job.task.has_labels(job.task.dev_split):
            raise RequestError(
                f"A sweep chooses by a score, and {job.task.dev_split} of {job.task.name} (kind {job.task.kind}) can "
                "have none; run the cells alone."
            )
        job.open_model(recipe.model, new_head=job.starts_with_finetuning)
    _ = prepare(cells[0][1], runtime).plans  # what is wrong with a text is told before anything is written
    if is_first_process():
        open_run(out, whole)
        (out / "cells").mkdir(exist_ok=True)
    barrier()
    summary = _summary(_finished(cells, out, runtime))
    if is_first_process():
        write_json(out / "summary.json", summary)
        reporting.write(out)
    barrier()
    return summary


def _cells(values: Mapping[str, Any], grid: Mapping[str, Sequence[Any]]) -> Iterator[Cell]:
    for combination in itertools.product(*grid.values()):
        settings = dict(zip(grid, combination, strict=True))
        assignments = [f"{path}={json.dumps(value)}" for path, value in settings.items()]
        yield settings, make_recipe(override(dict(values), assignments))


def _finished(cells: Sequence[Cell], out: Path, runtime: Runtime) -> list[dict[str, Any]]:
    """Settings, folder, score and metric of each cell, after its run.

    Raises:
        Stopped: only some phases were asked for; every cell has done its own.
    """
    finished, stopped = [], None
    for settings, recipe in cells:
        name = ",".join(f"{path.rpartition('.')[2]}={value}" for path, value in settings.items()).replace("/", "_")
        runtime.say(f"cell {name}")
        try:
            report = carry_out(prepare(recipe, runtime), out / "cells" / name)
        except Stopped as stop:
            stopped = stop
            continue
        last = [row for row in report["rows"] if row["folder"] != "baseline"][-1]
        cell = {"settings": settings, "folder": f"cells/{name}", "score": last["score"]}
        finished.append({**cell, "primary_metric": report["primary_metric"]})
    if stopped:
        raise stopped
    return finished


def _summary(cells: list[dict[str, Any]]) -> dict[str, Any]:
    scores = [cell["score"] for cell in cells]
    return {
        "cells": [{name: value for name, value in cell.items() if name != "primary_metric"} for cell in cells],
        "best": max(cells, key=lambda cell: float(cell["score"]))["folder"],
        "median": statistics.median(scores),
        "low": min(scores),
        "high": max(scores),
        "primary_metric": cells[0]["primary_metric"],
    }
