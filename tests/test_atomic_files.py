from __future__ import annotations

import hashlib
from pathlib import Path

from bertpress.files import changed_files, content_digest


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
