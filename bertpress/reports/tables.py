"""What reports and other pages are made of: tables and single numbers of plain, unescaped text."""

from __future__ import annotations

from typing import NamedTuple


class Section(NamedTuple):
    """A table; the first column names its row."""

    caption: str
    head: list[str]
    rows: list[list[str]]
    numeric: bool = True
    folded: bool = False
    """opened by whoever wants to read it"""


class Figure(NamedTuple):
    """One number that says much."""

    value: str
    label: str
    detail: str
