from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from bertpress import files
from bertpress.errors import RequestError
from bertpress.files import best_cell, changed_files, check_file, content_digest, new_file


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"text")
    assert content_digest(tmp_path / "a.txt") == hashlib.sha256(b"text").hexdigest()


def test_the_digest_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "pos").mkdir()
    (tmp_path / "pos" / "a.txt").write_bytes(b"text")
    found = {content_digest(tmp_path)}
    (tmp_path / "pos" / "a.txt").write_bytes(b"Text")
    found.add(content_digest(tmp_path))
    (tmp_path / "pos" / "a.txt").rename(tmp_path / "pos" / "b.txt")
    found.add(content_digest(tmp_path))
    assert len(found) == 3


def test_files_that_changed_are_named() -> None:
    before = {"a": "1", "b": "2"}
    assert changed_files(before, before) == []
    assert changed_files(before, {"/elsewhere/a": "1", "/elsewhere/b": "2"}) == [], "the same files, moved"
    assert changed_files(before, {"a": "1", "b": "3"}) == ["b"]
    assert changed_files(before, {"a": "1", "b": "2", "c": "3"}) == ["c"]
    assert changed_files(before, {"a": "1"}) == ["b"]
    assert changed_files(before, {"a": "2", "b": "1"}) == ["a", "b"], "swapped"


def test_what_was_written_before_an_error_is_removed(tmp_path: Path) -> None:
    (tmp_path / "c.html").write_text("as it was")
    with pytest.raises(OSError, match="disk"), new_file(tmp_path / "c.html") as file:  # noqa: PT012
        file.write_text("half of")
        raise OSError("the disk is full")
    assert [path.name for path in tmp_path.iterdir()] == ["c.html"]
    assert (tmp_path / "c.html").read_text() == "as it was"


def test_a_place_that_is_read_only_is_refused_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    check_file(tmp_path / "new" / "folder" / "c.html")
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "the trial leaves nothing"
    with pytest.raises(RequestError, match=r"--junit names .*c\.xml, which cannot be written \(Not a directory\)"):
        check_file(tmp_path / "file" / "c.xml", "--junit")
    for name in ("c" * 300, "c" * 300 + "/c.html"):
        with pytest.raises(RequestError, match=r"--out names .* which cannot be written \(File name too long\)"):
            check_file(tmp_path / name)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(files.tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(RequestError, match=r"which cannot be written \(Read-only file system\)"):
        check_file(tmp_path / "new" / "folder" / "c.html")


@pytest.mark.parametrize(
    "summary", [{}, {"best": None}, {"best": "../../other"}, {"best": "cells/.."}, {"best": "cells/b"}, [], "["]
)
def test_a_summary_names_one_of_its_own_cells(summary: Any, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    (sweep / "cells" / "a").mkdir(parents=True)
    (sweep / "summary.json").write_text(summary if isinstance(summary, str) else json.dumps(summary))
    with pytest.raises(RequestError, match=r"summary\.json"):
        best_cell(sweep)
    (sweep / "summary.json").write_text('{"best": "cells/a"}')
    assert best_cell(sweep) == sweep / "cells" / "a"
