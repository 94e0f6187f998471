"""The numbers of HotpotQA's evaluation, by hand."""

from __future__ import annotations

import pytest

from bertpress.tasks.hops.metrics import Score, answer_score, facts_score, joint_score

NOTHING = Score(0.0, 0.0, 0.0, 0.0)
ALL = Score(1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("The Green Tree!", "green tree", ALL),
        ("a green tree in winter", "green tree", Score(2 / 3, 0.0, 0.5, 1.0)),
        ("green", "green tree", Score(2 / 3, 0.0, 1.0, 0.5)),
        ("tree tree", "tree", Score(2 / 3, 0.0, 0.5, 1.0)),
        ("road", "green tree", NOTHING),
        ("yes", "Yes.", ALL),
        ("yes", "yes it is", NOTHING),
        ("no way", "no", NOTHING),
        ("noanswer", "noanswer at all", NOTHING),
        ("", "green", NOTHING),
        ("the", "a", Score(0.0, 1.0, 0.0, 0.0)),  # nothing is left of either: the script has it so
    ],
)
def test_an_answer_is_judged_by_its_words(prediction: str, answer: str, expected: Score) -> None:
    assert answer_score(prediction, answer) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prediction", "facts", "expected"),
    [
        ([("a", 0), ("b", 1)], [("b", 1), ("a", 0)], ALL),
        ([("a", 0)], [("a", 0), ("b", 1), ("b", 2)], Score(0.5, 0.0, 1.0, 1 / 3)),
        ([("a", 0), ("a", 1)], [("a", 1)], Score(2 / 3, 0.0, 0.5, 1.0)),
        ([("a", 0), ("a", 0)], [("a", 0)], ALL),
        ([], [("a", 0)], NOTHING),
        ([], [], Score(0.0, 1.0, 0.0, 0.0)),
    ],
)
def test_facts_are_judged_as_a_set(prediction: list[object], facts: list[object], expected: Score) -> None:
    assert facts_score(prediction, facts) == pytest.approx(expected)


def test_both_together_are_products() -> None:
    answer, facts = Score(2 / 3, 0.0, 0.5, 1.0), Score(0.5, 0.0, 1.0, 1 / 3)
    precision, recall = 0.5, 1 / 3
    assert joint_score(answer, facts) == pytest.approx((2 * precision * recall / (precision + recall), 0, 0.5, 1 / 3))
    assert joint_score(ALL, facts) == pytest.approx(facts)
    assert joint_score(NOTHING, ALL) == NOTHING
