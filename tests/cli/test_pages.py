"""What the pages on checks and plans say is run as it stands there, on the tiny model; that on exports: test_export."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from made_runs import make_composed_run

from .conftest import Outcome, commands_of

pytestmark = pytest.mark.usefixtures("quick")
Call = Callable[..., Outcome]


@pytest.fixture
def place(model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the data, a teacher, and what was made of it; models and runs as the pages name them."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data, "data")
    task = {"files": "data", "columns": ["text"], "label": "label"}
    for run in ("small", "teacher"):
        folder = make_composed_run(Path("runs") / run, model=str(model), task=task, max_length=32)
        for step in ("00-theseus", "01-trbert"):
            shutil.copytree(model, folder / step / "model")
        shutil.copytree(model, Path("served") / run)
    return tmp_path


def test_checks(bertpress: Call, place: Path) -> None:
    of_runs, of_models = commands_of("checking")
    outcome = bertpress(*of_runs, "--quiet")
    broken = [line.split(" is broken")[0] for line in outcome.lines]
    assert (outcome.code, broken) == (3, ["bertpress: min-speedup 1.5"]), outcome.err
    kept = bertpress(*of_models, "--max-length", 32, "--quiet")
    assert (kept.code, kept.err) == (0, "")
    assert "max-drop 1 is kept" in " ".join(kept.out.split())


def test_plans(bertpress: Call, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bertpress.advising import timing

    monkeypatch.setattr(timing, "SECONDS", 0.01)
    monkeypatch.setattr(timing, "int8_factor", lambda *_: 0.1)  # it has a test of its own, in which a graph is traced
    for arguments in commands_of("planning"):
        outcome = bertpress(*arguments, "--device", "cpu", "--quiet")
        assert outcome.code == 0, outcome.err
        assert "as it is" in outcome.out
    planned = bertpress("compress", "plan.yaml", "--out", "runs/planned", "--dry-run", "--device", "cpu", "--quiet")
    assert planned.code == 0, planned.err
    assert not (place / "runs" / "planned").exists()
    assert "min_speedup: 3" in Path("plan.yaml").read_text()
