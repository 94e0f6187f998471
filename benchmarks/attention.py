"""Eager against scaled-dot-product attention in training on a CPU, with dropout: why the engine chooses as it does.

One forward and backward pass of MiniLM at batch 32; the two take turns. A ratio above 1 means that eager is faster.
"""

from __future__ import annotations

import time

import torch
from results import arguments, write_result
from transformers import AutoModel

from bertpress.loading import packaged_minilm
from bertpress.statistics import median_interval, ratio_interval

BATCH = 32
LENGTHS = (16, 64, 128)


def main() -> None:
    options = arguments(__doc__, rounds=15, steps=1)
    models = {
        name: AutoModel.from_pretrained(packaged_minilm(), attn_implementation=name) for name in ("sdpa", "eager")
    }
    rows = []
    for length in LENGTHS:
        ids = torch.randint(1000, 20_000, (BATCH, length), generator=torch.Generator().manual_seed(1))
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        times: dict[str, list[float]] = {name: [] for name in models}
        for turn in range(options.rounds + 2):
            for name, model in models.items():
                began = time.perf_counter()
                for _ in range(options.steps):
                    model.train()(**batch).last_hidden_state.mean().backward()
                    model.zero_grad()
                if turn >= 2:
                    times[name].append(time.perf_counter() - began)
        ratio, low, high = ratio_interval(times["sdpa"], times["eager"])
        medians = {f"{name}_ms": 1000 * median_interval(values)[0] / options.steps for name, values in times.items()}
        rows.append({"batch": BATCH, "tokens": length, **medians, "sdpa_over_eager": ratio, "low": low, "high": high})
    write_result("attention", "python benchmarks/attention.py", rows, {}, options.out)


if __name__ == "__main__":
    main()
