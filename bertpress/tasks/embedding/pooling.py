"""The states of a text's tokens to one vector.

Source: Reimers and Gurevych, "Sentence-BERT", arXiv 1908.10084, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from bertpress.tasks.embedding.layout import Layout
from bertpress.tasks.embedding.settings import Pooling


def mean_state(states: Tensor, mask: Tensor) -> Tensor:
    """The mean of the tokens that are no padding; 0 of a text without any."""
    seen = mask.to(states.dtype)[..., None]
    return (states * seen).sum(dim=1) / seen.sum(dim=1).clamp(min=1)


def first_state(states: Tensor, mask: Tensor) -> Tensor:
    """The state of the first token; texts are padded on the right."""
    return states[:, 0]


def largest_state(states: Tensor, mask: Tensor) -> Tensor:
    """Of each dimension the largest number among the tokens that are no padding."""
    return states.masked_fill(mask[..., None] == 0, -torch.inf).amax(dim=1)


POOLINGS: Mapping[Pooling, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": mean_state,
    "cls": first_state,
    "max": largest_state,
}
"""(states, mask), shapes (rows, length, width) and (rows, length), to (rows, width)."""


def embeddings(states: Tensor, mask: Tensor, layout: Layout) -> Tensor:
    """Vectors of texts, shape (rows, width), in float32: half precision would add up badly."""
    pooled = POOLINGS[layout.pooling](states.float(), mask)
    return functional.normalize(pooled, dim=-1) if layout.normalize else pooled
