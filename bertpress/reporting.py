"""Result against start: what a run won and what it cost, as JSON, Markdown, HTML and a terminal table.

`build` reads a run folder into one plain dict; all else shows it. Markdown and HTML share `findings` and `sections`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from bertpress.errors import RequestError
from bertpress.files import write_json, write_text

if TYPE_CHECKING:
    import rich.table

Report = dict[str, Any]
BASELINE = "truncated baseline"
READING = (
    "Scores are shown times 100; kept % is the score as a share of the start's. A speed-up is start's time over the "
    "model's, both timed in turns (so not the ratio of two ms), with its interval; if that covers 1, there is none. "
    "Recovered is (score - truncated) / (start - truncated), where truncated is the start model cut to as many layers."
)


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
    return {**report, "run": _words(folder.resolve().name), "rows": rows, "sweep": sweep}


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
    splits = [split for result in results for split in _mapping(result, "metrics")]
    split = "validation" if "validation" in splits else next(iter(splits), None)
    rows = [_row(name, place, result, split, primary) for name, place, result in named]
    start = next((row["score"] for row in rows if row["name"] == "start"), None)
    for row in rows:
        row["retention"] = row["score"] / start if row["score"] is not None and start and start > 0 else None
    return {
        "schema": 1,
        "run": _words(folder.resolve().name),
        "model": _words(recipe.get("model")),
        "task": _task_words(recipe.get("task")),
        "seed": next((seed for record in (recipe, *results) if (seed := _number(record, "seed")) is not None), None),
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
    latency = _mapping(result, "cost").get("latency") or []
    lows = [_number(entry, "speedup_low") for entry in latency]
    return {
        "name": name,
        "folder": place,
        "layers": _number(result, "layers"),
        "score": _number(result, "metrics", split, primary),
        "metrics": {name: _mapping(result, "metrics", name) for name in _mapping(result, "metrics")},
        "parameters": _number(result, "cost", "parameters", "total"),
        "encoder_parameters": _number(result, "cost", "parameters", "encoder"),
        "macs": _number(result, "cost", "macs", "value"),
        "tokens": _number(result, "cost", "macs", "tokens"),
        "size_bytes": _number(result, "cost", "size_bytes"),
        "latency": latency,
        "faster": bool(lows) and all(low is not None and low > 1 for low in lows),
        "seconds": _number(result, "seconds"),
        "notes": result.get("notes") or [],
    }


def _recovered(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Per step, the share won back of what truncation lost; None without a baseline of its depth that lost any."""
    named = {row["name"]: row for row in rows}
    start, truncated = _number(named, "start", "score"), _number(named, BASELINE, "score")
    recovered: dict[str, float | None] = {name: None for name in named if name not in ("start", BASELINE)}
    if start is None or truncated is None or start <= truncated:
        return recovered
    for name in recovered:
        row, depths = named[name], {named[name]["layers"], named[BASELINE]["layers"]} - {None}
        if row["score"] is not None and len(depths) < 2:
            recovered[name] = (row["score"] - truncated) / (start - truncated)
    return recovered


class Section(NamedTuple):
    """A table of plain, unescaped text; the first column names its row."""

    caption: str
    head: list[str]
    rows: list[list[str]]
    numeric: bool = True


def sections(report: Report) -> list[Section]:
    """Every table of the report, in reading order."""
    notes = [["run", _words(note)] for note in report["notes"]]
    notes += [[_words(row["name"]), _words(note)] for row in report["rows"] for note in row["notes"]]
    setup = [[_words(name), _words(value)] for name, value in report["environment"].items()]
    tables = [_summary(report), _metrics(report), _sweep(report.get("sweep", {}))]
    tables += [Section("Notes", ["row", "note"], notes, False), Section("Environment", ["name", "value"], setup, False)]
    return [section for section in tables if section.rows]


def findings(report: Report) -> list[str]:
    """What was run, then one sentence per step: what it kept, what it won back, whether it is faster."""
    sentences = [f"{report['model']} on {report['task']}, seed {_words(report['seed'])}."]
    for row in (row for row in report["rows"] if row["name"] in report["recovered"]):
        parts = [f"{_words(row['name'])}: score {_shown(row['score'], scale=100)}"]
        if row["retention"] is not None:
            parts.append(f"{_shown(row['retention'], scale=100)} % of the start model's")
        if (share := report["recovered"][row["name"]]) is not None:
            parts.append(f"{_shown(share, scale=100)} % of what plain truncation loses recovered")
        if any(_number(entry, "speedup_low") is not None for entry in row["latency"]):
            parts.append("faster" if row["faster"] else "not faster at every measured setting")
        sentences.append("; ".join(parts) + ".")
    return sentences


def _summary(report: Report) -> Section:
    rows = report["rows"]
    tokens = sorted({row["tokens"] or 0 for row in rows if row["macs"] is not None})
    settings = [*dict.fromkeys(_setting(entry) for row in rows for entry in row["latency"])]
    head = ["name", "layers", "score", "kept %", "parameters (M)"]
    head += [*(f"MACs (M) at {count:g} tokens" if count else "MACs (M)" for count in tokens), "size (MB)"]
    shared = [word for word in (settings or [()])[0][1:] if all(word in setting for setting in settings)]
    names = [", ".join(word for word in setting if word not in shared) for setting in settings]
    head += [f"{column} at {name}" for name in names for column in ("ms", "speed-up")]
    body = []
    for row in rows:
        cells = [_words(row["name"]), _shown(row["layers"], 0), _shown(row["score"], scale=100)]
        cells += [_shown(row["retention"], scale=100), _shown(row["parameters"], 2, 1e-6)]
        cells += [_shown(row["macs"] if (row["tokens"] or 0) == count else None, 1, 1e-6) for count in tokens]
        timed = {_setting(entry): _timing(entry) for entry in row["latency"]}
        times = [cell for setting in settings for cell in timed.get(setting, ("-", "-"))]
        body.append([*cells, _shown(row["size_bytes"], 1, 1e-6), *times])
    metric = f": {_words(report['primary_metric'])} on {_words(report['split'])}" if report["primary_metric"] else ""
    return Section(f"Result against start{metric}" + "; timed: " * bool(shared) + ", ".join(shared), head, body)


def _metrics(report: Report) -> Section:
    rows = report["rows"]
    keys = dict.fromkeys((split, key) for row in rows for split in row["metrics"] for key in row["metrics"][split])
    body = [[_words(row["name"]), *(_shown(_number(row["metrics"], *key), scale=100) for key in keys)] for row in rows]
    return Section("All metrics", ["name", *(_words(" ".join(key)) for key in keys)], body * bool(keys))


def _sweep(sweep: dict[str, Any]) -> Section:
    body = []
    for cell in sweep.get("cells") or []:
        mark = " (best, reported here)" if cell.get("folder") == sweep["best"] else ""
        body.append([_words(cell.get("settings")) + mark, _shown(_number(cell, "score"), scale=100)])
    body += [[name, _shown(_number(sweep, name), scale=100)] for name in ("median", "low", "high") if sweep]
    return Section("Sweep", ["settings", "score"], body)


def _setting(entry: dict[str, Any]) -> tuple[str, ...]:
    """What a latency was measured at, the batch first; not its tokens, a mean that differs a little from row to row."""
    words = {"batch": "batch {}", "threads": "threads {}", "device": "{}"}
    return tuple(text.format(_words(entry[key])) for key, text in words.items() if entry.get(key) is not None)


def _timing(entry: dict[str, Any]) -> tuple[str, str]:
    """Milliseconds and speed-up. A speed-up whose interval covers 1, or that has none, is not called one."""
    ratio, low, high = (_number(entry, name) for name in ("speedup", "speedup_low", "speedup_high"))
    milliseconds = _shown(_number(entry, "median_ms"), 2)
    if ratio is None or low is None or high is None:
        return milliseconds, "-"
    return milliseconds, f"{'no measured speed-up' if low <= 1 <= high else f'{ratio:.2f}x'} ({low:.2f}-{high:.2f})"


def markdown(report: Report) -> str:
    """The report as Markdown; text from outside is escaped."""
    lines = [f"# Report: {_escaped(report['run'])}", "", *(f"- {_escaped(text)}" for text in findings(report))]
    for section in sections(report):
        head, *body = [[_escaped(cell) for cell in row] for row in (section.head, *section.rows)]
        rule = ["---", *["---:" if section.numeric else "---"] * (len(head) - 1)]
        lines += ["", f"## {_escaped(section.caption)}", "", *(f"| {' | '.join(row)} |" for row in (head, rule, *body))]
    return "\n".join([*lines, "", READING, ""])


def html(*reports: Report) -> str:
    """One or more reports as one self-contained page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(loader=PackageLoader("bertpress"), autoescape=True, undefined=StrictUndefined)
    context = {"reports": reports, "findings": findings, "sections": sections, "reading": READING}
    return templates.get_template("report.html.jinja").render(context)


def table(report: Report) -> rich.table.Table:
    """The results for the terminal, a column per model: so they fit a narrow one."""
    from rich.table import Column, Table
    from rich.text import Text

    summary = _summary(report)
    names, *lines = zip(summary.head, *summary.rows, strict=True)
    columns = [Column(Text(name), justify="right" if n else "left", overflow="fold") for n, name in enumerate(names)]
    shown = Table(*columns, title=Text(summary.caption), caption=Text("\n".join(findings(report)), justify="left"))
    for line in lines:
        shown.add_row(*map(Text, line))
    return shown


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


def _mapping(value: Any, *keys: Any) -> dict[str, Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _number(value: Any, *keys: Any) -> float | None:
    found = _mapping(value, *keys[:-1]).get(keys[-1])
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None


def _task_words(task: Any) -> str:
    if not isinstance(task, dict):
        return _words(task)
    return _words(f"{task.get('name', 'files')} in {task.get('files') or task.get('data_dir')}")


def _words(value: Any) -> str:
    """Any value as one line of printable text."""
    if isinstance(value, list):
        value = " ".join(map(_words, value))
    if isinstance(value, dict):
        value = ", ".join(f"{name} {_words(item)}" for name, item in value.items())
    text = " ".join(("" if value is None else str(value)).split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _escaped(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"[\\`*\[\]|~#]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])", r"\\\g<0>", text)


def _shown(value: float | None, digits: int = 1, scale: float = 1) -> str:
    return "-" if value is None else f"{scale * value:,.{digits}f}"
