"""A model that skips tokens in steps that a graph can hold: sizes follow the data, and no size is a Python number.

The walks of `models.walks` count tokens in Python, which no exported graph can. `Dropping` takes their place; its
decisions are those of `choosing`. A skipped token's last state is its final one, as there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from bertpress.exports.choosing import Alive, Choose, common_lengths, front, rows_of
from bertpress.exports.ragged import RAGGED, Grid
from bertpress.models.deciding import scattered
from bertpress.models.packed_attention import PACKED, Received

KEPT = "kept"
"""The output that says how many tokens of each row went on, (batch, decisions)."""


@dataclass
class Pass:
    """One forward pass through the layers."""

    alive: Alive
    """the tokens of the batch, and then those that are left"""
    depth: int
    choose: Choose
    token_outputs: bool
    """whether the result is every token's last state, (batch, length, size), 0 for padding; else the first token's,
    (batch, 1, size)"""
    kept: list[Tensor] = field(default_factory=list)
    received: Received | None = None
    collected = None

    @property
    def layers(self) -> tuple[int, ...]:
        """Before which there is a decision."""
        return self.choose.settings.layers

    def asking(self, index: int) -> Received | None:
        """What a layer's attention fills in, where the decision behind it looks at that."""
        looks = self.choose.settings.selector == "attention" and index + 1 in self.layers
        return Received() if looks else None


class Dropping(Pass):
    """A pass that leaves out what does not go on, and padding."""

    grid: Grid
    hidden: Tensor
    """(tokens, size) states of the tokens that are left"""
    whole: Tensor | None
    """(batch * length, size) states where their tokens stand"""

    def step(self, index: int, layer: nn.Module, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the encoder's loop sees as its layer `index`."""
        if index == 0:
            self.enter(hidden)
        if index in self.layers:
            self.reduce(self.layers.index(index))
        self.received = self.asking(index)
        self.hidden = layer(self.hidden[None], None, *args, grid=self.grid, received=self.received, **kwargs)[0]
        return self.result() if index == self.depth - 1 else hidden

    def enter(self, hidden: Tensor) -> None:
        """Take the states below the first layer, (batch, length, size)."""
        self.batch, self.length = self.alive.present.shape
        self.grid = Grid.of(self.alive.present)
        self.hidden = self.grid.packed(rows_of(hidden, self.alive.place))
        self.whole = hidden.new_zeros(self.batch * self.length, hidden.shape[-1]) if self.token_outputs else None

    def reduce(self, step: int) -> None:
        """One decision, and what follows from it."""
        received = None if self.received is None else self.received.share
        states = self.grid.spread(self.hidden)
        keep = self.choose(step, states, self.alive, received)
        counts = keep.sum(1)
        self.kept.append(counts)
        self.put_back()
        most: Any = counts.max().item()
        torch._check(most >= 1)  # type: ignore[no-untyped-call]
        torch._check(most <= keep.shape[1])  # type: ignore[no-untyped-call]
        columns = front(keep)[:, :most]
        self.alive = self.alive.kept(keep, columns)
        self.grid = Grid.of(self.alive.present)
        self.hidden = self.grid.packed(rows_of(states, columns))

    def put_back(self) -> None:
        """Write the states where their tokens stand in the whole; those of tokens that go on are written over later."""
        if self.whole is None:
            return
        row = torch.arange(self.batch, device=self.hidden.device)[:, None] * self.length
        self.whole = self.whole.index_put((self.grid.packed(row + self.alive.place),), self.hidden)

    def result(self) -> Tensor:
        """What the layers above the last one see."""
        self.put_back()
        if self.whole is not None:
            return self.whole.view(self.batch, self.length, -1)
        return self.hidden.index_select(0, self.grid.number[:, 0])[:, None]


class Hiding(Pass):
    """A pass that computes everything and hides what does not go on, so that no shape depends on the data."""

    hidden: Tensor
    """(batch, length, size) states, those of skipped tokens their last ones"""
    first: Alive
    """all tokens"""

    def step(self, index: int, layer: nn.Module, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the encoder's loop sees as its layer `index`."""
        if index == 0:
            self.first, self.hidden = self.alive, rows_of(hidden, self.alive.place)
        if index in self.layers:
            received = None if self.received is None else self.received.share
            keep = self.choose(self.layers.index(index), self.hidden, self.alive, received)
            self.kept.append(keep.sum(1))
            self.alive = Alive(self.alive.place, self.alive.rank, keep)
        self.received = self.asking(index)
        present = self.alive.present
        mask = present[:, None, None, :].expand(-1, 1, present.shape[1], -1)
        out = layer(self.hidden, mask, *args, received=self.received, **kwargs)
        self.hidden = torch.where(present[..., None], out, self.hidden)
        return self.result() if index == self.depth - 1 else hidden

    def result(self) -> Tensor:
        """What the layers above the last one see."""
        if not self.token_outputs:
            return self.hidden[:, :1]
        states = self.hidden.masked_fill(~self.first.present[..., None], 0.0)
        return rows_of(states, torch.sort(self.first.place, dim=1).indices)


@contextmanager
def served(model: PreTrainedModel, drops: bool) -> Iterator[Served]:
    """A model in the form that is traced; meanwhile its attention is that of `ragged`."""
    model.set_attn_implementation(RAGGED)
    try:
        yield Served(model, drops)
    finally:
        model.set_attn_implementation(PACKED)


class Served(nn.Module):
    """A model that skips tokens, from tensors to tensors: its outputs by name, and the tokens kept.

    Args:
        drops: leave out what does not go on, by `Dropping`; else hide it, by `Hiding`.
    """

    def __init__(self, model: PreTrainedModel, drops: bool) -> None:
        super().__init__()
        self.model, self.drops, self.config = model, drops, model.config
        self.drawn: Tensor
        self.quotas: Tensor
        self.always: Tensor
        encoder: Any = model.base_model
        settings, most = encoder.settings, self.config.max_position_embeddings
        steps = torch.arange(len(settings.layers))[:, None]
        shares = settings.shares or (1.0,) * len(settings.layers)
        # Tables, because a graph rounds what Python and PyTorch compute in 64 bits.
        quotas = [[math.ceil(share * length - 1e-9) for length in range(most + 1)] for share in shares]
        self.register_buffer("drawn", scattered(torch.arange(most) + 7919 * steps), persistent=False)
        self.register_buffer("quotas", torch.tensor(quotas), persistent=False)
        self.register_buffer("always", torch.tensor(settings.always_keep), persistent=False)

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """What the model makes of a batch, with at least `input_ids` and `attention_mask`."""
        walk = self.new_walk(inputs["input_ids"], inputs["attention_mask"].bool())
        outputs = self.model(**inputs, walk=walk, return_dict=True)
        found = {name: value for name, value in outputs.items() if isinstance(value, Tensor)}
        return {**found, KEPT: torch.stack(walk.kept, dim=1)} if walk.kept else found

    def new_walk(self, input_ids: Tensor, valid: Tensor) -> Dropping | Hiding:
        """A forward pass with the model's own decisions; rows may be options of questions, with an axis more."""
        encoder: Any = self.model.base_model
        settings = encoder.settings
        ids, flat = (tensor.flatten(0, -2) for tensor in (input_ids, valid))
        alive = Alive.of(flat)
        shares = settings.shared and input_ids.dim() == 3
        lengths = common_lengths(input_ids, alive) if shares else flat.sum(1)
        forced = torch.isin(ids, self.always) if settings.always_keep else None
        options: Any = input_ids.shape[1] if shares else None
        choose = Choose(settings, encoder.policies, lengths, forced, self.drawn, self.quotas, options)
        depth = len(encoder.get_submodule(encoder.places.layers))
        return (Dropping if self.drops else Hiding)(alive, depth, choose, encoder.token_outputs)
