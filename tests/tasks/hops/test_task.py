"""Multi-hop reading as a task: batches, answers, scores, files of predictions, texts of one's own, whole runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_config, make_model, make_tokenizer
from tasks.hops.fixtures import GRAPH, HOTPOT, HUB, RERANKED

from bertpress.config import build
from bertpress.engine.evaluation import logits_of
from bertpress.engine.loading import load_for_task, packaged_minilm
from bertpress.errors import RequestError
from bertpress.losses import kl_divergence
from bertpress.models.multihop import KIND, NOWHERE, OUTPUTS, SENTENCE, SPAN
from bertpress.recipe import TaskSpec, make_recipe, read_recipe
from bertpress.tasks import load_task
from bertpress.tasks.hops.records import METRICS, load_hops
from bertpress.tasks.hops.settings import HopSettings
from bertpress.tasks.hops.task import NAMES, MultiHop, of_head
from bertpress.tasks.judging import KINDS
from bertpress.tasks.reading.losses import IGNORED
from bertpress.tasks.task import OWN_TEXTS
from bertpress.tasks.trained import task_of_head
from bertpress.tasks.weighted import WEIGHTED

ROWS = [
    *HOTPOT,
    {**HOTPOT[1], "_id": "h3", "answer": "no"},
    {**HOTPOT[1], "_id": "h4", "answer": "warm", "supporting_facts": [["a book", 0]]},
]


def make_task(tmp_path: Path, family: str = "bert", rows: Any = ROWS, max_length: int = 64, **settings: Any) -> Any:
    for split in ("train", "validation"):
        (tmp_path / f"{split}.json").write_text(json.dumps(rows), encoding="utf-8")
    test = [{name: row[name] for name in ("_id", "question", "context")} for row in rows]
    (tmp_path / "test.json").write_text(json.dumps(test), encoding="utf-8")
    data = load_hops("files", tmp_path)
    return MultiHop(data, make_tokenizer(family), max_length, HopSettings(**settings))


def batch_of(task: Any, split: str = "validation") -> dict[str, torch.Tensor]:
    encoded = task.encoded(split)
    batch: dict[str, torch.Tensor] = task.collate([encoded[row] for row in range(len(encoded))])
    return batch


def perfect(task: Any, split: str = "validation") -> torch.Tensor:
    """Logits that say what is true."""
    batch = batch_of(task, split)
    logits = torch.zeros(*batch["input_ids"].shape, OUTPUTS)
    for row in range(len(logits)):
        logits[row, 0, KIND][batch["labels"][row]] = 5.0
        for side in (0, 1):
            logits[row, batch["spans"][row, 0, side], side] = 5.0
        for (first, _), mark in zip(batch["sentences"][row].tolist(), batch["supporting"][row].tolist(), strict=True):
            if first != NOWHERE:
                logits[row, first, SENTENCE][mark] = 5.0
    return logits


def condensed(task: Any, logits: torch.Tensor, split: str = "validation") -> np.ndarray:
    class Outputs:
        pass

    outputs: Any = Outputs()
    outputs.logits = logits
    found: np.ndarray = task.condense(outputs, batch_of(task, split)).numpy()
    return found


def test_a_batch_has_everything_padded_in_its_own_way(tmp_path: Path) -> None:
    batch = batch_of(make_task(tmp_path))
    rows, length = batch["input_ids"].shape
    assert batch["labels"].tolist() == [0, 1, 2, 0]
    assert batch["sentences"].shape == (rows, 6, 2)
    assert batch["supporting"].shape == (rows, 6)
    assert ((batch["sentences"][..., 0] == NOWHERE) == (batch["supporting"] == IGNORED)).all()
    assert batch["supporting"].clamp(min=0).sum(1).tolist() == [2, 1, 1, 1]
    assert batch["paragraphs"].shape == (rows, length)
    assert (batch["paragraphs"][batch["attention_mask"] == 0] == NOWHERE).all()
    assert batch["spans"][1].tolist() == [[0, 0], [IGNORED, IGNORED]]
    assert all(len(values) == rows for values in batch.values()), "rollouts repeat all of it"


def test_perfect_scores_give_perfect_answers(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    kept = condensed(task, perfect(task))
    assert task.score(kept, "validation") == dict.fromkeys(METRICS, 1.0)
    assert (task.results(kept, "validation") == 1).all()
    assert task.truths(kept, "validation") == [1.0] * 4
    first, second, third, fourth = task.decode(kept, "validation")
    assert first == {
        "id": "h1",
        "prediction": "the green  tree",
        "kind": "span",
        "supporting_facts": [["the house", 1], ["the tree", 0]],
    }
    assert [row["prediction"] for row in (second, third, fourth)] == ["yes", "no", "warm"]
    assert task.agreement(kept, kept) == 1.0


def test_scores_are_means_of_what_each_question_gets(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    logits = perfect(task)
    logits[1, 0, KIND] = torch.tensor([0.0, 0.0, 9.0])  # no instead of yes
    batch = batch_of(task)
    first = int(batch["sentences"][0, 0, 0])
    logits[0, first, SENTENCE] = torch.tensor([0.0, 9.0])  # one fact too many
    kept = condensed(task, logits)
    scores = task.score(kept, "validation")
    assert scores["exact_match"] == pytest.approx(3 / 4)
    assert scores["facts_precision"] == pytest.approx((2 / 3 + 3) / 4)
    assert scores["facts_exact_match"] == pytest.approx(3 / 4)
    assert scores["joint_f1"] == pytest.approx((0.8 + 0 + 2) / 4)
    assert scores["joint_exact_match"] == pytest.approx(2 / 4)
    assert task.agreement(kept, condensed(task, perfect(task))) == 0.5
    kind = KINDS["multihop"]
    results = task.results(kept, "validation")
    labels = np.array(task.truths(kept, "validation"))
    assert results.shape == (4, kind.outputs)
    assert kind.right is not None
    assert kind.right(results, labels).tolist() == [False, False, True, True]
    for name in kind.metrics:
        weighted = WEIGHTED[name](np.ones((1, 4)), labels, kind.answers(results), 1)
        assert weighted[0] == pytest.approx(scores[name]), name


def test_what_does_not_fit_counts_as_missed_and_is_told(tmp_path: Path) -> None:
    task = make_task(tmp_path, max_length=30)
    scores = task.score(condensed(task, perfect(task)), "validation")
    assert scores["facts_precision"] <= 1
    assert scores["facts_recall"] < 1
    notes = task.notes
    assert "[unused1] and [unused2]" in notes[0]
    assert any(
        note.startswith("validation: ") and "of 16 sentences stand whole in an input of 30" in note for note in notes
    )
    assert not any(note.startswith("test: ") for note in notes), "a run does not read it"
    assert "facts" not in task._cut("test")
    assert not any("questions" in note for note in notes)


def test_a_question_that_is_cut_is_told(tmp_path: Path) -> None:
    notes = make_task(tmp_path, question_length=3).notes
    assert "train: 4 questions have more than 3 tokens and are cut there" in notes
    assert "validation: 4 questions have more than 3 tokens and are cut there" in notes


def test_the_file_of_predictions_is_the_script_s(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    files = task.answer_files(condensed(task, perfect(task)), "validation")
    content = json.loads(files["validation_predictions.json"])
    assert content["answer"]["h2"] == "yes"
    assert content["sp"] == {
        "h1": [["the house", 1], ["the tree", 0]],
        "h2": [["a day", 0]],
        "h3": [["a day", 0]],
        "h4": [["a book", 0]],
    }


def test_a_split_without_answers_is_answered_and_not_scored(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    kept = condensed(task, torch.zeros(*batch_of(task, "test")["input_ids"].shape, OUTPUTS), "test")
    assert len(task.decode(kept, "test")) == 4
    assert not task.has_labels("test")
    assert task.truths(kept, "test") == [None] * 4
    with pytest.raises(RequestError, match="no labels to score"):
        task.score(kept, "test")


def test_texts_of_ones_own_are_paragraphs_of_lines(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    config = task.configure(make_config(architectures=["CompactBertForMultiHop"]))
    own: Any = task_of_head(config, make_tokenizer(), 64)
    assert own.kind == "multihop"
    assert own.hops == task.hops
    asked = own.with_texts([("was the house old", "it was grey\nthe house\n\n a tree is green")])
    (record,) = asked.splits[OWN_TEXTS]
    assert record["sentences"] == [["it was grey", "the house"], [" a tree is green"]]
    assert record["titles"] == ["", ""]
    assert len(asked.encoded(OWN_TEXTS)[0]["firsts"]) == 3
    with pytest.raises(RequestError, match="give both"):
        own.with_texts([("a house",)])


def test_settings_lie_in_the_model_s_configuration(tmp_path: Path) -> None:
    task = make_task(tmp_path, longest_answer=7)
    config = task.configure(make_config())
    assert config.num_labels == OUTPUTS == len(NAMES)
    assert config.task_specific_params["multihop"]["longest_answer"] == 7
    config.task_specific_params = {"multihop": {"longest_answers": 1}}
    with pytest.raises(RequestError, match="longest_answers"):
        of_head(config, make_tokenizer(), 64)


def test_another_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="has 2 outputs, but files needs 7"):
        make_task(tmp_path).aligned(make_config())


def test_the_sum_of_both_sides_counts_them_twice(tmp_path: Path) -> None:
    task, other = make_task(tmp_path), make_task(tmp_path, span_reduction="sum")
    batch = batch_of(task)
    own, expected = (torch.randn(*batch["input_ids"].shape, OUTPUTS) for _ in range(2))
    mean, total = (each.distillation_losses(own, expected, batch, kl_divergence) for each in (task, other))
    same = expected.clone()
    same[..., SPAN] = own[..., SPAN]
    rest = task.distillation_losses(own, same, batch, kl_divergence)
    torch.testing.assert_close(total - mean, mean - rest, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra"])
def test_answers_do_not_depend_on_the_batch(family: str, tmp_path: Path) -> None:
    task = make_task(tmp_path, family)
    model = make_model(family=family, head="multi-hop", id2label=dict(enumerate(NAMES)))
    encoded = task.encoded("validation")
    together = logits_of(model, task, encoded)
    alone = np.concatenate([logits_of(model, task, encoded.select([row])) for row in range(len(encoded))])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_other_inputs_for_another_tokenizer(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    other = task.with_tokenizer(make_tokenizer("roberta"))
    assert "token_type_ids" not in other.inputs
    assert other.inputs[-1] == "sentences"
    assert other.encoded("train")[0]["input_ids"] != task.encoded("train")[0]["input_ids"]


def test_rows_shortened_for_a_measurement_lose_what_lies_behind(tmp_path: Path) -> None:
    from bertpress.measurements.layer_timing import _stretched

    task = make_task(tmp_path)
    row = task.encoded("validation")[0]
    short = _stretched(row, 20)
    batch = task.collate([short, row])
    assert int(batch["sentences"][0].max()) < 20
    assert int(batch["spans"][0].max()) < 20


def test_training_records_keep_their_rows_where_others_become_another_split(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    divided = task.divided({"train": [0, 2], "held": [1, 3]})
    assert [row["row"] for row in divided.encoded("train")] == [0, 2]
    assert divided.splits["held"]["id"][:] == ["h2", "h4"]


def copies(rows: list[dict[str, Any]], name: str, count: int = 10) -> list[dict[str, Any]]:
    """The rows again and again, under other names."""
    return [{**copy.deepcopy(row), name: f"{row[name]}-{number}"} for number in range(count) for row in rows]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_originals(folder: Path) -> dict[str, dict[str, Any]]:
    """A folder for each of the original formats; the task that reads it."""
    for name in ("json", "hub", "graph"):
        (folder / name).mkdir()
    for split, file in (("train", "hotpot_train_v1.1"), ("dev", "hotpot_dev_distractor_v1")):
        (folder / "json" / f"{file}.json").write_text(json.dumps(copies(ROWS, "_id")), encoding="utf-8")
        write_lines(folder / "hub" / f"{split}.jsonl", copies(HUB, "id"))
    write_lines(folder / "graph" / "hotpot_train_graph.json", copies(GRAPH, "qid"))
    write_lines(folder / "graph" / "rerank_dev_tok.json", copies(RERANKED, "qid"))
    names = {"json": "hotpotqa", "hub": "2wikimultihopqa", "graph": "hotpotqa"}
    return {form: {"name": name, "data_dir": str(folder / form)} for form, name in names.items()}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "hub", "graph"])
def test_every_phase_of_token_reduction_runs_on_each_original_format(
    form: str, carry_out: Callable[..., Path], folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    training = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3}
    step = {"trbert": {"macs": 0.6, "rollouts": 4, **dict.fromkeys(("init", "policy", "joint"), training)}}
    task = write_originals(tmp_path)[form]
    model = str(folder_of("bert", "multi-hop", "multihop"))
    run = carry_out(step, tmp_path / "run", task=task, model=model, max_length=48)
    result = json.loads((run / "00-trbert" / "result.json").read_text())
    assert result["phases"][-3:] == ["init", "policy", "joint"]
    assert set(result["metrics"]["validation"]) == set(METRICS)
    assert result["cost"]["token_reduction"]["theoretical_speedup"] > 1


def test_a_small_model_learns_a_few_questions_by_heart(tmp_path: Path) -> None:
    task = make_task(tmp_path, rows=HOTPOT)
    model = make_model(head="multi-hop", id2label=dict(enumerate(NAMES)))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    batch = batch_of(task)
    for _ in range(100):
        optimizer.zero_grad()
        task.example_losses(task.forward(model, batch), batch).mean().backward()
        optimizer.step()
    scores = task.score(logits_of(model, task, task.encoded("validation")), "validation")
    assert scores == dict.fromkeys(METRICS, 1.0)


def test_the_recipe_has_the_published_conventions() -> None:
    recipe = make_recipe({"model": "some/model", **read_recipe("trbert-hotpotqa")})
    finetune, trbert = recipe.steps
    assert recipe.max_length == 512
    assert recipe.task.multihop == HopSettings(span_reduction="sum")
    values = trbert.model_dump(mode="json")
    assert values["alpha"] == [0.1, 4.0]
    assert (values["length_norm"], values["cost"], values["guide_rate"]) == ("padded", "tokens", 0.5)
    for training in (finetune.model_dump()["training"], values["policy"], values["joint"]):
        assert (training["batch_size"], training["learning_rate"], training["epochs"]) == (4, 5e-5, 3)


@pytest.mark.data
@pytest.mark.parametrize("name", ["hotpotqa", "2wikimultihopqa"])
def test_the_data_sets_are_read(name: str) -> None:
    from bertpress.engine.loading import load_tokenizer

    tokenizer = load_tokenizer(str(packaged_minilm()))
    task: Any = load_task(build(TaskSpec, {"name": name}), tokenizer, 512, {"train": 20, "validation": 20})
    assert not task.reader.notes
    assert set(task.metrics) == set(METRICS)
    for row in task.encoded("train"):
        assert len(row["input_ids"]) <= 512
        record = task.splits["train"][row["record"]]
        for first, last in zip(row["starts"], row["ends"], strict=True):
            if first:
                text = tokenizer.decode(row["input_ids"][first : last + 1]).replace(" ", "")
                assert record["answer"].lower().replace(" ", "")[:3] in text
    model, _, _ = load_for_task(str(packaged_minilm()), task, new_head=True)
    scores = task.score(logits_of(model, task, task.encoded("validation")), "validation")
    assert all(0 <= value <= 1 for value in scores.values())
