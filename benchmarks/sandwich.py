"""A step of YOCO-BERT's training, four networks at once, against four passes of the full network.

MiniLM on MRPC at batch 32. `sandwich` is the engine's loss of the largest, the smallest and two drawn networks, forward
and backward, in place distillation of predictions and states included, without a teacher. `four full passes` runs and
differentiates the plain model four times on the same rows. Both take turns on the same batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from interleave import BATCH, minilm, mrpc
from results import arguments, write_result

from bertpress.engine.kernels import fastest_kernels
from bertpress.engine.objective import Supervised
from bertpress.methods.yoco import Yoco
from bertpress.methods.yoco.drawing import Drawer
from bertpress.methods.yoco.elastic import elastic
from bertpress.methods.yoco.super_network import distribution_over
from bertpress.methods.yoco.supernet import SuperNet
from bertpress.runs.pipeline import quieten
from bertpress.statistics import median_interval, ratio_interval
from bertpress.tasks.task import Task

METHOD = Yoco(teacher="none")


def sandwich(task: Task) -> SuperNet:
    """The engine's objective."""
    model = elastic(minilm(task)).requires_grad_(True)
    space = METHOD.space_of(model.config)
    drawer = Drawer(METHOD, space, model.config, 1, distribution_over(space), refresh=1000)
    return SuperNet(model, task, METHOD, drawer, "validation", {}).train()


def timed(work: Callable[[], Any]) -> float:
    """Seconds."""
    began = time.perf_counter()
    with fastest_kernels(torch.device("cpu")):
        work()
    return time.perf_counter() - began


def main() -> None:
    options = arguments(__doc__, rounds=25, steps=4)
    quieten()
    task = mrpc()
    ours, plain = sandwich(task), Supervised(minilm(task), task).train()
    encoded = task.encoded("train")
    order = np.random.default_rng(1).permutation(len(encoded))
    seconds = []
    for turn in range(options.rounds + 1):
        batches = []
        for step in range(turn * options.steps, (turn + 1) * options.steps):
            rows = [encoded[int(row)] for row in order[step * BATCH : (step + 1) * BATCH]]
            batches.append(task.collate(rows))

        def own(turn: int = turn, batches: Any = batches) -> None:
            for place, batch in enumerate(batches):
                ours.step, ours.total_steps = turn * options.steps + place, 10_000
                ours(**batch)["loss"].backward()
                ours.before_update()
                ours.zero_grad()

        def four(batches: Any = batches) -> None:
            for batch in batches:
                for _ in range(4):
                    plain(**batch)["loss"].backward()
                plain.zero_grad()

        sides = [own, four] if turn % 2 else [four, own]
        found = {side.__name__: timed(side) for side in sides}
        seconds.append((found["own"], found["four"]))
    times = np.array(seconds[1:]).T / options.steps
    ratio = ratio_interval(times[0], times[1])
    rows = [
        {"side": name, "ms_per_step": 1000 * median_interval(own)[0], "rounds": options.rounds}
        | {"steps": options.steps}
        for name, own in zip(("sandwich", "four full passes"), times, strict=True)
    ]
    write_result("sandwich", "python benchmarks/sandwich.py", rows, {"sandwich-step": ratio}, options.out)


if __name__ == "__main__":
    main()
