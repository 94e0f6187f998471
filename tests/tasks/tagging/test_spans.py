import random

import pytest

from bertpress.tasks.tagging.schemes import spans_of
from bertpress.tasks.tagging.spans import Counts, count, flat, precision_recall_f1, span_scores


def read(rows, scheme="BIO", strict=False):
    return [spans_of(row.split(), scheme, strict)[0] for row in rows]


def test_the_documented_example_of_seqeval():
    true = read(["O O O B-MISC I-MISC I-MISC O", "B-PER I-PER O"])
    predicted = read(["O O B-MISC I-MISC I-MISC I-MISC O", "B-PER I-PER O"])
    assert span_scores(true, predicted, ("MISC", "PER")) == {
        "span_f1": 0.5,
        "span_precision": 0.5,
        "span_recall": 0.5,
        "span_f1.MISC": 0.0,
        "span_f1.PER": 1.0,
    }


def test_the_documented_example_of_strict_mode():
    """`B-NP I-NP O` against `I-NP I-NP O`: the same entity to a lenient reader, none to a strict one."""
    true, predicted = ["B-NP I-NP O"], ["I-NP I-NP O"]
    assert span_scores(read(true), read(predicted))["span_f1"] == 1.0
    assert span_scores(read(true, strict=True), read(predicted, strict=True))["span_f1"] == 0.0


def test_scores_by_hand():
    """Three of four found are right, three of five true ones are found: 3/4, 3/5 and 6/9."""
    true = [[(0, 1, "A"), (2, 4, "B")], [(0, 1, "A"), (5, 6, "A")], [(1, 2, "B")]]
    predicted = [[(0, 1, "A"), (2, 4, "B")], [(0, 2, "A"), (5, 6, "A")], []]
    scores = span_scores(true, predicted, ("A", "B", "C"))
    assert scores == {
        "span_f1": 6 / 9,
        "span_precision": 3 / 4,
        "span_recall": 3 / 5,
        "span_f1.A": 4 / 6,
        "span_f1.B": 2 / 3,
        "span_f1.C": 0.0,
    }
    counts = [count(*pair) for pair in zip(true, predicted, strict=True)]
    assert counts == [(2, 2, 2), (2, 2, 1), (1, 0, 0)]


def test_place_and_type_both_count():
    assert count([(0, 2, "A")], [(0, 2, "B")]) == (1, 1, 0)
    assert count([(0, 2, "A")], [(0, 1, "A")]) == (1, 1, 0)
    assert count([(0, 2, "A")], [(0, 2, "A"), (0, 2, "A")]) == (1, 1, 1), "named twice"


def test_the_same_span_in_another_sentence_is_another():
    assert span_scores([[(0, 1, "A")], []], [[], [(0, 1, "A")]])["span_f1"] == 0.0


def test_nothing_to_divide_by_is_nothing():
    assert precision_recall_f1(Counts(0, 0, 0)) == (0.0, 0.0, 0.0)
    assert precision_recall_f1(Counts(3, 0, 0)) == (0.0, 0.0, 0.0)
    assert span_scores([], [], ("A",))["span_f1.A"] == 0.0


def test_micro_scores_equal_a_count_over_single_entities():
    generator = random.Random(0)

    def sentence():
        return [(start, start + generator.randint(1, 2), generator.choice("AB")) for start in range(0, 9, 3)]

    true, predicted = [sentence() for _ in range(50)], [sentence() for _ in range(50)]
    right = sum(span in wanted for wanted, found in zip(true, predicted, strict=True) for span in found)
    scores = span_scores(true, predicted)
    assert 0 < right < 150
    assert scores["span_precision"] == right / 150 == scores["span_recall"]
    assert scores["span_f1"] == pytest.approx(right / 150)


def test_of_overlapping_entities_the_longest_stays():
    spans = [(0, 5, "A"), (1, 3, "B"), (4, 6, "C"), (6, 8, "D"), (6, 8, "E"), (7, 8, "F"), (9, 10, "G")]
    assert flat(spans) == [(0, 5, "A"), (6, 8, "D"), (9, 10, "G")]
    assert flat([(1, 2, "B"), (0, 1, "A")]) == [(0, 1, "A"), (1, 2, "B")]
