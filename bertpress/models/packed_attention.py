"""Attention among tokens that lie in one long row: those of an example see each other and nothing else.

Registered with transformers under the name `packed`. Given `spans`, the tokens of all examples stand behind each other
and there is no padding; without, it is the attention of PyTorch with a mask, as usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

PACKED = "packed"
"""The name of this attention in a configuration in memory; no saved configuration has it."""

MOST = 10.0
"""Limits how far the score of a key without weight may exceed the others: only its gradient could notice."""


@dataclass(frozen=True)
class Span:
    """Neighbouring examples with the same number of tokens: one call of attention."""

    first: int
    """where their tokens begin"""
    examples: int
    tokens: int
    """of each example"""


def spans_of(counts: Sequence[int]) -> tuple[Span, ...]:
    """The spans of examples with these numbers of tokens, in this order; fewest where equal ones are neighbours."""
    spans: list[Span] = []
    first = 0
    for tokens, group in groupby(counts):
        examples = len(list(group))
        spans.append(Span(first, examples, tokens))
        first += examples * tokens
    return tuple(spans)


@dataclass
class Received:
    """Asks a layer's attention how much of it each token receives; needed by selectors, and no part of the result.

    `share` is the mean over heads and over the queries of the example of the probability that the token gets; 0 for
    padding. Its shape is (tokens,), or (batch, length) where nothing is packed.
    """

    share: Tensor = field(default_factory=lambda: torch.empty(0))


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    spans: tuple[Span, ...] | None = None,
    key_weights: Tensor | None = None,
    received: Received | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention with the signature of transformers' interface, (batch, heads, length, width) to (batch, length, ...).

    Args:
        spans: where each example's tokens lie, the batch being 1; None: `attention_mask` says who sees whom.
        key_weights: (batch, length), each key's weight in the softmax, which a gradient reaches; not with `spans`.
        received: filled with what each token receives.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if spans is None:
        if received is not None:
            received.share = _received(query, key, attention_mask, scale)
        return _attention(query, key, value, attention_mask, dropout, scale, key_weights), None
    if _has_varlen(query) and dropout == 0:
        result = _varlen(query, key, value, spans, scale)
    else:
        pieces = (_rows(tensor, span) for span in spans for tensor in (query, key, value))
        parts = [_attention(*triple, None, dropout, scale) for triple in zip(pieces, pieces, pieces, strict=True)]
        flat = [part.flatten(0, 1) for part in parts]  # (examples * tokens, heads, width)
        result = (flat[0] if len(flat) == 1 else torch.cat(flat))[None]
    if received is not None:
        received.share = torch.cat(
            [_received(_rows(query, span), _rows(key, span), None, scale).flatten() for span in spans]
        )
    return result, None


def _rows(packed: Tensor, span: Span) -> Tensor:
    """A span's part of (1, heads, tokens, width) as (examples, heads, tokens, width), without copying."""
    part = packed[0].transpose(0, 1)[span.first : span.first + span.examples * span.tokens]
    return part.view(span.examples, span.tokens, *part.shape[1:]).transpose(1, 2)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout: float,
    scale: float,
    key_weights: Tensor | None = None,
) -> Tensor:
    """(batch, heads, length, width) thrice to (batch, length, heads, width)."""
    if key_weights is None and (dropout == 0 or query.device.type != "cpu"):
        result = functional.scaled_dot_product_attention(query, key, value, mask, dropout, scale=scale)
        return result.transpose(1, 2)
    # In single steps: on a CPU, fused attention with dropout is no faster; weights of keys it does not have.
    weights = _probabilities(query, key, mask, scale, key_weights)
    weights = functional.dropout(weights.to(query.dtype), dropout, dropout > 0)
    return (weights @ value).transpose(1, 2)


def _probabilities(
    query: Tensor, key: Tensor, mask: Tensor | None, scale: float, key_weights: Tensor | None = None
) -> Tensor:
    """(batch, heads, queries, keys), in float32."""
    scores = (query @ key.mT).float() * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    if key_weights is None:
        return functional.softmax(scores, dim=-1)
    weights = key_weights[:, None, None, :]
    highest = scores.detach().masked_fill(weights <= 0, torch.finfo(scores.dtype).min).amax(-1, keepdim=True)
    weighted = (scores - highest).clamp(max=MOST).exp() * weights
    return weighted / weighted.sum(-1, keepdim=True)


def _received(query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """(batch, length): mean over heads and valid queries of the attention to each token."""
    probabilities = _probabilities(query, key, mask, scale).mean(1)  # (batch, queries, keys)
    if mask is None:
        return probabilities.mean(1)
    valid = mask[:, 0].any(1).float()  # (batch, length)
    return (probabilities * valid[:, :, None]).sum(1) / valid.sum(1, keepdim=True) * valid


def _has_varlen(query: Tensor) -> bool:
    """True where PyTorch has a kernel for rows of different lengths: for half precision, from Ampere on."""
    if query.device.type != "cuda" or query.dtype not in (torch.float16, torch.bfloat16):
        return False
    width = query.shape[-1]
    return width % 8 == 0 and width <= 256 and torch.cuda.get_device_capability(query.device) >= (8, 0)


def _varlen(query: Tensor, key: Tensor, value: Tensor, spans: Sequence[Span], scale: float) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    counts = [span.tokens for span in spans for _ in range(span.examples)]
    ends = torch.tensor([0, *counts], device=query.device).cumsum(0).to(torch.int32)
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    result: Any = varlen_attn(query, key, value, ends, ends, max(counts), max(counts), scale=scale)
    return result[None]  # type: ignore[no-any-return]


AttentionInterface.register(PACKED, attend)
# Without a mask function of the same name no mask is passed, and padding is attended to, silently.
AttentionMaskInterface.register(PACKED, sdpa_mask)
