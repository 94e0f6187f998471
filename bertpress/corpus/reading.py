"""Sentences of plain text files, as a stream with document boundaries.

Byte order mark, carriage returns and surrounding white space are removed; lines without text are boundaries, and
several count as one. A line of more than `LONGEST` characters comes in several pieces, because a tokenizer needs
hundreds of bytes per character.
"""

from __future__ import annotations

import codecs
import glob
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from bertpress.errors import RequestError, beside, no_file, similar

LONGEST = 100_000
"""characters"""
BLOCK = 1 << 20
"""bytes that are read at once"""
OTHER_SPLITS = ("validation", "dev", "val", "test")
"""Names of files that are no training text."""
STRUCTURED = (".csv", ".tsv", ".json", ".zip", ".bz2", ".xz", ".7z", ".tar", ".arrow")
"""Suffixes of what would be read as text without being it."""


def find_files(patterns: tuple[str, ...], say: Callable[[str], None] = lambda _: None) -> list[Path]:
    """The files that are meant by paths, patterns and folders, each once, in order.

    Raises:
        RequestError: a path or pattern without a file, a folder without text, or a kind of file that is not read.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            paths = _files_of(path, say)
        elif path.exists():
            paths = [path]
        else:
            paths = [Path(name) for name in sorted(glob.glob(pattern, recursive=True)) if Path(name).is_file()]
        if not paths:
            raise RequestError(f"Expected text files at {pattern}, found none{beside(path)}: give existing files.")
        for path in paths:
            if suffix_of(path) in STRUCTURED:
                raise RequestError(
                    f"Expected text, .jsonl or .parquet, got {path}: convert it (a .jsonl file has a row a line)."
                )
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _files_of(folder: Path, say: Callable[[str], None]) -> list[Path]:
    """The training text of a folder: files named train, else all that are not named after another split."""
    paths = [path for path in sorted(folder.iterdir()) if path.is_file() and suffix_of(path) in (".txt", *READERS)]
    others = [path for path in paths if path.name.split(".")[0] in OTHER_SPLITS]
    train = [path for path in paths if path.name.startswith("train")] or [path for path in paths if path not in others]
    if left := ", ".join(path.name for path in paths if path not in (*train, *others)):
        say(f"Of {folder}, {', '.join(path.name for path in train)} is read and {left} is not.")
    return train


def suffix_of(path: Path) -> str:
    """The suffix, without that of compression."""
    return path.with_suffix("").suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def read_lines(path: Path, column: str = "text") -> Iterator[str | None]:
    """The sentences of a file in order, with None between two documents (never first, last or twice).

    Args:
        path: text, .jsonl or .parquet, also gzipped.
        column: of the text in .jsonl and .parquet files. A row with a blank line inside is a document of its own;
            other rows are lines like those of a text file, so that an empty row separates documents.

    Raises:
        RequestError: not readable, not UTF-8 (names the line), binary, no such column.
    """
    boundary = started = False
    try:
        for line in READERS.get(suffix_of(path), _text_lines)(path, column):
            text = line.strip()
            if not text:
                boundary = started
                continue
            if boundary:
                yield None
                boundary = False
            started = True
            yield from cut(text)
    except FileNotFoundError:
        raise no_file(path) from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise RequestError(
            f"Expected a whole gzip file at {path}, but it is broken or cut off: copy it anew."
        ) from None
    except PermissionError as error:
        raise RequestError(f"Expected a readable file at {path}, got '{error.strerror}': check it.") from None


def cut(text: str) -> Iterator[str]:
    """The text in pieces of at most `LONGEST` characters, cut at white space where there is any."""
    start = 0
    while len(text) - start > LONGEST:
        end = text.rfind(" ", start + 1, start + LONGEST + 1)
        end = end if end > 0 else start + LONGEST
        yield text[start:end].rstrip()
        start = end + (len(text[end : end + LONGEST]) - len(text[end : end + LONGEST].lstrip()))
    if start < len(text):
        yield text[start:].strip() if start else text


def _text_lines(path: Path, column: str) -> Iterator[str]:
    for _, line in _numbered_lines(path):
        yield line


def _numbered_lines(path: Path, longest: int = 4 * LONGEST) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1; one of more than `longest` bytes and a block comes in parts."""
    number, rest = 1, b""
    with _opened(path) as file:
        while block := file.read(BLOCK):
            data = rest + block
            end = data.rfind(b"\n") + 1
            if not end and len(data) > longest:
                end = data.rfind(b" ") + 1 or _whole_characters(data)
            rest = data[end:]
            yield from _decoded(path, data[:end], number)
            number += data.count(b"\n", 0, end)
        yield from _decoded(path, rest, number)


def decode(path: Path, data: bytes, number: int = 1) -> str:
    """The text of lines of a file.

    Args:
        number: of the first line.

    Raises:
        RequestError: no UTF-8, or binary; names the line.
    """
    bad = data.find(b"\0")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = error.start if bad < 0 else min(bad, error.start)
    if bad >= 0:
        line = number + data.count(b"\n", 0, bad)
        raise RequestError(f"Expected UTF-8 text in {path}, but line {line} holds other bytes: save the file as UTF-8.")
    return text


def _decoded(path: Path, data: bytes, number: int) -> Iterator[tuple[int, str]]:
    if not data:
        return
    lines = decode(path, data, number).split("\n")
    if data.endswith(b"\n"):
        lines.pop()
    yield from enumerate(lines, start=number)


def _whole_characters(data: bytes) -> int:
    """Where the last character begins, which may be cut off; the end if these bytes are no UTF-8."""
    last = range(len(data) - 1, max(0, len(data) - 5), -1)
    return next((index for index in last if data[index] & 0xC0 != 0x80), len(data))


def _opened(path: Path) -> IO[bytes]:
    file = cast(IO[bytes], gzip.GzipFile(path)) if path.suffix.lower() == ".gz" else path.open("rb")
    if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
        file.seek(0)
    return file


def json_row(line: str, number: int, path: Path) -> dict[str, Any]:
    """The row that a line of a .jsonl file holds.

    Raises:
        RequestError: no JSON object; names the line.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        came = line.strip()[:40]
        raise RequestError(f"Expected a JSON object on line {number} of {path}, got {came!r}: write a row a line.")
    return row


def _jsonl_lines(path: Path, column: str) -> Iterator[str]:
    whole = 1 << 62  # a row cannot be read in parts
    for number, line in _numbered_lines(path, longest=whole):
        if not line.strip():
            continue
        row = json_row(line, number, path)
        if column not in row:
            raise _no_column(column, list(row), f"line {number} of {path}")
        yield from _lines_of(row[column], f"line {number} of {path}", column)


@contextmanager
def parquet_file(path: Path, data: bytes | None = None) -> Iterator[Any]:
    """A parquet file to be read piece by piece, or from its content where that was read.

    Raises:
        RequestError: it is broken, or none.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        source = path if data is None else pyarrow.BufferReader(data)
        with pyarrow.parquet.ParquetFile(source, buffer_size=BLOCK, pre_buffer=False) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise RequestError(f"Expected a parquet file at {path}, but it cannot be read: write it anew.") from None


def _parquet_lines(path: Path, column: str) -> Iterator[str]:
    with parquet_file(path) as file:
        if column not in file.schema_arrow.names:
            raise _no_column(column, file.schema_arrow.names, str(path))
        number = 0
        for batch in file.iter_batches(batch_size=256, columns=[column]):
            for value in batch.column(0).to_pylist():
                number += 1
                yield from _lines_of(value, f"row {number} of {path}", column)


def _lines_of(value: object, where: str, column: str) -> Iterator[str]:
    if value is not None and not isinstance(value, str):
        raise RequestError(f"Expected text in '{column}', but {where} holds a {type(value).__name__}: name another.")
    lines = (value or "").strip().split("\n")
    is_document = any(not line.strip() for line in lines) and len(lines) > 1
    yield from ["", *lines, ""] if is_document else lines


def _no_column(column: str, found: list[str], where: str) -> RequestError:
    return RequestError(f"Expected a column '{column}' in {where}, found {', '.join(found)}{similar(column, found)}.")


READERS: Mapping[str, Callable[[Path, str], Iterator[str]]] = {".jsonl": _jsonl_lines, ".parquet": _parquet_lines}
