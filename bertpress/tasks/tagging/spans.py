"""Sets of entities against sets of entities: counts, precision, recall and F1.

A span is (first word, last word + 1, type). One is right if all three are; half an entity counts for nothing. Counts
are summed over sentences before they are divided (micro average); what has a denominator of 0 is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

Span = tuple[int, int, str]


class Counts(NamedTuple):
    """Entities that there are, that were said to be, and that are right."""

    true: int
    predicted: int
    correct: int


def count(true: Iterable[Span], predicted: Iterable[Span]) -> Counts:
    """The counts of one sentence; an entity that is named twice counts once."""
    wanted, found = set(true), set(predicted)
    return Counts(len(wanted), len(found), len(wanted & found))


def precision_recall_f1(counts: Counts) -> tuple[float, float, float]:
    """Share of the predicted that is right, share of the true that was found, and their harmonic mean."""
    true, predicted, correct = counts
    return _share(correct, predicted), _share(correct, true), _share(2 * correct, true + predicted)


def span_scores(
    truths: Sequence[Iterable[Span]], predictions: Sequence[Iterable[Span]], types: Iterable[str] = ()
) -> dict[str, float]:
    """`span_f1`, `span_precision` and `span_recall` of all sentences, and `span_f1.TYPE` of each type."""
    wanted, found = (
        {(row, *span) for row, spans in enumerate(rows) for span in spans} for rows in (truths, predictions)
    )
    right = wanted & found

    def of_type(kind: str) -> Counts:
        true, predicted, correct = (sum(span[-1] == kind for span in spans) for spans in (wanted, found, right))
        return Counts(true, predicted, correct)

    precision, recall, f1 = precision_recall_f1(Counts(len(wanted), len(found), len(right)))
    scores = {"span_f1": f1, "span_precision": precision, "span_recall": recall}
    return scores | {f"span_f1.{kind}": precision_recall_f1(of_type(kind))[2] for kind in types}


def flat(spans: Iterable[Span]) -> list[Span]:
    """The spans but for those that overlap a longer one, or one as long that comes first; in their order."""
    taken: set[int] = set()
    kept = []
    for start, end, kind in sorted(spans, key=lambda span: (span[0] - span[1], span)):
        if taken.isdisjoint(range(start, end)):
            taken.update(range(start, end))
            kept.append((start, end, kind))
    return sorted(kept)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
