"""What Theseus keeps of a fine-tuned MiniLM at half its depth, on GLUE, beside the truncated baseline.

For each task: the predecessor is the best on dev of `PREDECESSOR`, seed 1. Every row then trains as many steps; its
learning rate is the best of `RATES` on seed 1, and further seeds run with that rate. A cell is one training; its file
in results/quality/ is written when it ends, and a cell that has its file is not run again. `quality.json` sums up.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from results import HERE, RESULTS, number, write_result

from bertpress import Finetune, Runtime, Theseus, Training, compress
from bertpress.files import write_json
from bertpress.methods.method import Method
from bertpress.methods.theseus import Constant, Linear

CELLS = RESULTS / "quality"
RATES = (1e-4, 3e-4, 1e-3)
PREDECESSOR = [(rate, epochs) for epochs in (3, 5) for rate in (5e-5, 1e-4, 2e-4)]
TASKS = {"mrpc": (5, 3), "cola": (5, 3), "mnli": (3, 2)}
"""Epochs of every row, and number of seeds."""
ROWS = ("truncated", "constant", "linear", "linear, last layer of each module")


def method(row: str, training: Training) -> Method:
    """What a row trains."""
    if row == "truncated":
        return Finetune(layers=3, training=training)
    rate = Constant() if row == "constant" else Linear()
    initialisation = "last_of_module" if "last layer" in row else "bottom"
    return Theseus(rate=rate, initialisation=initialisation, replacing=training)


def train(task: str, row: str, rate: float, epochs: int, seed: int, runs: Path) -> tuple[Path, dict[str, Any]]:
    """Train one cell; the folder of its run, and what its file holds."""
    run = runs / name_of(task, row, rate, epochs, seed)
    training = Training(epochs=epochs, learning_rate=rate, warmup=0.1)
    start = "packaged-minilm" if row == "predecessor" else str(runs / "predecessor" / task)
    step = Finetune(training=training) if row == "predecessor" else method(row, training)
    result = compress(start, f"glue/{task}", [step], run, Runtime(device="cpu"), baseline=False, seed=seed)
    last = result.report["rows"][-1]
    return run, {
        "task": task, "row": row, "learning_rate": rate, "epochs": epochs, "seed": seed, "score": last["score"],
        "metric": result.report["primary_metric"], "layers": last["layers"], "seconds": last["seconds"],
    }  # fmt: skip


def name_of(task: str, row: str, rate: float, epochs: int, seed: int) -> str:
    """Of a cell's file and run."""
    return f"{task} {row} rate {rate:g} epochs {epochs} seed {seed}"


def cell(task: str, row: str, rate: float, epochs: int, seed: int, runs: Path) -> dict[str, Any]:
    """Train one cell, or read its file."""
    file = CELLS / f"{name_of(task, row, rate, epochs, seed)}.json"
    if file.exists():
        return dict(json.loads(file.read_text(encoding="utf-8")))
    run, found = train(task, row, rate, epochs, seed, runs)
    write_json(file, found)
    print("  ".join(f"{key}={number(value)}" for key, value in found.items()), flush=True)
    if row != "predecessor":
        shutil.rmtree(run)
    return found


def predecessor(task: str, runs: Path) -> dict[str, Any]:
    """The best predecessor; its model lies in ``predecessor/<task>`` afterwards, trained again where it is lost."""
    found = [cell(task, "predecessor", rate, epochs, 1, runs) for rate, epochs in PREDECESSOR]
    best = max(found, key=lambda one: float(one["score"]))
    model = runs / "predecessor" / task
    if not model.exists():
        run, again = train(task, "predecessor", best["learning_rate"], best["epochs"], 1, runs)
        if again["score"] != best["score"]:
            print(f"{task}: the predecessor scores {again['score']:.4f} here, {best['score']:.4f} in its file")
        shutil.copytree(run / "00-finetune" / "model", model)
    return best


def successors(task: str, runs: Path) -> Iterator[dict[str, Any]]:
    """Every cell of the chosen learning rate, row by row."""
    epochs, seeds = TASKS[task]
    for row in ROWS:
        tried = [cell(task, row, rate, epochs, 1, runs) for rate in RATES]
        best = max(tried, key=lambda one: float(one["score"]))
        yield best
        for seed in range(2, seeds + 1):
            yield cell(task, row, best["learning_rate"], epochs, seed, runs)


def summary(task: str, start: dict[str, Any], cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line for the predecessor and one for each row: median and range over seeds, share kept and recovered."""
    truncated = statistics.median(one["score"] for one in cells if one["row"] == "truncated")
    lines = []
    for row in ("predecessor", *ROWS):
        own = [start] if row == "predecessor" else [one for one in cells if one["row"] == row]
        scores = [one["score"] for one in own]
        median = statistics.median(scores)
        lost = start["score"] - truncated
        recovered = f"{100 * (median - truncated) / lost:.0f}" if lost > 0 else "-"
        lines.append(
            {"task": task, "row": row, "metric": start["metric"], "layers": own[0]["layers"], "seeds": len(own)}
            | {"learning rate": f"{own[0]['learning_rate']:g}", "median": f"{100 * median:.1f}"}
            | {"low": f"{100 * min(scores):.1f}", "high": f"{100 * max(scores):.1f}"}
            | {"kept %": f"{100 * median / start['score']:.1f}", "recovered %": recovered}
        )
    return lines


def claims(starts: list[dict[str, Any]], cells: list[dict[str, Any]]) -> dict[str, tuple[float, float, float]]:
    """Each claim's value from the medians over seeds, and its range where every task has the scores of one seed."""
    tasks = [start["task"] for start in starts]
    seeds = range(1, min(TASKS[task][1] for task in tasks) + 1)

    def of(task: str, row: str, seed: int | None) -> list[float]:
        own = [one for one in cells if (one["task"], one["row"]) == (task, row)]
        return [one["score"] for one in own if seed in (None, one["seed"])]

    def mean(row: str, seed: int | None) -> np.ndarray:
        return np.array([statistics.median(of(task, row, seed)) for task in tasks])

    predecessor = np.array([start["score"] for start in starts])

    def values(seed: int | None) -> dict[str, float]:
        linear, truncated, constant = (mean(row, seed) for row in ("linear", "truncated", "constant"))
        return {
            "quality-recovered": float(((linear - truncated) / (predecessor - truncated)).mean()),
            "quality-beats-constant": float((linear - constant).mean()),
            "quality-kept": float(linear.mean() / predecessor.mean()),
        }

    whole = values(None)
    each = [whole, *map(values, seeds)]
    return {name: (whole[name], min(one[name] for one in each), max(one[name] for one in each)) for name in whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default=",".join(TASKS), help="which of the tasks, in that order")
    parser.add_argument("--runs", type=Path, default=HERE.parent / "runs" / "quality", help="folder of the models")
    options = parser.parse_args()
    tasks = options.tasks.split(",")
    starts, cells, lines = [], [], []
    for task in tasks:
        starts.append(predecessor(task, options.runs))
        cells += list(successors(task, options.runs))
        lines += summary(task, starts[-1], [one for one in cells if one["task"] == task])
    write_result("quality", "python benchmarks/quality.py", lines, claims(starts, cells) if tasks == [*TASKS] else {})


if __name__ == "__main__":
    main()
