"""`bertpress vocabulary` as it is typed: from a model to predictions of the smaller one, and wrong flags."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .test_commands import files_task


@pytest.mark.slow  # two runs, each loaded again by three commands
def test_from_a_model_to_predictions(
    bertpress: Callable[..., Any], model: Path, data: Path, quick: None, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    outcome = bertpress("vocabulary", "--model", model, *files_task(data), "--out", out, "--sweep", "min_count=1,40")
    assert outcome.code == 0, outcome.err
    assert json.loads((out / "summary.json").read_text())["best"]
    for cell in (out / "cells").iterdir():
        result = json.loads((cell / "00-vocabulary" / "result.json").read_text())
        assert "embeddings: " in (cell / "report.md").read_text()
        outcome = bertpress("evaluate", cell, *files_task(data), "--json")
        assert json.loads(outcome.out)["validation"] == pytest.approx(result["metrics"]["validation"])
        outcome = bertpress("measure", cell, "--against", model, *files_task(data), "--json")
        assert [row["batch"] for row in json.loads(outcome.out)] == [1, 32]
    outcome = bertpress("predict", out, "--text", "the film was a good one")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--epochs", "2"), "Nothing is trained here, so --epochs sets nothing; leave it out."),
        (("--phases", "training"), "There is no phase 'training' in this recipe"),
        (("--set", "tokens=3"), "have to stay"),
        (("--set", "tokens=many"), "tokens"),
        (("--set", "corpus=[nowhere]"), "Expected text files at nowhere"),
    ],
)
def test_a_wrong_request_is_refused_in_a_sentence(
    more: tuple[str, ...], words: str, bertpress: Callable[..., Any], model: Path, data: Path, tmp_path: Path
) -> None:
    outcome = bertpress("vocabulary", "--model", model, *files_task(data), "--out", tmp_path / "run", *more)
    assert outcome.code == 2, (outcome.out, outcome.err)
    assert words in outcome.err
    assert len(outcome.lines) == 1
    assert not (tmp_path / "run").exists()
