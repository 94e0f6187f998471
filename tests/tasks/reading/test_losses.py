from __future__ import annotations

import math

import pytest
import torch

from bertpress.losses import kl_divergence, logits_mse, soft_cross_entropy, upstream_cross_entropy
from bertpress.tasks.grouping import same_question
from bertpress.tasks.reading.losses import IGNORED, answer_places, span_distances, span_losses

LENGTHS = (7, 4, 7, 5)
LABELS = torch.tensor(
    [
        [[2, 3], [2, 4], [5, 5]],
        [[0, 0], [IGNORED, IGNORED], [IGNORED, IGNORED]],
        [[1, 6], [IGNORED, IGNORED], [IGNORED, IGNORED]],
        [[3, 3], [3, 4], [IGNORED, IGNORED]],
    ]
)


def batch(seed=0, padding=3):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(len(LENGTHS), max(LENGTHS) + padding, 2, generator=generator)
    mask = torch.zeros(logits.shape[:2], dtype=torch.long)
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = 1
    return logits, mask


def naive(logits, labels, lengths, rows):
    """The loss of windows that share a softmax: -log of the share of their answers, start and end averaged."""
    losses = []
    for side in (0, 1):
        right = sum(
            math.exp(logits[row, place, side])
            for row in rows
            for place in {int(span[side]) for span in labels[row] if span[side] != IGNORED}
        )
        every = sum(math.exp(logits[row, place, side]) for row in rows for place in range(lengths[row]))
        losses.append(-math.log(right / every))
    return sum(losses) / 2


def test_places_by_hand():
    places = answer_places(LABELS[:2], 6)
    assert places[0].int().tolist() == [[0, 0], [0, 0], [1, 0], [0, 1], [0, 1], [1, 1]]
    assert places[1].nonzero().tolist() == [[0, 0], [0, 1]]


def test_every_answer_counts_once_and_padding_never():
    logits, mask = batch()
    found = span_losses(logits, LABELS, mask)
    assert found.tolist() == pytest.approx([naive(logits, LABELS, LENGTHS, [row]) for row in range(4)], rel=1e-5)
    torch.testing.assert_close(span_losses(logits[:, :7], LABELS, mask[:, :7]), found)  # sums of other lengths
    wild = logits.masked_fill(mask[..., None] == 0, float("nan"))
    assert torch.equal(span_losses(wild, LABELS, mask), found)
    assert span_losses(logits.half(), LABELS, mask).dtype == torch.float32


def test_windows_of_a_question_share_a_softmax():
    logits, mask = batch()
    logits.requires_grad_()
    records, rows = torch.tensor([7, 7, 9, 7]), torch.tensor([3, 4, 8, 5])
    same = same_question(records, rows)
    found = span_losses(logits, LABELS, mask, same)
    # window 1 points at its first token: it has nothing to learn where others have the answer
    labels = LABELS.clone()
    labels[1] = IGNORED
    shared = naive(logits.detach(), labels, LENGTHS, [0, 1, 3])
    alone = naive(logits.detach(), LABELS, LENGTHS, [2])
    assert found.tolist() == pytest.approx([shared, shared, alone, shared], rel=1e-5)
    found.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[1, :4] != 0).all(), "window 1 learns to score low"
    assert (logits.grad[mask == 0] == 0).all()


def test_windows_without_any_answer_share_their_first_tokens():
    logits, mask = batch()
    labels = torch.full((4, 1, 2), 0)
    found = span_losses(logits, labels, mask, same_question(torch.zeros(4), torch.arange(4)))
    assert found.tolist() == pytest.approx([naive(logits, labels, LENGTHS, range(4))] * 4, rel=1e-5)


def test_copies_of_a_window_do_not_compete():
    records, rows = torch.tensor([1, 1, 2, 1, 1, 2]), torch.tensor([0, 1, 2, 0, 1, 2])
    assert same_question(records, rows).int().tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


@pytest.mark.parametrize("loss", [kl_divergence, soft_cross_entropy, logits_mse, upstream_cross_entropy])
def test_distances_are_those_of_each_window_alone(loss):
    (student, mask), (teacher, _) = batch(0), batch(1)
    student[mask == 0], teacher[mask == 0] = float("nan"), float("inf")
    student.requires_grad_()
    found = span_distances(student, teacher, mask, loss)
    for row, length in enumerate(LENGTHS):
        sides = [loss(student[row, None, :length, side], teacher[row, None, :length, side]) for side in (0, 1)]
        assert found[row].item() == pytest.approx((sides[0] + sides[1]).item() / 2, rel=1e-5)
    found.sum().backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert (student.grad[mask == 0] == 0).all()


def test_equal_models_have_no_distance():
    logits, mask = batch()
    assert span_distances(logits.half(), logits.half(), mask, kl_divergence).tolist() == pytest.approx([0] * 4)
