"""What the engine's machinery costs: its training step against a bare PyTorch loop on the same rows.

Both train all of MiniLM at batch 32 on inputs of exactly 16 tokens: the same collation, attention and kernels, fused
AdamW, clipping and linear decay.
"""

from __future__ import annotations

import dataclasses

import torch
from interleave import BATCH, MODEL, interleave, minilm
from results import arguments, write_result
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from bertpress.engine.kernels import fastest_kernels
from bertpress.engine.loading import load_tokenizer
from bertpress.engine.objective import Supervised, choose_attention
from bertpress.recipe import TaskSpec
from bertpress.statistics import median_interval, ratio_interval
from bertpress.tasks import load_task
from bertpress.tasks.classification import Classification

LENGTH = 16


def fixed_length() -> Classification:
    """The rows of pydoc that have at least 16 tokens, cut to 16."""
    task = load_task(TaskSpec(name="pydoc"), load_tokenizer(MODEL), max_length=LENGTH)
    splits = dict(task.splits)
    long = [index for index, length in enumerate(task.encoded("train")["length"]) if length == LENGTH]
    splits["train"] = splits["train"].select(long)
    return Classification(dataclasses.replace(task.data, splits=splits), task.tokenizer, LENGTH)


def main() -> None:
    options = arguments(__doc__, rounds=30, steps=10)
    task = fixed_length()
    model = minilm(task).train()
    choose_attention(model, training=True)
    encoded = task.encoded("train").to_list()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0, fused=True)
    schedule = LambdaLR(optimizer, lambda step: 1 - step / 100_000)

    def bare(first: int, rows: list[list[int]]) -> None:
        for numbers in rows:
            batch = task.collate([encoded[index] for index in numbers])
            with fastest_kernels(model.device):
                outputs = model(**{name: batch[name] for name in task.inputs})
                loss = nn.functional.cross_entropy(outputs.logits, batch["labels"])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()

    engine, loop = interleave(Supervised(minilm(task), task), task, bare, options.rounds, options.steps, warmup=3)
    rows = [
        {"side": side, "ms_per_step": median_interval(1000 * times / options.steps)[0]}
        | {"batch": BATCH, "tokens": LENGTH, "rounds": options.rounds, "steps": options.steps}
        for side, times in (("engine", engine), ("bare loop", loop))
    ]
    claims = {"engine-overhead": ratio_interval(engine, loop)}
    write_result("engine_overhead", "python benchmarks/engine_overhead.py", rows, claims, options.out)


if __name__ == "__main__":
    main()
