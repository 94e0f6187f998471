"""Losses of yes-or-no decisions about the words of a window: does an entity start here, end here, do the two match.

Each decision has one logit z. A softmax over the logits of two classes, (a, b), gives the second the probability
sigmoid(b - a), so one output says what the papers' two say. Shapes: (batch, length) unless said otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bertpress.tasks.queries.settings import Reduction

EPSILON = 1e-7


def answer_losses(logits: Tensor, labels: Tensor, gamma: float | None) -> Tensor:
    """The loss of each decision, of any shape: focal, or cross-entropy where `gamma` is None.

    With q the probability of the right answer, focal is -(1 - q)^gamma * log(q + 1e-7), without weights of the two
    classes; cross-entropy is -log(q).

    Args:
        labels: 1 or True for yes; anything else is no.
    """
    right = torch.where(labels == 1, logits, -logits).float()
    if gamma is None:
        return -functional.logsigmoid(right)
    # by its logarithm: a power below 1 has no gradient at 0, where 1 - q arrives by rounding
    doubt = (gamma * functional.logsigmoid(-right)).exp()
    return -doubt * (right.sigmoid() + EPSILON).log()


def reduced(losses: Tensor, counted: Tensor, reduction: Reduction) -> Tensor:
    """Sum or mean of the losses that count, within each example; (batch, ...) give (batch,), 0 where none counts."""
    losses, counted = losses.flatten(1), counted.flatten(1)
    sums = losses.masked_fill(~counted, 0).sum(1)
    return sums if reduction == "token_sum" else sums / counted.sum(1).clamp(min=1)


def pair_logits(starts: Tensor, ends: Tensor) -> Tensor:
    """The logit of each pair of a start and an end, (batch, length, length).

    The paper's score (section 3.2) is one vector of twice the hidden size on both states one after the other, which is
    the sum of a number of the one and a number of the other. Such sums cannot say yes to (a, d) and (b, c) and no to
    both (a, c) and (b, d), as the two sums are equal; the paper's code has a network in that place, which can.
    """
    return starts[:, :, None] + ends[:, None, :]


def candidate_pairs(starts: Tensor, ends: Tensor) -> Tensor:
    """True for pairs of a possible start and a possible end that does not stand before it, (batch, length, length)."""
    return (starts[:, :, None] & ends[:, None, :]).triu()


def pair_labels(pairs: Tensor, length: int) -> Tensor:
    """1 for pairs that are entities, else 0, (batch, length, length).

    Args:
        pairs: (batch, pairs, 2), places of starts and ends; -1 fills up.
    """
    rows = torch.arange(len(pairs), device=pairs.device)[:, None].expand(pairs.shape[:2])
    real = (pairs >= 0).all(-1)
    labels = torch.zeros(len(pairs), length, length, dtype=torch.long, device=pairs.device)
    labels[rows[real], pairs[..., 0][real], pairs[..., 1][real]] = 1
    return labels
