"""Plain text for masked language modelling: one text a line, held in memory."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bertpress.errors import RequestError, nearest
from bertpress.tasks import data

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertpress.tasks.task import Rows

HELD_OUT = 0.01  # share of the lines that becomes the validation split where there is none
SPLITS = ("train", "validation")


def load_text(
    data_dir: str | Path | None,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    limit: Mapping[str, int] | None = None,
    column: str = "text",
) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Encoded rows of train and validation, and remarks.

    Args:
        data_dir: a folder with train and perhaps validation files, or one file: txt, a text a line; or a table.
        tokenizer: encodes them.
        max_length: longest input in tokens; longer lines are cut.
        limit: largest number of lines of a split, chosen at random.
        column: the text column of a table.

    Raises:
        RequestError: no such file or column, or too little text.
    """
    from datasets import Dataset

    from bertpress.tasks.encoding import encode

    lines, notes = read_lines(data_dir, column)
    tables = {split: Dataset.from_dict({column: texts}) for split, texts in lines.items()}
    limited = data.limit(tables, limit or {}, seed=0)
    return {
        split: encode(tokenizer, [(line,) for line in table[column]], max_length) for split, table in limited.items()
    }, notes


def read_lines(data_dir: str | Path | None, column: str = "text") -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Lines of each split that are not blank; a hundredth of those for training is held out if that is all there is."""
    if data_dir is None:
        raise RequestError("--task text needs --data-dir: a folder with train.txt and validation.txt, or one file.")
    path = Path(data_dir)
    files = {"train": path} if not path.is_dir() else _files(path)
    lines = {split: _lines(file, column) for split, file in files.items()}
    if "train" not in lines or "validation" in lines:
        return lines, ()
    count = len(lines["train"])
    if count < 2:
        raise RequestError(f"Expected at least 2 lines in {files['train']}, of which one is held out, found {count}.")
    held = set(random.Random(1).sample(range(count), max(1, round(HELD_OUT * count))))
    splits = {
        "train": [line for number, line in enumerate(lines["train"]) if number not in held],
        "validation": [line for number, line in enumerate(lines["train"]) if number in held],
    }
    return splits, (f"validation: {len(held)} of {count} lines are held out",)


def _files(folder: Path) -> dict[str, Path]:
    """The text file, else the table, of each split."""
    texts = [(split, folder / f"{stem}.txt") for split in SPLITS for stem in data.SPLIT_STEMS[split]]
    found = {split: path for split, path in texts if path.is_file()}
    stems = {split: data.SPLIT_STEMS[split] for split in SPLITS if split not in found}
    found |= data.find_splits(folder, stems)
    if "train" not in found:
        held = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "an empty folder"
        raise RequestError(f"Expected train.txt or a table train in {folder}, found {held}: rename your files so.")
    return found


def _lines(file: Path, column: str) -> list[str]:
    if file.suffix.lower() not in data.READERS:
        return [line for line in data.read_text(file).splitlines() if line.strip()]
    table = data.read_file(file)
    if column not in table.column_names:
        raise RequestError(
            f"{file} has no column '{column}'{nearest(column, table.column_names)}; name one with --columns."
        )
    cells, _ = data.text_cells(list(table[column]), column, file.name)
    return [cell for cell in cells if cell.strip()]
