"""Requests of multihop and candidates that are wrong: refused with the record, nothing left behind; and good ones."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from token_tasks import HEADS, candidates_of, hops_of

from .conftest import FOLDERS, Outcome
from .test_bad_input import refused

Ask = Callable[..., Outcome]
pytestmark = pytest.mark.usefixtures("quick")
TEXT = "the house is bright day"
ROWS = {"multihop": hops_of(1, TEXT, "good"), "candidates": candidates_of(1, TEXT, "good")}


def data_of(folder: Path, kind: str, **fields: Any) -> Path:
    """Good rows and a changed one, as training and as validation rows."""
    folder.mkdir()
    good = [{**copy.deepcopy(ROWS[kind]), "_id": f"g{number}", "id": f"g{number}"} for number in range(3)]
    rows = [*good, {**good[0], "_id": "odd", "id": "odd", **fields}]
    for split in ("train", "validation"):
        (folder / f"{split}.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


REFUSED: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "a fact in no paragraph": ("multihop", {"supporting_facts": [["the hose", 0]]}, ["(odd)", "'the hose'", "house"]),
    "a fact in no sentence": ("multihop", {"supporting_facts": [["the house", 2]]}, ["(odd)", "sentence 2", "has 2"]),
    "no facts": ("multihop", {"supporting_facts": None}, ["'supporting_facts'", "(odd)"]),
    "no paragraphs": ("multihop", {"context": []}, ["paragraphs", "(odd)"]),
    "no answer": ("multihop", {"answer": None}, ["'answer'", "(odd)"]),
    "an id again": ("multihop", {"_id": "g1"}, ["has 'g1' again"]),
    "an answer that is no candidate": ("candidates", {"answer": "goood"}, ["(odd)", "'goood'", "did you mean 'good'"]),
    "no candidates": ("candidates", {"candidates": []}, ["candidates", "(odd)"]),
    "candidates missing": ("candidates", {"candidates": None}, ["candidates", "(odd)"]),
    "too many candidates": ("candidates", {"candidates": ["good", *"abcdefghij"] * 8}, ["79", "odd", "88"]),
    "no room for candidates": ("candidates", {"candidates": ["good", *"abcdef"] * 3}, ["room", "odd", "--max-length"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_data(case: str, ask: Ask, tmp_path: Path) -> None:
    kind, fields, fragments = REFUSED[case]
    data = data_of(tmp_path / "data", kind, **fields)
    refused(ask("evaluate", kind, data=data), *fragments)
    refused(ask("finetune", kind, data=data), *fragments)


SETTINGS: dict[str, tuple[str, list[str], list[str]]] = {
    "an unknown field": ("multihop", ["--set", "task.multihop.longest_answers=3"], ["longest_answer"]),
    "no sentences": ("multihop", ["--set", "task.multihop.max_sentences=0"], ["task.multihop.max_sentences", "1"]),
    "fields of another kind": ("multihop", ["--set", "task.candidates.segments=2"], ["task.candidates", "is multihop"]),
    "no segments": ("candidates", ["--set", "task.candidates.segments=0"], ["task.candidates.segments", "1"]),
    "no labels": ("candidates", ["--unlabelled"], ["not the kind candidates"]),
    "columns": ("multihop", ["--columns", "ask,text"], ["fixed names", "--columns"]),
    "a column of answers": ("candidates", ["--label", "reply"], ["fixed names", "--label"]),
    "too short for a question": ("multihop", ["--max-length", "5"], ["at least 7 tokens", "max_length 5"]),
    "too short for candidates": ("candidates", ["--max-length", "5"], ["at least 10 tokens", "max_length 5"]),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings(case: str, ask: Ask) -> None:
    kind, flags, fragments = SETTINGS[case]
    refused(ask("finetune", kind, *flags), *fragments)


@pytest.mark.parametrize(("kind", "other"), [("multihop", "qa"), ("candidates", "tagging"), ("multihop", "candidates")])
def test_a_model_with_another_head(kind: str, other: str, ask: Ask, folder_of: Callable[..., Path]) -> None:
    refused(ask("evaluate", kind, model=folder_of("bert", HEADS[other], other)), "fine-tune")


@pytest.mark.parametrize("family", ["modernbert", "deberta-v2"])
def test_architectures_without_such_a_head(family: str, ask: Ask, folder_of: Callable[..., Path]) -> None:
    for command in ("finetune", "evaluate"):
        refused(ask(command, "multihop", model=folder_of(family)), f"no compact {family}", "its attention")


def test_own_texts(
    bertpress: Callable[..., Outcome], folder_of: Callable[..., Path], token_folder: Path, tmp_path: Path
) -> None:
    hops, chooser = (folder_of("bert", HEADS[kind], kind) for kind in ("multihop", "candidates"))
    given = ["--text", "the day", "--text-pair", "the house\nis bright\n\nthe road", "--max-length", 48]
    outcome = bertpress("predict", hops, *given, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    (row,) = map(json.loads, outcome.out.splitlines())
    assert {"prediction", "kind", "supporting_facts"} <= row.keys()
    fresh, data = tmp_path / "trained", token_folder / FOLDERS["candidates"]
    line = ["--task", "files", "--data-dir", data, "--kind", "candidates", "--max-length", 32, "--device", "cpu"]
    line += ["--out", fresh, "--set", "training.max_steps=2", "--no-baseline", "--quiet"]
    trained = bertpress("finetune", "--model", chooser, *line)
    assert trained.code == 0, trained.err
    refused(bertpress("predict", fresh, "--text", "the day", "--device", "cpu"), "chooses among candidates")


@pytest.mark.parametrize("kind", ["multihop", "candidates"])
def test_predictions_are_written_in_the_published_form(kind: str, ask: Ask, tmp_path: Path) -> None:
    outcome = ask("predict", kind, "--split", "validation")
    assert outcome.code == 0, outcome.err
    content = json.loads((tmp_path / "out" / "validation_predictions.json").read_text())
    assert len(content["answer"] if kind == "multihop" else content) == 32
