"""What files of predictions hold is read as each kind of task means it."""

from __future__ import annotations

import numpy as np
import pytest

from bertpress.tasks.judging import KINDS
from bertpress.tasks.weighted import WEIGHTED, score_interval, unstacked


def test_entities() -> None:
    kind = KINDS["tagging"]
    results = np.array([[2.0, 2.0], [1.0, 3.0], [0.0, 0.0], [0.0, 1.0]])  # right, found
    labels = np.array([2.0, 2.0, 0.0, 0.0])  # true ones
    assert kind.right is not None
    assert kind.right(results, labels).tolist() == [True, False, True, False]
    assert kind.fit(results, labels).tolist() == pytest.approx([1, 2 / 5, 1, 0])
    counts = np.array([[1.0, 1, 1, 1], [0, 2, 0, 0]])
    answers = kind.answers(results)
    assert WEIGHTED["span_precision"](counts, labels, answers, 1).tolist() == pytest.approx([3 / 6, 1 / 3])
    assert WEIGHTED["span_recall"](counts, labels, answers, 1).tolist() == pytest.approx([3 / 4, 1 / 2])
    assert WEIGHTED["span_f1"](counts, labels, answers, 1).tolist() == pytest.approx([6 / 10, 4 / 10])


def test_answers_to_questions() -> None:
    kind = KINDS["qa"]
    results, labels = np.array([[1.0, 1.0], [0.5, 0.0], [0.0, 0.0]]), np.ones(3)
    assert kind.right is not None
    assert kind.right(results, labels).tolist() == [True, False, False]
    assert kind.fit(results, labels).tolist() == [1, 0.5, 0]
    counts = np.array([[1.0, 1, 1], [2, 1, 0]])
    assert WEIGHTED["answer_f1"](counts, labels, results, 1).tolist() == pytest.approx([0.5, 2.5 / 3])
    assert WEIGHTED["exact_match"](counts, labels, results, 1).tolist() == pytest.approx([1 / 3, 2 / 3])


def test_classes_and_scores() -> None:
    classes, scores = KINDS["classification"], KINDS["regression"]
    logits, labels = np.log([[0.25, 0.75], [0.5, 0.5]]), np.array([1.0, 1.0])
    assert classes.answers(logits).tolist() == [1, 0]
    assert classes.fit(logits, labels).tolist() == pytest.approx([0.75, 0.5])
    assert classes.right is not None
    assert classes.right(logits, labels).tolist() == [True, False]
    assert scores.fit(np.array([[3.0], [1.0]]), np.array([2.5, 1.0])).tolist() == [-0.5, 0]
    assert scores.right is None


def test_the_interval_of_a_score_of_spans_holds_it() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 200).astype(np.float64)
    correct = np.minimum(labels, generator.integers(0, 4, 200))
    answers = np.stack([correct, correct + generator.integers(0, 2, 200)], axis=1)
    value = 2 * correct.sum() / (labels.sum() + answers[:, 1].sum())
    low, high = score_interval(labels, answers, "span_f1", 1)
    assert low is not None
    assert high is not None
    assert low < value < high
    assert high - low < 0.2


def test_columns_are_taken_apart_as_they_were_put_together() -> None:
    sides = [np.arange(3.0), np.arange(6.0).reshape(3, 2)]
    for found, side in zip(unstacked(np.column_stack(sides), sides), sides, strict=True):
        np.testing.assert_array_equal(found, side)
