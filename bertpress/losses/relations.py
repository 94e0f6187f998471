"""Relations between tokens against relations (MiniLMv2, arXiv 2012.15828, section 3): any head counts, any widths.

A relation is the softmax of the scaled products of a layer's queries (or keys, or values) with themselves. The heads'
vectors are concatenated and cut anew, into as many relation heads for the student as for the teacher.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from bertpress.errors import RequestError
from bertpress.losses.reduction import full_precision, reduced


def relation_loss(student: Tensor, teacher: Tensor, mask: Tensor, relation_heads: int) -> Tensor:
    """KL divergence of the student's relations from the teacher's: mean over relation heads and tokens, then examples.

    Args:
        student: queries, keys or values of a layer with its heads concatenated, (batch, length, width).
        teacher: the same of the teacher, whose width may differ; gets no gradient.
        mask: (batch, length), 1 at real tokens.
        relation_heads: a divisor of both widths.

    Raises:
        RequestError: no divisor of both; names those that are.
    """
    check_relation_heads(relation_heads, teacher.shape[-1], student.shape[-1])
    real = mask.bool()
    with full_precision(real):
        with torch.no_grad():
            expected = _log_relations(teacher, real, relation_heads)
        found = _log_relations(student, real, relation_heads)
    divergences = functional.kl_div(found, expected, reduction="none", log_target=True).sum(-1)
    sums = divergences.masked_fill(~real[:, None], 0).sum((1, 2))
    return reduced(sums, relation_heads * real.sum(1), "example")


def joined_heads(vectors: Tensor) -> Tensor:
    """Vectors of the heads, (batch, heads, length, width), side by side: (batch, length, heads * width)."""
    return vectors.transpose(1, 2).flatten(2)


def default_relation_heads(teacher_width: int, student_width: int, teacher_layers: int) -> int:
    """The most relation heads that divide both widths, up to 48, or 64 for a teacher of 24 layers (the paper's)."""
    most = 64 if teacher_layers >= 24 else 48
    return max(heads for heads in valid_relation_heads(teacher_width, student_width) if heads <= most)


def valid_relation_heads(teacher_width: int, student_width: int) -> list[int]:
    """Numbers of relation heads that divide both widths, in ascending order."""
    common = math.gcd(teacher_width, student_width)
    return [heads for heads in range(1, common + 1) if common % heads == 0]


def check_relation_heads(relation_heads: int, teacher_width: int, student_width: int) -> None:
    """Refuse a number of relation heads that does not divide both widths.

    Raises:
        RequestError: names the valid numbers.
    """
    valid = valid_relation_heads(teacher_width, student_width)
    if relation_heads not in valid:
        raise RequestError(
            f"relation_heads {relation_heads} must divide the widths of teacher ({teacher_width}) and student "
            f"({student_width}); use one of {', '.join(map(str, valid))}."
        )


def _log_relations(vectors: Tensor, real: Tensor, relation_heads: int) -> Tensor:
    """Logarithms of relations, (batch, relation heads, length, length); as good as minus infinity at padded keys."""
    vectors = vectors.float().masked_fill(~real[..., None], 0)
    heads = vectors.view(*real.shape, relation_heads, -1).transpose(1, 2)
    scores = (heads * heads.shape[-1] ** -0.5) @ heads.mT
    # Finite, so that a padded key is 0 * 0 in the divergence and not NaN.
    return functional.log_softmax(scores.masked_fill(~real[:, None, None], torch.finfo(scores.dtype).min), dim=-1)
