"""Result against start: `build` reads a run's folder into one plain dict, which `rendering` shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from bertpress.errors import RequestError
from bertpress.files import write_json, write_text
from bertpress.rendering import Report, html, mapping, markdown, number, words

BASELINE = "truncated baseline"


def build(run_folder: str | Path) -> Report:
    """The report of a run; of a sweep, the report of its best cell with the sweep's summary under `sweep`."""
    folder = Path(run_folder)
    if not (folder / "summary.json").is_file():
        return _build_run(folder)
    sweep = _read(folder / "summary.json")
    if not isinstance(best := sweep.get("best"), str):
        raise RequestError(f"{folder / 'summary.json'} names no best cell: run the sweep until a cell has finished")
    report = _build_run(folder / best)
    rows = [{**row, "folder": f"{best}/{row['folder']}"} for row in report["rows"]]
    return {**report, "run": words(folder.resolve().name), "rows": rows, "sweep": sweep}


def _build_run(folder: Path) -> Report:
    if not (folder / "recipe.yaml").is_file():
        raise RequestError(f"{folder} is not a run: expected a folder with a recipe.yaml, as --out makes it")
    recipe = _read(folder / "recipe.yaml")
    planned = _planned(recipe)
    if not (named := _results(folder, planned)):
        raise RequestError(f"{folder} holds no result.json yet: run its recipe until a step has finished")
    results = [result for _, _, result in named]
    primary = next((result["primary_metric"] for result in results if result.get("primary_metric")), None)
    # One split for all rows, so that no score is set against that of another split.
    splits = [split for result in results for split in mapping(result, "metrics")]
    split = "validation" if "validation" in splits else next(iter(splits), None)
    rows = [_row(name, place, result, split, primary) for name, place, result in named]
    start = next((row["score"] for row in rows if row["name"] == "start"), None)
    for row in rows:
        row["retention"] = row["score"] / start if row["score"] is not None and start and start > 0 else None
    return {
        "schema": 1,
        "run": words(folder.resolve().name),
        "model": words(recipe.get("model")),
        "task": _task_words(recipe.get("task")),
        "seed": next((seed for record in (recipe, *results) if (seed := number(record, "seed")) is not None), None),
        "primary_metric": primary,
        "split": split,
        "rows": rows,
        "recovered": _recovered(rows),
        "environment": _read(folder / "environment.json") if (folder / "environment.json").is_file() else {},
        "notes": [f"{place} has not finished" for place in planned if not (folder / place / "result.json").is_file()]
        + ["no score of the start model to compare with"] * (start is None),
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        # NaN is neither JSON nor a score: it counts as missing.
        value = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text, parse_constant=lambda _: None)
        if isinstance(value, dict):
            return value
        reason = f"expected a mapping, got {type(value).__name__}"
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
    raise RequestError(f"{path} cannot be read ({reason}): restore it, or delete it and run the recipe again")


def _planned(recipe: dict[str, Any]) -> list[str]:
    """The folder of each step of the recipe."""
    return [f"{number:02d}-{next(iter(step), '')}" for number, step in enumerate(recipe.get("steps") or [])]


def _results(folder: Path, planned: list[str]) -> list[tuple[str, str, dict[str, Any]]]:
    """(row name, folder, result) of start, baseline and every finished step, each once."""
    done = sorted(path.parent.name for path in folder.glob("*/result.json"))
    own = "00-finetune" if planned[:1] == ["00-finetune"] else ""  # its result is the start: listed once, as start
    steps = [place for place in done if re.match(r"\d\d-.", place) and place != own]
    named = [("start", "start" if "start" in done else own), (BASELINE, "baseline")]
    named += [(place if [p[3:] for p in steps].count(place[3:]) > 1 else place[3:], place) for place in steps]
    return [(name, place, _read(folder / place / "result.json")) for name, place in named if place in done]


def _row(name: str, place: str, result: dict[str, Any], split: str | None, primary: str | None) -> dict[str, Any]:
    latency = mapping(result, "cost").get("latency") or []
    lows = [number(entry, "speedup_low") for entry in latency]
    return {
        "name": name,
        "folder": place,
        "layers": number(result, "layers"),
        "score": number(result, "metrics", split, primary),
        "metrics": {name: mapping(result, "metrics", name) for name in mapping(result, "metrics")},
        "parameters": number(result, "cost", "parameters", "total"),
        "encoder_parameters": number(result, "cost", "parameters", "encoder"),
        "macs": number(result, "cost", "macs", "value"),
        "tokens": number(result, "cost", "macs", "tokens"),
        "size_bytes": number(result, "cost", "size_bytes"),
        "latency": latency,
        "faster": bool(lows) and all(low is not None and low > 1 for low in lows),
        "seconds": number(result, "seconds"),
        "notes": result.get("notes") or [],
    }


def _recovered(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Per step, the share won back of what truncation lost; None without a baseline of its depth that lost any."""
    named = {row["name"]: row for row in rows}
    start, truncated = number(named, "start", "score"), number(named, BASELINE, "score")
    recovered: dict[str, float | None] = {name: None for name in named if name not in ("start", BASELINE)}
    if start is None or truncated is None or start <= truncated:
        return recovered
    for name in recovered:
        row, depths = named[name], {named[name]["layers"], named[BASELINE]["layers"]} - {None}
        if row["score"] is not None and len(depths) < 2:
            recovered[name] = (row["score"] - truncated) / (start - truncated)
    return recovered


def write(run_folder: str | Path) -> Report:
    """Write report.json, report.md and report.html into the run and return the report."""
    report = build(run_folder)
    write_json(Path(run_folder) / "report.json", report)
    write_text(Path(run_folder) / "report.md", markdown(report))
    write_text(Path(run_folder) / "report.html", html(report))
    return report


def combined(run_folders: Iterable[str | Path], out: Path) -> None:
    """Write one page with the reports of several runs."""
    write_text(out, html(*map(build, run_folders)))


def _task_words(task: Any) -> str:
    if not isinstance(task, dict):
        return words(task)
    return words(f"{task.get('name', 'files')} in {task.get('files') or task.get('data_dir')}")
