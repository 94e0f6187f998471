"""How right an answer and its supporting facts are: the twelve numbers of HotpotQA's evaluation script.

Source: hotpot_evaluate_v1.py (Yang et al., arXiv 1809.09600, section 5.1). All are means over questions. Precision and
recall of both together are products, and their F1 is that of the products. No differences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable
from typing import NamedTuple

from bertpress.tasks.reading.metrics import normalised

WHOLE = ("yes", "no", "noanswer")
"""Answers that are right as a whole or not at all."""


class Score(NamedTuple):
    """Of an answer, of facts, or of both together."""

    f1: float
    exact: float
    precision: float
    recall: float


def answer_score(prediction: str, answer: str) -> Score:
    """How right an answer is, by its words."""
    own, true = normalised(prediction), normalised(answer)
    exact = float(own == true)
    if own != true and (own in WHOLE or true in WHOLE):
        return Score(0.0, exact, 0.0, 0.0)
    words, right = own.split(), true.split()
    common = (Counter(words) & Counter(right)).total()
    if not common:
        return Score(0.0, exact, 0.0, 0.0)
    return _score(common / len(words), common / len(right), exact)


def facts_score(prediction: Collection[Hashable], facts: Collection[Hashable]) -> Score:
    """How right a set of supporting facts is."""
    own, true = set(prediction), set(facts)
    common = len(own & true)
    return _score(common / len(own) if own else 0.0, common / len(true) if true else 0.0, float(own == true))


def joint_score(answer: Score, facts: Score) -> Score:
    """How right both are together."""
    return _score(answer.precision * facts.precision, answer.recall * facts.recall, answer.exact * facts.exact)


def _score(precision: float, recall: float, exact: float) -> Score:
    total = precision + recall
    return Score(2 * precision * recall / total if total else 0.0, exact, precision, recall)
