"""Run the real engine and, between blocks of its steps, something else on the same rows: paired timings, one process.

The engine's report after each step is the place: there the clock of the engine stops and the other side has its turn.
The run is announced as a long one, so that the measured steps are steps only: no evaluation, no checkpoint, no log.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from results import data_root
from transformers import PreTrainedModel

from bertpress.engine.loading import load_for_task, load_tokenizer
from bertpress.engine.objective import Objective
from bertpress.engine.trainer import train
from bertpress.methods.method import Training
from bertpress.methods.theseus import Theseus
from bertpress.methods.theseus.replacing import Mask, draw_mask
from bertpress.recipe import TaskSpec
from bertpress.tasks import load_task
from bertpress.tasks.task import Task

MODEL = "packaged-minilm"
BATCH = 32
Block = Callable[[int, list[list[int]]], None]
"""(first step, row numbers of each step of the block) -> None: the other side's turn."""


class Enough(Exception):
    """All rounds are done."""


def interleave(
    objective: Objective,
    task: Task,
    other: Block,
    rounds: int,
    steps: int,
    draws: Sequence[Any] | None = None,
    warmup: int = 1,
) -> np.ndarray:
    """Seconds per block of the engine and of `other`, of shape (2, rounds); the first `warmup` rounds are dropped.

    Args:
        steps: in a block.
        draws: what to impose on the objective in each step of a round set, one per step of all rounds.
    """
    seconds: list[tuple[float, float]] = []
    rows: list[list[int]] = []

    def remember(module: Objective, args: Any, batch: dict[str, Any]) -> None:
        if draws is not None:
            module.impose(draws[len(seconds) * steps + len(rows)])
        rows.append(batch["row"].tolist())

    def report(step: int, total: int, logs: dict[str, float]) -> None:
        nonlocal began
        if len(rows) < steps:
            return
        engine = time.perf_counter() - began
        began = time.perf_counter()
        other(len(seconds) * steps, rows)
        seconds.append((engine, time.perf_counter() - began))
        rows.clear()
        if len(seconds) == rounds + warmup:
            raise Enough
        began = time.perf_counter()

    hook = objective.register_forward_pre_hook(remember, with_kwargs=True)
    training = Training(max_steps=max(10_000, 100 * (rounds + warmup) * steps), batch_size=BATCH)
    began = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            train(objective, task, training, Path(folder), seed=1, report=report, device="cpu")
    except Enough:
        pass
    hook.remove()
    return np.array(seconds[warmup:]).T


def mrpc() -> Task:
    """MRPC from BERTPRESS_DATA; the script ends with a message if that is not set."""
    data_root("the folder mrpc (GLUE)")
    return load_task(TaskSpec(name="glue/mrpc"), load_tokenizer(MODEL), max_length=128)


def minilm(task: Task) -> PreTrainedModel:
    """MiniLM with a fresh head for the task."""
    return load_for_task(MODEL, task, new_head=True)[0]


def spread_masks(method: Theseus, layers: int, rounds: int, steps: int) -> list[Mask]:
    """A mask for each step; every round meets all parts of the curriculum, so that rounds are alike."""
    layout, total = method.layout(layers), rounds * steps
    places = [position * rounds + turn for turn in range(rounds) for position in range(steps)]
    return [draw_mask(method.rates(place, total, layout), (1, place, 0), method.empty_mask) for place in places]
