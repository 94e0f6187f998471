"""Answers from scores, against the plain search over all pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bertpress.models.multihop import KIND, NOWHERE, OUTPUTS, SENTENCE, SPAN
from bertpress.tasks.hops.decoding import HEAD, best_spans, condensed, decision_of

PARAGRAPHS = torch.tensor([[-1, 0, 0, 0, -1, 1, 1, 1], [-1, -1, 2, 2, 2, 2, -1, -1], [-1] * 8])


def naive(logits: torch.Tensor, paragraphs: list[int], longest: int) -> tuple[int, int]:
    """All pairs, shorter ones first, then by their place."""
    best, found = -np.inf, (NOWHERE, NOWHERE)
    for more in range(longest):
        for first in range(len(paragraphs) - more):
            inside = paragraphs[first : first + more + 1]
            if len(set(inside)) > 1 or inside[0] < 0:
                continue
            score = (logits[first, 0] + logits[first + more, 1]).item()
            if score > best:
                best, found = score, (first, first + more)
    return found


@pytest.mark.parametrize("longest", [1, 2, 3, 30])
def test_the_best_span_crosses_nothing_that_is_no_text(longest: int) -> None:
    for seed in range(30):
        logits = torch.randint(-3, 4, (3, 8, 2), generator=torch.Generator().manual_seed(seed)).float()
        got = best_spans(logits, PARAGRAPHS, longest).tolist()
        expected = [naive(logits[row], PARAGRAPHS[row].tolist(), min(longest, 8)) for row in range(3)]
        assert [tuple(span) for span in got] == expected


def test_what_is_kept_says_all_that_an_answer_needs() -> None:
    logits = torch.zeros(2, 8, OUTPUTS)
    logits[0, 0, KIND] = torch.tensor([1.0, 3.0, 2.0])
    logits[1, 0, KIND] = torch.tensor([4.0, 3.0, 2.0])
    logits[1, 3, SPAN] = torch.tensor([2.0, 0.0])
    logits[1, 5, SPAN] = torch.tensor([0.0, 2.0])
    logits[0, 1, SENTENCE] = torch.tensor([0.0, 0.5])
    logits[0, 5, SENTENCE] = torch.tensor([0.5, 0.5])
    logits[1, 2, SENTENCE] = torch.tensor([1.0, 0.0])
    sentences = torch.tensor([[[1, 3], [5, 7]], [[2, 5], [NOWHERE] * 2]])
    kept = condensed(logits, PARAGRAPHS[:2], sentences, 30, 4).numpy()
    assert kept.shape == (2, HEAD + 4)
    yes, span = (decision_of(row) for row in kept)
    assert (yes.kind, yes.supporting) == (1, (0,)), "as likely as not is not enough"
    assert (span.kind, span.span, span.supporting) == (0, (3, 5), ())


def test_an_input_without_text_has_no_span() -> None:
    logits = torch.randn(3, 8, OUTPUTS)
    kept = condensed(logits, PARAGRAPHS, torch.full((3, 1, 2), NOWHERE), 30, 2).numpy()
    assert decision_of(kept[2]).span is None
    assert decision_of(kept[2]).supporting == ()
