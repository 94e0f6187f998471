"""Theseus on MRPC at batch 32 against the original's arrangement: examples per second, and peak memory.

Speed: the engine and the other side (original_theseus.py) take turns in one process, on the same rows with the same
masks. Memory: each side in a process of its own, on the longest batch of the data, every mask once.
"""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
import time

import numpy as np
from interleave import BATCH, interleave, minilm, mrpc, spread_masks
from memory import peak, reset_peak
from original_theseus import Original, padded
from results import arguments, write_result

from bertpress.methods.theseus import Linear, Theseus
from bertpress.methods.theseus.replacing import Replacing
from bertpress.statistics import median_interval, ratio_interval
from bertpress.tasks.classification import Classification
from bertpress.tasks.task import Task

METHOD = Theseus(rate=Linear())
REPEATS = 6
MASKS = list(itertools.product((False, True), repeat=3))


def faster_attention(task: Task, steps: int) -> str:
    """The stock attention with which the original's arrangement runs faster."""
    rows = padded(task.encoded("train").select(range(BATCH)).to_list())
    seconds = {}
    for attention in ("eager", "sdpa"):
        side = Original(minilm(task), rows, attention)
        side.step(list(range(BATCH)), MASKS[1])
        began = time.perf_counter()
        for index in range(steps):
            side.step(list(range(BATCH)), MASKS[index % len(MASKS)])
        seconds[attention] = time.perf_counter() - began
    return min(seconds, key=seconds.__getitem__)


def speed(task: Task, attention: str, rounds: int, steps: int) -> np.ndarray:
    """Seconds per block of ours and of the original's arrangement."""
    original = Original(minilm(task), padded(task.encoded("train").to_list()), attention)
    masks = spread_masks(METHOD, 6, rounds + 1, steps)

    def block(first: int, rows: list[list[int]]) -> None:
        for index, numbers in enumerate(rows):
            original.step(numbers, masks[first + index])

    objective = Replacing(minilm(task), task, METHOD, seed=1)
    return interleave(objective, task, block, rounds, steps, masks)


def memory(side: str, attention: str) -> float:
    """Peak MiB above the level before the first step, measured in this process."""
    task = mrpc()
    rows = task.encoded("train")
    longest = np.argsort(rows["length"])[-BATCH:]
    train = task.splits["train"].select(longest)
    small = Classification(dataclasses.replace(task.data, splits={**task.splits, "train": train}), task.tokenizer, 128)
    level = [0.0]
    if side == "original":
        original = Original(minilm(small), padded(small.encoded("train").to_list()), attention)
        level = [reset_peak()]
        for mask in MASKS:
            original.step(list(range(BATCH)), mask)
    else:
        objective = Replacing(minilm(small), small, METHOD, seed=1)

        def first(*_: object) -> None:
            level[0] = level[0] or reset_peak()

        objective.register_forward_pre_hook(first)
        interleave(objective, small, lambda *_: None, rounds=1, steps=len(MASKS), draws=MASKS, warmup=0)
    return peak() - level[0]


def in_own_process(side: str, attention: str) -> float:
    """`memory` in a new process."""
    command = [sys.executable, __file__, "memory", side, attention]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> None:
    if sys.argv[1:2] == ["memory"]:
        print(memory(*sys.argv[2:]))
        return
    options = arguments(__doc__, rounds=15, steps=6)
    task = mrpc()
    attention = faster_attention(task, min(4, options.steps))
    ours, original = speed(task, attention, options.rounds, options.steps)
    repeats = min(REPEATS, options.rounds)
    pairs = [[in_own_process(side, attention) for side in ("ours", "original")] for _ in range(repeats)]
    mib = np.array(pairs).T
    examples = BATCH * options.steps
    rows = [
        {"side": side, "attention": chosen, "examples_per_second": median_interval(examples / times)[0]}
        | {"ms_per_step": median_interval(1000 * times / options.steps)[0], "peak_mib": float(np.median(added))}
        | {"rounds": options.rounds, "steps": options.steps}
        for side, chosen, times, added in (
            ("bertpress", "chosen by the engine", ours, mib[0]),
            ("original's arrangement", attention, original, mib[1]),
        )
    ]
    claims = {"theseus-speed": ratio_interval(original, ours), "theseus-memory": ratio_interval(mib[0], mib[1])}
    write_result("theseus_speed", "python benchmarks/theseus_speed.py", rows, claims, options.out)


if __name__ == "__main__":
    main()
