"""A report shown: as Markdown, as HTML and as a table for the terminal, all from the same sentences and tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bertpress import curves
from bertpress.pages import page
from bertpress.sections import Report, environment, figures, findings, overview, reading, sections
from bertpress.values import lines, words

if TYPE_CHECKING:
    import rich.table


def markdown(report: Report) -> str:
    """The report as Markdown, without the curves; text from outside is escaped."""
    text = [f"# Report: {_escaped(report['run'])}", "", *(f"- {_escaped(line)}" for line in findings(report))]
    for section in [*sections(report), *(table for table in [environment(report)] if table.rows)]:
        head, *body = [[_escaped(cell) for cell in row] for row in (section.head, *section.rows)]
        rule = ["---", *["---:" if section.numeric else "---"] * (len(head) - 1)]
        text += ["", f"## {_escaped(section.caption)}", "", *(f"| {' | '.join(row)} |" for row in (head, rule, *body))]
    # An indented block ends where the indent does, whatever its lines hold.
    settings = [f"    {line}" for line in lines(report["recipe"]).splitlines()]
    return "\n".join([*text, "", "## Settings", "", *settings, "", reading(report), ""])


def html(*reports: Report) -> str:
    """One or more reports as one self-contained page."""
    shown = (figures, findings, sections, environment, lines, words)
    context: dict[str, Any] = {function.__name__: function for function in shown}
    context |= {"reports": reports, "reading": max(map(reading, reports), key=len), "curves": curves}
    return page("report.html.jinja", context)


def table(report: Report) -> rich.table.Table:
    """The results for the terminal, a column per model: so they fit a narrow one."""
    from rich.table import Column, Table
    from rich.text import Text

    summary = overview(report)
    names, *values = zip(summary.head, *summary.rows, strict=True)
    columns = [Column(Text(name), justify="right" if n else "left", overflow="fold") for n, name in enumerate(names)]
    shown = Table(*columns, title=Text(summary.caption), caption=Text("\n".join(findings(report)), justify="left"))
    for line in values:
        shown.add_row(*map(Text, line))
    return shown


def _escaped(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"[\\`*\[\]|~#]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])", r"\\\g<0>", text)
