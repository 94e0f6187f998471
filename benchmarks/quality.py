"""What Theseus keeps of a fine-tuned MiniLM at half its depth, on GLUE, beside the truncated baseline.

For each task: the predecessor is the best on dev of `PREDECESSOR` (cells.py), seed 1. Every row then trains as many
steps; its learning rate is the best of `RATES` on seed 1, and further seeds run with that rate. A cell is one training;
its file in results/quality/ is written when it ends, and a cell that has its file is not run again. `quality.json`
sums up. Predecessors train in float32, and so do the rows but for those of `MIXED`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cells import Cell, Grid, Key, intervals, over_seeds, scores
from cells import summary as lines_of
from results import HERE, RESULTS, Interval, write_result

from bertpress import Finetune, Theseus, Training
from bertpress.methods.method import Method
from bertpress.methods.theseus import Constant, Linear

CELLS = RESULTS / "quality"
RUNS = HERE.parent / "runs" / "quality"
RATES = (1e-4, 3e-4, 1e-3)
TASKS = {"mrpc": (5, 3), "cola": (5, 3), "mnli": (3, 2)}
"""Epochs of every row, and number of seeds."""
MIXED = ("mnli",)
"""Tasks whose rows all train in bfloat16."""
ROWS = ("truncated", "constant", "linear")
VARIANTS: dict[str, dict[str, Any]] = {
    "constant": {"rate": Constant()},
    "linear": {},
    "linear, last layer of each module": {"initialisation": "last_of_module"},
    "linear, ramp over nine tenths": {"rate": Linear(full_at=0.9)},
    "linear, modules of 1, 2 and 3 layers": {"modules": "0:1|1-2:1|3-5:1"},
}
"""The settings of Theseus in each row but the first."""
TRIED = {
    "linear, last layer of each module": ("mrpc", "cola"),
    "linear, ramp over nine tenths": ("cola",),
    "linear, modules of 1, 2 and 3 layers": ("cola",),
}
"""Further rows, and the tasks they were tried on."""


def rows_of(task: str) -> tuple[str, ...]:
    """The rows of a task."""
    return (*ROWS, *(row for row, tasks in TRIED.items() if task in tasks))


def method(row: str, training: Training) -> Method:
    """What a row trains."""
    if row == "truncated":
        return Finetune(layers=3, training=training)
    return Theseus(replacing=training, **VARIANTS[row])


def successors(grid: Grid, task: str, row: str) -> Iterator[Cell]:
    """A row's cells of the chosen learning rate; the predecessor must be there."""
    epochs, seeds = TASKS[task]

    def train(rate: float, seed: int) -> Cell:
        key = Key(task, row, rate, epochs, seed)
        if not grid.has(key):
            grid.make_start(task, grid.predecessor(task))
        step = method(row, Training(epochs=epochs, learning_rate=rate, warmup=0.1))
        precision = "bf16" if task in MIXED else "fp32"
        return grid.cell(key, str(grid.start(task)), step, precision=precision)

    return over_seeds(train, RATES, seeds)


def summary(task: str, start: Cell, cells: list[Cell]) -> list[Cell]:
    """A line for the predecessor and one for each row."""
    return lines_of(task, start, cells, rows_of(task), "predecessor")


def claims(starts: list[Cell], cells: list[Cell]) -> dict[str, Interval]:
    """Each claim's value from the medians over seeds, and its range where every task has the scores of one seed."""
    tasks = [start["task"] for start in starts]
    predecessor = np.array([start["score"] for start in starts])

    def values(seed: int | None) -> dict[str, float]:
        linear, truncated, constant = (scores(cells, tasks, row, seed) for row in ("linear", "truncated", "constant"))
        return {
            "quality-recovered": float(((linear - truncated) / (predecessor - truncated)).mean()),
            "quality-beats-constant": float((linear - constant).mean()),
            "quality-kept": float(linear.mean() / predecessor.mean()),
        }

    return intervals(values, min(TASKS[task][1] for task in tasks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default=",".join(TASKS), help="which of the tasks, in that order")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the models")
    options = parser.parse_args()
    tasks, grid = options.tasks.split(","), Grid(CELLS, options.runs)
    starts, cells, lines = [], [], []
    for task in tasks:
        starts.append(grid.predecessor(task))
        for row in rows_of(task):
            cells += list(successors(grid, task, row))
        lines += summary(task, starts[-1], [one for one in cells if one["task"] == task])
    write_result("quality", "python benchmarks/quality.py", lines, claims(starts, cells) if tasks == [*TASKS] else {})


if __name__ == "__main__":
    main()
