from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_config, make_model, make_tokenizer
from torch.nn.functional import cross_entropy

from bertpress.engine.evaluation import batches_by_length, logits_of, pieces_of
from bertpress.errors import RequestError
from bertpress.losses import soft_cross_entropy
from bertpress.tasks.choices.records import load_choices
from bertpress.tasks.choices.settings import ChoiceSettings
from bertpress.tasks.choices.task import MultipleChoice
from bertpress.tasks.trained import task_of_head

from .fixtures import RAGGED, row, write_race, write_rows


def task_on(folder, *rows, family="bert", **settings):
    write_rows(folder / "train.jsonl", *rows)
    return MultipleChoice(load_choices("files", folder), make_tokenizer(family), 32, ChoiceSettings(**settings))


@pytest.fixture
def ragged(tmp_path):
    return task_on(tmp_path, *RAGGED)


def batch_of(task, rows=None, split="train"):
    encoded = task.encoded(split)
    return task.collate([encoded[number] for number in (range(len(encoded)) if rows is None else rows)])


def test_every_option_is_a_row(ragged):
    encoded = ragged.encoded("train")
    assert encoded["record"] == [0, 0, 1, 1, 1, 1, 1, 2, 2, 2]
    assert encoded["option"] == [0, 1, 0, 1, 2, 3, 4, 0, 1, 2]
    assert encoded["is_right"] == [0, 1, 0, 0, 0, 1, 0, 1, 0, 0]
    assert encoded["row"] == list(range(10))
    assert (ragged.by_token, ragged.together, ragged.head) == (False, "record", "multiple-choice")


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra", "modernbert", "deberta-v2"])
def test_rows_are_scored_as_the_stock_model_scores_a_question(family, tmp_path):
    """Two questions at once, in an order that is not theirs: every option has its own score."""
    rows = [row(options=options) for options in (["warm", "dull", "green"], ["a", "day", "slow river"])]
    task = task_on(tmp_path, *rows, family=family)
    model = make_model(family=family, head="multiple-choice")
    order = [4, 0, 3, 2, 5, 1]
    batch = batch_of(task, order)
    with torch.no_grad():
        found = task.forward(model, batch).logits[:, 0]
        for question in (0, 1):
            places = [order.index(3 * question + option) for option in range(3)]
            inputs = {name: values[places][None] for name, values in task.inputs_of(model, batch).items()}
            stock = model(**inputs, labels=batch["labels"][places].argmax()[None])
            torch.testing.assert_close(found[places], stock.logits[0])
            losses = task.example_losses(SimpleNamespace(logits=found[:, None]), batch)[places]
            torch.testing.assert_close(losses, stock.loss.expand(3))


def test_questions_count_the_same_however_many_options_they_have(ragged):
    batch = batch_of(ragged)
    scores = torch.randn(10, 1, generator=torch.Generator().manual_seed(0))
    losses = ragged.example_losses(SimpleNamespace(logits=scores), batch)
    spans = ((0, 2, 1), (2, 7, 3), (7, 10, 0))
    each = [cross_entropy(scores[start:stop, 0], torch.tensor(right)) for start, stop, right in spans]
    torch.testing.assert_close(losses.mean(), torch.stack(each).mean())
    teacher = scores.flip(0)
    distances = ragged.distillation_losses(scores, teacher, batch, soft_cross_entropy)
    alone = [soft_cross_entropy(scores[None, a:b, 0], teacher[None, a:b, 0]) for a, b, _ in spans]
    torch.testing.assert_close(distances.mean(), torch.cat(alone).mean())
    half = batch_of(ragged, range(7))
    partly = ragged.example_losses(SimpleNamespace(logits=scores[:7]), half)
    torch.testing.assert_close(partly, losses[:7])


def test_results_and_answers_of_ragged_questions(ragged):
    condensed = np.array([[1.0], [2], [0], [3], [3], [1], [0], [5], [0], [0]])
    decoded = ragged.decode(condensed, "train")
    assert [(one["id"], one["prediction"], one["option"], one["text"]) for one in decoded] == [
        ("row-1", "B", 1, "dull"),
        ("row-2", "B", 1, "a"),
        ("row-3", "A", 0, "book"),
    ]
    assert [len(one["probabilities"]) for one in decoded] == [2, 5, 3]
    assert all(sum(one["probabilities"]) == pytest.approx(1) for one in decoded)
    results = ragged.results(condensed, "train")
    assert results[:, 1].tolist() == [1, 0, 1]
    assert results[0, 0] == pytest.approx(1 / (1 + np.exp(-1)))
    assert ragged.score(condensed, "train") == {"accuracy": pytest.approx(2 / 3)}
    assert ragged.truths(condensed, "train") == [1.0] * 3
    assert ragged.chance_score("train") == pytest.approx(1 / 3)


def test_accuracy_by_level(tmp_path):
    task = MultipleChoice(load_choices("race", write_race(tmp_path)), make_tokenizer(), 32)
    scores = np.array([[1.0], [0], [0], [0], [1], [0], [0], [0], [0], [1], [0]])
    assert task.score(scores, "validation") == {"accuracy": 2 / 3, "accuracy_high": 0.5, "accuracy_middle": 1.0}
    assert task.metrics == ("accuracy", "accuracy_high", "accuracy_middle")


def test_options_by_themselves(tmp_path):
    task = task_on(tmp_path, *RAGGED, scoring="separately")
    assert (task.head, task.together, task.groups(batch_of(task))) == ("sequence-classification", None, None)
    config = task.configure(make_config())
    assert config.id2label == {0: "wrong", 1: "right"}
    assert task.aligned(config) is task
    model, batch = make_model(), batch_of(task)
    outputs = task.forward(model, batch)
    losses = task.example_losses(outputs, batch)
    torch.testing.assert_close(losses, cross_entropy(outputs.logits, batch["labels"], reduction="none"))
    raw = np.array([[9.0, 1], [0, 2], [-9, 0], [-9, 1], [0, 3], [9, 3], [0, 0], [0, 0], [0, 1], [0, 2]])
    chosen = [one["option"] for one in task.decode(raw, "train")]
    assert chosen == [1, 2, 2], "the largest output for right, the first of equals, whatever that for wrong is"
    assert logits_of(model, task, task.encoded("train")).shape == (10, 2)


def test_heads_are_told_apart(ragged, tmp_path):
    separate = task_on(tmp_path / "other", *RAGGED, scoring="separately")
    chooser = make_config(architectures=["BertForMultipleChoice"])
    assert ragged.aligned(chooser) is ragged
    for task, config, other in (
        (ragged, make_config(architectures=["BertForSequenceClassification"]), "separately"),
        (ragged, make_config(), "separately"),
        (separate, chooser, "together"),
    ):
        with pytest.raises(RequestError, match=f"fine-tune it on this task first.*task.choice.scoring={other}"):
            task.aligned(config)
    noted = ragged.configure(make_config()).task_specific_params
    assert noted == {"choice": {"scoring": "together", "option_length": 128, "fill_blanks": False}}


def test_texts_of_ones_own_are_told_how():
    with pytest.raises(RequestError, match=r"test\.jsonl.*--kind choice --data-dir"):
        task_of_head(make_config(architectures=["BertForMultipleChoice"]), make_tokenizer(), 32)


def test_questions_are_whole_in_every_batch_of_an_evaluation(ragged):
    for size in (2, 4, 5, 64):
        batches = list(batches_by_length(ragged, ragged.encoded("train"), torch.device("cpu"), size))
        assert sorted(number for numbers, _ in batches for number in numbers.tolist()) == list(range(10))
        for numbers, batch in batches:
            records = batch["record"].tolist()
            assert all(records.count(record) == (2, 5, 3)[record] for record in records)
            assert len(numbers) <= max(size, 5)


def test_pieces_without_groups_are_the_rows_by_length():
    lengths = np.array([5, 3, 9, 3, 1])
    assert [piece.tolist() for piece in pieces_of(lengths, 2)] == [[4, 1], [3, 0], [2]]
    assert [piece.tolist() for piece in pieces_of(lengths, 3, np.array([0, 1, 1, 2, 0]))] == [[3, 0, 4], [1, 2]]


def test_another_tokenizer_gives_the_same_rows_other_ids(ragged):
    other = ragged.with_tokenizer(make_tokenizer("roberta"))
    assert other.encoded("train")["option"] == ragged.encoded("train")["option"]
    assert "token_type_ids" not in other.encoded("train").column_names


def test_divided_by_questions(ragged):
    parts = ragged.divided({"search": [1], "train": [0, 2]})
    assert parts.encoded("search")["row"] == [0, 1, 2, 3, 4]
    assert parts.encoded("train")["row"] == [0, 1, 7, 8, 9]
    assert [record["id"] for record, *_ in parts.by_record(np.zeros((5, 1)), "train")] == ["row-1", "row-3"]
    assert parts.mean_options == 2.5
