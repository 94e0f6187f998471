"""A grid of trainings that may be stopped at any time: each leaves a file when it ends, and none is repeated.

A cell is one training. Its file says what was trained and what it scored, so that a grid can be summed up where its
models are lost, and two scripts can share cells.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from results import RESULTS, Interval, data_root, number

from bertpress import Finetune, Runtime, Training, compress
from bertpress.engine.run import lacks_bf16
from bertpress.files import new_folder, write_json
from bertpress.methods.method import Method

Cell = dict[str, Any]
Tried = Sequence[tuple[float, int]]
PRECISION = "fp32" if lacks_bf16() else "bf16"
"""What long trainings run in: bfloat16, where the processor multiplies in it."""
PREDECESSOR: Tried = [(rate, epochs) for epochs in (3, 5) for rate in (5e-5, 1e-4, 2e-4)]
"""(learning rate, epochs) among which the model that a task starts from is chosen."""


def grid_arguments(parser: argparse.ArgumentParser, runs: Path, data: str) -> argparse.Namespace:
    """The flags of a script, with those of every grid: `--limit`, `--runs` and `--out`.

    A trial with few rows has to name other folders than those of the real cells. Without BERTPRESS_DATA the script ends
    with a message.

    Args:
        parser: has the script's own flags.
        runs: default of `--runs`.
        data: what the folder in BERTPRESS_DATA has to hold.
    """
    parser.add_argument("--limit", type=int, help="rows of each split, for a trial")
    parser.add_argument("--runs", type=Path, default=runs, help="folder of the models")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result's file")
    options = parser.parse_args()
    if options.limit and (options.out == RESULTS or options.runs == runs):
        parser.error("a trial needs an --out and --runs of its own, or its cells would be taken for the real ones")
    data_root(data)
    return options


@dataclass(frozen=True)
class Key:
    """Which training a cell is."""

    task: str
    row: str
    learning_rate: float
    epochs: int
    seed: int

    @classmethod
    def of(cls, cell: Cell) -> Key:
        """That of a cell."""
        return cls(**{field.name: cell[field.name] for field in fields(cls)})

    @property
    def name(self) -> str:
        """Of the cell's file and run."""
        return f"{self.task} {self.row} rate {self.learning_rate:g} epochs {self.epochs} seed {self.seed}"


@dataclass(frozen=True)
class Grid:
    """Where cells leave their files, and where they train.

    Args:
        model: what predecessors are fine-tuned from.
        batch_size: of their training.
    """

    files: Path
    runs: Path
    model: str = "packaged-minilm"
    batch_size: int = 32

    def train(self, key: Key, model: str, step: Method, runtime: Runtime, **fields: Any) -> Cell:
        """Carry out one cell, or go on with it; what its file holds.

        Args:
            fields: of the recipe; the task is the key's of GLUE unless they name another.
        """
        fields = {"task": f"glue/{key.task}", **fields}
        run = self.runs / key.name
        result = compress(model, steps=[step], out=run, runtime=runtime, baseline=False, seed=key.seed, **fields)
        last = result.report["rows"][-1]
        told = {"metric": result.report["primary_metric"], "precision": fields.get("precision", "fp32")}
        return {**asdict(key), "score": last["score"], **told} | {name: last[name] for name in ("layers", "seconds")}

    def cell(
        self, key: Key, model: str, step: Method, runtime: Runtime | None = None, keep: bool = False, **fields: Any
    ) -> Cell:
        """Train one cell and leave its file, or read that.

        Args:
            keep: leave the run's folder behind.
        """
        if self.has(key):
            return self.read(key)
        found = self.train(key, model, step, runtime or Runtime(device="cpu"), **fields)
        self.write(found)
        print("  ".join(f"{name}={number(value)}" for name, value in found.items()), flush=True)
        if not keep:
            shutil.rmtree(self.runs / key.name)
        return found

    def has(self, key: Key) -> bool:
        """Whether a cell has its file."""
        return (self.files / f"{key.name}.json").exists()

    def kept(self, key: Key, model: str, step: Method, **fields: Any) -> Path:
        """The run of a cell that others begin with, carried out again where it is lost."""
        self.cell(key, model, step, keep=True, **fields)
        if not (self.runs / key.name / "report.json").exists():
            self.train(key, model, step, Runtime(device="cpu"), **fields)
        return self.runs / key.name

    def predecessor(self, task: str, /, tried: Tried = PREDECESSOR, **fields: Any) -> Cell:
        """The best of the fine-tuned models."""
        keys = _predecessors(task, tried)
        found = [self.cell(key, self.model, self._finetune(key), keep=True, **fields) for key in keys]
        return max(found, key=lambda one: float(one["score"]))

    def start(self, task: str) -> Path:
        """Where the best predecessor's model lies once `make_start` was called."""
        return self.runs / "predecessor" / task

    def make_start(self, task: str, /, best: Cell, tried: Tried = PREDECESSOR, **fields: Any) -> None:
        """Put the best predecessor's model in its place, trained again where it is lost."""
        model = self.start(task)
        if model.exists():
            return
        key = next(key for key in _predecessors(task, tried) if asdict(key).items() <= best.items())
        again = self.train(key, self.model, self._finetune(key), Runtime(device="cpu"), **fields)
        if again["score"] != best["score"]:
            print(f"{task}: the predecessor scores {again['score']:.4f} here, {best['score']:.4f} in its file")
        with new_folder(model) as unfinished:
            shutil.copytree(self.runs / key.name / "00-finetune" / "model", unfinished, dirs_exist_ok=True)

    def _finetune(self, key: Key) -> Finetune:
        training = Training(epochs=key.epochs, learning_rate=key.learning_rate, batch_size=self.batch_size, warmup=0.1)
        return Finetune(training=training)

    def read(self, key: Key) -> Cell:
        """What a cell's file holds."""
        return dict(json.loads((self.files / f"{key.name}.json").read_text(encoding="utf-8")))

    def write(self, cell: Cell) -> None:
        """Leave a cell's file, also anew with more than its training said."""
        write_json(self.files / f"{Key.of(cell).name}.json", cell)


def _predecessors(task: str, tried: Tried) -> list[Key]:
    return [Key(task, "predecessor", rate, epochs, 1) for rate, epochs in tried]


def over_seeds(train: Callable[[float, int], Cell], rates: Sequence[float], seeds: int) -> Iterator[Cell]:
    """The cells of a row: seed 1 at its best learning rate, then the other seeds at that rate.

    Args:
        train: (learning rate, seed) -> cell.
    """
    best = max((train(rate, 1) for rate in rates), key=lambda one: float(one["score"]))
    yield best
    for seed in range(2, seeds + 1):
        yield train(best["learning_rate"], seed)


def in_points(scores: Sequence[float]) -> dict[str, str]:
    """Median and range of scores of which 1 is the best, in points, as a table shows them."""
    found = {"median": statistics.median(scores), "low": min(scores), "high": max(scores)}
    return {name: f"{100 * value:.1f}" for name, value in found.items()}


def summary(task: str, start: Cell, cells: Sequence[Cell], rows: Sequence[str], first: str) -> list[Cell]:
    """A line for the start model and one for each row: median and range over seeds, share kept and recovered.

    Args:
        first: what the start model is called.
    """
    truncated = statistics.median(one["score"] for one in cells if one["row"] == "truncated")
    lines = []
    for row in (first, *rows):
        own = [start] if row == first else [one for one in cells if one["row"] == row]
        scores = [one["score"] for one in own]
        median = statistics.median(scores)
        lost = start["score"] - truncated
        recovered = f"{100 * (median - truncated) / lost:.0f}" if lost > 0 else "-"
        lines.append(
            {"task": task, "row": row, "metric": start["metric"], "layers": own[0]["layers"], "seeds": len(own)}
            | {"precision": ", ".join(sorted({one.get("precision", "fp32") for one in own}))}
            | {"learning rate": f"{own[0]['learning_rate']:g}", **in_points(scores)}
            | {
                "kept %": f"{100 * median / start['score']:.1f}" if start["score"] > 0 else "-",
                "recovered %": recovered,
            }
        )
    return lines


def scores(cells: Sequence[Cell], tasks: Sequence[str], row: str, seed: int | None) -> np.ndarray:
    """A row's score on each task: that of one seed, or the median over seeds."""
    own = [one for one in cells if one["row"] == row and seed in (None, one["seed"])]
    return np.array([statistics.median(one["score"] for one in own if one["task"] == task) for task in tasks])


def intervals(values: Callable[[int | None], dict[str, float]], seeds: int) -> dict[str, Interval]:
    """Each claim's value from the medians over seeds, and its range where every task has the scores of one seed.

    Args:
        values: seed, or None for the medians -> claim to value.
    """
    whole = values(None)
    each = [whole, *map(values, range(1, seeds + 1))]
    return {name: (whole[name], min(one[name] for one in each), max(one[name] for one in each)) for name in whole}
