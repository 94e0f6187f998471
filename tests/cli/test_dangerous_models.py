"""A model whose weights or code would run what its maker wants: every command that takes a model refuses it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer.main

from bertpress import cli
from bertpress.engine.loading import load_config
from bertpress.methods import METHODS
from bertpress.methods.yoco.options import Options, resolve
from bertpress.methods.yoco.super_network import About, distribution_over

from .conftest import Outcome

TASK = "--task files --data-dir DATA --columns text --max-length 32 --device cpu --quiet"
TRAINED = f"--model BAD {TASK} --out OUT"
COMMANDS = {
    **{method.name: f"{method.name} {TRAINED}" for method in METHODS},
    "compress": f"compress demo-theseus {TRAINED}",
    "pretrain": "pretrain --model BAD --corpus TEXT --max-length 32 --out OUT --device cpu --quiet",
    "evaluate": f"evaluate BAD {TASK}",
    "predict": "predict BAD --text good",
    "measure": f"measure BAD {TASK}",
    "measure against": f"measure GOOD --against BAD {TASK}",
    "check": f"check BAD --against GOOD --max-drop 1 {TASK}",
    "check against": f"check GOOD --against BAD --max-drop 1 {TASK}",
    "plan": f"plan BAD --macs 50% {TASK}",
    "export": "export BAD --out OUT",
    "export task": f"export BAD --out OUT {TASK}",
    "push": "push BAD --to me/small",
    "search": f"search BAD --out OUT {TASK}",
    "augment": "augment --model BAD --task files --data-dir DATA --columns text --out OUT --device cpu --quiet",
    "calibrate": f"calibrate SKIPPING --profile half --macs 0.5 {TASK}",
    "explain": "explain SKIPPING --text good",
}
WITHOUT_MODEL = {"demo", "list", "show", "report"}
ELSEWHERE = {"import"}
"""tests/importing has files of the originals"""


class Dangerous:
    """Leaves a file in the working folder when it is read as a pickle."""

    def __reduce__(self) -> Any:
        return (exec, ("open('executed', 'w').close()",))


def dangerous(model: Path, folder: Path) -> Path:
    """A copy of a model whose weights are such a pickle alone; it could be a super-network, too."""
    shutil.copytree(model, folder)
    (folder / "model.safetensors").unlink()
    torch.save({"classifier.weight": Dangerous()}, folder / "pytorch_model.bin")
    return folder


def foreign(model: Path, folder: Path) -> Path:
    """A copy of a model of an architecture that nobody knows, which brings code."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "theirs.Config", "AutoModelForSequenceClassification": "theirs.Model"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "theirs", "auto_map": classes}))
    (folder / "theirs.py").write_text("open('executed', 'w').close()\nclass Config: ...\nclass Model: ...\n")
    return folder


@pytest.fixture
def places(model: Path, reduced: Path, data: Path, tmp_path: Path) -> dict[str, Path]:
    """What the words of a command line stand for."""
    (tmp_path / "text.txt").write_text("the film was good\n" * 20)
    bad = dangerous(model, tmp_path / "bad")
    space = resolve(Options(), load_config(str(bad)))
    About(space, distribution_over(space), {"layers": [0, 1, 2, 3]}, {}).write(bad)
    found = {"BAD": bad, "SKIPPING": dangerous(reduced, tmp_path / "skipping"), "GOOD": model, "DATA": data}
    return {**found, "TEXT": tmp_path / "text.txt", "OUT": tmp_path / "out"}


def test_every_command_is_listed() -> None:
    registered = set(typer.main.get_command(cli.app).commands)
    assert registered - WITHOUT_MODEL - ELSEWHERE == {name.split()[0] for name in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_what_weights_hold(
    command: str,
    bertpress: Callable[..., Outcome],
    places: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = bertpress(*(places.get(word, word) for word in COMMANDS[command].split()))
    assert outcome.code == 2, outcome
    refused = "no folder with a model" if command == "push" else "holds more than tensors, so it is refused"
    assert refused in outcome.lines[-1]
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_the_code_of_a_model_unasked(
    command: str,
    bertpress: Callable[..., Outcome],
    places: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    there = {**places, "BAD": foreign(places["GOOD"], tmp_path / "theirs")}
    there["SKIPPING"] = there["BAD"]
    outcome = bertpress(*(there.get(word, word) for word in COMMANDS[command].split()))
    assert outcome.code == 2, outcome
    assert not (tmp_path / "executed").exists()
