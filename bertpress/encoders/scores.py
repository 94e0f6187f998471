"""Queries, keys and values of chosen layers, for losses on attention; no model is edited.

What transformers returns as `attentions` cannot be used: it comes after softmax and dropout, and not at all from fused
attention. So a model is switched to an attention function of ours, registered with transformers, which computes what
the stock ones compute and, while `capture` is entered, remembers what it was given:

    enable_capture(model)
    with capture(model, layers=[3, 5]) as found:
        model(**batch)
    found[3].query  # (batch, heads, length, width of a head), in the graph of the forward pass
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

from bertpress.encoders import encoder_of
from bertpress.errors import RequestError
from bertpress.losses.attention import Projections
from bertpress.models import is_reduced
from bertpress.models.packed_attention import PACKED

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CAPTURING = "bertpress"
"""The name of our attention in a configuration in memory; transformers saves no such name."""


@dataclass(frozen=True)
class Captured:
    """What one layer's attention was given in a forward pass, after rotary embeddings where there are any."""

    query: Tensor
    """(batch, heads, length, width of a head), like `key` and `value`; a value is None where nobody asked for it"""
    key: Tensor
    value: Tensor | None
    scaling: float
    """scores are this times the products of queries and keys"""
    window: int | None
    """tokens attend this far to each side, where attention is local"""

    def projections(self) -> Projections:
        """What `attention_loss` compares."""
        return Projections(self.query, self.key, self.scaling, self.window)


_CAPTURES: dict[nn.Module, tuple[int, dict[int, Captured]]] = {}
"""Modules of the layers that are being captured: the layer's index, and where to put what is found."""


def enable_capture(model: PreTrainedModel) -> None:
    """Switch a model to the attention that `capture` reads, in place; its outputs stay the same up to rounding.

    Raises:
        RequestError: attention scores of this architecture are more than products of queries and keys.
    """
    kind = model.config.model_type
    terms = encoder_of(model.config).score_terms
    if terms is not None:
        raise RequestError(
            f"The attention scores of a {kind} are not products of queries and keys alone, they have {terms} added, so "
            "neither scores nor relations can be compared; use losses on hidden states and predictions only."
        )
    AttentionInterface.register(CAPTURING, attend)
    # Without a mask function of the same name no mask is passed, and padding is attended to, silently.
    AttentionMaskInterface.register(CAPTURING, sdpa_mask)
    model.set_attn_implementation(CAPTURING)


def disable_capture(model: PreTrainedModel) -> None:
    """Switch a model back to the attention it comes with, in place, before it is handed out."""
    if model.config._attn_implementation == CAPTURING:
        model.set_attn_implementation(PACKED if is_reduced(model.config) else "sdpa")


@contextmanager
def capture(model: PreTrainedModel, layers: Collection[int]) -> Iterator[dict[int, Captured]]:
    """While entered, a forward pass of the model puts what those layers' attention was given into a dictionary.

    One forward pass belongs into it; a second one writes over the first. Other models may be captured at the same time.

    Args:
        model: made ready by `enable_capture`.
        layers: indices into the model's list of layers, which are the keys of the dictionary.

    Raises:
        ValueError: capturing is not enabled, or the model has no such layer.
    """
    if model.config._attn_implementation != CAPTURING:
        raise ValueError(f"expected a model after enable_capture, got one with {model.config._attn_implementation}")
    # Not every architecture numbers its attention modules, so they are found from the list of layers.
    modules = list(encoder_of(model.config).layer_list(model).children())
    if not set(layers) <= set(range(len(modules))):
        raise ValueError(f"expected layers between 0 and {len(modules) - 1}, got {sorted(layers)}")
    found: dict[int, Captured] = {}
    places = {module: (index, found) for index in set(layers) for module in modules[index].modules()}
    outer = {module: _CAPTURES[module] for module in places if module in _CAPTURES}
    _CAPTURES.update(places)
    try:
        yield found
    finally:
        for module in places:
            del _CAPTURES[module]
        _CAPTURES.update(outer)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention with the signature of transformers' interface: (batch, length, heads, width of a head), and no map.

    Args:
        sliding_window: as flash attention counts it, one more than the distance to the furthest token attended to.
    """
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    if module in _CAPTURES:
        index, found = _CAPTURES[module]
        found[index] = Captured(query, key, value, scaling, None if sliding_window is None else sliding_window - 1)
    if dropout > 0 and query.device.type == "cpu":
        return _with_dropout(query, key, value, attention_mask, dropout, scaling), None
    result: tuple[Tensor, None] = sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
    )
    return result


def _with_dropout(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, scaling: float
) -> Tensor:
    """Attention in single steps: on CPU with dropout the fused one is no faster, and this dropout can be replaced."""
    scores = query @ key.mT * scaling
    if mask is not None:
        lowest = torch.finfo(scores.dtype).min
        scores = scores.masked_fill(~mask, lowest) if mask.dtype == torch.bool else scores + mask
    weights = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=True)
    return (weights @ value).transpose(1, 2).contiguous()
