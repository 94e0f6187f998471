"""Pairs of texts in files, and tasks of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import ROWS, make_tokenizer
from token_tasks import pairs_of, write_lines

from bertpress.config import build
from bertpress.recipe import TaskSpec
from bertpress.tasks import load_task
from bertpress.tasks.embedding.task import Embedding

PAIR = ("first", "second")


def write_pairs(folder: Path, *columns: str, **changed: list[dict[str, Any]]) -> Path:
    """The rows of `conftest` as pairs, with only some of the columns first, second and label, by default all.

    Args:
        changed: split to other rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in {**{split: pairs_of(rows) for split, rows in ROWS.items()}, **changed}.items():
        kept = [{name: value for name, value in row.items() if not columns or name in columns} for row in rows]
        write_lines(folder / f"{split}.jsonl", kept)
    return folder


def make_task(folder: Path, columns: tuple[str, ...] = PAIR, label: str | None = None, **settings: Any) -> Embedding:
    """The task on such a folder."""
    values = {"name": "files", "data_dir": str(folder), "columns": columns, "label": label, "kind": "embedding"}
    spec = build(TaskSpec, {**values, **({"embedding": settings} if settings else {})}, where="task")
    task = load_task(spec, make_tokenizer(), 32)
    assert isinstance(task, Embedding)
    return task
