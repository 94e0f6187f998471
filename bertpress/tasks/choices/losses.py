"""Losses of options: one softmax over those of a question, whatever their number.

A batch has a row for each option. Rows of a question are compared with each other and with nothing else; where only
some of its options are in the batch, with those.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def choice_losses(scores: Tensor, labels: Tensor, questions: Tensor) -> Tensor:
    """Minus the log-likelihood of the right option of each row's question, (batch,).

    A question whose right option is not in the batch has a loss of 0: there is nothing to tell the others from.

    Args:
        scores: of each option, (batch,).
        labels: 1 for right options, (batch,).
        questions: number of the question of each row, (batch,).
    """
    nothing = torch.finfo(torch.float32).min  # whose exponential is 0; minus infinity would make gradients NaN
    same = questions[:, None] == questions  # (batch, batch)
    right = same & (labels == 1)
    scored = scores.float().expand(len(scores), -1)
    every, chosen = (scored.masked_fill(~rows, nothing).logsumexp(dim=1) for rows in (same, right))
    return torch.where(right.any(dim=1), every - chosen, torch.zeros_like(every))


def choice_distances(
    student: Tensor, teacher: Tensor, questions: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """How far the student's distribution over the options of each row's question is from the teacher's, (batch,).

    Questions with as many options are compared at once. One option alone is chosen by both: 0.

    Args:
        student: scores, (batch,).
        teacher: likewise.
        questions: number of the question of each row, (batch,).
        loss: distance of two sets of logits over the same classes, (rows, classes) twice to (rows,).
    """
    order = torch.argsort(questions, stable=True)
    options = torch.bincount(questions)[questions]
    distances = student.new_zeros(len(student), dtype=torch.float32)
    for count in set(options.tolist()) - {1}:
        rows = order[options[order] == count]
        sides = [scores[rows].float().view(-1, count) for scores in (student, teacher)]
        distances = distances.index_add(0, rows, loss(*sides).float().repeat_interleave(count))
    return distances
