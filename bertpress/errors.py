"""The two errors whose exit code means something, and hints for their messages; all else is a failure of ours."""

from __future__ import annotations

import difflib
from pathlib import Path


class RequestError(Exception):
    """The request was wrong: a flag, a file, a column, a label, a model (exit code 2)."""


class AnswerNo(Exception):
    """Everything ran and the answer is no: too slow, not good enough, a budget not met (exit code 3)."""


def similar(name: str, known: list[str]) -> str:
    """`` (did you mean 'x'?)`` for the closest of `known`, nothing if none is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""


def nearest(name: str, known: list[str]) -> str:
    """What `similar` says, else the list of `known`."""
    return similar(name, known) or f" (known: {', '.join(known)})"


def no_file(path: Path) -> RequestError:
    """The error for a file that does not exist."""
    return RequestError(f"Expected a file at {path}, found none{beside(path)}: give an existing file.")


def beside(path: Path, folders_only: bool = False) -> str:
    """What `similar` says of the other names in the folder where `path` should be."""
    there = list(path.absolute().parent.iterdir()) if path.absolute().parent.is_dir() else []
    others = [entry.name for entry in there if entry.name != path.name and (entry.is_dir() or not folders_only)]
    return similar(path.name, others)
