"""The tables of the documents, generated from the files of results: `python benchmarks/tables.py` writes them anew.

A table stands between ``<!-- table NAME -->`` and ``<!-- /table -->``, where NAME is a file in results/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from results import RESULTS, bound, describe, number

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/results.md")
PLACE = re.compile(r"<!-- table (\w+) -->\n.*?<!-- /table -->", flags=re.DOTALL)


def filled(text: str) -> str:
    """A page's text with each of its tables as the result's file has it."""
    return PLACE.sub(lambda place: f"<!-- table {place[1]} -->\n{section(place[1])}\n<!-- /table -->", text)


def section(name: str) -> str:
    """Tables, claims, and how they came about: Markdown."""
    result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    tables = [table(list(rows)) for _, rows in groupby(result["rows"], key=tuple)]
    claims = [f"- {describe(claim)}; bound: {bound(claim['target'])}" for claim in result["claims"]]
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    source = f"`{result['command']}`, {result['hardware']}, {versions}, {result['date']}."
    return "\n\n".join([*tables, *(["\n".join(claims)] if claims else []), source])


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same columns as a Markdown table."""
    head = list(rows[0])
    body = [[number(row[name]) for name in head] for row in rows]
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *body))


def main() -> None:
    for page in PAGES:
        path = ROOT / page
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
