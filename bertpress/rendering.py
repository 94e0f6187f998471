"""A report shown: as Markdown, as HTML and as a table for the terminal, all from the same findings and sections."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import rich.table

Report = dict[str, Any]
READING = (
    "Scores are shown times 100; kept % is the score as a share of the start's. A speed-up is start's time over the "
    "model's, both timed in turns (so not the ratio of two ms), with its interval; if that covers 1, there is none. "
    "Recovered is (score - truncated) / (start - truncated), where truncated is the start model cut to as many layers."
)


class Section(NamedTuple):
    """A table of plain, unescaped text; the first column names its row."""

    caption: str
    head: list[str]
    rows: list[list[str]]
    numeric: bool = True


def sections(report: Report) -> list[Section]:
    """Every table of the report, in reading order."""
    notes = [["run", words(note)] for note in report["notes"]]
    notes += [[words(row["name"]), words(note)] for row in report["rows"] for note in row["notes"]]
    setup = [[words(name), words(value)] for name, value in report["environment"].items()]
    tables = [_summary(report), _metrics(report), _sweep(report.get("sweep", {}))]
    tables += [Section("Notes", ["row", "note"], notes, False), Section("Environment", ["name", "value"], setup, False)]
    return [section for section in tables if section.rows]


def findings(report: Report) -> list[str]:
    """What was run, then one sentence per step: what it kept, what it won back, whether it is faster."""
    sentences = [f"{report['model']} on {report['task']}, seed {words(report['seed'])}."]
    for row in (row for row in report["rows"] if row["name"] in report["recovered"]):
        parts = [f"{words(row['name'])}: score {_shown(row['score'], scale=100)}"]
        if row["retention"] is not None:
            parts.append(f"{_shown(row['retention'], scale=100)} % of the start model's")
        if (share := report["recovered"][row["name"]]) is not None:
            parts.append(f"{_shown(share, scale=100)} % of what plain truncation loses recovered")
        if any(number(entry, "speedup_low") is not None for entry in row["latency"]):
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
        cells = [words(row["name"]), _shown(row["layers"], 0), _shown(row["score"], scale=100)]
        cells += [_shown(row["retention"], scale=100), _shown(row["parameters"], 2, 1e-6)]
        cells += [_shown(row["macs"] if (row["tokens"] or 0) == count else None, 1, 1e-6) for count in tokens]
        timed = {_setting(entry): _timing(entry) for entry in row["latency"]}
        times = [cell for setting in settings for cell in timed.get(setting, ("-", "-"))]
        body.append([*cells, _shown(row["size_bytes"], 1, 1e-6), *times])
    metric = f": {words(report['primary_metric'])} on {words(report['split'])}" if report["primary_metric"] else ""
    return Section(f"Result against start{metric}" + "; timed: " * bool(shared) + ", ".join(shared), head, body)


def _metrics(report: Report) -> Section:
    rows = report["rows"]
    keys = dict.fromkeys((split, key) for row in rows for split in row["metrics"] for key in row["metrics"][split])
    body = [[words(row["name"]), *(_shown(number(row["metrics"], *key), scale=100) for key in keys)] for row in rows]
    return Section("All metrics", ["name", *(words(" ".join(key)) for key in keys)], body * bool(keys))


def _sweep(sweep: dict[str, Any]) -> Section:
    body = []
    for cell in sweep.get("cells") or []:
        mark = " (best, reported here)" if cell.get("folder") == sweep["best"] else ""
        body.append([words(cell.get("settings")) + mark, _shown(number(cell, "score"), scale=100)])
    body += [[name, _shown(number(sweep, name), scale=100)] for name in ("median", "low", "high") if sweep]
    return Section("Sweep", ["settings", "score"], body)


def _setting(entry: dict[str, Any]) -> tuple[str, ...]:
    """What a latency was measured at, the batch first; not its tokens, a mean that differs a little from row to row."""
    texts = {"batch": "batch {}", "threads": "threads {}", "device": "{}"}
    return tuple(text.format(words(entry[key])) for key, text in texts.items() if entry.get(key) is not None)


def _timing(entry: dict[str, Any]) -> tuple[str, str]:
    """Milliseconds and speed-up. A speed-up whose interval covers 1, or that has none, is not called one."""
    ratio, low, high = (number(entry, name) for name in ("speedup", "speedup_low", "speedup_high"))
    milliseconds = _shown(number(entry, "median_ms"), 2)
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


def mapping(value: Any, *keys: Any) -> dict[str, Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def number(value: Any, *keys: Any) -> float | None:
    found = mapping(value, *keys[:-1]).get(keys[-1])
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None


def words(value: Any) -> str:
    """Any value as one line of printable text."""
    if isinstance(value, list):
        value = " ".join(map(words, value))
    if isinstance(value, dict):
        value = ", ".join(f"{name} {words(item)}" for name, item in value.items())
    text = " ".join(("" if value is None else str(value)).split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _escaped(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"[\\`*\[\]|~#]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])", r"\\\g<0>", text)


def _shown(value: float | None, digits: int = 1, scale: float = 1) -> str:
    return "-" if value is None else f"{scale * value:,.{digits}f}"
