"""Tables of rows in files: a folder with a file per split, as parquet, jsonl, csv or tsv. Lines count from 1."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.corpus.reading import decode, json_row, parquet_file
from bertpress.errors import RequestError, beside, no_file

if TYPE_CHECKING:
    from datasets import Dataset

SPLIT_STEMS: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "dev", "val"),
    "test": ("test",),
}


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
    names = {split: [f"{stem}{suffix}" for stem in stems[split] for suffix in READERS] for split in stems}
    return one_each(folder, {split: [folder / name for name in names[split]] for split in names})


def one_each(folder: Path, files: Mapping[str, Sequence[Path]]) -> dict[str, Path]:
    """The file of each split that is there, of those that it may be; a split without a file is left out.

    Raises:
        RequestError: two files for a split.
    """
    there = {split: [path for path in paths if path.is_file()] for split, paths in files.items()}
    for split, paths in there.items():
        if len(paths) > 1:
            several = " and ".join(str(path.relative_to(folder)) for path in paths)
            raise RequestError(f"Expected one {split} file in {folder}, found {several}: remove all but one.")
    return {split: paths[0] for split, paths in there.items() if paths}


def held(folder: Path) -> str:
    """What a folder holds, in a few words."""
    return ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "an empty folder"


def no_splits(
    folder: Path, stems: Mapping[str, Sequence[str]] = SPLIT_STEMS, original: str | None = None
) -> RequestError:
    """The error for a folder that holds no file named after a split, nor the `original` files of a data set."""
    names = " or ".join(names[0] for names in stems.values())
    names = f"{names} as {', '.join(READERS)}" + (f", or {original}," if original else "")
    kind = " (sentences with tags: add --kind tagging)" if any(folder.glob("*.conll")) else ""
    return RequestError(f"Expected {names} in {folder}, found {held(folder)}: rename your files so{kind}.")


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
    return decode(path, _read_bytes(path).removeprefix(codecs.BOM_UTF8))


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise no_file(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RequestError(f"Expected a readable file at {path}, got '{error.strerror}': check it.") from error
    if not data.strip():
        raise RequestError(f"Expected rows in {path}, but the file is empty: add rows or remove it.")
    return data


def _read_parquet(path: Path) -> Any:
    import pyarrow

    with parquet_file(path, _read_bytes(path)) as file:
        table = file.read()
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


def records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a file with csv quoting but blank ones, each with the line on which it starts."""
    csv.field_size_limit(2**31 - 1)  # the default refuses texts over 131,072 characters
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    line = 1  # where the next record starts
    try:
        for record in reader:
            if record:
                yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        expected = f"Expected fields quoted as in CSV on line {line} of {path}, got '{error}'"
        raise RequestError(f"{expected}: quote whole fields and double the quotes inside.") from error


def below_header(path: Path, delimiter: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The names of the columns of a file with csv quoting, and its other records, each with the line of its start.

    Raises:
        RequestError: a name comes twice, or a record has another number of fields.
    """
    found = records(path, delimiter)
    _, header = next(found, (1, []))
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise RequestError(f"Expected different column names in {path}, but '{twice}' comes twice: rename one.")

    def checked() -> Iterator[tuple[int, list[str]]]:
        for line, row in found:
            if len(row) != len(header):
                expected = f"Expected {len(header)} fields as in the header on line {line} of {path}"
                raise RequestError(f"{expected}, got {len(row)}: quote fields that hold {delimiter!r} or quotes.")
            yield line, row

    return header, checked()


def _read_delimited(path: Path, delimiter: str) -> Any:
    header, found = below_header(path, delimiter)
    rows = [row for _, row in found]
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
