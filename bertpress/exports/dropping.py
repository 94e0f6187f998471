"""A model that skips tokens in steps that a graph can hold: sizes follow the data, and nothing is a Python number.

The walks of `models.walks` count tokens in Python, which no exported graph can. Here the tokens alive are a table,
(batch, width), in which those that go on move to the front of their row, and the table is cut to the most that one row
keeps. The decisions are those of `models.deciding` on such a table; tests hold both together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bertpress.models.deciding import _scattered
from bertpress.models.packed_attention import Received

if TYPE_CHECKING:
    from bertpress.models.token_selection import Settings


@dataclass(frozen=True)
class Alive:
    """The tokens alive of a batch; the first column holds each row's first token."""

    place: Tensor
    """(batch, width) position in the row as it was given"""
    present: Tensor
    """(batch, width) False for what fills a row up"""

    def moved(self, order: Tensor) -> Alive:
        """Other columns, (batch, new width) of each row."""
        return Alive(self.place.gather(1, order), self.present.gather(1, order))


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


def rows_of(states: Tensor, order: Tensor) -> Tensor:
    """(batch, new width, size) of states (batch, width, size): whole rows are copied, not single numbers."""
    batch, width, size = states.shape
    flat = (torch.arange(batch, device=states.device)[:, None] * width + order).flatten()
    return states.reshape(batch * width, size).index_select(0, flat).view(batch, order.shape[1], size)


@dataclass(frozen=True)
class Choose:
    """Which tokens go on, as `models.deciding.Decide` says it.

    Args:
        lengths: (batch,) tokens of each row that there are to decide about.
        forced: (batch, width) tokens that stay, or None.
        options: rows of a question that share decisions, standing side by side; 1 where none do.
    """

    settings: Settings
    policies: nn.ModuleList
    lengths: Tensor
    forced: Tensor | None = None
    options: int = 1

    def __call__(self, step: int, states: Tensor, alive: Alive, received: Tensor | None) -> Tensor:
        """(batch, width) True for tokens that go on.

        Args:
            states: (batch, width, size).
            received: (batch, width) attention received in the layer before, where the selector needs it.
        """
        asked = alive.present & (alive.place < self.lengths[:, None]) if self.options > 1 else alive.present
        scores = self._shared(self._scores(step, states, alive, received))
        keep = self._chosen(step, scores, asked)
        if self.options > 1:
            keep = keep | ~asked
        if self.forced is not None:
            keep = keep | self.forced.gather(1, alive.place)
        if self.settings.min_tokens:
            keep = keep | (self.lengths < self.settings.min_tokens)[:, None]
        first = torch.arange(keep.shape[1], device=keep.device) == 0
        return (keep | first) & alive.present

    def _shared(self, scores: Tensor) -> Tensor:
        """The mean over the options of a question; what they have in common stands in the same columns of each."""
        if self.options == 1:
            return scores
        by_question = scores.view(-1, self.options, scores.shape[1])
        return by_question.mean(1, keepdim=True).expand_as(by_question).reshape(scores.shape)

    def _scores(self, step: int, states: Tensor, alive: Alive, received: Tensor | None) -> Tensor:
        selector = self.settings.selector
        if selector == "policy":
            return torch.sigmoid(self.policies[step](states))
        if selector == "first":
            return -alive.place.float()
        if selector == "random":
            return self._drawn(step, alive.place)
        assert received is not None
        return received

    def _drawn(self, step: int, place: Tensor) -> Tensor:
        positions = torch.arange(MOST_POSITIONS, device=place.device)
        return _scattered(positions + 7919 * step)[place]

    def _chosen(self, step: int, scores: Tensor, asked: Tensor) -> Tensor:
        settings = self.settings
        least, most = settings.min_keep, settings.max_keep
        column = torch.arange(scores.shape[1], device=scores.device)
        if settings.shares is None:
            keep = scores >= (settings.thresholds[step] if settings.thresholds else 0.5)
            if least <= 1 and most is None:
                return keep
        places = ranks(scores.masked_fill(~asked, -torch.inf).masked_fill(column == 0, torch.inf))
        if settings.shares is not None:
            quota = torch.ceil(settings.shares[step] * self.lengths.double() - 1e-9)
            keep = places < quota[:, None]
        if least > 1:
            keep = keep | (places < least)
        return keep if most is None else keep & (places < most)


MOST_POSITIONS = 4096


class Dropping:
    """One forward pass through the layers; takes the place of a `models.walks.Walk`.

    Args:
        valid: (batch, length) True where there is a token.
        depth: number of layers.
        choose: makes the decisions.
        token_outputs: the result is every token's last state, (batch, length, size), 0 for padding; else the first
            token's, (batch, 1, size).
        drops: leave out what does not go on; else everything is computed and hidden, so that shapes do not change.
    """

    collected = None

    def __init__(self, valid: Tensor, depth: int, choose: Choose, token_outputs: bool, drops: bool = True) -> None:
        self.valid, self.depth, self.choose, self.token_outputs, self.drops = valid, depth, choose, token_outputs, drops
        self.layers = choose.settings.layers
        self.kept: list[Tensor] = []
        self.received: Received | None = None

    def step(self, index: int, layer: nn.Module, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the encoder's loop sees as its layer `index`."""
        if index == 0:
            self.enter(hidden)
        if index in self.layers:
            self.reduce(self.layers.index(index))
        looks = self.choose.settings.selector == "attention" and index + 1 in self.layers
        self.received = Received() if looks else None
        out = layer(self.hidden, self.mask(), *args, received=self.received, **kwargs)
        self.hidden = out if self.drops else torch.where(self.alive.present[..., None], out, self.hidden)
        return self.result() if index == self.depth - 1 else hidden

    def enter(self, hidden: Tensor) -> None:
        """Take the states below the first layer; padding moves behind the tokens of its row, wherever it stood."""
        order = front(self.valid)
        self.alive = Alive(order, self.valid.gather(1, order))
        batch, width, size = hidden.shape
        self.hidden = rows_of(hidden, order)
        # one more row takes what no place takes
        self.whole = hidden.new_zeros(batch * width + 1, size) if self.token_outputs else None

    def mask(self) -> Tensor:
        """For attention, (batch, 1, width, width): keys that are not present count nothing."""
        present = self.alive.present
        return present[:, None, None, :].expand(-1, 1, present.shape[1], -1)

    def reduce(self, step: int) -> None:
        """One decision, and what follows from it."""
        received = None if self.received is None else self.received.share
        keep = self.choose(step, self.hidden, self.alive, received)
        counts = keep.sum(1)
        self.kept.append(counts)
        if not self.drops:
            self.alive = Alive(self.alive.place, keep)
            return
        self.put_back()
        most = counts.max().item()
        torch._check(most >= 1)
        torch._check(most <= keep.shape[1])
        order = front(keep)[:, :most]
        self.hidden = rows_of(self.hidden, order)
        self.alive = Alive(self.alive.place.gather(1, order), keep.gather(1, order))

    def put_back(self) -> None:
        """Write the states where their tokens stand in the whole; the next ones overwrite those that go on."""
        if self.whole is None:
            return
        batch, width = self.valid.shape
        place = torch.arange(batch, device=self.valid.device)[:, None] * width + self.alive.place
        place = torch.where(self.alive.present, place, batch * width).flatten()
        self.whole = self.whole.index_put((place,), self.hidden.flatten(0, 1))

    def result(self) -> Tensor:
        """What the layers above the last one see."""
        if self.whole is None:
            return self.hidden[:, :1]
        self.put_back()
        batch, width = self.valid.shape
        return self.whole[:-1].view(batch, width, -1)
