"""What the engine's choices bring in training on a CPU: attention, dropout, linear maps, one after the other.

One forward and backward pass of MiniLM at batch 32, with dropout. `stock` is PyTorch as it comes, with the attention
that transformers chooses (sdpa); each row below adds one choice, the last of them the user's: `--precision bf16`.
"stock bf16" is the first row under autocast. All take turns in one process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from unittest import mock

import torch
from results import arguments, write_result
from torch.nn import functional
from transformers import AutoModel

from bertpress.engine import kernels
from bertpress.engine.loading import packaged_minilm
from bertpress.statistics import median_interval, ratio_interval

BATCH = 32
LENGTHS = (16, 64, 128)


def only(function: object) -> AbstractContextManager[object]:
    """`CpuKernels` that replace this one function."""
    chosen = {function: kernels.SUBSTITUTES[function]}  # type: ignore[index]
    return mock.patch.object(kernels, "SUBSTITUTES", chosen)


SIDES = {  # name: attention, what is entered
    "stock": ("sdpa", nullcontext),
    "eager attention": ("eager", nullcontext),
    "and dropout": ("eager", lambda: entered(only(functional.dropout), kernels.CpuKernels())),
    "and linear maps": ("eager", kernels.CpuKernels),
    "stock bf16": ("sdpa", lambda: torch.autocast("cpu", torch.bfloat16)),
    "and bf16": ("eager", lambda: entered(kernels.CpuKernels(), torch.autocast("cpu", torch.bfloat16))),
}


@contextmanager
def entered(*contexts: AbstractContextManager[object]) -> Iterator[None]:
    """All of them."""
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


def main() -> None:
    options = arguments(__doc__, rounds=15, steps=1)
    models = {
        name: AutoModel.from_pretrained(packaged_minilm(), attn_implementation=name).train()
        for name in ("sdpa", "eager")
    }
    rows = []
    for length in LENGTHS:
        ids = torch.randint(1000, 20_000, (BATCH, length), generator=torch.Generator().manual_seed(1))
        mask = torch.ones_like(ids)
        mask[: BATCH // 2, -length // 8 :] = 0
        times: dict[str, list[float]] = {name: [] for name in SIDES}
        for turn in range(options.rounds + 2):
            for name, (attention, context) in SIDES.items():
                with context():
                    began = time.perf_counter()
                    for _ in range(options.steps):
                        models[attention](input_ids=ids, attention_mask=mask).last_hidden_state.mean().backward()
                        models[attention].zero_grad()
                    if turn >= 2:
                        times[name].append(time.perf_counter() - began)
        for name, values in times.items():
            ratio, low, high = ratio_interval(times["stock"], values)
            shape = {"choice": name, "batch": BATCH, "tokens": length}
            milliseconds = 1000 * median_interval(values)[0] / options.steps
            rows.append({**shape, "ms_per_step": milliseconds, "stock_over_it": ratio, "low": low, "high": high})
    write_result("kernels", "python benchmarks/kernels.py", rows, {}, options.out)


if __name__ == "__main__":
    main()
