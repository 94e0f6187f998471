"""Which tokens go on, in tensors of the batch's shape: the decisions of `models.deciding` as a graph can hold them.

The tokens alive of a batch are a table, (batch, width). Those that go on move to the front of their row, so that its
first column always holds the first tokens, and the table can be cut to the most that one row keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from bertpress.models.token_selection import Settings


@dataclass(frozen=True)
class Alive:
    """The tokens alive of a batch."""

    place: Tensor
    """(batch, width) position in the row as it was given"""
    rank: Tensor
    """(batch, width) number among the row's tokens, from 0"""
    present: Tensor
    """(batch, width) False for what fills a row up"""

    @classmethod
    def of(cls, valid: Tensor) -> Alive:
        """All tokens, (batch, width) True where there is one; padding moves behind them, wherever it stood."""
        place = front(valid)
        rank = torch.arange(valid.shape[1], device=valid.device).expand_as(place)
        return cls(place, rank, valid.gather(1, place))

    def kept(self, keep: Tensor, columns: Tensor) -> Alive:
        """What goes on, moved to these columns, (batch, new width)."""
        place, rank, present = (table.gather(1, columns) for table in (self.place, self.rank, keep))
        return Alive(place, rank, present)


def front(keep: Tensor) -> Tensor:
    """(batch, width) column numbers of each row: first those to keep, in their order, then the others, in theirs."""
    width = keep.shape[1]
    column = torch.arange(width, device=keep.device)
    return torch.sort(torch.where(keep, column, column + width), dim=1).indices


def ranks(scores: Tensor) -> Tensor:
    """(batch, width) place by falling score within the row; of equal scores the earlier column comes first."""
    order = torch.sort(scores, dim=1, descending=True, stable=True).indices
    column = torch.arange(scores.shape[1], device=scores.device).expand_as(order)
    return torch.zeros_like(order).scatter(1, order, column)


def rows_of(states: Tensor, columns: Tensor) -> Tensor:
    """(batch, new width, size) of states (batch, width, size): whole rows are copied, not single numbers."""
    batch, width, size = states.shape
    flat = (torch.arange(batch, device=states.device)[:, None] * width + columns).flatten()
    return states.reshape(batch * width, size).index_select(0, flat).view(batch, columns.shape[1], size)


def common_lengths(input_ids: Tensor, alive: Alive) -> Tensor:
    """(batch,) tokens that each row has in common with the other options of its question, from the first one on.

    Args:
        input_ids: (questions, options, width); `alive` holds the same rows behind each other.
    """
    ids = input_ids.flatten(0, 1).gather(1, alive.place).view_as(input_ids)
    present = alive.present.view_as(input_ids)
    same = (ids == ids[:, :1]) & present & present[:, :1]
    alike = ((~same).long().cumsum(-1) == 0).long().sum(-1)  # (questions, options)
    return alike.amin(1, keepdim=True).expand_as(alike).flatten()


@dataclass(frozen=True)
class Choose:
    """Which tokens go on, as `models.deciding.Decide` says it."""

    settings: Settings
    policies: nn.ModuleList
    lengths: Tensor
    """(batch,) tokens of each row that there are to decide about"""
    forced: Tensor | None = None
    """(batch, width) tokens that stay, by their position in the row"""
    drawn: Tensor | None = None
    """(decisions, positions) scores of the selector `random`"""
    quotas: Tensor | None = None
    """(decisions, lengths) of rows of a length, the tokens that go on where shares are given"""
    options: int | None = None
    """rows of a question, which stand side by side, where these share decisions"""

    def __call__(self, step: int, states: Tensor, alive: Alive, received: Tensor | None) -> Tensor:
        """(batch, width) True for tokens that go on.

        Args:
            states: (batch, width, size).
            received: (batch, width) attention received in the layer before, where the selector needs it.
        """
        asked = alive.present
        if self.options is not None:
            asked = asked & (alive.rank < self.lengths[:, None])
        scores = self._scores(step, states, alive, received)
        keep = self._chosen(step, scores, asked)
        if self.options is not None:
            keep = keep | ~asked
        if self.forced is not None:
            keep = keep | self.forced.gather(1, alive.place)
        if self.settings.min_tokens:
            keep = keep | (self.lengths < self.settings.min_tokens)[:, None]
        first = torch.arange(keep.shape[1], device=keep.device) == 0
        return (keep | first) & alive.present

    def _mean(self, values: Tensor) -> Tensor:
        """The mean over the options of a question; what they have in common stands in the same columns of each."""
        if self.options is None:
            return values
        by_question = values.view(-1, self.options, values.shape[1])
        return by_question.mean(1, keepdim=True).expand_as(by_question).reshape(values.shape)

    def _scores(self, step: int, states: Tensor, alive: Alive, received: Tensor | None) -> Tensor:
        selector = self.settings.selector
        if selector == "policy":
            return torch.sigmoid(self._mean(self.policies[step](states)))
        if selector == "first":
            return self._mean(-alive.place.float())
        if selector == "random":
            assert self.drawn is not None
            return self._mean(self.drawn[step][alive.place - alive.place[:, :1]])
        assert received is not None
        return self._mean(received)

    def _chosen(self, step: int, scores: Tensor, asked: Tensor) -> Tensor:
        settings = self.settings
        least, most = settings.min_keep, settings.max_keep
        threshold = settings.thresholds[step] if settings.thresholds else 0.5
        keep = scores >= threshold
        if settings.shares is None and least <= 1 and most is None:
            return keep
        first = torch.arange(scores.shape[1], device=scores.device) == 0
        places = ranks(scores.masked_fill(~asked, -torch.inf).masked_fill(first, torch.inf))
        if settings.shares is not None:
            assert self.quotas is not None
            keep = places < self.quotas[step][self.lengths][:, None]
        keep = keep | (places < least)
        return keep if most is None else keep & (places < most)
