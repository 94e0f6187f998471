"""Texts to predict, and files of predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError, nearest
from bertpress.files import write_text
from bertpress.tasks.data import without_halves

if TYPE_CHECKING:
    import numpy as np

    from bertpress.tasks.task import Task


def own_texts(
    texts: Sequence[str] | None, pairs: Sequence[str] | None, file: Path | None, columns: Sequence[str] | None
) -> list[tuple[str, ...]] | None:
    """The texts that --text or --input give; None without either.

    Raises:
        RequestError: both, texts that do not go together or are no Unicode, or a file that cannot be used.
    """
    if texts is not None and file is not None:
        raise RequestError("Give --text or --input, not both.")
    if texts is None and not pairs and file is None:
        return None
    found = typed_texts(texts, pairs) if file is None else texts_of(file, columns)
    for number, parts in enumerate(found, start=1):
        if any(without_halves(text)[1] for text in parts):
            raise RequestError(f"Expected texts in UTF-8, but text {number} holds other bytes: correct it.")
    return found


def typed_texts(texts: Sequence[str] | None, pairs: Sequence[str] | None) -> list[tuple[str, ...]]:
    """Texts as typed on the command line, each with its second text if there are any."""
    texts = list(texts or [])
    if pairs and len(pairs) != len(texts):
        raise RequestError(f"There are {len(texts)} --text and {len(pairs)} --text-pair; give one pair for each text.")
    return list(zip(texts, pairs, strict=True)) if pairs else [(text,) for text in texts]


def texts_of(file: Path, columns: Sequence[str] | None) -> list[tuple[str, ...]]:
    """Texts in a file: one a line (txt), or the named columns of a table.

    Raises:
        RequestError: no such file or column, or no rows.
    """
    from bertpress.tasks.tables import read_file, read_text

    if file.suffix == ".txt":
        lines = (line.removesuffix("\r") for line in read_text(file).split("\n"))
        texts: list[tuple[str, ...]] = [(line,) for line in lines if line.strip()]
    else:
        table = read_file(file)
        columns = list(columns or _text_column(table.column_names, file))
        for column in columns:
            if column not in table.column_names:
                raise RequestError(f"{file} has no column '{column}'{nearest(column, table.column_names)}.")
        values = [["" if value is None else str(value) for value in table[column]] for column in columns]
        texts = list(zip(*values, strict=True))
    if not texts:
        raise RequestError(f"{file} holds no texts.")
    return texts


def _text_column(names: Sequence[str], file: Path) -> Sequence[str]:
    """The column of texts where nobody names it: the only one, or that called text."""
    if len(names) > 1 and "text" not in names:
        raise RequestError(f"{file} has the columns {', '.join(names)}; name those of the texts with --columns.")
    return ("text",) if "text" in names else names


def answered(task: Task, logits: np.ndarray, split: str) -> list[dict[str, Any]]:
    """What a task answers to each row of a split, with the number of the row and, where its data name them, the id."""
    rows = task.splits[split]
    ids = rows["id"][:] if "id" in getattr(rows, "column_names", ()) else None
    return [
        {"row": row, **({} if ids is None else {"id": ids[row]}), **answer}
        for row, answer in enumerate(task.decode(logits, split))
    ]


def write(
    task: str,
    split: str,
    records: Sequence[dict[str, Any]],
    folder: Path,
    files: Mapping[str, str],
    zip_files: bool = False,
) -> list[str]:
    """Write predictions of a split: JSON lines for any task, the leaderboard's file for GLUE.

    Args:
        files: names and contents of further files.

    Returns:
        remarks (such as a row count that the leaderboard would refuse), and the paths.
    """
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    contents = {f"{split}.jsonl": lines, **files}
    for name, content in contents.items():
        write_text(folder / name, content)
    paths = [str(folder / name) for name in contents]
    if not task.startswith("glue/") or not split.startswith("test"):
        return [*(["--zip: the leaderboard takes test splits; nothing is packed"] if zip_files else []), *paths]
    from bertpress.tasks.submission import write_submission

    answers = [record["prediction"] for record in records]
    submitted, notes = write_submission(task, split, answers, folder, zip=zip_files)
    return [*notes, *paths, *map(str, submitted)]
