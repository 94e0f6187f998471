"""Faster ways through PyTorch for training on an x86 CPU: linear maps in float32, and dropout.

PyTorch sends a float32 product to MKL, which leaves the widest vector instructions (AVX-512) of processors that are not
Intel's unused; oneDNN, in the same build, uses them (and gets the products of mixed precision anyway). Where there are
none, MKL is the faster of the two, and linear maps stay with it. Dropout draws one random number per element, on one
core, where sixteen bits would do. `CpuKernels` replaces both for as long as it is entered, whatever the model. Results
differ from the stock ones by rounding, and for dropout by the draw. `benchmarks/kernels.py` measures what each brings.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

LEVELS = 1 << 16
"""The probability of dropout is rounded to a multiple of 1 / LEVELS."""
CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""oneDNN keeps machine code per shape, over half a megabyte each: with the usual thousand, memory grows for hours."""


class CpuKernels(TorchFunctionMode):
    """While entered, `torch.nn.functional.dropout` runs `dropout`, and `torch.nn.functional.linear` runs `linear`.

    Args:
        linear_maps: False: dropout alone.
    """

    def __init__(self, linear_maps: bool = True) -> None:
        super().__init__()
        left_out = set() if linear_maps else {functional.linear}
        self.substitutes = {stock: ours for stock, ours in SUBSTITUTES.items() if stock not in left_out}
        for name in CACHES:
            os.environ.setdefault(name, "16")

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        chosen: Callable[..., Any] = self.substitutes.get(function, function)
        return chosen(*args, **(kwargs or {}))


def fastest_kernels(device: torch.device) -> AbstractContextManager[object]:
    """`CpuKernels` on an x86 CPU whose PyTorch has oneDNN, the only place where this was measured; else nothing."""
    x86 = device.type == "cpu" and platform.machine().lower() in {"x86_64", "amd64"}
    if not x86 or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return nullcontext()
    return CpuKernels(linear_maps=torch.backends.cpu.get_cpu_capability() == "AVX512")


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`: (..., in), (out, in) and (out,) give (..., out); rows of float32 by oneDNN."""
    if not _is_on_cpu(input, torch.float32) or torch.is_autocast_enabled("cpu"):
        return functional.linear(input, weight, bias)
    result: Tensor = Linear.apply(input, weight, bias)  # type: ignore[no-untyped-call]
    return result


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`torch.nn.functional.dropout`, never in place; on rows of floats with sixteen random bits per element."""
    dropped = round(p * LEVELS)
    if not training or not 0 < dropped < LEVELS or not _is_on_cpu(input, torch.float32, torch.bfloat16):
        return functional.dropout(input, p, training)
    result: Tensor = Dropout.apply(input, dropped)  # type: ignore[no-untyped-call]
    return result


SUBSTITUTES: dict[Callable[..., Any], Callable[..., Tensor]] = {functional.linear: linear, functional.dropout: dropout}


class Linear(torch.autograd.Function):
    """A linear map and both its gradients as oneDNN products."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        for_input, for_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(input if for_weight else None, weight if for_input else None)
        return _product(input, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        rows = gradient.flatten(0, -2)
        to_input = None if weight is None else _product(gradient, weight.t())
        to_weight = None if input is None else _outer(rows, input.flatten(0, -2))
        return to_input, to_weight, rows.sum(0) if ctx.needs_input_grad[2] else None


class Dropout(torch.autograd.Function):
    """Zeros at random places, the rest scaled up; one byte per element is kept for the way back."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, dropped: int) -> Tensor:
        words = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: input.numel()].view(input.shape)
        kept = (bits >= dropped - LEVELS // 2).view(torch.uint8)  # bytes convert to float faster than booleans do
        ctx.save_for_backward(kept)
        ctx.scale = LEVELS / (LEVELS - dropped)
        return _masked(input, kept, ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return _masked(gradient, kept, ctx.scale), None


def _product(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return result


def _outer(left: Tensor, right: Tensor) -> Tensor:
    """left' x right; oneDNN copies its first factor if that is a transposed view, so the narrower one goes first."""
    if left.shape[1] > right.shape[1]:
        return _product(right.t(), left.t()).t()
    return _product(left.t(), right.t())


def _masked(values: Tensor, kept: Tensor, scale: float) -> Tensor:
    return kept.to(values.dtype).mul_(values).mul_(scale)  # in this order rounded once, also in bfloat16


def _is_on_cpu(input: Tensor, *kinds: torch.dtype) -> bool:
    """True for rows that are not empty, of one of these types, on a CPU."""
    return input.device.type == "cpu" and input.dtype in kinds and input.dim() > 1 and input.numel() > 0
