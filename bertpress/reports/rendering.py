"""A report shown: as Markdown, as HTML and as tables for the terminal, all from the same sentences and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bertpress.reports import curves, run_fronts, search_figures, traces, waterfall
from bertpress.reports.certificate_sections import READING, bounds
from bertpress.reports.pages import page
from bertpress.reports.search_sections import brief_table
from bertpress.reports.sections import (
    Report,
    certificate_findings,
    certificate_tables,
    environment,
    figures,
    findings,
    overview,
    reading,
    sections,
)
from bertpress.reports.tables import Section
from bertpress.values import lines, words

if TYPE_CHECKING:
    import rich.table


def markdown(report: Report) -> str:
    """The report as Markdown, without the curves; text from outside is escaped."""
    text = [f"# Report: {_escaped(report['run'])}", "", *(f"- {_escaped(line)}" for line in findings(report))]
    for section in [*sections(report), *(table for table in [environment(report)] if table.rows)]:
        text += _section_lines(section)
    # An indented block ends where the indent does, whatever its lines hold.
    settings = [f"    {line}" for line in lines(report["recipe"]).splitlines()]
    return "\n".join([*text, "", "## Settings", "", *settings, "", reading(report), ""])


def _section_lines(section: Section) -> list[str]:
    head, *body = [[_escaped(cell) for cell in row] for row in (section.head, *section.rows)]
    rule = ["---", *["---:" if section.numeric else "---"] * (len(head) - 1)]
    return ["", f"## {_escaped(section.caption)}", "", *(f"| {' | '.join(row)} |" for row in (head, rule, *body))]


def html(*reports: Report, missing: Section | None = None) -> str:
    """One or more reports as one self-contained page; several are set side by side first.

    Args:
        missing: what could not be shown, and why.
    """
    shown = (figures, findings, sections, environment, lines, words)
    context: dict[str, Any] = {function.__name__: function for function in shown}
    context |= {"reports": reports, "reading": reading(*reports), "curves": curves, "drawn": search_figures}
    context |= {"groups": run_fronts.groups(reports) if len(reports) > 1 else [], "runs_drawn": run_fronts}
    shades = traces.shades([trace for report in reports for trace in report["traces"]])
    context |= {"stages": waterfall, "missing": missing, "walks": traces, "shades": shades}
    return page("report.html.jinja", context)


def certificate_markdown(document: dict[str, Any]) -> str:
    """A certificate that stands alone as Markdown; text from outside is escaped."""
    text = ["# Certificate", "", *(f"- {_escaped(line)}" for line in certificate_findings(document))]
    for table in certificate_tables(document):
        text += _section_lines(table)
    return "\n".join([*text, "", READING, ""])


def certificate_html(document: dict[str, Any]) -> str:
    """A certificate that stands alone as one self-contained page."""
    context = {"findings": certificate_findings(document), "sections": certificate_tables(document), "reading": READING}
    return page("certificate.html.jinja", context)


def bounds_table(document: dict[str, Any]) -> rich.table.Table:
    """The bounds of a certificate for the terminal."""
    found = bounds(document["bounds"])
    return _table(found.caption, found.head, found.rows, "\n".join(certificate_findings(document)))


def drawings(search: dict[str, Any]) -> dict[str, str]:
    """The figures of a search as SVG files of their own, by name; those of which there is something to draw."""
    name = words(search["name"])
    fronts, heats = search_figures.fronts(search), search_figures.heats(search)
    sheets: dict[str, dict[str, Any]] = {
        "front": {"title": f"What the search of {name} found", "charts": fronts, "columns": 3, "size": curves},
        "choices": {"title": f"What was learned about {name}", "charts": heats, "columns": 2, "size": search_figures},
    }
    return {file: page("sheet.svg.jinja", sheet) for file, sheet in sheets.items() if sheet["charts"]}


def table(report: Report) -> rich.table.Table:
    """The results for the terminal, a column per model: so they fit a narrow one."""
    summary = overview(report)
    names, *values = zip(summary.head, *summary.rows, strict=True)
    return _table(summary.caption, names, values, "\n".join(findings(report)))


def search_tables(report: Report) -> list[rich.table.Table]:
    """What the searches found for the terminal, a row per sub-network; heads on two lines leave room for numbers."""
    tables = [brief for brief in map(brief_table, report["searches"]) if brief.rows]
    return [_table(brief.caption, [head.replace(" ", "\n") for head in brief.head], brief.rows) for brief in tables]


def _table(title: str, names: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> rich.table.Table:
    from rich.table import Column, Table
    from rich.text import Text

    columns = [Column(Text(name), justify="right" if n else "left", overflow="fold") for n, name in enumerate(names)]
    shown = Table(*columns, title=Text(title), caption=Text(caption, justify="left") if caption else None)
    for row in rows:
        shown.add_row(*map(Text, row))
    return shown


def _escaped(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"[\\`*\[\]|~#]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])", r"\\\g<0>", text)
