"""A training step of Theseus on MRPC at batch 32 against its matrix products alone, and where the rest goes.

The floor: forward products of all executed layers; backward, those for weights of trainable layers and those for
activations above the lowest trainable layer. Embeddings, pooler and head have none worth counting. Each product is done
in the fastest way known here, on operands that lie as that way wants them.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from interleave import BATCH, interleave, minilm, mrpc, spread_masks
from results import arguments, write_result
from torch import Tensor

from bertpress.engine.kernels import CpuKernels, fastest_kernels
from bertpress.methods.theseus import Linear, Theseus
from bertpress.methods.theseus.replacing import Replacing
from bertpress.statistics import median_interval, ratio_interval

METHOD = Theseus(rate=Linear())
GROUPS = {  # the first group of which a part is in the name of an operation, or of one that called it
    "optimizer": ("adamw",),
    "clip": ("_foreach_norm", "linalg_vector_norm", "_foreach_mul", "clamp"),
    "dropout": ("dropout",),
    "gelu": ("gelu",),
    "layernorm": ("layer_norm", "layernorm"),
    "softmax and masks": ("softmax", "masked_fill", "where"),
    "matmul": ("mm", "matmul", "linear"),
}


def product(left: Tensor, right: Tensor) -> None:
    """left x right' without what surrounds it; the engine's own way where that applies, else the stock one."""
    kernels = fastest_kernels(left.device)
    if isinstance(kernels, CpuKernels) and torch.nn.functional.linear in kernels.substitutes:
        torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
    else:
        torch.mm(left, right.t())


def keep_freed_memory() -> None:
    """Let malloc keep what is freed (glibc), or the products alone would pay for a new page at every result."""
    trim_threshold, top = -1, 2**31 - 1
    if sys.platform == "linux":
        ctypes.CDLL(None).mallopt(trim_threshold, top)


class Products:
    """The matrix products of layers of one shape, on random numbers."""

    def __init__(self, hidden: int, inner: int, heads: int) -> None:
        self.heads, self.size = heads, hidden // heads
        shapes = [(hidden, hidden)] * 4 + [(inner, hidden), (hidden, inner)]
        self.weights = [torch.randn(shape) for shape in shapes]
        self.memory: dict[object, Tensor] = {}

    def inputs(self, length: int) -> tuple[list[tuple[Tensor, Tensor, Tensor]], list[Tensor]]:
        """Input of each map, gradient of its output also turned; query- and score-shaped tensors of attention."""
        rows, heads = BATCH * length, BATCH * self.heads
        maps = []
        for index, weight in enumerate(self.weights):
            outputs, inputs = weight.shape
            shapes = ((rows, inputs), (rows, outputs), (outputs, rows))
            maps.append(tuple(self._numbers(shape, (index, place)) for place, shape in enumerate(shapes)))
        query, scores = (heads, length, self.size), (heads, length, length)
        return maps, [self._numbers(query, "query"), self._numbers(scores, "scores")]

    def _numbers(self, shape: tuple[int, ...], name: object) -> Tensor:
        """Random numbers of that shape, from one piece of memory per name, which is as large as the longest needs."""
        size = math.prod(shape)
        if name not in self.memory or self.memory[name].numel() < size:
            self.memory[name] = torch.randn(size)
        return self.memory[name][:size].view(shape)

    def layer(self, inputs: Any, weights: bool, activations: bool, lowest: bool) -> None:
        """One layer's products; the lowest trainable one needs no gradient of its input (query, key and value)."""
        maps, (query, scores) = inputs
        torch.bmm(query, query.transpose(1, 2))
        torch.bmm(scores, query)
        for index, (weight, (entering, gradient, turned)) in enumerate(zip(self.weights, maps, strict=True)):
            product(entering, weight)
            if weights:
                product(turned, entering.t())
            if activations and not (lowest and index < 3):
                product(gradient, weight.t())
        if activations:
            torch.bmm(query, query.transpose(1, 2))
            for _ in range(3):
                torch.bmm(scores, query)

    def step(self, inputs: Any, mask: Sequence[bool]) -> None:
        """Modules of two layers each; a replaced one is one trainable layer."""
        graph = False
        for replaced in mask:
            if replaced:
                self.layer(inputs, weights=True, activations=True, lowest=not graph)
                graph = True
            else:
                for _ in range(2):
                    self.layer(inputs, weights=False, activations=graph, lowest=False)


def group(event: Any) -> str:
    """The group of an operation, by its own name or the nearest caller's that has one."""
    while event is not None:
        for name, parts in GROUPS.items():
            if any(part in event.name.lower() for part in parts):
                return name
        event = event.cpu_parent
    return "other"


def breakdown(objective: Replacing, task: Any, masks: Sequence[Any]) -> list[dict[str, Any]]:
    """Share of each group in the time of all operations of some engine steps."""
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
    turns = itertools.count()

    def switch(*_: Any) -> None:  # after the first block, then after the second
        profiler.stop() if next(turns) else profiler.start()

    half = len(masks) // 2
    interleave(objective, task, switch, rounds=2, steps=half, draws=masks, warmup=0)
    total: Counter[str] = Counter()
    for event in profiler.events():
        total[group(event)] += event.self_cpu_time_total
    return [
        {"part": name, "share": time / total.total(), "ms_per_step": time / 1000 / half}
        for name, time in total.most_common()
    ]


def main() -> None:
    options = arguments(__doc__, rounds=25, steps=8)
    keep_freed_memory()
    task = mrpc()
    objective = Replacing(minilm(task), task, METHOD, seed=1)
    config = objective.model.config
    products = Products(config.hidden_size, config.intermediate_size, config.num_attention_heads)
    lengths = task.encoded("train")["length"]
    masks = spread_masks(METHOD, config.num_hidden_layers, options.rounds + 1, options.steps)
    ready = {length: products.inputs(length) for length in range(max(lengths), min(lengths) - 1, -1)}

    def floor(first: int, rows: list[list[int]]) -> None:
        for index, numbers in enumerate(rows):
            products.step(ready[max(lengths[number] for number in numbers)], masks[first + index])

    step, alone = interleave(objective, task, floor, options.rounds, options.steps, masks)
    rows: list[dict[str, Any]] = [
        {"side": side, "ms_per_step": median_interval(1000 * times / options.steps)[0]}
        | {"batch": BATCH, "rounds": options.rounds, "steps": options.steps}
        for side, times in (("engine", step), ("matrix products", alone))
    ]
    rows += breakdown(objective, task, masks[: 2 * options.steps])
    write_result("floor", "python benchmarks/floor.py", rows, {"floor": ratio_interval(step, alone)}, options.out)


if __name__ == "__main__":
    main()
