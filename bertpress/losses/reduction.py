"""From sums over each example to one number."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["example", "tokens", "upstream"]
"""How squared errors are averaged.

`example`: within each example, then over the examples, so that one step of 16 equals four of 4. `tokens`: over all that
is no padding in the batch; long examples weigh more. `upstream`: as TinyBERT's published code does, padding included;
the value depends on how much padding the batch has. To reproduce, not to use.
"""


def reduced(sums: Tensor, counts: Tensor, reduction: Reduction) -> Tensor:
    """One number of the sum over each example, (batch,), and of how many values were summed, (batch,).

    For `upstream` the caller has summed and counted padding too; what remains is one divisor for the batch.
    """
    if reduction == "example":
        return (sums / counts.clamp(min=1)).mean()
    return sums.sum() / counts.sum().clamp(min=1)


def full_precision(tensor: Tensor) -> torch.autocast:
    """No autocast on the tensor's device: it would round the products of float32 tensors."""
    return torch.autocast(tensor.device.type, enabled=False)
