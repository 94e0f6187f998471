"""Multiply-adds of rows that keep fewer and fewer tokens, as tensors, so that a price can be asked for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bertpress.costs.shapes import shape_of
from bertpress.errors import RequestError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from bertpress.models.walks import Trace


@dataclass(frozen=True)
class RowCosts:
    """Of each layer the multiply-adds per token and per pair of tokens, and what decisions cost per token."""

    linear: tuple[float, ...]
    pairs: tuple[float, ...]
    layers: tuple[int, ...]
    """decisions are made before these"""
    policy: float = 0.0
    """of a decision, for each token that a policy looks at"""
    received: bool = False
    """decisions look at attention, whose scores are computed once more in the layer before"""

    @classmethod
    def of(cls, config: PretrainedConfig) -> RowCosts:
        """The costs of a compact model's configuration."""
        shape = shape_of(config)
        return cls(
            tuple(float(sum(part.macs for part in layer.parts)) for layer in shape.layers),
            tuple(2.0 * layer.attention for layer in shape.layers),
            tuple(decision.layer for decision in shape.decisions),
            float(sum(part.macs for decision in shape.decisions[:1] for part in decision.parts)),
            any(decision.reads_attention for decision in shape.decisions),
        )

    def full(self, lengths: Tensor) -> Tensor:
        """(rows,) of rows that keep all their tokens and decide nothing."""
        return sum(self.linear) * lengths + sum(self.pairs) * lengths**2

    def share(self, lengths: Tensor, kept: Tensor) -> Tensor:
        """(rows,) multiply-adds of the layers and decisions as a share of `full`.

        Args:
            lengths: (rows,) tokens before any decision, as floats.
            kept: (rows, decisions) tokens after each.
        """
        alive, total = lengths, torch.zeros_like(lengths)
        for layer, (linear, pairs) in enumerate(zip(self.linear, self.pairs, strict=True)):
            if layer in self.layers:
                total = total + self.policy * alive + self.received * self.pairs[layer - 1] / 2 * alive**2
                alive = kept[:, self.layers.index(layer)]
            total = total + linear * alive + pairs * alive**2
        return total / self.full(lengths)

    def mean(self, lengths: Tensor, kept: Tensor) -> float:
        """Mean of `share` over the rows."""
        return float(self.share(lengths, kept).mean())

    def share_of(self, trace: Trace) -> Tensor:
        """(rows,) of a forward pass."""
        assert trace.valid is not None
        lengths = trace.valid.sum(1).double()
        return self.share(lengths, trace.kept().double()) if self.layers else torch.ones_like(lengths)

    def even_share(self, target: float, tokens: float, always: float = 0.0) -> float:
        """The share p of tokens for which rows of that many, keeping p at each decision, cost `target`.

        Found by bisection; 1 where even that costs less, and near 0 where nothing is cheap enough.

        Args:
            always: of the tokens those that go on whatever is decided; p is a share of the others.
        """
        low, high = 0.0, 1.0
        lengths = torch.tensor([tokens], dtype=torch.float64)
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if self._even(lengths, middle, always) > target else (middle, high)
        return (low + high) / 2

    def _even(self, lengths: Tensor, share: float, always: float) -> float:
        left = even_shares(share, len(self.layers), lengths)
        return float(self.share(lengths, always + (lengths[:, None] - always) * left))


def check_reachable(target: float, config: PretrainedConfig, first: int) -> None:
    """Refuse a share of the multiply-adds that the layers below the first decision exceed by themselves.

    Args:
        first: the layer before which it is made.

    Raises:
        RequestError: names their share.
    """
    costs = [layer.macs(128) for layer in shape_of(config).layers]
    least = sum(costs[:first]) / sum(costs)
    if target <= least:
        raise RequestError(
            f"macs {target:g} cannot be reached: {first} of {len(costs)} layers always see all tokens, which is "
            f"{least:.2f} of the multiply-adds; give more, or decide earlier (reduction_layers)."
        )


def even_shares(share: float, decisions: int, like: Tensor | None = None) -> Tensor:
    """(decisions,): what is left of a row after each decision if every one keeps `share` of what it sees."""
    dtype = torch.float64 if like is None else like.dtype
    return torch.tensor([share ** (step + 1) for step in range(decisions)], dtype=dtype)
