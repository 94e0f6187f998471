"""YOCO-BERT in two processes against one: the same networks, the same distribution, the same search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_model, make_tokenizer, without_dropout
from test_two_processes import run
from together import ONE, TWO

pytestmark = pytest.mark.slow
STRATEGIES = {"sandwich": [], "single": ["--set", "strategy=single"]}


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_two_processes_train_and_search_as_one_does(strategy: str, tiny_data_folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    make_model(**without_dropout()).save_pretrained(model)
    make_tokenizer().save_pretrained(model)

    def started(processes: int, batch: int) -> Path:
        out = tmp_path / str(batch)
        flags = [
            "--model",
            model,
            "--task",
            "files",
            "--data-dir",
            tiny_data_folder,
            "--columns",
            "text",
            "--out",
            out,
            "--batch-size",
            batch,
            "--epochs",
            2,
            "--learning-rate",
            "1e-3",
            "--device",
            "cpu",
            "--max-length",
            32,
            "--set",
            "space.depth=[2,3,4]",
            "--set",
            "space.heads=[1,2]",
            "--set",
            "space.widths=[8,16,24]",
            "--set",
            "search.rounds=2",
            "--set",
            "search.candidates=6",
            "--set",
            "search.rungs=[8]",
            "--set",
            "search.held_out=0.17",
            "--no-baseline",
            "--quiet",
            *STRATEGIES[strategy],
        ]
        return run(processes, ["yoco", *map(str, flags)], out)

    two, one = started(TWO, 8), started(ONE, 16)

    def read(folder: Path, *parts: str) -> Any:
        return json.loads((folder / "00-yoco").joinpath(*parts).read_text())

    about = [read(folder, "supernet", "model", "super_network.json") for folder in (two, one)]
    thetas = [np.array(each["distribution"]["theta"]) for each in about]
    np.testing.assert_allclose(thetas[0], thetas[1], atol=1e-6)
    assert about[0]["held_out"] == about[1]["held_out"]
    found = [read(folder, "search", "found.json") for folder in (two, one)]
    assert found[0]["chosen"]["network"] == found[1]["chosen"]["network"]
    assert found[0]["chosen"]["loss"] == pytest.approx(found[1]["chosen"]["loss"], rel=1e-3)
    assert found[0]["forwards"] == found[1]["forwards"]
