"""What the readers of named data sets share: where the rows lie, a split as found there, labels matched by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError
from bertpress.tasks import data

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class FoundRows:
    """A split as found: cells of the text columns, labels as written there, and the name of a row for messages."""

    texts: dict[str, list[Any]]
    labels: list[Any] | None
    place: Callable[[int], str]
    marks: list[bool] | None = None  # which rows augmentation made


def locate(
    folders: Sequence[str], data_dir: str | Path | None, splits_in: Callable[[Path], Mapping[str, Path]]
) -> Mapping[str, Path]:
    """Where each split lies: in `data_dir`, else below the root in BERTPRESS_DATA. Nothing: ask the Hub.

    Args:
        folders: names that the folder of the data set may have.
        data_dir: the data set itself, or the folder that holds its folder.
        splits_in: the splits of a folder, none if it does not hold the data set.
    """
    root = data_dir or os.environ.get("BERTPRESS_DATA")
    if not root:
        return {}
    if data_dir and (found := splits_in(Path(data_dir))):
        return found
    for folder in (Path(root, name) for name in folders):
        if folder.is_dir() and (found := splits_in(folder)):
            return found
    return {}


def from_hub(task: str, repository: str, config: str | None) -> Mapping[str, Dataset]:
    """The splits of a data set on the Hub."""
    from datasets import load_dataset

    try:
        splits: Mapping[str, Dataset] = load_dataset(repository, config)
    except Exception as error:  # offline, each layer of the client raises errors of its own
        root, folder = os.environ.get("BERTPRESS_DATA"), task.rpartition("/")[2]
        tried = f", and BERTPRESS_DATA={root} has no folder {folder}" if root else ""
        raise RequestError(
            f"Expected {task} from the Hub, which cannot be read ({type(error).__name__}){tried}: "
            "give --data-dir, or set BERTPRESS_DATA to a folder that holds the task's."
        ) from error
    return splits


def is_test(split: str) -> bool:
    """Whether the labels of a split may be secret."""
    return split.startswith("test")


def rows_of(
    dataset: Dataset, split: str, where: str, columns: Sequence[str], labels: Sequence[str], label: str = "label"
) -> FoundRows:
    """A split that has the Hub's columns.

    Args:
        where: names the data set in messages.
        columns: those of the texts.
        labels: names in id order, none for scores.
        label: the column of the labels.
    """
    data.require_columns(dataset, columns if is_test(split) else (*columns, label), where)
    values = None
    if label in dataset.column_names:
        names = getattr(dataset.features[label], "names", None)
        if names is not None and set(names) != set(labels):
            came, expected = ", ".join(names), ", ".join(labels) or "scores"
            raise RequestError(
                f"Expected the labels {expected} in {where}, found {came}: rename them or name the task."
            )
        values = [None if value in (-1, "-1") else value for value in data.label_values(dataset, label)]
    texts = {column: dataset[column][:] for column in columns}
    return FoundRows(texts, values, lambda row: f"row {row + 1} of {where}", data.marks_of(dataset))


def encode(rows: FoundRows, split: str, labels: Sequence[str], notes: list[str]) -> Dataset:
    """A split of a task: texts, and ids of `labels` (scores where there are none) unless it is a secret test split.

    A label may be written as its name or as its id.
    """
    texts = {}
    for column, cells in rows.texts.items():
        texts[column], remarks = data.text_cells(cells, column, split)
        notes += remarks
    values = rows.labels
    if values is None or (is_test(split) and all(value is None for value in values)):
        return data.build_split(texts, None, None, split)
    data.require_labels(values, rows.place)
    if not labels:
        return data.build_split(texts, data.to_scores(values, rows.place), None, split, rows.marks)
    ids = {spelling: index for index, name in enumerate(labels) for spelling in (name, index, str(index))}
    for index, value in enumerate(values):
        if value not in ids:
            expected = ", ".join(f"{number} {label}" for number, label in enumerate(labels))
            raise RequestError(f"Expected a label of {expected}, but {rows.place(index)} has {value!r}: correct it.")
    return data.build_split(texts, [ids[value] for value in values], labels, split, rows.marks)
