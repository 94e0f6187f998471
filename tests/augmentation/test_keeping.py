"""Augmented rows that one run makes for others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_tokenizer

from bertpress.augmentation import Augmentation, augmenting
from bertpress.augmentation.job import Job, Source
from bertpress.augmentation.keeping import place_of
from bertpress.engine.run import Runtime

from .test_augmenting import pair_task, rows_in


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("BERTPRESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "augmentation"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders for which rows were made, not copied."""
    folders: list[Path] = []
    make = augmenting._make

    def noted(job: Job, folder: Path) -> None:
        folders.append(folder)
        make(job, folder)

    monkeypatch.setattr(augmenting, "_make", noted)
    return folders


def job(said: list[str] | None = None, model: str = "teacher", device: str = "cpu", **fields: Any) -> Job:
    embeddings = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    runtime = Runtime(device=device, **({} if said is None else {"say": said.append}))
    settings = Augmentation(**{"samples": 3, **fields})
    return Job.of(pair_task(), settings, Source(model, make_tokenizer(), lambda: embeddings), runtime)


def test_a_second_run_takes_what_the_first_has_made(kept: Path, made: list[Path], tmp_path: Path) -> None:
    said: list[str] = []
    first = augmenting.augment(job(), tmp_path / "one", reuse=True)
    second = augmenting.augment(job(said), tmp_path / "two", reuse=True)
    assert made == [tmp_path / "one"]
    assert second == first
    assert rows_in(tmp_path / "two") == rows_in(tmp_path / "one")
    assert rows_in(tmp_path / "two", "validation") == rows_in(tmp_path / "one", "validation")
    assert said == [f"augmented rows from {place_of(job())}"]
    assert not list(kept.glob(".*"))
    augmenting.augment(job(), tmp_path / "two", reuse=True)  # it is finished
    assert made == [tmp_path / "one"]


@pytest.mark.parametrize("other", [{"seed": 7}, {"samples": 4}, {"model": "another"}])
def test_other_rows_are_made_anew(other: dict[str, Any], made: list[Path], tmp_path: Path) -> None:
    augmenting.augment(job(), tmp_path / "one", reuse=True)
    augmenting.augment(job(**other), tmp_path / "two", reuse=True)
    assert made == [tmp_path / "one", tmp_path / "two"]


def test_rows_of_another_kind_of_device_lie_elsewhere() -> None:
    assert place_of(job(device="cuda:1")) == place_of(job(device="cuda:0")) != place_of(job())


@pytest.mark.parametrize("name", ["train.parquet", "manifest.json", "digests.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_a_damaged_cache_is_made_anew(name: str, content: bytes | None, made: list[Path], tmp_path: Path) -> None:
    first = augmenting.augment(job(), tmp_path / "one", reuse=True)
    file = place_of(job()) / name
    file.unlink() if content is None else file.write_bytes(content)
    assert augmenting.augment(job(), tmp_path / "two", reuse=True) == first
    assert made == [tmp_path / "one", tmp_path / "two"]
    assert augmenting.augment(job(), tmp_path / "three", reuse=True) == first
    assert made == [tmp_path / "one", tmp_path / "two"]
    assert rows_in(tmp_path / "three") == rows_in(tmp_path / "one")


def test_a_cache_that_cannot_be_written_is_told(kept: Path, made: list[Path], tmp_path: Path) -> None:
    kept.parent.mkdir()
    kept.write_text("a file in its place")
    said: list[str] = []
    augmenting.augment(job(said), tmp_path / "one", reuse=True)
    assert made == [tmp_path / "one"]
    assert any(line.startswith("the augmented rows are not kept for other runs") for line in said)
    assert json.loads((tmp_path / "one" / "manifest.json").read_text())["rows"] == len(rows_in(tmp_path / "one"))


def test_the_command_keeps_nothing(kept: Path, tmp_path: Path) -> None:
    augmenting.augment(job(), tmp_path / "one")
    assert not kept.exists()
