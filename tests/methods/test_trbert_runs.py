"""Whole runs of TR-BERT on tiny models."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import marked
import pytest
import torch
from conftest import ROWS, make_model, make_tokenizer, without_dropout
from contract.test_contract import ONE_STEP, OneStep

from bertpress.config import build
from bertpress.engine.loading import load_config
from bertpress.engine.run import Stopped
from bertpress.errors import RequestError
from bertpress.methods.trbert import TrBert, reducing, steps

pytestmark = pytest.mark.slow

STEPS = {"max_steps": 6, "batch_size": 8, "learning_rate": 1e-3}
FIELDS = {"macs": 0.6, "rollouts": 3, "policy": STEPS, "joint": STEPS}
STORED = ("rows.npy", "offsets.npy", "values.npy")


def entries(run: Path, phase: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "00-trbert" / phase / "log.jsonl").read_text().splitlines()]


def answers(run: Path) -> Any:
    """Logits of the validation rows, as they lie beside the result."""
    from pyarrow import parquet

    return parquet.read_table(run / "00-trbert" / "predictions" / "validation.parquet")["logits"].to_pylist()


# What is learned


@pytest.fixture(scope="module")
def teacher() -> Any:
    """Answers by one word among many."""
    return marked.teacher()


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("fields", [{}, {"guide_rate": 0.0}, {"selector": "gumbel"}], ids=["guided", "alone", "gumbel"])
def test_the_word_that_tells_the_class_is_kept(teacher: Any, fields: dict[str, Any], seed: int) -> None:
    found = marked.learned(teacher, seed, **fields)
    assert found["marked words kept"] > 0.95
    assert found["words kept"] < 0.26
    assert found["accuracy"] > 0.95


def test_policies_that_have_not_learned_lose_it(teacher: Any) -> None:
    """So the toy can tell a policy that learned from one that did not."""
    found = marked.learned(teacher, 1, learning_rate=1e-9, guide_rate=0.0)
    assert found["marked words kept"] < 0.6
    assert found["accuracy"] < 0.85


# Folders


@pytest.mark.parametrize("selector", ["policy", "gumbel", "threshold", "attention", "random", "first"])
def test_a_run_leaves_a_model_that_skips_tokens_and_its_log(
    carry_out: Callable[..., Path], tmp_path: Path, selector: str
) -> None:
    run = carry_out({"trbert": {**FIELDS, "selector": selector}}, tmp_path / "run")
    step = run / "00-trbert"
    result = json.loads((step / "result.json").read_text())
    assert result["method"] == "trbert"
    assert result["phases"] == (["joint"] if selector in ("attention", "random", "first") else ["policy", "joint"])
    reduction = load_config(str(step / "model")).token_reduction
    assert reduction["selector"] == {"gumbel": "policy", "threshold": "attention"}.get(selector, selector)
    assert (step / "model" / "compact_bert.py").is_file()
    for phase in result["phases"]:
        logged = entries(run, phase)
        assert any("eval_macs_share" in entry and "eval_score_in_budget" in entry for entry in logged)
        trained = selector in ("policy", "gumbel") or (selector == "threshold" and phase == "policy")
        assert any("price" in entry and "macs_share" in entry for entry in logged) == trained
    assert result["cost"]["token_reduction"]["kept"]
    assert not [path for name in STORED for path in run.rglob(name)]
    assert not list(run.rglob("part-*"))
    spent = [json.loads((step / phase / "finished.json").read_text())["seconds"] for phase in result["phases"]]
    assert result["seconds"] >= sum(spent)
    assert (run / "report.html").is_file()


def test_the_log_tells_what_policies_do(carry_out: Callable[..., Path], tmp_path: Path) -> None:
    said: list[str] = []
    run = carry_out({"trbert": {**FIELDS, "init": STEPS}}, tmp_path / "run", say=said.append)
    (share,) = [line for line in said if line.endswith("% are left, on average")]
    assert share.startswith("of a development text's multiply-adds in the layers ")
    assert any("rank_distance" in entry for entry in entries(run, "init"))
    names = {"price", "macs_share", "kept_0", "kept_1", "reward", "task_loss", "entropy", "advantage", "guided"}
    for phase in ("policy", "joint"):
        logged = [entry for entry in entries(run, phase) if "loss" in entry]
        assert all(names <= set(entry) for entry in logged)
    assert [entry["guided"] > 0 for entry in entries(run, "policy") if "guided" in entry] == [True] * 3 + [False] * 3
    policies = [
        json.loads((run / "00-trbert" / phase / "finished.json").read_text()) for phase in ("importance", "init")
    ]
    assert all(entry["seconds"] > 0 for entry in policies)


class Killed(Exception):
    """Stands for a run that is broken off."""


@pytest.fixture(scope="module")
def whole(carry_out: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing befell."""
    return carry_out({"trbert": FIELDS}, tmp_path_factory.mktemp("whole") / "run")


@pytest.mark.parametrize("phase", ["importance", "logits"])
@pytest.mark.parametrize("moment", ["before all is put together", "before it is marked"])
def test_a_run_killed_while_it_stores_goes_on_to_the_same_result(
    carry_out: Callable[..., Path],
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    phase: str,
    moment: str,
) -> None:
    from bertpress.methods.trbert import artefacts

    place = "_merge" if moment == "before all is put together" else "write_json"
    original = getattr(artefacts, place)

    def broken(path: Path, *more: Any) -> None:
        if phase in (path.name, path.parent.name):
            raise Killed
        original(path, *more)

    with monkeypatch.context() as patch:
        patch.setattr(artefacts, place, broken)
        with pytest.raises(Killed):
            carry_out({"trbert": FIELDS}, tmp_path / "run")
    assert not (tmp_path / "run" / "00-trbert" / phase / "finished.json").exists()
    carry_out({"trbert": FIELDS}, tmp_path / "run")
    files = [run / "00-trbert" / "model" / "model.safetensors" for run in (whole, tmp_path / "run")]
    assert files[0].read_bytes() == files[1].read_bytes()
    settings = [load_config(str(file.parent)).token_reduction for file in files]
    assert settings[0] == settings[1]
    assert answers(whole) == answers(tmp_path / "run")


def test_phases_one_by_one_make_the_same_result(carry_out: Callable[..., Path], whole: Path, tmp_path: Path) -> None:
    def go(*phases: str) -> None:
        carry_out({"trbert": FIELDS}, tmp_path / "run", phases=phases)

    with pytest.raises(Stopped, match="before the phase importance"):
        go("policy")
    with pytest.raises(Stopped, match="before the phase policy"):
        go("importance")
    assert (tmp_path / "run" / "00-trbert" / "importance" / "values.npy").is_file()
    with pytest.raises(Stopped, match="before the phase logits"):
        go("policy")
    with pytest.raises(Stopped, match="before the phase joint"):
        go("logits")
    go("joint")
    assert answers(whole) == answers(tmp_path / "run")


def test_policies_that_know_the_order_only_are_kept_when_a_run_goes_on(
    carry_out: Callable[..., Path], tmp_path: Path
) -> None:
    fields = {**FIELDS, "init": {**STEPS, "learning_rate": 1e-2}, "policy": None}
    whole = carry_out({"trbert": fields}, tmp_path / "whole")

    def progress(phase: str, step: int, *_: Any) -> None:
        if (phase, step) == ("joint", 2):
            raise Killed

    with pytest.raises(Killed):
        carry_out({"trbert": fields}, tmp_path / "run", progress)
    carry_out({"trbert": fields}, tmp_path / "run")
    assert answers(whole) == answers(tmp_path / "run")


@pytest.mark.parametrize("kind", ["regression", "pairs"])
def test_scores_and_pairs_of_texts(carry_out: Callable[..., Path], tmp_path: Path, kind: str) -> None:
    make_model(
        **({"id2label": {0: "score"}, "label2id": {"score": 0}} if kind == "regression" else {})
    ).save_pretrained(tmp_path / "model")
    make_tokenizer().save_pretrained(tmp_path / "model")
    for split, rows in ROWS.items():
        with (tmp_path / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(["first", "second", "label"])
            for number, (text, label) in enumerate(rows):
                half = len(text.split()) // 2 + 1
                parts = " ".join(text.split()[:half]), " ".join(text.split()[half:])
                csv.writer(file).writerow([*parts, label if kind == "pairs" else f"{number % 7}.5"])
    task = {"files": str(tmp_path), "columns": ["first", "second"]}
    run = carry_out({"trbert": FIELDS}, tmp_path / "run", task=task, model=str(tmp_path / "model"))
    metrics = json.loads((run / "00-trbert" / "result.json").read_text())["metrics"]["validation"]
    assert ("pearson" in metrics) == (kind == "regression")


# Answers


@pytest.mark.parametrize("accumulation", [4])
def test_a_joint_step_of_16_equals_four_of_4(task: Any, tmp_path: Path, accumulation: int) -> None:
    gradients = []
    for size, times in ((16, 1), (16 // accumulation, accumulation)):
        training = {**ONE_STEP, "batch_size": size, "accumulation": times}
        method = build(TrBert, {**FIELDS, "policy": None, "joint": training, "teacher": "input"})
        run = OneStep(tmp_path / str(size), None)
        method.compress(make_model(**without_dropout()), task, run)
        gradients.append(run.gradients)
    assert gradients[0].keys() == gradients[1].keys()
    assert len(gradients[0]) > 60
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Rows whose labels are known in the validation split alone."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for split, rows in ROWS.items():
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            labelled = split == "validation"
            csv.writer(file).writerow(["text", "label"] if labelled else ["text"])
            csv.writer(file).writerows([(text, label) if labelled else (text,) for text, label in rows])
    return folder


@pytest.mark.parametrize("fields", [{}, {"selector": "gumbel"}, {"selector": "attention"}])
def test_without_labels_the_teacher_answers(
    carry_out: Callable[..., Path], texts: Path, tmp_path: Path, fields: dict[str, Any]
) -> None:
    task = {"files": str(texts), "columns": ["text"], "unlabelled": True}
    run = carry_out({"trbert": {**FIELDS, **fields}}, tmp_path / "run", task=task)
    assert json.loads((run / "00-trbert" / "result.json").read_text())["metrics"]["validation"]
    with pytest.raises(RequestError, match="trbert needs labels, but the training rows have none"):
        carry_out({"trbert": {**FIELDS, "teacher": "none"}}, tmp_path / "none", task=task)


@pytest.mark.parametrize("teacher", ["input", "none", "folder"])
def test_teachers_of_the_joint_phase(
    carry_out: Callable[..., Path], tmp_path: Path, teacher: str, folder_of: Callable[[str], Path]
) -> None:
    if teacher == "folder":
        make_model(seed=5).save_pretrained(tmp_path / "other")
        make_tokenizer().save_pretrained(tmp_path / "other")
        teacher = str(tmp_path / "other")
    run = carry_out({"trbert": {**FIELDS, "policy": None, "teacher": teacher}}, tmp_path / "run")
    assert (run / "00-trbert" / "logits").exists() == (teacher != "none")


def test_a_masked_language_model_takes_the_teacher_along(
    carry_out: Callable[..., Path],
    tiny_text_task: dict[str, Any],
    folder_of: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other tokens are masked in each epoch, so nothing that it answers can be stored; fitted to some of the rows."""
    monkeypatch.setattr(reducing, "FITTED_ROWS", 8)
    monkeypatch.setattr(steps, "FITTED_ROWS", 8)
    fields = {**FIELDS, "always_keep": ["mask"], "min_tokens": 4}
    model = str(folder_of("bert", "masked-lm"))
    run = carry_out({"trbert": fields}, tmp_path / "run", task=tiny_text_task, model=model)
    assert not (run / "00-trbert" / "logits").exists()
    reduction = load_config(str(run / "00-trbert" / "model")).token_reduction
    assert reduction["always_keep"] == [make_tokenizer().mask_token_id]


# After other methods


@pytest.mark.parametrize(
    "first",
    [
        {"theseus": {"successor_layers": 3, "replacing": STEPS}},
        {"tinybert": {"layers": 3, "intermediate": STEPS, "prediction": STEPS, "teacher_check": False}},
        {"tinybert": {"shape": {"layers": 4, "hidden_size": 12, "heads": 2, "intermediate_size": 20},
                      "intermediate": STEPS, "prediction": STEPS, "teacher_check": False}},
    ],
    ids=["theseus", "tinybert", "narrow"],
)  # fmt: skip
def test_tokens_are_skipped_in_what_other_methods_made(
    carry_out: Callable[..., Path], tmp_path: Path, first: dict[str, Any]
) -> None:
    steps = [first, {"trbert": {**FIELDS, "macs": 0.7}}]
    run = carry_out(first, tmp_path / "run", steps=steps)
    result = json.loads((run / "01-trbert" / "result.json").read_text())
    depth = 3 if "shape" not in first.get("tinybert", {}) else 4
    assert result["layers"] == depth
    assert load_config(str(run / "01-trbert" / "model")).token_reduction["layers"] == ([1] if depth == 3 else [1, 2])
    names = [row["folder"] for row in json.loads((run / "report.json").read_text())["rows"]]
    assert names[-1] == "01-trbert"


def test_nothing_follows_token_reduction_but_finetuning(carry_out: Callable[..., Path], tmp_path: Path) -> None:
    steps = [{"trbert": FIELDS}, {"theseus": {"successor_layers": 2, "replacing": STEPS}}]
    with pytest.raises(RequestError, match="token reduction comes last"):
        carry_out(steps[0], tmp_path / "run", steps=steps)
    assert not (tmp_path / "run").exists()
    twice = [{"trbert": FIELDS}, {"trbert": FIELDS}]
    with pytest.raises(RequestError, match="skips tokens"):
        carry_out(twice[0], tmp_path / "twice", steps=twice)


def test_bfloat16_trains_too(carry_out: Callable[..., Path], tmp_path: Path) -> None:
    run = carry_out({"trbert": {**FIELDS, "policy": {**STEPS, "max_steps": 2}, "joint": {**STEPS, "max_steps": 2}}},
                    tmp_path / "run", precision="bf16")  # fmt: skip
    assert (run / "00-trbert" / "result.json").is_file()
