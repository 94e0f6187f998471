"""Attention scores against attention scores, before softmax (TinyBERT, arXiv 1909.10351, equation 7).

The scores of one head are ``A = scaling * q k'``, so their squared difference needs no map of length x length: with
student q, k and teacher Q, K, padded rows zero,

    |q k' - Q K'|^2 = <q'q, k'k> + <Q'Q, K'K> - 2 <q'Q, k'K>

with products of width x width only (`gram`). For short inputs the maps themselves are cheaper (`maps`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bertpress.errors import RequestError
from bertpress.losses.reduction import Reduction, full_precision, reduced

Implementation = Literal["auto", "maps", "gram"]
SHORT = 128
"""Up to this length maps are cheaper than Gram matrices (benchmarks/attention_loss.py)."""


@dataclass(frozen=True)
class Projections:
    """What the attention scores of a layer are made of."""

    queries: Tensor
    """(batch, heads, length, width of a head)"""
    keys: Tensor
    """(batch, heads, length, width of a head)"""
    scaling: float
    """the scores are this times the products of queries and keys"""
    window: int | None = None
    """tokens attend this far to each side, where attention is local; pairs further apart are not compared"""


def attention_loss(
    student: Projections,
    teacher: Projections,
    mask: Tensor,
    reduction: Reduction = "example",
    implementation: Implementation = "auto",
) -> Tensor:
    """Mean squared difference of attention scores, over heads and pairs of real tokens, ().

    Args:
        student: as many heads as the teacher has; their width may differ.
        teacher: gets no gradient.
        mask: (batch, length), 1 at real tokens.
        reduction: `upstream` adds -10000 to padded keys, sets scores up to -100 to 0 and averages over all pairs.
        implementation: `auto` takes Gram matrices where maps would be larger, and maps where Gram matrices cannot say
            it: inside of a window, and for `upstream`.

    Raises:
        RequestError: head counts differ, or Gram matrices are asked for what they cannot say.
    """
    heads, length = _common_heads(student, teacher), mask.shape[1]
    real, window = mask.bool(), _window(student, teacher, length)
    maps_only = window is not None or reduction == "upstream"
    if implementation == "auto":
        widths = student.queries.shape[-1] + teacher.queries.shape[-1]
        implementation = "maps" if maps_only or length <= max(SHORT, widths) else "gram"
    elif implementation == "gram" and maps_only:
        why = "reduction 'upstream'" if window is None else f"a sliding window of {window} tokens to each side"
        raise RequestError(f"The attention loss has no Gram form for {why}; use implementation 'maps' or 'auto'.")
    with full_precision(real):
        if implementation == "gram":
            sums = gram_sums(student, teacher, real)
        elif reduction == "upstream":
            sums = upstream_sums(student, teacher, real, window)
        else:
            sums = map_sums(student, teacher, real, window)
    compared = torch.full_like(sums, length**2) if reduction == "upstream" else _pairs(real, window)
    return reduced(sums, heads * compared, reduction)


def mean_heads(projections: Projections) -> Projections:
    """One head whose scores are the mean over the heads: the product of concatenated queries and keys, over heads."""
    heads = projections.queries.shape[1]

    def concatenated(vectors: Tensor) -> Tensor:
        return vectors.transpose(1, 2).flatten(2)[:, None]

    return dataclasses.replace(
        projections,
        queries=concatenated(projections.queries),
        keys=concatenated(projections.keys),
        scaling=projections.scaling / heads,
    )


def mapped_heads(teacher: Projections, head_map: Sequence[int]) -> Projections:
    """The teacher's heads in the student's order.

    Args:
        head_map: for each head of the student, the teacher's head that it is compared with.

    Raises:
        RequestError: a head that the teacher does not have.
    """
    heads = teacher.queries.shape[1]
    unknown = sorted(head for head in set(head_map) if not 0 <= head < heads)
    if unknown:
        raise RequestError(
            f"head_map names head {unknown[0]} of the teacher, which has heads 0 to {heads - 1}; "
            "give one of those for each head of the student."
        )
    chosen = list(head_map)
    return dataclasses.replace(teacher, queries=teacher.queries[:, chosen], keys=teacher.keys[:, chosen])


def map_sums(student: Projections, teacher: Projections, real: Tensor, window: int | None = None) -> Tensor:
    """Squared differences of scores summed over heads and compared pairs, (batch,), by maps of length x length."""
    with torch.no_grad():
        expected = _scores(teacher, real)
    difference = _scores(student, real).sub_(expected)
    if window is not None:
        difference = difference.masked_fill(~_band(real, window), 0)
    return difference.square().sum((1, 2, 3))


def gram_sums(student: Projections, teacher: Projections, real: Tensor) -> Tensor:
    """What `map_sums` gives without a window, up to rounding, with no tensor of length x length on either way."""
    result: Tensor = _Gram.apply(  # type: ignore[no-untyped-call]
        student.queries, student.keys, teacher.queries, teacher.keys, real, student.scaling, teacher.scaling
    )
    return result


def upstream_sums(student: Projections, teacher: Projections, real: Tensor, window: int | None = None) -> Tensor:
    """The sum over each example's maps of the squared differences that TinyBERT's published code averages, (batch,)."""
    attended = real[:, None, None] if window is None else real[:, None, None] & _band(real, window)
    bias = (~attended).float() * -10_000.0  # (batch, 1, 1 or length, length)
    everywhere = torch.ones_like(real)  # padded queries count

    def cut(projections: Projections) -> Tensor:
        scores = _scores(projections, everywhere) + bias
        return scores.masked_fill(scores <= -100, 0)

    with torch.no_grad():
        expected = cut(teacher)
    return (cut(student) - expected).square().sum((1, 2, 3))


class _Gram(torch.autograd.Function):
    """The sum over heads of |q k' - Q K'|^2 and its gradients to q and k; half the products that autograd would do."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, Q: Tensor, K: Tensor, real: Tensor, scaling: float, teacher_scaling: float
    ) -> Tensor:
        ctx.dtypes, ctx.scaling = (q.dtype, k.dtype), scaling
        q, k = _rows(q, real).mul_(scaling), _rows(k, real)
        Q, K = _rows(Q, real).mul_(teacher_scaling), _rows(K, real)
        qq, kk, qQ, kK = q.mT @ q, k.mT @ k, q.mT @ Q, k.mT @ K  # (batch, heads, width, width)
        ctx.save_for_backward(q, k, Q, K, qq, kk, qQ, kK)
        teachers = _inner(Q.mT @ Q, K.mT @ K)
        return (_inner(qq, kk) + teachers - 2 * _inner(qQ, kK)).clamp_(min=0)  # equal maps may round to below 0

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, Q, K, qq, kk, qQ, kK = ctx.saved_tensors
        to_k = 2 * gradient[:, None, None, None]
        to_q = to_k * ctx.scaling
        # The small factor carries the incoming gradient; rows of padding are 0 by themselves.
        for_q = (q @ (kk * to_q)).sub_(Q @ (kK * to_q).mT)
        for_k = (k @ (qq * to_k)).sub_(K @ (qQ * to_k).mT)
        return for_q.to(ctx.dtypes[0]), for_k.to(ctx.dtypes[1]), None, None, None, None, None


def _scores(projections: Projections, real: Tensor) -> Tensor:
    """(batch, heads, length, length), 0 in rows and columns of padding."""
    return (_rows(projections.queries, real) * projections.scaling) @ _rows(projections.keys, real).mT


def _rows(vectors: Tensor, real: Tensor) -> Tensor:
    """A contiguous float32 copy of vectors, (batch, heads, length, width), with zeros at padding."""
    copied = vectors.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    return copied.masked_fill_(~real[:, None, :, None], 0)


def _inner(left: Tensor, right: Tensor) -> Tensor:
    """The inner product of the matrices of each example, (batch,)."""
    return (left * right).sum((1, 2, 3))


def _band(real: Tensor, window: int) -> Tensor:
    """(length, length), True where two tokens are no further apart than the window."""
    positions = torch.arange(real.shape[1], device=real.device)
    return (positions[:, None] - positions).abs() <= window


def _pairs(real: Tensor, window: int | None) -> Tensor:
    """How many pairs of real tokens are compared in each example, (batch,)."""
    if window is None:
        return real.sum(1).float().square()
    return ((real.float() @ _band(real, window).float()) * real).sum(1)


def _window(student: Projections, teacher: Projections, length: int) -> int | None:
    """The narrower window of the two, or None if it keeps no pair apart."""
    windows = [each.window for each in (student, teacher) if each.window is not None]
    return min(windows) if windows and min(windows) < length - 1 else None


def _common_heads(student: Projections, teacher: Projections) -> int:
    heads, others = student.queries.shape[1], teacher.queries.shape[1]
    if heads != others:
        raise RequestError(
            f"Attention scores are compared head by head, but the student has {heads} heads and the teacher {others}; "
            "use attention_loss 'relation', 'mean_heads', 'head_map' or 'none'."
        )
    return heads
