"""Hidden states against hidden states: TinyBERT's squared error (arXiv 1909.10351, equations 8 and 9), DistilBERT's
cosine (arXiv 1910.01108, section 3), and forms of a hidden state in which those of pre-norm models can be compared.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from bertpress.losses.reduction import Reduction, reduced

Normalisation = Literal["none", "layernorm", "l2"]


def hidden_loss(student: Tensor, teacher: Tensor, mask: Tensor, reduction: Reduction = "example") -> Tensor:
    """Mean squared difference of hidden states, ().

    Args:
        student: (batch, length, width), projected to the teacher's width where that differs.
        teacher: (batch, length, width); gets no gradient.
        mask: (batch, length), 1 at real tokens.
        reduction: `upstream` averages over padding too.

    Raises:
        ValueError: shapes differ.
    """
    real = torch.ones_like(mask, dtype=torch.bool) if reduction == "upstream" else mask.bool()
    student, teacher = _without_padding(student, teacher, real)
    errors = (student - teacher).square().mean(-1)  # (batch, length)
    return reduced(errors.sum(1), real.sum(1), reduction)


def cosine_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """1 - cosine of hidden states, the mean over each example's tokens, then over examples, ().

    Computed as half the squared distance of the directions, which is the same and exactly 0 where they are equal.

    Args:
        student: (batch, length, width).
        teacher: (batch, length, width); gets no gradient.
        mask: (batch, length), 1 at real tokens.

    Raises:
        ValueError: shapes differ.
    """
    real = mask.bool()
    student, teacher = _without_padding(student, teacher, real)
    distances = (functional.normalize(student, dim=-1) - functional.normalize(teacher, dim=-1)).square().sum(-1) / 2
    return reduced(distances.sum(1), real.sum(1), "example")


def normalised(hidden: Tensor, kind: Normalisation) -> Tensor:
    """Hidden states, (..., width), in the form in which they are compared, in float32.

    In pre-norm models a few dimensions of the residual stream are far larger than all others and would decide the loss
    alone. `layernorm`: each token with mean 0 and variance 1, as the next block reads it but for that block's scale;
    `l2`: each token with length 1.
    """
    hidden = hidden.float()
    if kind == "layernorm":
        return functional.layer_norm(hidden, hidden.shape[-1:])
    return functional.normalize(hidden, dim=-1) if kind == "l2" else hidden


def _without_padding(student: Tensor, teacher: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float32 with zeros at padding, so that nothing that stands there reaches loss or gradient."""
    if student.shape != teacher.shape:
        raise ValueError(
            f"expected hidden states of one shape, got {tuple(student.shape)} of the student and "
            f"{tuple(teacher.shape)} of the teacher; project the student to the teacher's width"
        )
    padding = ~real[..., None]
    return student.float().masked_fill(padding, 0), teacher.detach().float().masked_fill(padding, 0)
