"""Choosing among candidates: inputs, losses against loops, answers, scores, whole runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_config, make_model, make_tokenizer
from datasets import Dataset
from tasks.hops.test_features import marked
from torch.nn.functional import cross_entropy

from bertpress.engine.evaluation import logits_of
from bertpress.errors import RequestError
from bertpress.losses import soft_cross_entropy
from bertpress.recipe import make_recipe, read_recipe
from bertpress.tasks.candidates.features import lengths_within
from bertpress.tasks.candidates.losses import ABSENT, candidate_distances, candidate_losses, candidate_scores
from bertpress.tasks.candidates.settings import CandidateSettings
from bertpress.tasks.candidates.task import Candidates
from bertpress.tasks.data import TextData
from bertpress.tasks.judging import KINDS
from bertpress.tasks.trained import task_of_head
from bertpress.tasks.weighted import WEIGHTED

ROWS: list[dict[str, Any]] = [
    {"id": "w1", "query": "was the house", "candidates": ["grey", "very green", "a tree"], "answer": "a tree",
     "supports": ["the house was a tree " * 3, "it is the road"]},
    {"id": "w2", "query": "day", "candidates": ["warm", "dull"], "answer": "warm", "supports": ["the day is warm"]},
    {"id": "w3", "query": "book", "candidates": ["road", "river"], "answer": "river", "supports": []},
]  # fmt: skip


def make_task(
    rows: Any = ROWS, family: str = "bert", max_length: int = 32, tokenizer: Any = None, **settings: Any
) -> Any:
    unlabelled = [{name: value for name, value in row.items() if name != "answer"} for row in rows]
    splits = {split: Dataset.from_list(rows) for split in ("train", "validation")}
    splits["test"] = Dataset.from_list(unlabelled)
    data = TextData("files", splits, ("query",), None, ("accuracy",), "accuracy")
    return Candidates(data, tokenizer or make_tokenizer(family), max_length, CandidateSettings(**settings))


def batch_of(task: Any, split: str = "validation", rows: Any = None) -> dict[str, torch.Tensor]:
    encoded = task.encoded(split)
    chosen = range(len(encoded)) if rows is None else rows
    batch: dict[str, torch.Tensor] = task.collate([encoded[row] for row in chosen])
    return batch


def tokens_of(row: Any) -> list[str]:
    found: list[str] = marked().convert_ids_to_tokens(row["input_ids"])
    return found


def naive(row: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The tokens before the documents and those of the documents, word by word."""
    tokenizer = marked()
    head = ["[CLS]", *tokenizer.tokenize(row["query"])]
    for candidate in row["candidates"]:
        head += ["[unused1]", *tokenizer.tokenize(candidate)]
    return head, [token for text in row["supports"] for token in ("[unused2]", *tokenizer.tokenize(text))]


def test_an_input_has_a_marker_before_each_candidate_and_document() -> None:
    task = make_task(tokenizer=marked(), max_length=64)
    for row, record in zip(task.encoded("train"), ROWS, strict=True):
        head, documents = naive(record)
        tokens = tokens_of(row)
        assert tokens == [*head, *documents, "[SEP]"]
        assert [tokens[place] for place in row["places"]] == ["[unused1]"] * len(record["candidates"])
        assert row["token_type_ids"] == [0] * len(head) + [1] * (len(tokens) - len(head))
        assert row["answer_number"] == record["candidates"].index(record["answer"])
        assert not row["is_cut"]


@pytest.mark.parametrize("segments", [1, 2, 9])
def test_further_documents_stand_in_further_inputs_with_the_same_head(segments: int) -> None:
    task = make_task(tokenizer=marked(), max_length=24, segments=segments)
    rows = [row for row in task.encoded("train") if row["record"] == 0]
    head, documents = naive(ROWS[0])
    room = 24 - 1 - len(head)
    pieces = [documents[at : at + room] for at in range(0, len(documents), room)]
    assert [tokens_of(row) for row in rows] == [[*head, *piece, "[SEP]"] for piece in pieces[:segments]]
    assert {row["is_cut"] for row in rows} == {len(pieces) > segments}
    told = f"train: 1 of 3 records do not fit into {segments} x 24 tokens and are cut"
    assert (told in task.notes) == (len(pieces) > segments)


@pytest.mark.parametrize(
    ("lengths", "room", "expected"),
    [([3, 5], 8, [3, 5]), ([3, 5], 7, [3, 4]), ([9, 1, 9], 7, [3, 1, 3]), ([4, 4], 2, [1, 1]), ([1] * 3, 3, [1] * 3)],
)
def test_the_longest_are_cut_to_one_length(lengths: list[int], room: int, expected: list[int]) -> None:
    assert lengths_within(lengths, room) == expected


def test_long_candidates_leave_room_for_documents() -> None:
    row = {**ROWS[0], "candidates": ["grey " * 50, "a tree", "green " * 50]}
    task = make_task([row], tokenizer=marked())
    (encoded,) = task.encoded("train")
    tokens = tokens_of(encoded)
    assert tokens.count("[unused1]") == 3
    assert "[unused2]" in tokens
    assert len(tokens) == 32
    assert encoded["is_cut"]


def test_a_query_that_is_cut_is_told() -> None:
    rows = [{**ROWS[0], "query": "house " * 9}, *ROWS[1:]]
    task = make_task(rows, tokenizer=marked(), max_length=64, query_length=8)
    assert [row["is_cut"] for row in task.encoded("train")] == [True, False, False]
    assert "train: 1 queries have more than 8 tokens and are cut there" in task.notes
    assert "train: 1 of 3 records do not fit into 1 x 64 tokens and are cut" in task.notes
    assert not any("queries" in note for note in make_task(tokenizer=marked(), max_length=64).notes)


@pytest.mark.parametrize(
    ("settings", "max_length", "message"),
    [
        ({"most_candidates": 2}, 32, "at most 2 candidates, but w1 has 3"),
        ({}, 10, "room for the 3 candidates of w1, but an input has 10 tokens"),
        ({}, 9, "at least 10 tokens, got max_length 9"),
    ],
)
def test_candidates_that_cannot_stand_there_are_refused(settings: Any, max_length: int, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make_task(max_length=max_length, **settings).encoded("train")


def test_documents_of_any_length_are_cut() -> None:
    words = "the tree was green " * 25_000
    task = make_task([{**ROWS[0], "supports": [words, words]}], segments=3)
    rows = task.encoded("train")
    assert [len(row["input_ids"]) for row in rows] == [32] * 3


SAME = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
PLACES = torch.tensor([[1, 3, 4], [1, 3, 4], [2, 5, ABSENT]])
ANSWERS = torch.tensor([2, 2, 0])


def logits(seed: int = 0) -> torch.Tensor:
    return torch.randn(3, 6, 1, generator=torch.Generator().manual_seed(seed)) * 2


def naive_scores(found: torch.Tensor) -> list[torch.Tensor]:
    first = (found[0, [1, 3, 4], 0] + found[1, [1, 3, 4], 0]) / 2
    return [first, first, found[2, [2, 5], 0]]


def test_scores_and_losses_are_means_over_the_inputs_of_a_record() -> None:
    found = logits()
    scores = candidate_scores(found, PLACES, SAME)
    assert scores[2, 2] == -math.inf
    for own, expected in zip(scores, naive_scores(found), strict=True):
        torch.testing.assert_close(own[: len(expected)], expected)
    losses = candidate_losses(found, PLACES, SAME, ANSWERS)
    expected = [cross_entropy(own, answer) for own, answer in zip(naive_scores(found), ANSWERS, strict=True)]
    torch.testing.assert_close(losses, torch.stack(expected))


def test_distances_see_the_candidates_that_there_are() -> None:
    own, other = logits(1).requires_grad_(), logits(2)
    found = candidate_distances(own, other, PLACES, SAME, soft_cross_entropy)
    expected = [
        -(b.softmax(-1) * a.log_softmax(-1)).sum() for a, b in zip(naive_scores(own), naive_scores(other), strict=True)
    ]
    torch.testing.assert_close(found, torch.stack(expected))
    found.sum().backward()
    assert own.grad is not None
    assert torch.isfinite(own.grad).all()


def test_distances_are_taken_in_full_precision() -> None:
    own, other = logits(1), logits(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = candidate_distances(own, other, PLACES, SAME, soft_cross_entropy)
    torch.testing.assert_close(found, candidate_distances(own, other, PLACES, SAME, soft_cross_entropy))


def condensed(task: Any, favourites: list[int], split: str = "validation") -> np.ndarray:
    """What is kept of logits that favour one candidate in each record."""
    batch = batch_of(task, split)
    found = torch.zeros(*batch["input_ids"].shape, 1)
    for row, record in enumerate(batch["record"].tolist()):
        found[row, batch["places"][row, favourites[record]], 0] = 3.0

    class Outputs:
        logits = found

    kept: np.ndarray = task.condense(Outputs(), batch).numpy()
    return kept


@pytest.mark.parametrize("segments", [1, 3])
def test_answers_and_scores(segments: int) -> None:
    task = make_task(segments=segments, max_length=24)
    kept = condensed(task, [2, 0, 0])
    assert kept.shape == (len(task.encoded("validation")), 79)
    assert task.score(kept, "validation") == {"accuracy": pytest.approx(2 / 3)}
    decoded = task.decode(kept, "validation")
    assert [row["prediction"] for row in decoded] == ["a tree", "warm", "road"]
    assert decoded[1]["probability"] == pytest.approx(math.e**3 / (math.e**3 + 1))
    assert json.loads(task.answer_files(kept, "validation")["validation_predictions.json"])["w1"] == "a tree"
    results, kind = task.results(kept, "validation"), KINDS["candidates"]
    labels = np.array(task.truths(kept, "validation"))
    assert kind.right is not None
    assert kind.right(results, labels).tolist() == [True, True, False]
    assert kind.fit(results, labels)[2] == pytest.approx(1 / (math.e**3 + 1))
    weighted = WEIGHTED["accuracy"](np.ones((1, 3)), labels, kind.answers(results), 1)
    assert weighted[0] == pytest.approx(2 / 3)
    assert task.chance_score("validation") == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    assert task.agreement(kept, kept) == 1


def test_records_without_answers_are_answered_and_not_scored() -> None:
    task = make_task()
    kept = condensed(task, [0, 0, 0], "test")
    assert "labels" not in batch_of(task, "test")
    assert len(task.decode(kept, "test")) == 3
    with pytest.raises(RequestError, match="no labels to score"):
        task.score(kept, "test")


def test_the_head_has_one_output_and_texts_of_ones_own_are_refused() -> None:
    task = make_task()
    with pytest.raises(RequestError, match="has 2 outputs, but files needs 1"):
        task.aligned(make_config())
    config = task.configure(make_config(architectures=["BertForTokenClassification"]))
    assert config.num_labels == 1
    assert task.aligned(config) is task
    with pytest.raises(RequestError, match="chooses among candidates"):
        task_of_head(config, make_tokenizer(), 32)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra"])
def test_answers_do_not_depend_on_the_batch(family: str) -> None:
    task = make_task(family=family, segments=2, max_length=24)
    model = make_model(family=family, head="token-classification", id2label={0: "candidate"})
    encoded = task.encoded("validation")
    together = logits_of(model, task, encoded)
    alone = np.concatenate([logits_of(model, task, encoded.select([row])) for row in range(len(encoded))])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_rollouts_of_a_record_are_compared_with_themselves_only() -> None:
    task = make_task(segments=2, max_length=24)
    batch = batch_of(task)
    repeated = {name: values.repeat(2, *[1] * (values.dim() - 1)) for name, values in batch.items()}
    found = torch.randn(*repeated["input_ids"].shape, 1)

    class Outputs:
        def __init__(self, values: torch.Tensor) -> None:
            self.logits = values

    count = len(batch["row"])
    whole = task.example_losses(Outputs(found), repeated)
    parts = [task.example_losses(Outputs(part), batch) for part in found.split(count)]
    torch.testing.assert_close(whole, torch.cat(parts))


def test_a_small_model_learns_a_few_records_by_heart() -> None:
    task = make_task(segments=2)
    model = make_model(head="token-classification", id2label={0: "candidate"})
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    batch = batch_of(task)
    for _ in range(60):
        optimizer.zero_grad()
        task.example_losses(task.forward(model, batch), batch).mean().backward()
        optimizer.step()
    assert task.score(logits_of(model, task, task.encoded("validation")), "validation") == {"accuracy": 1.0}


@pytest.mark.slow
def test_every_phase_of_token_reduction_runs_on_the_original_files(
    carry_out: Callable[..., Path], folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    for split in ("train", "dev"):
        rows = [{**row, "id": f"{row['id']}-{number}"} for number in range(12) for row in ROWS]
        (tmp_path / f"{split}.json").write_text(json.dumps(rows), encoding="utf-8")
    training = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3}
    step = {"trbert": {"macs": 0.6, "rollouts": 4, **dict.fromkeys(("init", "policy", "joint"), training)}}
    task = {"name": "wikihop", "data_dir": str(tmp_path), "candidates": {"segments": 2}}
    model = str(folder_of("bert", "token-classification", "candidates"))
    run = carry_out(step, tmp_path / "run", task=task, model=model)
    result = json.loads((run / "00-trbert" / "result.json").read_text())
    assert result["phases"][-3:] == ["init", "policy", "joint"]
    assert result["cost"]["token_reduction"]["theoretical_speedup"] > 1
    assert result["kind"] == "candidates"


def test_the_recipe_has_the_published_conventions() -> None:
    recipe = make_recipe({"model": "some/model", **read_recipe("trbert-wikihop")})
    finetune, trbert = recipe.steps
    values = trbert.model_dump(mode="json")
    assert (recipe.max_length, values["alpha"], values["length_norm"]) == (1024, 1.0, "padded")
    for training in (finetune.model_dump()["training"], values["policy"], values["joint"]):
        found = (training["batch_size"], training["learning_rate"], training["epochs"], training["warmup"])
        assert found == (2, 5e-5, 5, 0.1)
