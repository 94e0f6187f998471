"""The recipes of TR-BERT on questions, from files as their authors wrote them to a model that skips tokens."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import ROWS
from token_tasks import question_of

from bertpress.engine.loading import load_config
from bertpress.engine.run import Runtime
from bertpress.recipe import make_recipe, override, read_recipe
from bertpress.runs import pipeline

pytestmark = pytest.mark.slow

Questions = list[dict[str, Any]]
PRICES = {"squad_v2": (5.0, 5.0), "newsqa": (3.0, 5.0), "natural_questions": (2.0, 2.0), "triviaqa": (0.5, 1.0)}
MRQA = {"newsqa": "NewsQA", "natural_questions": "NaturalQuestionsShort"}
FILLER = "the house was a road and the tree is quite a river "
"""A text is made longer than an input by it."""


def questions(split: str) -> Questions:
    """A dozen rows; every fourth has no answer, and the last text is read through several windows."""
    rows = [question_of(number, *row) for number, row in enumerate(ROWS[split][:12])]
    rows[-1] = {**rows[-1], "context": f"{rows[-1]['context']} {FILLER * 4}"}
    return rows


def spans(row: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The answers to a row, each with its first character."""
    return list(zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True))


def squad(rows: Questions) -> dict[str, Any]:
    """Articles of SQuAD 2.0, each with a paragraph."""
    data = []
    for row in rows:
        answers = [{"text": text, "answer_start": start} for text, start in spans(row)]
        question = {"id": row["id"], "question": row["question"], "answers": answers, "is_impossible": not answers}
        data.append({"title": row["id"], "paragraphs": [{"context": row["context"], "qas": [question]}]})
    return {"version": "v2.0", "data": data}


def mrqa(rows: Questions, answers: Callable[[str], Any]) -> list[dict[str, Any]]:
    """A header, and a paragraph in each line; all questions have an answer there.

    Args:
        answers: what counts as right, of the text that is to be found.
    """
    lines: list[dict[str, Any]] = [{"header": {"dataset": "set", "split": "split"}}]
    for row in rows:
        for text, start in spans(row):
            detected = [{"text": text, "char_spans": [[start, start + len(text) - 1]], "token_spans": [[0, 0]]}]
            question = {"qid": row["id"], "question": row["question"], "detected_answers": detected}
            lines.append({"context": row["context"], "qas": [{**question, "answers": answers(text)}]})
    return lines


def written(folder: Path, name: str) -> Path:
    """A data set's files, under their published names."""
    for split, stem in (("train", "train"), ("validation", "dev")):
        rows = questions(split)
        if name == "squad_v2":
            (folder / f"{stem}-v2.0.json").write_text(json.dumps(squad(rows)), encoding="utf-8")
        elif name == "triviaqa":
            paragraphs = mrqa(
                rows, lambda text: {"Value": text, "Aliases": [text.upper()], "NormalizedAliases": [text]}
            )
            content = {"Data": paragraphs[1:], "Domain": "Web"}
            (folder / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")
        else:
            file = folder / stem / f"{MRQA[name]}.jsonl.gz"
            file.parent.mkdir()
            text = "".join(json.dumps(line) + "\n" for line in mrqa(rows, lambda text: [text]))
            file.write_bytes(gzip.compress(text.encode()))
    return folder


def shortened(name: str) -> dict[str, Any]:
    """The recipe, with inputs and trainings for a moment."""
    trainings = [f"steps.0.finetune.training.{field}" for field in ("max_steps=2", "batch_size=4", "accumulation=1")]
    for phase in ("policy", "joint"):
        trainings += [f"steps.1.trbert.{phase}.{field}" for field in ("max_steps=4", "batch_size=4", "accumulation=1")]
    return override(read_recipe(f"trbert-{name}"), ["max_length=32", "steps.1.trbert.rollouts=2", *trainings])


@pytest.mark.usefixtures("quick_latency")
@pytest.mark.parametrize("name", PRICES)
def test_the_recipe_goes_through_all_phases(name: str, folder_of: Callable[..., Path], tmp_path: Path) -> None:
    data = written(tmp_path, name)
    values = {**shortened(name), "model": str(folder_of("bert")), "task": {"name": name, "data_dir": str(data)}}
    recipe = make_recipe(values)
    assert recipe.steps[1].active_phases() == ["importance", "policy", "logits", "joint"]
    pipeline.carry_out(pipeline.prepare(recipe, Runtime(device="cpu")), tmp_path / "run")
    step = tmp_path / "run" / "01-trbert"
    result = json.loads((step / "result.json").read_text())
    assert result["phases"] == ["policy", "joint"]
    assert all((step / phase / "finished.json").is_file() for phase in ("importance", "policy", "joint"))
    for phase, price in zip(("policy", "joint"), PRICES[name], strict=True):
        entries = [json.loads(line) for line in (step / phase / "log.jsonl").read_text().splitlines()]
        assert {entry["price"] for entry in entries if "price" in entry} == {price}
    assert load_config(str(step / "model")).token_reduction["layers"] == [1, 2]
    metrics = result["metrics"]["validation"]
    assert set(metrics) >= {"answer_f1", "exact_match"}
    assert ("best_answer_f1" in metrics) == (name == "squad_v2")
