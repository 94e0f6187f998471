"""Text data of a task: what a reader returns, and what the readers of GLUE and of the user's own files share.

Rows are counted from 1 in messages, lines as an editor counts them.
"""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.corpus.reading import json_row
from bertpress.errors import RequestError, beside, nearest

if TYPE_CHECKING:
    from datasets import Dataset

SPLIT_STEMS: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "dev", "val"),
    "test": ("test",),
}


@dataclass(frozen=True)
class TextData:
    """The splits of a task on one or two texts, with what is needed to score and to submit predictions."""

    name: str  # "glue/mrpc", "files"
    splits: Mapping[str, Dataset]  # the text columns and "label", which a test split may lack
    columns: tuple[str, ...]  # one or two text columns
    labels: tuple[str, ...] | None  # names in id order, none where no row has a label; None for regression
    metrics: tuple[str, ...]
    primary: str
    positive: str | None = None  # the positive class of f1
    notes: tuple[str, ...] = ()  # one-line remarks for the user
    unlabelled: bool = False  # the training rows have no labels; the others may have those of the model's head


CLASSES: dict[str, Any] = {"metrics": ("accuracy", "f1_macro"), "primary": "accuracy"}
SCORES: dict[str, Any] = {"metrics": ("pearson", "spearmanr", "pearson_spearmanr"), "primary": "pearson_spearmanr"}
"""How the user's own rows are scored, by what their labels are."""


def read_folder(folder: Path, stems: Mapping[str, Sequence[str]] = SPLIT_STEMS) -> dict[str, Dataset]:
    """The splits of a folder with files such as train.parquet, dev.tsv.

    Args:
        stems: Accepted file names, without suffix, of each split.
    """
    paths = find_splits(folder, stems)
    if not paths:
        raise no_splits(folder, stems)
    return {split: read_file(path) for split, path in paths.items()}


def find_splits(folder: Path, stems: Mapping[str, Sequence[str]] = SPLIT_STEMS) -> dict[str, Path]:
    """The file of each split that `folder` holds; nothing if it holds none."""
    if not folder.is_dir():
        came = "a file" if folder.exists() else f"nothing{beside(folder)}"
        raise RequestError(f"Expected a folder at {folder}, found {came}: give an existing folder.")
    found: dict[str, Path] = {}
    for split in stems:
        paths = [path for stem in stems[split] for suffix in READERS if (path := folder / f"{stem}{suffix}").is_file()]
        if len(paths) > 1:
            several = " and ".join(path.name for path in paths)
            raise RequestError(f"Expected one {split} file in {folder}, found {several}: remove all but one.")
        if paths:
            found[split] = paths[0]
    return found


def no_splits(folder: Path, stems: Mapping[str, Sequence[str]] = SPLIT_STEMS) -> RequestError:
    """The error for a folder that holds no file named after a split."""
    names = " or ".join(names[0] for names in stems.values())
    held = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "an empty folder"
    return RequestError(f"Expected {names} as {', '.join(READERS)} in {folder}, found {held}: rename your files so.")


def read_file(path: Path) -> Dataset:
    """All rows of a parquet, jsonl, csv or tsv file; csv and tsv have a header row and csv quoting."""
    from datasets import Dataset

    if path.suffix.lower() not in READERS:
        raise RequestError(f"Expected a file of the kinds {', '.join(READERS)}, got {path}: convert it.")
    dataset = Dataset(READERS[path.suffix.lower()](path))
    if not len(dataset):
        raise RequestError(f"Expected rows in {path}, but it holds none: add rows or remove the file.")
    return dataset


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without byte order mark."""
    data = _read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
        bad = data.find(b"\0")
    except UnicodeDecodeError as error:
        bad = error.start
    if bad >= 0:
        line = data.count(b"\n", 0, bad) + 1
        raise RequestError(f"Expected UTF-8 text in {path}, but line {line} holds other bytes: save the file as UTF-8.")
    return text


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise RequestError(f"Expected a file at {path}, found none{beside(path)}: give an existing file.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RequestError(f"Expected a readable file at {path}, got '{error.strerror}': check it.") from error
    if not data.strip():
        raise RequestError(f"Expected rows in {path}, but the file is empty: add rows or remove it.")
    return data


def _read_parquet(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(_read_bytes(path))).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise RequestError(f"Expected a parquet file at {path}, but it cannot be read: write it anew.") from error
    for position, field in enumerate(table.schema):
        if pyarrow.types.is_dictionary(field.type):  # a categorical column of pandas, which datasets refuses
            plain = table.column(position).cast(field.type.value_type)
            table = table.set_column(position, field.name, plain)
    return table


def _read_jsonl(path: Path) -> Any:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        rows.append(json_row(line, number, path))
    return _table(
        {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}
    )


def _read_delimited(path: Path, delimiter: str) -> Any:
    csv.field_size_limit(2**31 - 1)  # the default refuses texts over 131,072 characters
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    line = 1  # where the next row starts
    try:
        header = next(reader, [])
        line = reader.line_num + 1
        for row in reader:
            if row and len(row) != len(header):
                expected = f"Expected {len(header)} fields as in the header on line {line} of {path}"
                raise RequestError(f"{expected}, got {len(row)}: quote fields that hold {delimiter!r} or quotes.")
            rows.extend([row] if row else [])
            line = reader.line_num + 1
    except csv.Error as error:
        expected = f"Expected fields quoted as in CSV on line {line} of {path}, got '{error}'"
        raise RequestError(f"{expected}: quote whole fields and double the quotes inside.") from error
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise RequestError(f"Expected different column names in {path}, but '{twice}' comes twice: rename one.")
    return _table({name: [row[index] for row in rows] for index, name in enumerate(header)})


def _table(columns: Mapping[str, list[Any]]) -> Any:
    import pyarrow

    arrays = {}
    for name, values in columns.items():
        try:
            arrays[name] = pyarrow.array(values)
        except (pyarrow.ArrowException, OverflowError):  # a column of mixed types becomes text
            arrays[name] = pyarrow.array([None if value is None else str(value) for value in values])
    return pyarrow.table(arrays)


READERS: Mapping[str, Callable[[Path], Any]] = {
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
    ".csv": lambda path: _read_delimited(path, ","),
    ".tsv": lambda path: _read_delimited(path, "\t"),
}


def require_columns(dataset: Dataset, wanted: Iterable[str], where: str) -> None:
    """Raise a RequestError if a wanted column is missing."""
    found = dataset.column_names
    for column in wanted:
        if column not in found:
            hint = f"{', '.join(found)}{nearest(column, found)}"
            raise RequestError(f"Expected a column '{column}' in {where}, found {hint}: name one of these.")


def text_cells(values: Sequence[Any], column: str, split: str) -> tuple[list[str], list[str]]:
    """The cells of a text column as strings (empty for null), and remarks on those that were not text."""
    _refuse_nested(values, column)
    cells = ["" if _is_missing(value) else str(value) for value in values]
    notes = []
    if numbers := sum(not isinstance(value, str) and not _is_missing(value) for value in values):
        notes.append(f"{split}: {numbers} of {len(cells)} cells of '{column}' are not strings and are read as text")
    if empty := sum(not cell.strip() for cell in cells):
        notes.append(f"{split}: {empty} of {len(cells)} cells of '{column}' are empty")
    return cells, notes


def label_values(dataset: Dataset, column: str) -> list[Any]:
    """Labels as names (class labels, strings) or numbers; None for null, NaN, an empty string, a class label of -1."""
    names = getattr(dataset.features[column], "names", None)
    values = dataset[column][:]
    if names is not None:
        named = dict(enumerate(names)) | {-1: None}
        return [named.get(value, value) for value in values]
    _refuse_nested(values, column)
    values = [value.strip() if isinstance(value, str) else value for value in values]
    return [None if _is_missing(value) or value == "" else value for value in values]


def require_labels(values: Sequence[Any], place: Callable[[int], str]) -> None:
    """Raise a RequestError for the first missing or infinite label; `place` names a row by its index."""
    for index, value in enumerate(values):
        if value in (None, math.inf, -math.inf):
            raise RequestError(
                f"Expected a label in every row, but {place(index)} has {value}: add it or drop the row."
            )


LARGEST_SCORE = 1e15
"""The square of a larger one would not fit into the float32 of a loss."""


def to_scores(values: Sequence[Any], place: Callable[[int], str]) -> list[float]:
    """Labels of a regression as finite numbers."""
    for index, value in enumerate(values):
        number = as_number(value)
        if number is None or not abs(number) < LARGEST_SCORE:
            raise RequestError(f"Expected a finite number as label, but {place(index)} has {value!r}: correct it.")
    return [float(value) for value in values]


def as_number(value: Any) -> float | None:
    """The number that `value` is or spells; None for a truth value or any other text."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


MARK = "is_augmented"
"""Column of rows that augmentation made, whose label is that of the text they were made of."""


def build_split(
    texts: Mapping[str, list[str]],
    labels: Sequence[float] | None,
    names: Sequence[str] | None,
    where: str,
    marks: Sequence[bool] | None = None,
) -> Dataset:
    """A split of text columns and, unless `labels` is None, "label": ids of `names`, or scores where that is None.

    Args:
        marks: which rows augmentation made, where that is known.
    """
    from datasets import ClassLabel, Dataset, Features, Value

    if not any(cell.strip() for cells in texts.values() for cell in cells):
        raise RequestError(f"Expected text in {' or '.join(texts)}, but all cells of {where} are empty: fill them in.")
    columns: dict[str, Any] = dict(texts)
    features = {column: Value("string") for column in texts}
    if labels is not None:
        columns["label"] = labels
        features["label"] = Value("float64") if names is None else ClassLabel(names=list(names))
    if marks is not None:
        columns[MARK], features[MARK] = list(marks), Value("bool")
    return Dataset.from_dict(columns, features=Features(features))


def marks_of(dataset: Dataset) -> list[bool] | None:
    """Which rows augmentation made; None where the rows do not say so."""
    return None if MARK not in dataset.column_names else [str(mark).lower() == "true" for mark in dataset[MARK]]


def limit(splits: Mapping[str, Dataset], sizes: Mapping[str, int], seed: int) -> dict[str, Dataset]:
    """The splits, those in `sizes` cut to that many rows: a random subset in the order of the file."""
    limited = dict(splits)
    for split, size in sizes.items():
        if split not in splits:
            raise RequestError(f"Expected a split to limit, got '{split}'{nearest(split, list(splits))}: name a split.")
        if size < 1:
            raise RequestError(f"Expected at least 1 row for '{split}', got {size}: give a positive limit.")
        rows = len(splits[split])
        if size < rows:
            limited[split] = splits[split].select(sorted(random.Random(f"{seed} {split}").sample(range(rows), size)))
    return limited


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _refuse_nested(values: Sequence[Any], column: str) -> None:
    for row, value in enumerate(values, start=1):
        if isinstance(value, list | dict | bytes):
            kind = type(value).__name__
            raise RequestError(f"Expected strings or numbers in '{column}', but row {row} holds a {kind}: flatten it.")
