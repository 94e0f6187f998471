"""The user's own rows: a folder with a file per split, or one file of training rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError, nearest
from bertpress.tasks import data, tables
from bertpress.tasks.data import TextData

if TYPE_CHECKING:
    from datasets import Dataset

KINDS = ("classification", "regression", "embedding")
"""What may be asked of rows that have one label."""
MOST_CLASSES = 50  # more whole numbers than this may be scores as well as classes: the user has to say


def load_files(
    data_dir: str | Path | None = None,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    kind: str | None = None,
    unlabelled: bool = False,
) -> TextData:
    """The rows of a folder with train, validation and test files, or of one file.

    Args:
        data_dir: The folder or the file.
        columns: One or two text columns.
        label: The column to predict, by default "label".
        kind: By default regression if a label is a number that is not whole, else classification. Of embedding, labels
            are scores of pairs, and unless `label` is given a split may do without.
        unlabelled: The training rows have no labels, and the others need none; the model's head tells the classes.
    """
    path = _source(data_dir)
    optional = kind == "embedding" and label is None
    label = label or "label"
    raw = tables.read_folder(path) if path.is_dir() else {"train": tables.read_file(path)}
    if unlabelled and "train" in raw and label in raw["train"].column_names:
        raw["train"] = raw["train"].remove_columns(label)
    spared = {"train", "validation", "test"} if unlabelled or optional else {"test"}
    columns = _checked_columns(raw, columns, label, spared)
    if kind == "embedding" and len(columns) == 1:
        if not optional:
            raise RequestError(f"A score ({label}) is of two texts, but --columns names one: name two or no --label.")
        raw = {split: dataset.select_columns(_but(label, dataset)) for split, dataset in raw.items()}
    notes: list[str] = []
    texts = {split: _texts(dataset, columns, split, notes) for split, dataset in raw.items()}
    labelled = any(label in dataset.column_names for dataset in raw.values())
    names, labels = ((), {}) if (unlabelled or optional) and not labelled else _encode(raw, label, kind, notes)
    splits = {
        split: data.build_split(texts[split], labels.get(split), names, split, data.marks_of(raw[split]))
        for split in raw
    }
    return TextData(
        name="files",
        splits=splits,
        columns=columns,
        labels=names,
        notes=tuple(notes),
        sources=tuple(tables.find_splits(path).values()) if path.is_dir() else (path,),
        unlabelled=unlabelled,
        **(data.SCORES if names is None else data.CLASSES),
    )


def _source(data_dir: str | Path | None) -> Path:
    if not data_dir:
        raise RequestError("Expected a folder or a file with the rows, got neither: give --data-dir.")
    path = Path(data_dir)
    if not path.exists() and not path.suffix:
        tables.find_splits(path)  # says what is there instead
    return path


def _but(label: str, dataset: Dataset) -> list[str]:
    return [name for name in dataset.column_names if name != label]


def _checked_columns(
    raw: Mapping[str, Dataset], columns: Sequence[str] | None, label: str, without_label: set[str]
) -> tuple[str, ...]:
    found = ", ".join(next(iter(raw.values())).column_names)
    if columns is None:
        raise RequestError(f"Expected the names of one or two text columns, got none: choose --columns from {found}.")
    if len(set(columns)) != len(columns) or len(columns) not in (1, 2):
        came = ", ".join(columns) or "none"
        raise RequestError(f"Expected one or two different text columns, got {came}: choose --columns from {found}.")
    if {label, "label"} & set(columns):
        raise RequestError(
            f"Expected texts and label in different columns and no text column named label, got the texts "
            f"{', '.join(columns)} and the label {label}: choose others or rename."
        )
    for split, dataset in raw.items():
        data.require_columns(dataset, columns if split in without_label else (*columns, label), f"the {split} split")
    return tuple(columns)


def _texts(dataset: Dataset, columns: Sequence[str], split: str, notes: list[str]) -> dict[str, list[str]]:
    texts = {}
    for column in columns:
        texts[column], remarks = data.text_cells(dataset[column][:], column, split)
        notes += remarks
    return texts


def _encode(
    raw: Mapping[str, Dataset], label: str, kind: str | None, notes: list[str]
) -> tuple[tuple[str, ...] | None, Mapping[str, Sequence[float]]]:
    """Names of the classes and the ids of each labelled split; or None and the scores."""
    if kind not in (None, *KINDS):
        raise RequestError(f"Expected {' or '.join(KINDS)} as kind, got '{kind}': give one of these.")
    values = _labels(raw, label)
    reference = next(iter(values))  # the training rows, if there are any
    declared = getattr(raw[reference].features[label], "names", None)
    if (kind or _guess(values[reference], declared, notes)) != "classification":
        return None, {split: data.to_scores(values[split], _place(split)) for split in values}
    return _classes(values, reference, declared)


def _labels(raw: Mapping[str, Dataset], label: str) -> dict[str, list[Any]]:
    """The labels of each split that has them; a test split may have no column for them, or null or -1 in each row."""
    labelled = [split for split, dataset in raw.items() if label in dataset.column_names]
    values = {split: data.label_values(raw[split], label) for split in labelled}
    elsewhere = {value for split in values if split != "test" for value in values[split]}
    nothing = {None, -1, "-1"} - elsewhere
    if all(value in nothing for value in values.get("test", [])):
        values.pop("test", None)
    if not values:
        raise RequestError(f"Expected a labelled split, got a test split without '{label}': add train or validation.")
    for split in values:
        data.require_labels(values[split], _place(split))
    return values


def _place(split: str) -> Callable[[int], str]:
    return lambda index: f"row {index + 1} of the {split} split"


def _guess(values: Sequence[Any], declared: Sequence[str] | None, notes: list[str]) -> str:
    """Regression if all labels are numbers and one is not whole; whole numbers are classes."""
    numbers = [data.as_number(value) for value in values]
    if declared is not None or any(number is None for number in numbers):
        return "classification"
    if not all(number.is_integer() for number in numbers if number is not None):
        return "regression"
    count = len(set(numbers))
    if count > MOST_CLASSES:
        raise RequestError(f"Expected classes or scores, got {count} whole numbers, which may be both: give --kind.")
    if count > 2:
        notes.append(f"the labels are {count} whole numbers and are read as classes; for scores give --kind regression")
    return "classification"


def _classes(
    values: Mapping[str, Sequence[Any]], reference: str, declared: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """Label names in the order of the schema, else sorted, and the ids of all rows."""
    spelled = {split: [_spelled(value) for value in values[split]] for split in values}
    seen = set(spelled[reference])
    if len(seen) < 2:
        raise RequestError(f"Expected two classes or more, but all {reference} rows are '{seen.pop()}': add others.")
    names = tuple(declared) if declared is not None else _sorted(seen)
    ids = {name: index for index, name in enumerate(names)}
    for split, labels in spelled.items():
        for index, name in enumerate(labels):
            if name not in ids:
                came = f"{_place(split)(index)} has '{name}'{nearest(name, list(names[:20]))}"
                raise RequestError(f"Expected a label that {reference} has, but {came}: correct it.")
    return names, {split: [ids[name] for name in labels] for split, labels in spelled.items()}


def _spelled(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _sorted(names: set[str]) -> tuple[str, ...]:
    numbers = {name: data.as_number(name) for name in names}
    by_number = all(number is not None for number in numbers.values())
    return tuple(sorted(names, key=lambda name: (numbers[name] if by_number else 0.0, name)))
