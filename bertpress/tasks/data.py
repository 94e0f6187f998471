"""Text data of a task: what a reader returns, and how cells and labels become its columns. Rows count from 1."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError, similar

if TYPE_CHECKING:
    from pathlib import Path

    from datasets import Dataset

    from bertpress.tasks.tagging.words import Level


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
    sources: tuple[Path, ...] = ()  # the files that the rows were read from
    unlabelled: bool = False  # the training rows have no labels; the others may have those of the model's head
    made: Mapping[str, Sequence[int]] | None = None  # splits made of "train": numbers of their rows there, from 0
    queries: Mapping[str, str] = field(default_factory=dict)  # type of entity to question, where the files ask some
    level: Level | None = None  # of entities: what a word is


CLASSES: dict[str, Any] = {"metrics": ("accuracy", "f1_macro"), "primary": "accuracy"}
SCORES: dict[str, Any] = {"metrics": ("pearson", "spearmanr", "pearson_spearmanr"), "primary": "pearson_spearmanr"}
"""How the user's own rows are scored, by what their labels are."""


def require_columns(dataset: Dataset, wanted: Iterable[str], where: str) -> None:
    """Raise a RequestError if a wanted column is missing."""
    found = dataset.column_names
    for column in wanted:
        if column not in found:
            hint = f"{', '.join(found)}{similar(column, found)}"
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


_HALVES = re.compile("[\ud800-\udfff]")


def without_halves(text: str) -> tuple[str, bool]:
    """The text with a replacement character for each half of a surrogate pair, which cannot be written as UTF-8.

    Returns:
        The text, as long as before, and whether it held any.
    """
    mended, count = _HALVES.subn("\ufffd", text)
    return mended, count > 0


def is_invisible(text: str) -> bool:
    """Whether a text has no character but white space, control characters and marks: a tokenizer may drop them all."""
    return all(character.isspace() or unicodedata.category(character)[0] in "CM" for character in text)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _refuse_nested(values: Sequence[Any], column: str) -> None:
    for row, value in enumerate(values, start=1):
        if isinstance(value, list | dict | bytes):
            kind = type(value).__name__
            raise RequestError(f"Expected strings or numbers in '{column}', but row {row} holds a {kind}: flatten it.")
