"""Plain text as a task, from its files to the report."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROWS, make_model, make_tokenizer
from pyarrow import parquet

from bertpress import api
from bertpress.errors import RequestError
from bertpress.recipe import TaskSpec
from bertpress.tasks import load_task
from bertpress.tasks.masking import Masking


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return folder


def lines(count: int) -> str:
    return "".join(f"the house {word}\n" for word in ["is", "was", "and", "very", "quite"] * (count // 5))


def test_a_folder_brings_its_own_validation_text(tmp_path: Path) -> None:
    folder = write(tmp_path, train_txt=lines(50), dev_jsonl='{"text": "the road"}\n{"text": ""}\n')
    task = load_task(TaskSpec(name="text", data_dir=str(folder)), make_tokenizer(), 32)
    assert task.encoded("validation")[0]["input_ids"] == make_tokenizer()("the road")["input_ids"]
    assert len(task.encoded("validation")) == 1
    assert task.kind == task.head == "masked-lm"


def test_the_text_is_tokenised_once(tmp_path: Path, cache: Path) -> None:
    file = write(tmp_path, lines_txt=lines(500)) / "lines.txt"
    spec, said = TaskSpec(name="text", data_dir=str(file)), []
    before = set((cache / "corpus").glob("[!.]*")) if (cache / "corpus").is_dir() else set()
    first = load_task(spec, make_tokenizer(), 32, say=said.append)
    assert set((cache / "corpus").glob("[!.]*")) == before, "not before rows are asked for"
    rows = [row["input_ids"] for row in first.encoded("train")]
    assert len(set((cache / "corpus").glob("[!.]*")) - before) == 1
    told = len(said)
    again = load_task(spec, make_tokenizer(), 32, say=said.append)
    assert [row["input_ids"] for row in again.encoded("train")] == rows
    assert len(said) == told
    file.write_text(lines(505))
    assert len(load_task(spec, make_tokenizer(), 32).encoded("train")) > 0
    assert len(set((cache / "corpus").glob("[!.]*")) - before) == 2


def test_requests_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for spec, message in (
        (TaskSpec(name="text"), "needs its text: --data-dir"),
        (TaskSpec(name="text", data_dir=str(tmp_path / "none")), "Expected text files at .*none, found none"),
        (TaskSpec(name="text", data_dir="x", columns=("a", "b")), "has one column and no label"),
        (TaskSpec(name="text", data_dir="x", kind="regression"), "The kind regression does not go with the task text"),
        (TaskSpec(name="files", data_dir="x", kind="encoder"), "The kind encoder does not go with the task files"),
        (TaskSpec(name="pydoc", masking={"probability": 0.2}), "corpus and masking describe plain text"),
        (TaskSpec(name="text", data_dir="x", corpus={"files": ["x"]}), "either --data-dir or a corpus"),
    ):
        with pytest.raises(RequestError, match=message):
            load_task(spec, make_tokenizer(), 32)
    (tmp_path / "train.txt").write_bytes(gzip.compress(b"one"))
    task = load_task(TaskSpec(name="text", data_dir=str(tmp_path)), make_tokenizer(), 32)
    with pytest.raises(RequestError, match="Expected UTF-8 text"):
        task.encoded("train")


def test_a_limit_and_a_column(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"words": "the house", "text": "a"}) + "\n" for _ in range(500))
    spec = TaskSpec(name="text", data_dir=str(write(tmp_path, train_jsonl=rows)), columns=("words",))
    whole = load_task(spec, make_tokenizer(), 32)
    task = load_task(spec, make_tokenizer(), 32, {"train": 7})
    chosen, all_rows = task.encoded("train"), whole.encoded("train")
    assert len(task.splits["train"]) == len(chosen) == 7 < len(all_rows)
    numbers = [row["row"] for row in (chosen[index] for index in range(7))]
    assert numbers == sorted(set(numbers)), "rows keep their numbers"
    assert chosen["length"].tolist() == [all_rows[number]["length"] for number in numbers]
    assert chosen[[2, 0]]["input_ids"] == [all_rows[numbers[2]]["input_ids"], all_rows[numbers[0]]["input_ids"]]
    with pytest.raises(RequestError, match="has no split 'test'; it has train, validation"):
        task.encoded("test")
    with pytest.raises(RequestError, match="not 'test'; limit one of these"):
        load_task(spec, make_tokenizer(), 32, {"test": 7})


def test_a_bare_encoder_is_asked_nothing(tmp_path: Path) -> None:
    spec = TaskSpec(name="text", data_dir=str(write(tmp_path, lines_txt=lines(500))), kind="encoder")
    task = load_task(spec, make_tokenizer(), 32)
    rows = [task.encoded("train")[row] for row in range(4)]
    batch = task.collate(rows, draw=(1, 2))
    assert "labels" not in batch
    assert task.repeats
    assert (batch["input_ids"] == task.collate(rows)["input_ids"]).all()
    for row, ids in zip(rows, batch["input_ids"].tolist(), strict=True):
        assert ids[: len(row["input_ids"])] == row["input_ids"], "no token is hidden or replaced"
    masked = load_task(spec.model_copy(update={"masking": Masking(probability=0.5)}), make_tokenizer(), 32)
    assert not masked.repeats
    assert (masked.collate(rows, draw=(1, 2))["input_ids"] != batch["input_ids"]).any()
    with pytest.raises(RequestError, match="asks nothing"):
        task.decode(np.zeros((1, 1)), "train")


STEPS: dict[str, Any] = {"max_steps": 6, "batch_size": 16, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def finished(
    carry_out: Callable[..., Path],
    folder_of: Callable[..., Path],
    tiny_text_task: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A bare encoder given a head, and Theseus after it with its baseline."""
    bare = tmp_path_factory.mktemp("bare")
    make_model().base_model.save_pretrained(bare)
    make_tokenizer().save_pretrained(bare)
    steps = [{"finetune": {"training": {**STEPS, "max_steps": 20}}}, {"theseus": {"replacing": STEPS}}]
    folder = tmp_path_factory.mktemp("runs") / "run"
    task = {**tiny_text_task, "masking": {"probability": 0.3}}
    return carry_out(steps[0], folder, model=str(bare), task=task, steps=steps, baseline=True)


@pytest.mark.slow
def test_the_report_of_a_masked_language_model(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["start", "truncated baseline", "theseus"]
    assert report["primary_metric"] == "masked_accuracy"
    for row in report["rows"]:
        assert set(row["metrics"]["validation"]) == {"masked_accuracy", "mean_probability"}
        assert any(note.startswith("perplexity of the masked tokens ") for note in row["notes"])
        assert all(row[name] > 0 for name in ("parameters", "macs", "size_bytes"))
        assert [entry["batch"] for entry in row["latency"]] == [1, 16]
    assert report["notes"] == []
    tests = {(test["name"], test["against"]): test for test in report["comparisons"]}
    assert len(tests) == 3
    rows = {row["name"]: row["score"] for row in report["rows"]}
    test = tests["theseus", "start"]
    assert test["difference"] == pytest.approx(rows["theseus"] - rows["start"])
    assert (test["examples"], test["only_result"], test["p"]) == (32, None, None)
    (change,) = report["changes"]
    assert change["kind"] == "masked-lm"
    page = (finished / "report.md").read_text(encoding="utf-8")
    assert "fewer tokens guessed than in start" in page


@pytest.mark.slow
def test_predictions_hold_what_was_asked_and_guessed(finished: Path) -> None:
    result = json.loads((finished / "00-finetune" / "result.json").read_text())
    table = parquet.read_table(finished / "00-finetune" / "predictions" / "validation.parquet")
    assert table.column_names == ["row", "label", "logits", "length"]
    assert all(2 < length <= 32 for length in table["length"].to_pylist())
    guessed, losses, asked = np.array(table["logits"].to_pylist()).T
    assert table["label"].to_pylist() == asked.tolist()
    assert (guessed <= asked).all()
    scores = result["metrics"]["validation"]
    assert scores["masked_accuracy"] == pytest.approx(guessed.sum() / asked.sum())
    assert scores["mean_probability"] == pytest.approx(np.exp(-losses.sum() / asked.sum()))
    assert (result["kind"], result["labels"]) == ("masked-lm", None)


@pytest.mark.slow
def test_the_result_is_loaded_scored_and_timed(finished: Path, tiny_text_task: dict[str, Any]) -> None:
    model = api.Result(finished, {}).model
    assert type(model).__name__ == "BertForMaskedLM"
    assert "AutoModelForMaskedLM.from_pretrained" in (finished / "01-theseus" / "model" / "README.md").read_text()
    task = {**tiny_text_task, "masking": {"probability": 0.3}}
    scores = api.evaluate(str(finished), task, max_length=32)
    saved = json.loads((finished / "01-theseus" / "result.json").read_text())["metrics"]
    assert scores["validation"] == pytest.approx(saved["validation"])
    records = api.predict(str(finished), task, "validation", max_length=32)
    assert sum(record["guessed"] for record in records) / sum(record["masked"] for record in records) == pytest.approx(
        scores["validation"]["masked_accuracy"]
    )
    assert len(records) == len(ROWS["validation"])
    (row, _) = api.measure(str(finished), None, task, batch_size=4, seconds=0.01, max_length=32)
    assert row["batch"] == 1


@pytest.mark.slow
def test_a_plan_counts_the_head_on_masked_tokens(finished: Path, tiny_text_task: dict[str, Any]) -> None:
    from bertpress.costs import cost
    from bertpress.recipe import make_recipe

    task = {**tiny_text_task, "masking": {"probability": 0.3}}
    recipe = make_recipe(
        {"model": str(finished / "00-finetune" / "model"), "task": task, "steps": ["theseus"], "max_length": 32}
    )
    row = api.dry_run(recipe)[0]
    config = api.Result(finished, {}).model.config
    assert row["parameters"] == cost.parameters(config, head="masked-lm").total
    positions = int(0.3 * row["tokens"] + 0.5)
    assert row["macs"] == cost.macs(config, row["tokens"], head="masked-lm", positions=positions)
