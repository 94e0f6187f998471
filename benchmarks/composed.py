"""The recipe `composed` on SST-2 and MRPC: what it keeps, and how fast its int8 export is beside what it came from.

    bertpress finetune --model packaged-minilm --task glue/sst2 --limit train=10000 --learning-rate 1e-4 \\
        --set training.warmup=0.1 --out teacher
    bertpress compress composed --model teacher --task glue/sst2 --limit train=10000 --no-baseline --out composed
    bertpress export teacher --precision int8 --out teacher-int8

Both trainings with `--precision bf16` where the processor multiplies in it. Runs are finished once and kept in
`--runs`; times are taken in turns on the same batches, on real rows of the development split. What int8 gives and what
structure gives stands in rows of their own. Below them is what each step cost and gave, from the run's own report.
Needs BERTPRESS_DATA.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import torch
from cells import PRECISION
from results import HERE, RESULTS, Interval, data_root, write_result

from bertpress import Finetune, Runtime, Training, compress, evaluate, export
from bertpress.api import run_recipe
from bertpress.costs.latency import measure
from bertpress.measurements.measuring import latency_batches
from bertpress.opened.opening import open_model
from bertpress.recipe import make_recipe, read_recipe
from bertpress.reports import reporting, waterfall
from bertpress.statistics import ratio_interval

TASKS = {"sst2": (10_000, 3, 3), "mrpc": (None, 5, 1)}
"""Training rows, epochs of the teacher, and seeds of the recipe, which the first one's shape is timed of."""
BATCHES = (1, 32)
THREADS = 2
START, RESULT = "MiniLM, PyTorch", "composed, int8"
SIDES = (START, "composed, PyTorch", "MiniLM, fp32", "MiniLM, int8", "composed, fp32", RESULT)
"""The ones without a name of a program run in ONNX Runtime."""
AGAINST = "composed, int8, against MiniLM, int8"


def trained(task: str, runs: Path) -> dict[str, str]:
    """Each side's folder; what is not there is made."""
    _, epochs, seeds = TASKS[task]
    teacher, runtime = runs / f"{task} teacher", Runtime(device="cpu", threads=THREADS, say=print)
    step = Finetune(training=Training(epochs=epochs, learning_rate=1e-4, warmup=0.1))
    compress("packaged-minilm", f"glue/{task}", [step], teacher, runtime, baseline=False, **common(task))
    composed, *_ = [pressed(task, runs, seed, runtime) for seed in range(1, seeds + 1)]
    exports = {
        "MiniLM, fp32": (teacher, "fp32"),
        "MiniLM, int8": (teacher, "int8"),
        "composed, fp32": (composed, "fp32"),
    }
    for name, (model, precision) in exports.items():
        export(str(model), runs / f"{task} {name}", precision=precision, runtime=runtime)
    found = {name: str(runs / f"{task} {name}") for name in exports}
    return {
        START: str(teacher),
        "composed, PyTorch": str(composed),
        RESULT: str(composed / "export" / "onnx-int8"),
        **found,
    }


def common(task: str) -> dict[str, Any]:
    """What the recipes of a task have in common."""
    rows = TASKS[task][0]
    return {"limit": {} if rows is None else {"train": rows}, "precision": PRECISION}


def run_of(task: str, runs: Path, seed: int = 1) -> Path:
    """The folder of a composed run."""
    return runs / (f"{task} composed" + f" seed {seed}" * (seed > 1))


def pressed(task: str, runs: Path, seed: int, runtime: Runtime) -> Path:
    """The recipe, carried out on a task's teacher."""
    given = {"model": str(runs / f"{task} teacher"), "task": f"glue/{task}", "baseline": False, "seed": seed}
    run_recipe(make_recipe({**read_recipe("composed"), **given, **common(task)}), run_of(task, runs, seed), runtime)
    return run_of(task, runs, seed)


def timed(folders: dict[str, str], task: str, rounds: int) -> dict[tuple[str, int], Interval]:
    """(side, batch size) -> how many times as fast as the start, each on its own tokens of the same rows."""
    opened = {
        name: open_model(folder, f"glue/{task}", runtime=Runtime(device="cpu", threads=THREADS))
        for name, folder in folders.items()
    }
    ratios = {}
    for size in BATCHES:
        sides = [Side(*opened[name], size) for name in SIDES]
        numbers = [{"number": torch.tensor(number)} for number in range(len(sides[0].batches))]
        seconds = measure(sides, numbers, repeats=rounds)
        ratios |= {(name, size): ratio_interval(seconds[0], each) for name, each in zip(SIDES, seconds, strict=True)}
        ratios[AGAINST, size] = ratio_interval(seconds[SIDES.index("MiniLM, int8")], seconds[SIDES.index(RESULT)])
    return ratios


class Side(torch.nn.Module):
    """A model with its own batches of the same rows: a smaller vocabulary has other ids."""

    def __init__(self, model: Any, task: Any, size: int) -> None:
        super().__init__()
        self.model, self.task = model, task
        self.batches = latency_batches(task, (size,), torch.device("cpu"))[size]

    def forward(self, number: torch.Tensor) -> Any:
        return self.task.forward(self.model, self.batches[int(number)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=HERE.parent / "runs" / "composed", help="folder of the models")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--train", action="store_true", help="make the models only; times need a quiet machine")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result's file")
    options = parser.parse_args()
    data_root("the folders sst2 and mrpc (GLUE)")
    rows, steps, seeds, claims = [], [], [], {}
    for task in options.tasks.split(","):
        folders = trained(task, options.runs)
        if options.train:
            continue
        scores = {
            name: evaluate(folder, f"glue/{task}", runtime=Runtime(device="cpu"))["validation"]
            for name, folder in folders.items()
        }
        metric = "accuracy" if task == "sst2" else "accuracy_f1"
        ratios = timed(folders, task, options.rounds)
        for name in SIDES:
            speeds = {
                f"faster at batch {size}": "{:.2f}x ({:.2f}-{:.2f})".format(*ratios[name, size]) for size in BATCHES
            }
            rows.append({"task": task, "model": name, "score": f"{100 * scores[name][metric]:.1f}", **speeds})
        steps += stages(task, run_of(task, options.runs))
        if task == "sst2":
            kept = [kept_of(run_of(task, options.runs, seed)) for seed in range(1, TASKS[task][2] + 1)]
            claims = claims_of(ratios, kept)
            seeds = [{"task": task, "seed": seed, "kept %": f"{100 * each:.1f}"} for seed, each in enumerate(kept, 1)]
    if not options.train:
        some = "" if options.tasks == ",".join(TASKS) else f" --tasks {options.tasks}"
        write_result("composed", f"python benchmarks/composed.py{some}", [*rows, *steps, *seeds], claims, options.out)


def stages(task: str, run: Path) -> list[dict[str, str]]:
    """What each step of a composed run cost and gave, with the paired tests; its times are of a machine at work."""
    section = waterfall.table(reporting.build(run))
    rows = [dict(zip(section.head, cells, strict=True)) for cells in section.rows]
    return [{"task": task, **{name: cell for name, cell in row.items() if "time" not in name}} for row in rows]


def kept_of(run: Path) -> float:
    """The share of the start's score that the export of a composed run keeps."""
    rows = reporting.build(run)["rows"]
    return float(rows[-1]["score"] / rows[0]["score"])


def claims_of(ratios: dict[tuple[str, int], Interval], kept: list[float]) -> dict[str, Interval]:
    """The claims' values of the task that they are about.

    Args:
        kept: of each seed.
    """
    return {
        "composed-throughput": ratios[RESULT, 32],
        "composed-latency": ratios[RESULT, 1],
        "composed-kept": (statistics.median(kept), min(kept), max(kept)),
        "composed-against-int8": ratios[AGAINST, 32],
    }


if __name__ == "__main__":
    main()
