"""One forward pass through the layers of an encoder, with decisions between them: three ways that agree.

`Packed` computes the tokens alive and nothing else; `Gathered` pads what is left of each row to the most that any row
kept; `Masked` computes all positions and hides and freezes those that were skipped, as the reference for the others.
A skipped token's last state is its final one, so that heads which look at every token still can.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .deciding import Question
from .packed_attention import Received, spans_of
from .token_selection import Tokens, tokens_of

Decider = Callable[[Question], tuple[Tensor, Tensor | None]]
"""Which tokens go on, (tokens,) and True where they do, and their scores if there are any."""


@dataclass(frozen=True)
class Decision:
    """One decision as it was made."""

    tokens: Tokens
    keep: Tensor
    """(tokens,)"""
    scores: Tensor | None


@dataclass
class Trace:
    """What happened to each token; give an empty one to a forward pass, which fills it."""

    decisions: list[Decision] = field(default_factory=list)
    valid: Tensor | None = None
    """(batch, length) True where there is a token"""
    counts: Tensor | None = None
    """(batch, decisions) tokens of each row that went on, where no more is known than that"""

    def alive(self) -> Tensor:
        """(batch, length, decisions): True where a token went on."""
        return self._table(lambda decision: decision.keep, torch.bool)

    def scores(self) -> Tensor:
        """(batch, length, decisions): the selector's score of each token that was still alive, else nan."""
        nothing = torch.tensor(torch.nan)
        table = self._table(
            lambda decision: nothing.expand(decision.keep.shape) if decision.scores is None else decision.scores,
            torch.float32,
        )
        asked = self._table(lambda decision: torch.ones_like(decision.keep), torch.bool)
        return table.masked_fill(~asked, torch.nan)

    def kept(self) -> Tensor:
        """(batch, decisions): tokens of each row that went on."""
        return self.alive().sum(1) if self.counts is None else self.counts

    def _table(self, column: Callable[[Decision], Tensor], dtype: torch.dtype) -> Tensor:
        assert self.valid is not None
        rows, width = self.valid.shape
        table = torch.zeros(rows * width, len(self.decisions), dtype=dtype, device=self.valid.device)
        for step, decision in enumerate(self.decisions):
            table[decision.tokens.place, step] = column(decision).detach().to(table)
        return table.view(rows, width, -1)


class Walk(ABC):
    """A forward pass from the first layer to the last; made anew for each.

    Args:
        valid: (batch, length) True where there is a token.
        depth: number of layers.
        layers: decisions are made before these.
        decide: makes them.
        token_outputs: the result is every token's last state, (batch, length, hidden size), 0 for padding; else the
            first token's of each row, (batch, 1, hidden size).
        needs_received: decisions look at the attention that tokens received in the layer before.
        collect: keep what `output_hidden_states` asks for.
        trace: filled.
        additive: attention takes a mask of numbers to add, as the eager one of transformers does.
    """

    def __init__(
        self,
        valid: Tensor,
        depth: int,
        layers: Sequence[int],
        decide: Decider,
        token_outputs: bool = True,
        needs_received: bool = False,
        collect: bool = False,
        trace: Trace | None = None,
        additive: bool = False,
    ) -> None:
        self.additive = additive
        self.valid, self.depth, self.layers, self.decide = valid, depth, tuple(layers), decide
        self.token_outputs, self.needs_received = token_outputs, needs_received
        self.received: Received | None = None
        self.tokens = tokens_of(valid)
        self.left: list[tuple[Tensor, Tensor]] = []  # places and last states of tokens that were skipped
        self.collected: list[Tensor] | None = [] if collect else None
        self.trace = trace
        if trace is not None:
            trace.valid, trace.decisions, trace.counts = valid, [], None

    def step(self, index: int, layer: nn.Module, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the encoder's loop sees as its layer `index`; what lies between two calls it does not see."""
        if index == 0:
            self.enter(hidden)
            self._note()
        if index in self.layers:
            self.reduce(self.layers.index(index))
        self.received = Received() if self.needs_received and index + 1 in self.layers else None
        self.run(layer, *args, received=self.received, **kwargs)
        self._note()
        return self._result() if index == self.depth - 1 else hidden

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # what depends on the data is one pause per decision
    def reduce(self, step: int) -> None:
        """One decision, and what follows from it."""
        received = None if self.received is None else self.received.share.flatten()[self.cells()]
        keep, scores = self.decide(Question(step, self.states(), self.tokens, received))
        if self.trace is not None:
            self.trace.decisions.append(Decision(self.tokens, keep, scores))
        self.decided(keep, scores)

    def decided(self, keep: Tensor, scores: Tensor | None) -> None:
        """Go on with the tokens of `keep`."""
        if bool(keep.all()):  # waits for the device
            return
        if self.token_outputs or self.collected is not None:
            self.skip(self.tokens.place[~keep], self.states()[~keep])
        self.tokens, index = self.tokens.select(keep)
        self.shrink(index)

    def skip(self, places: Tensor, states: Tensor) -> None:
        """Note the last states of tokens that do not go on."""
        self.left.append((places, states))

    def _note(self) -> None:
        if self.collected is not None:
            self.collected.append(self.full())

    def full(self) -> Tensor:
        """Every token's last state, (rows, length, hidden size)."""
        places, pieces = zip(*self.left, (self.tokens.place, self.states()), strict=True)
        states = torch.cat(pieces)
        empty = states.new_zeros(len(self.tokens.rows) * self.tokens.width, states.shape[-1])
        whole = empty.index_copy(0, torch.cat(places), states)
        return whole.view(len(self.tokens.rows), self.tokens.width, states.shape[-1])

    def _result(self) -> Tensor:
        if self.token_outputs:
            return self.full()
        first = self.states()[self.tokens.starts]
        if self.tokens.rows == tuple(range(len(first))):
            return first[:, None]
        order = torch.tensor(self.tokens.rows, device=first.device)
        return first[torch.argsort(order)][:, None]

    def mask_of(self, seen: Tensor, hidden: Tensor) -> Tensor | None:
        """For attention, (batch, 1, length, length): keys that are not `seen` (batch, length) count nothing."""
        if bool(seen.all()):
            return None
        mask = seen[:, None, None, :].expand(-1, 1, seen.shape[1], -1)
        if not self.additive:
            return mask
        return torch.zeros_like(mask, dtype=hidden.dtype).masked_fill(~mask, torch.finfo(hidden.dtype).min)

    @abstractmethod
    def enter(self, hidden: Tensor) -> None:
        """Take the states below the first layer, (batch, length, hidden size)."""

    @abstractmethod
    def run(self, layer: nn.Module, *args: Any, **kwargs: Any) -> None:
        """One layer."""

    @abstractmethod
    def states(self) -> Tensor:
        """(tokens, hidden size) of the tokens alive."""

    @abstractmethod
    def cells(self) -> Tensor:
        """(tokens,) where each token alive stands in what the layers see, rows behind each other."""

    @abstractmethod
    def shrink(self, index: Tensor) -> None:
        """Keep of the states only those of `index`, which `tokens` now describes."""


class Packed(Walk):
    """All tokens alive in one long row: what is skipped costs nothing, and there is no padding."""

    def enter(self, hidden: Tensor) -> None:
        flat = hidden.flatten(0, 1)
        whole = len(flat) == len(self.tokens.place) and self.tokens.rows == tuple(range(len(hidden)))
        self.packed = flat if whole else flat[self.tokens.place]
        self.spans = spans_of(self.tokens.counts)

    def run(self, layer: nn.Module, *args: Any, **kwargs: Any) -> None:
        self.packed = layer(self.packed[None], None, *args, spans=self.spans, **kwargs)[0]

    def states(self) -> Tensor:
        return self.packed

    def cells(self) -> Tensor:
        return torch.arange(len(self.packed), device=self.packed.device)

    def shrink(self, index: Tensor) -> None:
        self.packed = self.packed[index]
        self.spans = spans_of(self.tokens.counts)


class Gathered(Walk):
    """Rows padded to the most tokens that one of them has left."""

    padded: Tensor
    present: Tensor

    def enter(self, hidden: Tensor) -> None:
        self._pad(hidden.flatten(0, 1)[self.tokens.place])

    def run(self, layer: nn.Module, *args: Any, **kwargs: Any) -> None:
        self.padded = layer(self.padded, self.mask_of(self.present, self.padded), *args, **kwargs)

    def states(self) -> Tensor:
        return self.padded.flatten(0, 1)[self.cells()]

    def cells(self) -> Tensor:
        return self.present.flatten().nonzero().squeeze(1)

    def shrink(self, index: Tensor) -> None:
        self._pad(self.padded.flatten(0, 1)[self.before[index]])

    def _pad(self, states: Tensor) -> None:
        counts = torch.tensor(self.tokens.counts, device=states.device)
        self.padded = pad_sequence(list(torch.split(states, list(self.tokens.counts))), batch_first=True)
        self.present = torch.arange(self.padded.shape[1], device=states.device) < counts[:, None]
        self.before = self.cells()


class Masked(Walk):
    """All positions are computed; skipped tokens are seen by nobody and keep the state they had.

    Nothing becomes faster. Any attention of transformers serves, also one that gives attention maps.
    """

    def enter(self, hidden: Tensor) -> None:
        self.seen, self.hidden = self.valid, hidden * self.valid[..., None]

    def run(self, layer: nn.Module, *args: Any, **kwargs: Any) -> None:
        mask = self.mask_of(self.seen, self.hidden)
        out = layer(self.hidden, mask, *args, **kwargs)
        self.hidden = out if mask is None else torch.where(self.seen[..., None], out, self.hidden)

    def states(self) -> Tensor:
        return self.hidden.flatten(0, 1)[self.tokens.place]

    def cells(self) -> Tensor:
        return self.tokens.place

    def full(self) -> Tensor:
        return self.hidden

    def shrink(self, index: Tensor) -> None:
        seen = torch.zeros_like(self.seen).flatten()
        seen[self.tokens.place] = True
        self.seen = seen.view_as(self.seen)


BACKENDS: dict[str, type[Walk]] = {"packed": Packed, "gather": Gathered, "masked": Masked}


class WalkedLayers(nn.ModuleList):
    """An encoder's layers. Iterating yields what stands for each in a forward pass that is given a walk."""

    def __iter__(self) -> Iterator[Any]:
        for index, layer in enumerate(super().__iter__()):
            yield partial(_call, index, layer)


def _call(
    index: int,
    layer: nn.Module,
    hidden: Tensor,
    attention_mask: Tensor | None = None,
    *args: Any,
    walk: Walk | None = None,
    **kwargs: Any,
) -> Any:
    if walk is None:
        return layer(hidden, attention_mask, *args, **kwargs)
    kwargs.pop("position_ids", None)  # some attention takes gaps between positions for ends of rows
    return walk.step(index, layer, hidden, *args, **kwargs)
