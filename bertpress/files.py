"""Atomic writes: a temporary name, fsync, rename. A killed process leaves no half file and no half folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bertpress.errors import RequestError


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one step; the folder is created."""
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_file(path: Path | None, flag: str = "--out") -> None:
    """Refuse a folder where a file is to be written, and a place that takes none, before anything is computed.

    Raises:
        RequestError: names the flag.
    """
    if path is None:
        return
    try:
        if path.is_dir():
            raise RequestError(f"{flag} expects a file, but {path} is a folder.")
        there = next(folder for folder in path.absolute().parents if folder.exists())
        with tempfile.NamedTemporaryFile(dir=there, prefix=f".{path.name}."):
            pass
    except OSError as error:
        raise RequestError(f"{flag} names {path}, which cannot be written ({error.strerror}); name another.") from None


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield the name of a file to write; it takes the name `path` only if all went well. The folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON in one step."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: there is no such file.
        ValueError: it is not JSON.
    """
    return json.loads(path.read_text(encoding="utf-8"))


def is_sweep(run: Path) -> bool:
    """Whether a run's folder is that of a sweep, whose best cell stands for it."""
    return (run / "summary.json").is_file()


def best_cell(sweep: Path) -> Path:
    """The folder of a swept run's best cell.

    Raises:
        RequestError: the sweep's summary names none of its cells.
    """
    summary = sweep / "summary.json"
    with reading(summary, "run the sweep again"):
        best = read_json(summary).get("best")
    cells = {f"cells/{folder.name}": folder for folder in (sweep / "cells").glob("*")}
    if not isinstance(best, str) or best not in cells:
        raise RequestError(f"{summary} names no best cell: run the sweep until a cell has finished")
    return cells[best]


@contextmanager
def reading(path: Path, remedy: str) -> Iterator[None]:
    """Say which file is damaged, and what to do, where what is read inside turns out to be something else.

    Raises:
        RequestError: names the file.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RequestError(f"{path} is damaged ({type(error).__name__}: {reason}); {remedy}.") from None


def digest(*parts: bytes | Path) -> str:
    """The SHA-256 of a list of byte strings and files, which a shift of their borders changes, in 64 digits."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, bytes):
            total.update(hashlib.sha256(part).digest())
            continue
        with part.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def content_digest(path: Path) -> str:
    """The SHA-256 of a file's content, as `sha256sum` tells it; of a folder, of its files' names and contents."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return digest(*(part for file in files for part in (str(file.relative_to(path)).encode(), file)))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The files that are not what they were, or new, or gone; both arguments are paths with digests, in one order.

    Files of the same contents in the same order count as the same, wherever they lie.
    """
    if list(before.values()) == list(now.values()):
        return []
    return [name for name in {**now, **before} if before.get(name) != now.get(name)]


@contextmanager
def usable(folder: Path) -> Iterator[None]:
    """Say so if a folder cannot be made or looked into; that a disk is full is no fault of its name.

    Raises:
        RequestError: asks for another one.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RequestError(f"{folder} cannot be made: {error.strerror}; choose another --out.") from None


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes the name `path` (replacing what stood there) only if all went well.

    What was written before an error is removed: on a full disk it would be in the way of the next attempt.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        sync_folder(temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if path.exists():
        shutil.rmtree(path)
    temporary.replace(path)


def cache_root() -> Path:
    """Where what can be made again is kept: BERTPRESS_CACHE, or bertpress in the user's cache."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("BERTPRESS_CACHE") or user / "bertpress")


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of an existing file; False if another process has it. It goes when its process does, killed or not.

    Where there are no such locks (Windows, some network drives) nothing is held.
    """
    with path.open("rb") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except (ImportError, OSError):
            pass
        yield True


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made, waiting for it if need be; where there are no locks, hold nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except (ImportError, OSError):
            pass
        yield


def sync_folder(folder: Path) -> None:
    """Force every file of `folder` to disk."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
