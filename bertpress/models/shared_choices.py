"""What the options of a question have in common, and decisions that they share.

The rows of a question begin alike, with its context and its question. About these tokens one decision is made for all
of them, by the mean over the options; tokens behind go on always (arXiv 2105.11618, in its code for multiple choice).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shared:
    """Which tokens of a batch are the same token of several options."""

    cell: Tensor
    """(batch * width,) of each place, the number that it shares with the same token of the other options; -1 for tokens
    behind what they have in common, and for padding"""
    cells: int
    lengths: tuple[int, ...]
    """of each row, the tokens that it has in common with the others of its question"""

    @classmethod
    def of(cls, groups: Tensor, input_ids: Tensor, valid: Tensor) -> Shared:
        """Compare the rows of each question from their first token on; one without others has all in common.

        Args:
            groups: (batch,) rows with equal numbers are the options of a question.
            input_ids: (batch, length).
            valid: (batch, length) True where there is a token.
        """
        batch, width = input_ids.shape
        rank = torch.arange(width, device=input_ids.device)
        order = torch.argsort((~valid).to(torch.int8), dim=1, stable=True)  # padding last, wherever it stands
        ids, lengths = input_ids.gather(1, order), valid.sum(1)
        group = torch.unique(groups, return_inverse=True)[1]
        rows = torch.arange(batch, device=group.device)
        first = rows.scatter_reduce(0, group, rows, "amin", include_self=False)[group]  # of each row's question
        same = (ids == ids[first]) & (rank < torch.minimum(lengths, lengths[first])[:, None])
        alike = same.long().cumprod(1).sum(1)
        common = rows.scatter_reduce(0, group, alike, "amin", include_self=False)[group]
        by_rank = torch.where(rank < common[:, None], group[:, None] * width + rank, -1)
        cell = torch.empty_like(by_rank).scatter(1, order, by_rank)
        return cls(cell.flatten(), batch * width, tuple(common.tolist()))

    def is_common(self, place: Tensor) -> Tensor:
        """(tokens,) True for what the options of a question have in common.

        Args:
            place: (tokens,) row * width + position of each.
        """
        return self.cell[place] >= 0

    def mean(self, values: Tensor, place: Tensor) -> Tensor:
        """(tokens,) the mean over the options, where they have a token in common; the token's own value elsewhere."""
        return self.total(values, place) / self.total(torch.ones_like(values), place)

    def total(self, values: Tensor, place: Tensor) -> Tensor:
        """(tokens,) likewise the sum."""
        common, index = self.is_common(place), self.cell[place].clamp(min=0)
        sums = values.new_zeros(self.cells).index_add(0, index, values.masked_fill(~common, 0))
        return torch.where(common, sums[index], values)
