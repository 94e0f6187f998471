"""What a model is made of as far as it costs parameters or multiply-adds: linear layers, norms, layers, decisions.

This module imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil


@dataclass(frozen=True)
class Linear:
    """A linear layer."""

    inputs: int
    outputs: int
    bias: bool = True
    tied: bool = False  # the weight is that of the token embeddings, which count already

    @property
    def parameters(self) -> int:
        """Weight and bias."""
        return self.inputs * self.outputs * (not self.tied) + self.outputs * self.bias

    @property
    def macs(self) -> int:
        """Multiply-adds for one row."""
        return self.inputs * self.outputs


@dataclass(frozen=True)
class Convolution:
    """A convolution along the tokens that keeps width and length."""

    width: int
    kernel: int
    groups: int

    @property
    def parameters(self) -> int:
        """Weight and bias."""
        return self.macs + self.width

    @property
    def macs(self) -> int:
        """Multiply-adds for one token."""
        return self.width * (self.width // self.groups) * self.kernel


@dataclass(frozen=True)
class Norm:
    """A LayerNorm."""

    width: int
    bias: bool = True
    macs = 0

    @property
    def parameters(self) -> int:
        """Scale and shift."""
        return self.width * (1 + self.bias)


@dataclass(frozen=True)
class Table:
    """Embeddings; looking rows up multiplies nothing."""

    rows: int
    width: int
    macs = 0

    @property
    def parameters(self) -> int:
        """One vector per row."""
        return self.rows * self.width


Part = Linear | Convolution | Norm | Table
Tops = Mapping[str | None, tuple[Part, ...]]  # by the kind of head; None is the bare model


@dataclass(frozen=True)
class Relative:
    """Products of attention with embeddings of relative positions, which are projected once for the whole batch."""

    rows: int
    projections: tuple[Linear, ...]
    shared: bool  # the projections are those of the tokens' queries and keys
    products: int  # of the tokens' queries with positions (c2p), of their keys with positions (p2c)

    @property
    def parameters(self) -> int:
        """The projections, where they are not shared."""
        return 0 if self.shared else sum(part.parameters for part in self.projections)


@dataclass(frozen=True)
class Layer:
    """One encoder layer: self-attention and a feed-forward block."""

    parts: tuple[Part, ...]  # applied to each token
    attention: int  # width of all heads together
    relative: Relative | None = None

    @property
    def parameters(self) -> int:
        """Everything that belongs to this layer alone."""
        return sum(part.parameters for part in self.parts) + (self.relative.parameters if self.relative else 0)

    def macs(self, tokens: int, batch: int = 1) -> int:
        """Its parts per token, `tokens` squared for QK^T and for AV, and what relative positions add."""
        each = tokens * sum(part.macs for part in self.parts) + 2 * tokens**2 * self.attention
        if self.relative is None:
            return batch * each
        each += self.relative.products * tokens * self.relative.rows * self.attention
        return batch * each + self.relative.rows * sum(part.macs for part in self.relative.projections)


@dataclass(frozen=True)
class Decision:
    """What chooses, before a layer, the tokens that go on to it and to those above."""

    layer: int
    parts: tuple[Part, ...]  # applied to each token that it reads
    reads_attention: bool  # the products of queries and keys of the layer before are computed once more
    share: float | None  # of a sequence's tokens that go on, where that is fixed


@dataclass(frozen=True)
class Shape:
    """All that decides the cost of a model, whatever its architecture; the layers need not be alike."""

    tokens: tuple[Part, ...]  # below, between and above the layers, applied to each token
    layers: tuple[Layer, ...]
    tops: Tops  # what stands on the layers, a pooler included, as applied to one token
    decisions: tuple[Decision, ...] = ()
    least_tokens: int = 0  # shorter sequences keep all their tokens, and nothing is decided
    least_kept: int = 1  # tokens that a sequence keeps at least
    most_kept: int | None = None  # and at most

    def kept(self, tokens: int, kept: Sequence[int] | None = None) -> tuple[int, ...]:
        """Tokens of a sequence of `tokens` that go on at each decision: those given, the fixed shares, or all."""
        if tokens < self.least_tokens:
            return (tokens,) * len(self.decisions)
        if kept is not None:
            return tuple(kept)
        shares = [1.0 if decision.share is None else decision.share for decision in self.decisions]
        asked = (max(self.least_kept, ceil(share * tokens - 1e-9)) for share in shares)
        return tuple(accumulate((min(count, self.most_kept or tokens, tokens) for count in asked), min))

    def alive(self, tokens: int, kept: Sequence[int]) -> list[int]:
        """Tokens of a sequence of `tokens` in each layer, where so many go on at each decision."""
        counts = [tokens] * len(self.layers)
        for decision, count in zip(self.decisions, kept, strict=True):
            counts[decision.layer :] = [count] * (len(self.layers) - decision.layer)
        return counts
