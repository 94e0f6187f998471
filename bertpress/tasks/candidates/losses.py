"""Scores of candidates, from those of tokens, and what they lose.

Source: `AUTOQABertForWikihopMulti` of TR-BERT: a candidate's score is the mean of those at its marker over the inputs
of its record, and the loss is the cross-entropy over the candidates. Difference: inputs are rows of a batch, and only
those of one batch can share a score.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from bertpress.losses.reduction import full_precision

ABSENT = -1
"""fills up the places of a row that has fewer candidates than others"""


def candidate_scores(logits: Tensor, places: Tensor, same: Tensor) -> Tensor:
    """The score of each candidate, minus infinity where there is none, (batch, most).

    Args:
        logits: of each token, (batch, length, 1).
        places: tokens at which candidates are read, filled up with `ABSENT`, (batch, most).
        same: True for two inputs of one record, (batch, batch).
    """
    own = logits[..., 0].float().gather(1, places.clamp(min=0))
    shares = same.float() / same.sum(dim=1, keepdim=True)
    with full_precision(own):
        return (shares @ own).masked_fill(places == ABSENT, -torch.inf)


def candidate_losses(logits: Tensor, places: Tensor, same: Tensor, answers: Tensor) -> Tensor:
    """Cross-entropy of the right candidate, (batch,).

    Args:
        answers: number of the right candidate, (batch,).
    """
    return functional.cross_entropy(candidate_scores(logits, places, same), answers, reduction="none")


def candidate_distances(
    student: Tensor, teacher: Tensor, places: Tensor, same: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """How far a student's distribution over the candidates is from its teacher's, (batch,).

    Rows with as many candidates are compared at once, so that no distance sees a candidate that there is not.

    Args:
        loss: distance of two sets of logits over the same classes, (rows, classes) twice to (rows,).
    """
    own, other = (candidate_scores(logits, places, same) for logits in (student, teacher))
    counts = (places != ABSENT).sum(dim=1)
    distances = own.new_zeros(len(own))
    for count in set(counts.tolist()):
        rows = (counts == count).nonzero()[:, 0]
        distances = distances.index_add(0, rows, loss(own[rows, :count], other[rows, :count]))
    return distances
