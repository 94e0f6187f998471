"""Text files, also gzipped, with errors that say what is wrong with one."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO, cast

from bertpress.errors import RequestError, no_file


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """A text file, also gzipped.

    Raises:
        RequestError: there is none, or it is broken; also for what turns out while it is read.
    """
    try:
        with cast(TextIO, _open(path, "rt", encoding="utf-8-sig")) as file:
            yield file
    except FileNotFoundError:
        raise no_file(path) from None
    except UnicodeDecodeError:
        with _open(path, "rb") as lines:
            number = next((number for number, line in enumerate(lines, start=1) if not _is_text(line)), 1)
        raise RequestError(
            f"Expected UTF-8 text in {path}, but line {number} holds other bytes: save the file as UTF-8."
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise RequestError(
            f"Expected a whole gzip file at {path}, but it is broken or cut off: copy it anew."
        ) from None


def _open(path: Path, mode: str, **options: Any) -> IO[Any]:
    return cast(IO[Any], (gzip.open if path.suffix.lower() == ".gz" else open)(path, mode, **options))


def _is_text(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
