"""Whole runs of TinyBERT on tiny models."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import LABELS, ROWS, make_model, make_tokenizer

from bertpress.engine.run import Stopped
from bertpress.errors import RequestError

pytestmark = pytest.mark.slow

STEPS = {"max_steps": 6, "batch_size": 8, "learning_rate": 1e-3}
FIELDS = {"layers": 2, "intermediate": STEPS, "prediction": STEPS, "teacher_check": False}


@pytest.mark.parametrize("signals", ["all", "logits", "none"])
def test_a_run_leaves_a_stock_model_and_its_log(carry_out: Callable[..., Path], tmp_path: Path, signals: str) -> None:
    run = carry_out({"tinybert": {**FIELDS, "signals": signals}}, tmp_path / "run")
    step = run / "00-tinybert"
    result = json.loads((step / "result.json").read_text())
    assert result["phases"] == ["intermediate", "prediction"]
    assert result["layers"] == 2
    logged = [json.loads(line) for line in (step / "intermediate" / "log.jsonl").read_text().splitlines()]
    assert any({"hidden_loss", "attention_loss"} <= set(entry) for entry in logged)
    assert any("eval_distance" in entry for entry in logged)
    spent = [json.loads((step / phase / "finished.json").read_text())["seconds"] for phase in result["phases"]]
    assert result["seconds"] >= sum(spent)
    assert json.loads((step / "distillation.json").read_text())["hidden"] == [[0, 0], [1, 2], [2, 4]]
    assert not (step / "signals").exists()


def test_a_general_student_brings_its_projections(carry_out: Callable[..., Path], tmp_path: Path) -> None:
    shape = {"layers": 2, "hidden_size": 12, "heads": 2, "intermediate_size": 20}
    general = {**FIELDS, "layers": None, "shape": shape, "prediction": None, "encoder_only": True}
    first = carry_out({"tinybert": general}, tmp_path / "general")
    stored = first / "00-tinybert" / "projections.safetensors"
    assert stored.is_file()
    from safetensors.torch import load_file

    assert set(load_file(stored)) == {f"{number}.{part}" for number in range(3) for part in ("weight", "bias")}
    fields = {**FIELDS, "layers": None, "student": str(first), "intermediate": {**STEPS, "learning_rate": 1e-12}}
    second = carry_out({"tinybert": fields}, tmp_path / "task")
    again = load_file(second / "00-tinybert" / "projections.safetensors")
    for name, value in load_file(stored).items():
        torch.testing.assert_close(again[name], value)


AUGMENTATION = {"samples": 2, "stopwords": "none", "replace_probability": 1.0}


def test_augmentation_makes_more_rows_once(carry_out: Callable[..., Path], tmp_path: Path) -> None:
    fields = {
        **FIELDS,
        "augmentation": AUGMENTATION,
        "intermediate": {"epochs": 1, "batch_size": 8},
        "hard_weight": 1.0,
    }
    said: list[str] = []
    run = carry_out({"tinybert": fields}, tmp_path / "run", say=said.append, max_length=64)
    made = json.loads((run / "00-tinybert" / "augmentation" / "manifest.json").read_text())
    assert made["rows"] > len(ROWS["train"]) == made["original_rows"]
    state = json.loads((run / "00-tinybert" / "intermediate" / "finished.json").read_text())
    log = [json.loads(line) for line in (run / "00-tinybert" / "intermediate" / "log.jsonl").read_text().splitlines()]
    assert max(entry["step"] for entry in log) == made["rows"] // 8 >= state["step"]
    assert f"{made['rows']} rows, {made['original_rows']} of them original" in said
    assert any(line.startswith("replaced in a copy, on average: 100.0 % of the eligible words") for line in said)
    assert not any("fewer than" in line for line in said)


def test_another_student_and_seed_take_the_same_rows(carry_out: Callable[..., Path], tmp_path: Path) -> None:
    augmentation = {**AUGMENTATION, "seed": 77}
    carry_out({"tinybert": {**FIELDS, "augmentation": augmentation}}, tmp_path / "one")
    said: list[str] = []
    fields = {**FIELDS, "layers": 3, "augmentation": augmentation}
    carry_out({"tinybert": fields}, tmp_path / "two", say=said.append, seed=5)
    assert any(line.startswith("augmented rows from") for line in said)
    first, second = (tmp_path / name / "00-tinybert" / "augmentation" / "train.parquet" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_a_step_warns_where_hardly_a_word_is_replaced(carry_out: Callable[..., Path], tmp_path: Path) -> None:
    """The default pattern leaves Chinese characters alone, so that the copies are the originals."""
    (tmp_path / "data").mkdir()
    for split in ("train", "validation"):
        rows = [f"我爱北京{'好' * number},{LABELS[number % len(LABELS)]}" for number in range(1, 17)]
        (tmp_path / "data" / f"{split}.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    said: list[str] = []
    task = {"files": str(tmp_path / "data"), "columns": ["text"]}
    carry_out({"tinybert": {**FIELDS, "augmentation": AUGMENTATION}}, tmp_path / "run", say=said.append, task=task)
    assert "16 rows, 16 of them original" in said
    assert "warning: fewer than 5 % of the words were replaced" in said


def test_a_run_stops_before_a_phase_that_was_not_asked_for(
    tiny_model_folder: Path, tiny_data_folder: Path, tmp_path: Path, quick_latency: None
) -> None:
    from bertpress.engine.run import Runtime
    from bertpress.recipe import make_recipe
    from bertpress.runs import pipeline

    values = {
        "model": str(tiny_model_folder),
        "task": {"files": str(tiny_data_folder), "columns": ["text"]},
        "steps": [{"tinybert": {**FIELDS, "augmentation": AUGMENTATION}}],
        "max_length": 32,
        "baseline": False,
    }
    job = pipeline.prepare(make_recipe(values), Runtime(device="cpu", phases=("augmentation",)))
    with pytest.raises(Stopped, match="before the phase intermediate"):
        pipeline.carry_out(job, tmp_path / "run")
    assert (tmp_path / "run" / "00-tinybert" / "augmentation" / "manifest.json").is_file()
    assert not (tmp_path / "run" / "00-tinybert" / "signals").exists()
    job = pipeline.prepare(make_recipe(values), Runtime(device="cpu", phases=("prediction",)))
    with pytest.raises(Stopped, match="before the phase intermediate"):
        pipeline.carry_out(job, tmp_path / "run")


@pytest.fixture
def texts(tmp_path: Path) -> Callable[..., Path]:
    """Rows without labels in the training split, and with some in the validation split on request."""

    def write(validation_labels: bool) -> Path:
        folder = tmp_path / "texts"
        folder.mkdir()
        for split, rows in ROWS.items():
            labelled = split == "validation" and validation_labels
            with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["text", "label"] if labelled else ["text"])
                writer.writerows([(text, label) if labelled else (text,) for text, label in rows])
        return folder

    return write


@pytest.mark.parametrize("validation_labels", [True, False])
def test_both_steps_run_without_labels(
    carry_out: Callable[..., Path], texts: Callable[..., Path], tmp_path: Path, validation_labels: bool
) -> None:
    task = {"files": str(texts(validation_labels)), "columns": ["text"], "unlabelled": True}
    run = carry_out({"tinybert": FIELDS}, tmp_path / "run", task=task)
    step = run / "00-tinybert"
    result = json.loads((step / "result.json").read_text())
    assert set(result["metrics"]) == ({"validation"} if validation_labels else set())
    assert result["labels"] == list(LABELS)
    logged = [json.loads(line) for line in (step / "prediction" / "log.jsonl").read_text().splitlines()]
    found = [entry for entry in logged if "eval_agreement" in entry]
    assert bool(found) != validation_labels
    assert all(0 <= entry["eval_agreement"] <= 1 for entry in found)
    assert (run / "report.html").is_file()


@pytest.mark.parametrize("step", [{"theseus": {}}, {"tinybert": {"hard_weight": 1.0}}])
def test_what_needs_labels_is_refused_without(
    carry_out: Callable[..., Path], texts: Callable[..., Path], tmp_path: Path, step: dict[str, Any]
) -> None:
    task = {"files": str(texts(False)), "columns": ["text"], "unlabelled": True}
    with pytest.raises(RequestError, match="needs labels, but the training rows have none"):
        carry_out(step, tmp_path / "run", task=task)


def test_masked_language_models_are_distilled(
    carry_out: Callable[..., Path], folder_of: Callable[..., Path], tiny_text_task: dict[str, Any], tmp_path: Path
) -> None:
    """DistilBERT's losses: predictions of masked words, the words themselves, and the angle of the last states."""
    fields = {"layers": 2, "intermediate": None, "prediction": STEPS, "temperature": 2.0, "prediction_loss": "kl"}
    weights = {"soft_weight": 5.0, "hard_weight": 2.0, "cosine_weight": 1.0, "teacher_check": False}
    run = carry_out(
        {"tinybert": {**fields, **weights}},
        tmp_path / "run",
        model=str(folder_of("bert", "masked-lm")),
        task=tiny_text_task,
    )
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(run / "00-tinybert" / "model")
    assert model.config.num_hidden_layers == 2
    assert torch.equal(model.cls.predictions.decoder.weight, model.bert.embeddings.word_embeddings.weight)


@pytest.mark.parametrize("augmentation", [None, AUGMENTATION])
def test_predictions_of_another_vocabulary(
    carry_out: Callable[..., Path], folder_of: Callable[..., Path], tmp_path: Path, augmentation: Any
) -> None:
    from transformers import AutoTokenizer

    fields = {"intermediate": None, "prediction": STEPS, "teacher": str(folder_of("roberta")), "teacher_check": False}
    run = carry_out({"tinybert": {**fields, "layers": 2, "augmentation": augmentation}}, tmp_path / "run")
    step = run / "00-tinybert"
    assert json.loads((step / "result.json").read_text())["layers"] == 2
    own = AutoTokenizer.from_pretrained(step / "model").get_vocab()
    assert own == AutoTokenizer.from_pretrained(folder_of("bert")).get_vocab()
    assert own != AutoTokenizer.from_pretrained(folder_of("roberta")).get_vocab()
    assert bool(augmentation) == (step / "augmentation" / "train.parquet").is_file()
    with pytest.raises(RequestError, match="have different vocabularies"):
        carry_out({"tinybert": {**fields, "intermediate": STEPS}}, tmp_path / "inside")
    assert not (tmp_path / "inside").exists()


def test_a_student_that_is_deeper_has_no_truncated_baseline(carry_out: Callable[..., Path], tmp_path: Path) -> None:
    shape = {"layers": 6, "hidden_size": 16, "heads": 2, "intermediate_size": 24}
    fields = {**FIELDS, "layers": None, "shape": shape, "layer_map": [[3, 2], [6, 4]], "attention_loss": "none"}
    run = carry_out({"tinybert": fields}, tmp_path / "run", baseline=True)
    assert json.loads((run / "00-tinybert" / "result.json").read_text())["layers"] == 6
    assert not (run / "baseline").exists()


@pytest.mark.parametrize(("signals", "kept"), [("auto", True), ("none", False)])
def test_signals_are_stored_for_others_where_a_folder_is_named(
    signals: str, kept: bool, carry_out: Callable[..., Path], tmp_path: Path
) -> None:
    few = {"max_steps": 1, "batch_size": 8, "learning_rate": 1e-3}
    fields = {**FIELDS, "intermediate": few, "prediction": few, "signals": signals}
    carry_out({"tinybert": fields}, tmp_path / "run", signals=tmp_path / "signals")
    assert (tmp_path / "signals").is_dir() == kept


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"augmentation": {"vectors": "/nowhere/glove.txt"}}, "word vectors at /nowhere/glove.txt, found none"),
        ({"augmentation": {"stopwords": "/nowhere/words.txt"}}, "/nowhere/words.txt"),
        ({"augmentation": {"masked_lm": "TEACHER"}}, "is not a masked-language model"),
        ({"teacher": "TEACHER"}, "head has 3 labels"),
    ],
)
def test_what_a_later_step_cannot_use_is_refused_before_anything_is_trained(
    fields: dict[str, Any], words: str, carry_out: Callable[..., Path], tmp_path: Path
) -> None:
    teacher = make_model(id2label=dict(enumerate("abc")), label2id={"a": 0, "b": 1, "c": 2})
    teacher.save_pretrained(tmp_path / "teacher")
    make_tokenizer().save_pretrained(tmp_path / "teacher")
    named = json.loads(json.dumps(fields).replace("TEACHER", str(tmp_path / "teacher")))
    with pytest.raises(RequestError, match=words):
        carry_out({"finetune": {"training": STEPS}}, tmp_path / "run", then={"tinybert": {**FIELDS, **named}})
    assert not (tmp_path / "run").exists()


def test_the_original_s_means_are_the_same_with_stored_signals(carry_out: Callable[..., Path], tmp_path: Path) -> None:
    """They count padding, of which nothing is stored: the teacher is asked for it."""
    fields = {**FIELDS, "reduction": "upstream", "intermediate": {**STEPS, "max_steps": 30}}
    logs = []
    for signals in ("auto", "none"):
        run = carry_out({"tinybert": {**fields, "signals": signals}}, tmp_path / signals)
        lines = (run / "00-tinybert" / "intermediate" / "log.jsonl").read_text().splitlines()
        logs.append([entry["loss"] for entry in map(json.loads, lines) if "loss" in entry])
    assert logs[0] == pytest.approx(logs[1], rel=1e-5)


def test_an_angle_between_different_widths_is_refused_first(carry_out: Callable[..., Path], tmp_path: Path) -> None:
    shape = {"layers": 2, "hidden_size": 12, "heads": 2, "intermediate_size": 20}
    fields = {**FIELDS, "layers": None, "shape": shape, "cosine_weight": 1.0}
    with pytest.raises(
        RequestError, match="cosine_weight needs equal widths, but the student has 12 and the teacher 16"
    ):
        carry_out({"tinybert": fields}, tmp_path / "run")
    assert not (tmp_path / "run" / "00-tinybert" / "intermediate").exists()


def test_marks_of_augmented_rows_reach_the_batch(tmp_path: Path) -> None:
    from conftest import make_tokenizer

    from bertpress.recipe import TaskSpec
    from bertpress.tasks import load_task

    (tmp_path / "train.csv").write_text("text,label,is_augmented\nthe house,good,False\nthe road,bad,True\n")
    (tmp_path / "validation.csv").write_text("text,label\nthe house,good\nthe road,bad\n")
    task = load_task(TaskSpec(name="files", data_dir=str(tmp_path), columns=("text",)), make_tokenizer(), 16)
    rows = task.encoded("train")
    assert task.collate([rows[0], rows[1]])["augmented"].tolist() == [False, True]
