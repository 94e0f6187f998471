"""Data sets whose records are objects: where their files lie, their rows one after the other, and records kept on disk.

A file is a JSON list of objects, an object with such a list `data`, JSON lines (whatever their suffix is), or parquet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.corpus.reading import json_row, parquet_file
from bertpress.errors import RequestError, beside
from bertpress.files import content_digest
from bertpress.tasks import named
from bertpress.tasks.reading.json_stream import JsonStream
from bertpress.tasks.reading.text_files import no_file, opened
from bertpress.tasks.stored import stored_rows
from bertpress.tasks.tables import SPLIT_STEMS, one_each

if TYPE_CHECKING:
    from datasets import Dataset

SUFFIXES = (".json", ".json.gz", ".jsonl", ".jsonl.gz", ".parquet")
Row = tuple[Mapping[str, Any], str]
"""an object, and the words that name it in messages"""
Tally = Counter[str]
"""how often something had to be mended"""


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
    """The rows of a split."""

    rows: Callable[[], Iterator[Row]]
    """gives them from the first"""
    where: str
    """names them in messages"""
    key: tuple[str, ...]
    """what they depend on"""


def rows_of(path: Path) -> Iterator[Row]:
    """The objects of a file in order.

    Raises:
        RequestError: not readable, or another kind of file; names the file and the place.
    """
    kind = path.with_suffix("").suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    readers = {".parquet": _from_parquet, ".jsonl": _from_lines, ".json": _from_json}
    if kind not in readers:
        raise RequestError(f"Expected records in .json, .jsonl or .parquet, got {path}: convert it.")
    return readers[kind](path)


def _from_parquet(path: Path) -> Iterator[Row]:
    if not path.is_file():
        raise no_file(path)
    with parquet_file(path) as file:
        rows = (row for batch in file.iter_batches(batch_size=256) for row in batch.to_pylist())
        for number, row in enumerate(rows, start=1):
            yield row, f"row {number} of {path}"


def _from_lines(path: Path) -> Iterator[Row]:
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield json_row(line, number, path), f"line {number} of {path}"


def _from_json(path: Path) -> Iterator[Row]:
    with opened(path) as file:
        items = enumerate(_items(JsonStream(file)), start=1)
        while True:
            try:  # what the caller makes of a row is not to be taken for a fault of the file
                number, item = next(items)
            except StopIteration:
                return
            except UnicodeDecodeError:
                raise
            except ValueError as error:
                expected = f"Expected JSON objects in {path}, but it cannot be read ({error})"
                raise RequestError(f"{expected}: correct it, or copy it anew.") from None
            if not isinstance(item, dict):
                raise RequestError(f"Expected a JSON object as item {number} of {path}, got {str(item)[:40]!r}.")
            yield item, f"item {number} of {path}"


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
        return {split: _in_file(path) for split, path in paths.items()}, tuple(paths.values())
    if data_dir:
        raise _no_files(Path(data_dir), own)
    assert own is not None
    if own.hub is None:
        raise RequestError(f"Expected the files of {name} as its authors publish them: give --data-dir.")
    hub = named.from_hub(name, *own.hub)
    return {split: _on_hub(hub[split], f"{name} {split}") for split in SPLIT_STEMS if split in hub}, ()


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


def _no_files(place: Path, published: PublishedSet | None) -> RequestError:
    names = ", ".join([*SPLIT_STEMS, *(stems[0] for stems in published.files.values())] if published else SPLIT_STEMS)
    held = ", ".join(sorted(path.name for path in place.iterdir())[:10]) or "an empty folder"
    return RequestError(f"Expected {names} as {', '.join(SUFFIXES)} in {place}, found {held}: rename your files so.")


def _in_file(path: Path) -> Source:
    return Source(lambda: rows_of(path), str(path), (content_digest(path), "".join(path.suffixes[-2:])))


def _on_hub(rows: Any, where: str) -> Source:
    def numbered() -> Iterator[Row]:
        for number, row in enumerate(rows, start=1):
            yield row, f"row {number} of {where}"

    return Source(numbered, where, (where, str(rows._fingerprint)))


def stored_records(
    source: Source,
    types: Mapping[str, str],
    records: Callable[[Iterable[Row], Tally], Iterator[dict[str, Any]]],
    key: Sequence[str],
) -> tuple[Dataset, Tally]:
    """The records of a split, which memory does not hold, and how often something had to be mended.

    Args:
        types: column to Arrow type.
        records: makes them of rows, and counts.
        key: what that depends on.

    Raises:
        RequestError: there are none.
    """
    tally: Tally = Counter()
    parts = (*key, *source.key)

    def rows() -> Iterator[dict[str, Any]]:
        tally.clear()
        return records(source.rows(), tally)

    def counts() -> Iterator[dict[str, Any]]:
        if not tally:  # the records were made by a process that did not come so far
            for _ in rows():
                pass
        yield {"names": list(tally), "counts": list(tally.values())}

    found = stored_rows("records", parts, types, rows)
    (told,) = stored_rows("records", (*parts, "counts"), {"names": "list<string>", "counts": "list<int64>"}, counts)
    if not len(found):
        raise RequestError(f"Expected records in {source.where}, but it holds none: add some or remove the file.")
    return found, Counter(dict(zip(told["names"], told["counts"], strict=True)))
