"""What files of predictions hold, by kind of task: which answer a record got, how good it is, whether it is right.

A file has one line per record: its `label`, a number, and `results`, a few numbers of what the model said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

Array = NDArray[np.float64]
Judgement = Callable[[Array, Array], Array]
"""(results, labels), shapes (records, outputs) and (records,), to one number per record"""


@dataclass(frozen=True)
class Kind:
    """How the results of a kind of task are read."""

    outputs: int | None
    """numbers that are kept of a record; None: one for each class"""
    answers: Callable[[Array], Array]
    """results to what metrics count with, (records,) or (records, k); see `weighted`"""
    fit: Judgement
    """how well each record was answered: the more the better"""
    metrics: tuple[str, ...]
    """those that `weighted` has of such answers"""
    right: Judgement | None = None
    """True where a record was answered without a fault; None where answers are not right or wrong"""
    worse: str = ""
    better: str = ""
    """what it means that a record changed for the worse, and for the better"""
    fit_name: str = ""
    shares: Callable[[Array], Array] | None = None
    """results to the probability of each class, (records, classes), where they tell"""
    fit_is_probability: bool = False
    """the fit is the probability that was given to the true answer"""
    shown_label: str = "{:.3g}"
    shown_answer: str = "{:.3g}"
    """how a label, and an answer's numbers, are written where there are no names for them"""


def _commonest(results: Array) -> Array:
    classes: Array = results.argmax(axis=1).astype(np.float64)
    return classes


def _first(results: Array) -> Array:
    return results[:, 0]


def _shares(results: Array) -> Array:
    shares: Array = softmax(results, axis=1)
    return shares


def _probability(results: Array, labels: Array) -> Array:
    true: Array = _shares(results)[np.arange(len(results)), labels.astype(int)]
    return true


def _less_error(results: Array, labels: Array) -> Array:
    error: Array = np.abs(results[:, 0] - labels)
    return -error


def _f1_of_spans(results: Array, labels: Array) -> Array:
    """Of each record; 1 where nothing is to be found and nothing was."""
    correct, predicted = results.T
    total = labels + predicted
    share: Array = np.divide(2 * correct, total, out=np.ones_like(total), where=total > 0)
    return share


_SPANS = Kind(
    outputs=2,  # entities found that are right, entities found; the label is the number of true ones
    answers=lambda results: results,
    fit=_f1_of_spans,
    metrics=("span_f1", "span_precision", "span_recall"),
    right=lambda results, labels: (results[:, 0] == labels) & (results[:, 1] == labels),
    worse="not all entities now, all of them in start",
    better="all entities now, not in start",
    fit_name="F1 of the entities",
    shown_label="{:.0f} entities",
    shown_answer="{:.0f} right of {:.0f} found",
)

_SCORES = Kind(
    outputs=1,
    answers=_first,
    fit=_less_error,
    metrics=("pearson", "spearmanr", "pearson_spearmanr"),
    worse="larger error than start",
    better="smaller error than start",
    fit_name="absolute error",
)

_CHOSEN = Kind(
    outputs=2,  # probability of the right option, and whether it was chosen; the label is 1, the best of both
    answers=lambda results: results[:, 1],
    fit=lambda results, labels: results[:, 0],
    metrics=("accuracy",),
    right=lambda results, labels: results[:, 1] == labels,
    worse="another one now, the right one in start",
    better="the right one now, another one in start",
    fit_name="probability of the right one",
    fit_is_probability=True,
    shown_label="the right one",
    shown_answer="probability {:.2f}",
)

KINDS: dict[str, Kind] = {
    "classification": Kind(
        outputs=None,
        answers=_commonest,
        fit=_probability,
        metrics=("accuracy", "f1", "f1_macro", "accuracy_f1", "matthews_correlation"),
        right=lambda results, labels: results.argmax(axis=1) == labels,
        worse="wrong now, right in start",
        better="right now, wrong in start",
        fit_name="probability of label",
        shares=_shares,
        fit_is_probability=True,
    ),
    "regression": _SCORES,
    "masked-lm": Kind(
        outputs=3,  # tokens guessed, sum of their losses, tokens asked for; the label is the last, too
        answers=_first,
        fit=_less_error,
        metrics=("masked_accuracy",),
        worse="fewer tokens guessed than in start",
        better="more tokens guessed than in start",
        fit_name="tokens not guessed",
    ),
    "tagging": _SPANS,
    "mrc": _SPANS,
    "qa": Kind(
        outputs=2,  # F1 and exact match of the answer; the label is 1, the best of both
        answers=lambda results: results,
        fit=lambda results, labels: results[:, 0],
        metrics=("answer_f1", "exact_match"),
        right=lambda results, labels: results[:, 1] == labels,
        worse="not the exact answer now, but in start",
        better="the exact answer now, not in start",
        fit_name="F1 of the answer",
        shown_label="an answer",
        shown_answer="F1 {:.2f}",
    ),
    "choice": _CHOSEN,
    "embedding": _SCORES,  # cosine of the angle between two texts; the label is their score as 0 to 1
    "retrieval": Kind(
        outputs=1,  # 1 where a text's own partner was the nearest, else 0; the label is 1
        answers=lambda results: results,
        fit=lambda results, labels: results[:, 0],
        metrics=("retrieval_accuracy",),
        right=lambda results, labels: results[:, 0] == labels,
        worse="another text is nearer now, not in start",
        better="its own partner is the nearest now, not in start",
        fit_name="partner found",
        shown_label="its own partner",
        shown_answer="found {:.0f}",
    ),
    "multihop": Kind(
        outputs=6,  # F1 and exact match of the answer, of its facts, of both; the label is 1, the best of all
        answers=lambda results: results,
        fit=lambda results, labels: results[:, 4],
        metrics=("answer_f1", "exact_match", "facts_f1", "facts_exact_match", "joint_f1", "joint_exact_match"),
        right=lambda results, labels: results[:, 5] == labels,
        worse="answer or facts not exact now, but in start",
        better="answer and facts exact now, not in start",
        fit_name="joint F1",
        shown_label="an answer and its facts",
        shown_answer="F1 {0:.2f}, of the facts {2:.2f}",
    ),
    "candidates": _CHOSEN,
}
