"""Data sets whose records are objects: where their files lie, and their rows one after the other.

A file is a JSON list of objects, an object with such a list `data`, JSON lines (whatever their suffix is), or parquet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpress.corpus.reading import json_row, parquet_file, suffix_of
from bertpress.errors import RequestError, beside, no_file
from bertpress.files import content_digest
from bertpress.tasks import named
from bertpress.tasks.reading.json_stream import JsonStream
from bertpress.tasks.reading.text_files import opened
from bertpress.tasks.tables import SPLIT_STEMS, held, one_each

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".json", ".json.gz")
Row = tuple[Mapping[str, Any], str]
"""an object, and the words that name it in messages"""


@dataclass(frozen=True)
class PublishedSet:
    """How a data set is published; its key in a table is the name of its folder under a data root."""

    files: Mapping[str, tuple[str, ...]]
    """split to further names of its file, without suffix"""
    folders: tuple[str, ...] = ()
    """further names of the folder"""
    hub: tuple[str, str | None] | None = None
    """data set on the Hub and its configuration, if that has columns that are read"""


@dataclass(frozen=True)
class Source:
    """The rows of a split, or what a reader makes of them."""

    rows: Callable[[], Iterator[Any]]
    """gives them from the first"""
    where: str
    """names them in messages"""
    key: tuple[str, ...]
    """what they depend on"""

    def first(self, what: str = "records") -> Any:
        """The first row.

        Args:
            what: rows are called in a message.

        Raises:
            RequestError: there is none.
        """
        row = next(self.rows(), None)
        if row is None:
            raise RequestError(f"Expected {what} in {self.where}, but it holds none: add some or remove the file.")
        return row


def rows_of(path: Path) -> Iterator[Row]:
    """The objects of a file in order.

    Raises:
        RequestError: not readable, or another kind of file; names the file and the place.
    """
    readers = {".parquet": parquet_rows, ".jsonl": line_rows, ".json": _json_rows}
    if (kind := suffix_of(path)) not in readers:
        raise RequestError(f"Expected records in .json, .jsonl or .parquet, got {path}: convert it.")
    return readers[kind](path)


def parquet_rows(path: Path) -> Iterator[Row]:
    """The rows of a parquet file."""
    if not path.is_file():
        raise no_file(path)
    with parquet_file(path) as file:
        rows = (row for batch in file.iter_batches(batch_size=256) for row in batch.to_pylist())
        for number, row in enumerate(rows, start=1):
            yield row, f"row {number} of {path}"


def line_rows(path: Path) -> Iterator[Row]:
    """The objects of JSON lines, blank ones left out."""
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield json_row(line, number, path), f"line {number} of {path}"


def _json_rows(path: Path) -> Iterator[Row]:
    with opened(path) as file:
        try:
            for number, item in enumerate(_items(JsonStream(file)), start=1):
                if not isinstance(item, dict):
                    raise RequestError(f"Expected a JSON object as item {number} of {path}, got {str(item)[:40]!r}.")
                yield item, f"item {number} of {path}"
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            expected = f"Expected JSON objects in {path}, but it cannot be read ({error})"
            raise RequestError(f"{expected}: correct it, or copy it anew.") from None


def _items(stream: JsonStream) -> Iterator[Any]:
    if stream.peek() == "[":
        yield from stream.elements()
        stream.end()
    while stream.peek():
        value = stream.value()
        rows = value.get("data") if isinstance(value, dict) else None
        yield from rows if isinstance(rows, list) else [value]


def sources_of(
    name: str, published: Mapping[str, PublishedSet], data_dir: str | Path | None
) -> tuple[dict[str, Source], tuple[Path, ...]]:
    """The rows of each split, and the files that they come from, if they come from files.

    Args:
        name: a key of `published`, or `files` for the user's own.
        data_dir: one file with training rows, a folder with a file per split, or one that holds the data set's.

    Raises:
        RequestError: no such data.
    """
    own = published.get(name)
    if own is None and not data_dir:
        raise RequestError("Expected a folder or a file with questions, got neither: give --data-dir.")
    paths = named.locate((name, *(own.folders if own else ())), data_dir, lambda place: find_files(place, own))
    if paths:
        return in_files(paths, rows_of), tuple(paths.values())
    if data_dir:
        raise no_files(Path(data_dir), own)
    assert own is not None
    if own.hub is None:
        raise RequestError(f"Expected the files of {name} as its authors publish them: give --data-dir.")
    return on_hub(name, *own.hub), ()


def find_files(place: Path, published: PublishedSet | None) -> dict[str, Path]:
    """The file of each split at `place`, a folder or one file of training rows; nothing if it holds none.

    Raises:
        RequestError: no such folder or file, or two files for a split.
    """
    if place.is_file():
        return {"train": place}
    if not place.is_dir():
        raise RequestError(f"Expected a folder at {place}, found nothing{beside(place)}: give an existing folder.")
    further = published.files if published else {}
    names = {split: (*stems, *further.get(split, ())) for split, stems in SPLIT_STEMS.items()}
    return one_each(
        place, {split: [place / f"{stem}{suffix}" for stem in names[split] for suffix in SUFFIXES] for split in names}
    )


def no_files(place: Path, published: PublishedSet | None) -> RequestError:
    """The error for a folder that holds no file of a split."""
    names = ", ".join([*SPLIT_STEMS, *(stems[0] for stems in published.files.values())] if published else SPLIT_STEMS)
    return RequestError(
        f"Expected {names} as {', '.join(SUFFIXES)} in {place}, found {held(place)}: rename your files so."
    )


def in_files(paths: Mapping[str, Path], read: Callable[[Path], Iterator[Any]], *options: str) -> dict[str, Source]:
    """The rows of the file of each split.

    Args:
        read: gives those of a file.
        options: further texts on which that depends.
    """

    def source(path: Path) -> Source:
        return Source(lambda: read(path), str(path), (content_digest(path), "".join(path.suffixes[-2:]), *options))

    return {split: source(path) for split, path in paths.items()}


def _as_it_is(row: Mapping[str, Any], place: str) -> Row:
    return row, place


def on_hub(
    name: str, repository: str, config: str | None, of_row: Callable[[Mapping[str, Any], str], Any] = _as_it_is
) -> dict[str, Source]:
    """The rows of each split of a data set on the Hub.

    Args:
        name: of the task, for messages.
        config: of the repository, where it has several.
        of_row: makes something of a row and of the words that name it in messages.

    Raises:
        RequestError: it cannot be read.
    """
    hub = named.from_hub(name, repository, config)

    def source(split: str) -> Source:
        where = f"{name} {split}"

        def numbered() -> Iterator[Any]:
            for number, row in enumerate(hub[split], start=1):
                yield of_row(row, f"row {number} of {where}")

        return Source(numbered, where, (where, str(hub[split]._fingerprint)))

    return {split: source(split) for split in SPLIT_STEMS if split in hub}
