"""Tokens of a batch behind each other without padding, in tensors that a graph can hold.

Linear maps, which are most of the work, see the tokens that there are. Attention alone needs rows of one width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers.modeling_utils import AttentionInterface

from bertpress.models.packed_attention import Received, attend

RAGGED = "ragged"
"""The name of this attention in a configuration in memory."""


@dataclass(frozen=True)
class Grid:
    """Where the tokens of a table stand in one long row, and the other way round."""

    present: Tensor
    """(batch, width) False for what fills a row up"""
    number: Tensor
    """(batch, width) of each token in the long row; 0 where there is none"""
    cell: Tensor
    """(tokens,) of each token in the flattened table"""

    @classmethod
    def of(cls, present: Tensor) -> Grid:
        """That of a table, row by row."""
        number = (present.flatten().long().cumsum(0).view_as(present) - 1).masked_fill(~present, 0)
        return cls(present, number, present.flatten().nonzero()[:, 0])

    def packed(self, table: Tensor) -> Tensor:
        """(tokens, ...) of a table (batch, width, ...)."""
        return table.flatten(0, 1).index_select(0, self.cell)

    def spread(self, tokens: Tensor) -> Tensor:
        """(batch, width, ...) of tokens (tokens, ...); the first one stands where there is none."""
        batch, width = self.present.shape
        return tokens.index_select(0, self.number.flatten()).view(batch, width, *tokens.shape[1:])


def attend_ragged(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    grid: Grid | None = None,
    received: Received | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention with the signature of transformers' interface, (1, heads, tokens, width) to (1, tokens, heads, width).

    Args:
        grid: who stands in one row; None: `attention_mask` says who sees whom, (batch, heads, length, width) as usual.
        received: filled with what each token receives, (batch, width).
    """
    if grid is None:
        return attend(module, query, key, value, attention_mask, dropout, scaling, received=received, **kwargs)
    query, key, value = (grid.spread(each[0].transpose(0, 1)).transpose(1, 2) for each in (query, key, value))
    mask = grid.present[:, None, None, :].expand(-1, 1, grid.present.shape[1], -1)
    found, _ = attend(module, query, key, value, mask, scaling=scaling, received=received)
    return grid.packed(found)[None], None


AttentionInterface.register(RAGGED, attend_ragged)
