"""Losses of multi-hop reading against loops over rows, places and sentences."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bertpress.losses import soft_cross_entropy
from bertpress.models.multihop import KIND, NOWHERE, OUTPUTS, SENTENCE
from bertpress.tasks.hops.losses import multihop_distances, multihop_losses, span_losses
from bertpress.tasks.reading.losses import IGNORED

MASK = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] * 5 + [0]])
SPANS = torch.tensor([[[1, 2], [3, 3]], [[0, 0], [IGNORED] * 2], [[2, 4], [IGNORED] * 2]])
KINDS = torch.tensor([0, 2, 1])
SENTENCES = torch.tensor([[[1, 2], [3, 5]], [[2, 3], [NOWHERE] * 2], [[NOWHERE] * 2] * 2])
SUPPORTING = torch.tensor([[1, 0], [1, IGNORED], [IGNORED, IGNORED]])


def logits(seed: int = 0) -> Tensor:
    return torch.randn(3, 6, OUTPUTS, generator=torch.Generator().manual_seed(seed)) * 3


def naive(found: Tensor) -> list[Tensor]:
    losses = []
    for row in range(3):
        length = int(MASK[row].sum())
        pairs = [pair for pair in SPANS[row].tolist() if pair[0] != IGNORED]
        sides = [
            sum(cross_entropy(found[row, :length, side], torch.tensor(pair[side])) for pair in pairs) / len(pairs)
            for side in (0, 1)
        ]
        kind = cross_entropy(found[row, 0, KIND], KINDS[row])
        each = [
            cross_entropy(found[row, first, SENTENCE], torch.tensor(mark))
            for (first, _), mark in zip(SENTENCES[row].tolist(), SUPPORTING[row].tolist(), strict=True)
            if first != NOWHERE
        ]
        losses.append(sum(sides) / 2 + kind + (sum(each) / len(each) if each else 0))
    return losses


def test_the_loss_is_that_of_span_kind_and_sentences() -> None:
    found = logits()
    got = multihop_losses(found, SPANS, KINDS, SUPPORTING, SENTENCES, MASK)
    torch.testing.assert_close(got, torch.stack(naive(found)))


def test_a_span_by_hand() -> None:
    found = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [50.0, 50.0]]])
    loss = span_losses(found, torch.tensor([[[1, 0], [0, 1]]]), torch.tensor([[1, 1, 0]]))
    start = math.log(math.e + math.e**2) - 1.5  # the mean of both places
    assert loss.item() == pytest.approx((start + math.log(2)) / 2)


def test_padding_changes_nothing_and_gets_no_gradient() -> None:
    found, other = logits().requires_grad_(), logits()
    other[MASK == 0] = 99.0
    loss = multihop_losses(found, SPANS, KINDS, SUPPORTING, SENTENCES, MASK)
    torch.testing.assert_close(loss, multihop_losses(other, SPANS, KINDS, SUPPORTING, SENTENCES, MASK))
    loss.sum().backward()
    assert found.grad is not None
    assert not found.grad[MASK == 0].any()
    assert torch.isfinite(found.grad).all()


def soft(own: Tensor, other: Tensor) -> Tensor:
    return -(other.softmax(-1) * own.log_softmax(-1)).sum(-1)


@pytest.mark.parametrize("sides", [1.0, 2.0])
def test_a_distance_is_that_of_span_kind_and_sentences(sides: float) -> None:
    own, other = logits(1), logits(2)
    got = multihop_distances(own, other, SENTENCES, MASK, soft_cross_entropy, sides)
    for row in range(3):
        length = int(MASK[row].sum())
        pair: Any = [soft(own[row, :length, side], other[row, :length, side]) for side in (0, 1)]
        expected = sides * sum(pair) / 2 + soft(own[row, 0, KIND], other[row, 0, KIND])
        each = [
            soft(own[row, first, SENTENCE], other[row, first, SENTENCE])
            for first, _ in SENTENCES[row].tolist()
            if first != NOWHERE
        ]
        expected = expected + (sum(each) / len(each) if each else 0)
        torch.testing.assert_close(got[row], expected)


def test_batches_without_any_sentence_have_losses() -> None:
    nothing = torch.full((3, 1, 2), NOWHERE)
    found = logits()
    alone = multihop_losses(found, SPANS, KINDS, torch.full((3, 1), IGNORED), nothing, MASK)
    assert torch.isfinite(alone).all()
    assert torch.isfinite(multihop_distances(found, logits(1), nothing, MASK, soft_cross_entropy)).all()
