"""Losses of starts and ends over the tokens of a window, or of all windows of a question.

Several answers to a question: the likelihood that one of their starts is chosen, and one of their ends (Clark and
Gardner, arXiv 1710.10723, section 3.3). Over all windows of a question the softmax may be shared (section 3.2 there);
no difference but that only windows of the same batch can share it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

IGNORED = -100
"""fills up the answers of a window that has fewer than others"""


def answer_places(labels: Tensor, length: int) -> Tensor:
    """True where an answer starts and where one ends, (batch, length, 2).

    Args:
        labels: first and last tokens of answers, (batch, answers, 2), filled up with `IGNORED`.
    """
    places = torch.zeros(len(labels), length + 1, 2, dtype=torch.bool, device=labels.device)
    places.scatter_(1, torch.where(labels == IGNORED, length, labels), True)
    return places[:, :length]


def span_losses(logits: Tensor, labels: Tensor, mask: Tensor, same: Tensor | None = None) -> Tensor:
    """Minus the log-likelihood of an answer's start, and of an answer's end, averaged, (batch,).

    Args:
        logits: of start and end, (batch, length, 2).
        labels: first and last tokens of answers, (batch, answers, 2); 0 for none, filled up with `IGNORED`.
        mask: 1 for tokens, 0 for padding, (batch, length).
        same: windows that share a softmax, (batch, batch); one without an answer has none to learn where another
            has one.
    """
    nothing = torch.finfo(torch.float32).min  # whose exponential is 0; minus infinity would make gradients NaN
    scores = logits.float().masked_fill(mask[..., None] == 0, nothing)
    places = answer_places(labels, logits.shape[1])
    right = scores.masked_fill(~places, nothing).logsumexp(dim=1)  # (batch, 2)
    every = scores.logsumexp(dim=1)
    if same is not None:
        answered = ~places[:, 0, 0]  # (batch,)
        others = (same & answered).any(dim=1)
        right = right.masked_fill((others & ~answered)[:, None], nothing)
        right, every = (
            values.expand(len(same), -1, -1).masked_fill(~same[..., None], nothing).logsumexp(dim=1)
            for values in (right, every)
        )
    return (every - right).mean(dim=-1)


def span_distances(student: Tensor, teacher: Tensor, mask: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """How far the student's distributions over starts and over ends are from the teacher's, averaged, (batch,).

    Windows of the same length are compared at once, so that padding is nowhere, whatever the distance is.

    Args:
        student: logits of start and end, (batch, length, 2), padded at the end.
        teacher: likewise.
        mask: 1 for tokens, 0 for padding, (batch, length).
        loss: distance of two sets of logits over the same classes, (rows, classes) twice to (rows,).
    """
    lengths = mask.sum(dim=1)
    distances = student.new_zeros(len(student), dtype=torch.float32)
    for length in set(lengths.tolist()):
        rows = (lengths == length).nonzero()[:, 0]
        sides = [logits[rows, :length].float().transpose(1, 2).reshape(-1, length) for logits in (student, teacher)]
        distances = distances.index_add(0, rows, loss(*sides).view(-1, 2).mean(dim=1))
    return distances
