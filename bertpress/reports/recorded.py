"""What the folders of a run hold: its recipe, its results, each result as a row of numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from bertpress.comparison.pairing import BASELINE, Named
from bertpress.errors import RequestError
from bertpress.values import mapping, number, words

MOST_VALUES = 5_000_000
"""of one file, written out"""


def read_mapping(path: Path) -> dict[str, Any]:
    """What a file of JSON or YAML holds, as plain values.

    Raises:
        RequestError: it cannot be read or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        value = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
        if isinstance(value, dict):
            _check_size(value)
            # NaN is neither JSON nor a score: it counts as missing. Half a surrogate pair could not be written again.
            plain = json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace")
            return dict(json.loads(plain, parse_constant=lambda _: None))
        reason = f"expected a mapping, got {type(value).__name__}"
    except (OSError, TypeError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
    raise RequestError(f"{path} cannot be read ({reason}): restore it, or delete it and run the recipe again")


def _check_size(value: Any) -> None:
    """Refuse what a few lines of YAML can stand for: aliases of aliases, each of them written out."""
    waiting, seen = [value], 0
    while waiting:
        item, seen = waiting.pop(), seen + 1
        if seen > MOST_VALUES:
            raise ValueError(f"it stands for more than {MOST_VALUES:,} values")
        waiting += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()


def read_result(path: Path) -> dict[str, Any]:
    """What a `result.json` holds.

    Raises:
        RequestError: it cannot be read, or tells of no metrics, which every result does, if only that there are none.
    """
    result = read_mapping(path)
    if not isinstance(result.get("metrics"), dict):
        raise RequestError(f"{path} is damaged (it has no metrics): restore it, or delete it and run the recipe again")
    return result


def planned_folders(recipe: dict[str, Any]) -> list[str]:
    """The folder of each step of the recipe."""
    steps = [words(next(iter(step), "")) if isinstance(step, dict) else "" for step in entries(recipe.get("steps"))]
    return [f"{number:02d}-{name}" for number, name in enumerate(steps)]


def results_of(folder: Path, planned: list[str]) -> Named:
    """Start, baseline, every finished step and every export of a run, each once."""
    done = sorted(path.parent.name for path in folder.glob("*/result.json"))
    own = "00-finetune" if planned[:1] == ["00-finetune"] else ""  # its result is the start: listed once, as start
    steps = [place for place in done if re.match(r"\d\d-.", place) and place != own]
    named = [("start", "start" if "start" in done else own), (BASELINE, "baseline")]
    named += [(place if [p[3:] for p in steps].count(place[3:]) > 1 else place[3:], place) for place in steps]
    exports = [path.parent.name for path in sorted(folder.glob("export/*/result.json"), key=_age)]
    found = [(name, place) for name, place in named if place in done] + [(name, f"export/{name}") for name in exports]
    return [(name, place, read_result(folder / place / "result.json")) for name, place in found]


def cells_of(sweep: Path) -> list[tuple[str, Named]]:
    """Settings and results of the cells of a sweep; no results of one that has not begun or that is broken."""
    cells = [cell for cell in entries(read_mapping(sweep / "summary.json").get("cells")) if isinstance(cell, dict)]
    return [(words(cell.get("settings")), _cell_results(sweep / words(cell.get("folder")))) for cell in cells]


def _cell_results(folder: Path) -> Named:
    try:
        return results_of(folder, planned_folders(read_mapping(folder / "recipe.yaml")))
    except RequestError:
        return []


def _age(result: Path) -> tuple[float, str]:
    """For sorting files by when they were written."""
    return result.stat().st_mtime, str(result)


def row_of(name: str, place: str, result: dict[str, Any], split: str | None, primary: str | None) -> dict[str, Any]:
    """A result as a row of a report: its score on `split`, and its costs; None for what it does not tell."""
    latency = [entry for entry in entries(mapping(result, "cost").get("latency")) if isinstance(entry, dict)]
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
        "token_reduction": mapping(result, "cost", "token_reduction"),
        "size_bytes": number(result, "cost", "size_bytes"),
        "latency": latency,
        "faster": bool(lows) and all(low is not None and low > 1 for low in lows),
        "seconds": number(result, "seconds"),
        "notes": entries(result.get("notes")),
    }


def entries(value: Any) -> list[Any]:
    """A list as it is, nothing of anything else."""
    return value if isinstance(value, list) else []


def task_words(task: Any) -> str:
    """A recipe's task in words: its name, and where its data are."""
    if not isinstance(task, dict):
        return words(task)
    corpus = mapping(task, "corpus").get("files")
    place = (
        task.get("files") or task.get("data_dir") or (", ".join(map(str, corpus)) if isinstance(corpus, list) else "")
    )
    return words(f"{task.get('name', 'files')} in {place}" if place else task.get("name", "files"))
