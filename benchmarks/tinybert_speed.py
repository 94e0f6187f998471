"""Step 1 of TinyBERT on MRPC at batch 32 against the original's arrangement, with stored signals and without.

MiniLM teaches a student of 3 of its layers. The engine and the other side (original_tinybert.py) take turns in one
process on the same rows, once with the engine reading what the teacher says, as it does by default, and once with it
asking the teacher in each step. `stored-signals` compares these two by their ratios to the other side, which saw the
same rows in both: load on the machine cancels. Reading counts; storing, done once, has a row of its own.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from interleave import BATCH, interleave, minilm, mrpc
from original_theseus import padded
from original_tinybert import Original
from results import arguments, write_result

from bertpress.encoders.surgery import keep_layers
from bertpress.methods.tinybert import TinyBert
from bertpress.methods.tinybert.intermediate import Comparison, Intermediate
from bertpress.methods.tinybert.prediction import wanted_of
from bertpress.methods.tinybert.signals import Signals, bytes_needed, store
from bertpress.runs.pipeline import quieten
from bertpress.statistics import median_interval, ratio_interval
from bertpress.tasks.task import Task

METHOD = TinyBert()


def objective(task: Task, signals: dict[str, Signals] | None) -> Intermediate:
    """Our step 1; without signals the teacher is asked."""
    teacher = minilm(task)
    student = keep_layers(teacher, METHOD.kept_layers(teacher.config))
    comparison = Comparison(METHOD, student.config, teacher.config)
    return Intermediate(student, task, comparison, None if signals else teacher, signals)


def stored(task: Task, folder: Path) -> tuple[dict[str, Signals], float, float]:
    """Signals as a run with both steps stores them, the seconds that it took, and their size in MB."""
    teacher = minilm(task).eval()
    wanted = objective(task, None).comparison.wanted(1) | wanted_of(METHOD, teacher)
    splits = ["train", task.dev_split]
    began = time.perf_counter()
    signals = store(folder / "signals", teacher, task, splits, wanted)
    return signals, time.perf_counter() - began, bytes_needed(teacher, task, splits, wanted) / 1e6


def speed(task: Task, signals: dict[str, Signals] | None, rounds: int, steps: int) -> np.ndarray:
    """Seconds per block of ours and of the original's arrangement."""
    teacher = minilm(task)
    student = keep_layers(teacher, METHOD.kept_layers(teacher.config))
    original = Original(teacher, student, padded(task.encoded("train").to_list()))

    def block(first: int, rows: list[list[int]]) -> None:
        for numbers in rows:
            original.step(numbers)

    return interleave(objective(task, signals), task, block, rounds, steps)


def main() -> None:
    options = arguments(__doc__, rounds=15, steps=6)
    quieten()
    task = mrpc()
    with tempfile.TemporaryDirectory() as folder:
        signals, seconds, megabytes = stored(task, Path(folder))
        times = {"read": speed(task, signals, options.rounds, options.steps)}
    times["asked"] = speed(task, None, options.rounds, options.steps)
    sides = {
        "bertpress, signals stored": times["read"],
        "bertpress, teacher asked": times["asked"],
        "original's arrangement": np.hstack(list(times.values()))[[1, 1]],
    }
    rows = []
    for side, (own, original) in sides.items():
        ratio, low, high = ratio_interval(original, own)
        per_step = median_interval(own / options.steps)[0]
        rows.append(
            {"side": side, "examples_per_second": BATCH / per_step, "ms_per_step": 1000 * per_step}
            | {"times_as_fast": ratio, "low": low, "high": high, "rounds": options.rounds, "steps": options.steps}
        )
    rows.append({"once": "storing signals of train and validation", "seconds": seconds, "megabytes": megabytes})
    relative = {name: own / original for name, (own, original) in times.items()}
    claims = {
        "tinybert-speed": ratio_interval(times["read"][1], times["read"][0]),
        "stored-signals": ratio_interval(relative["asked"], relative["read"]),
    }
    write_result("tinybert_speed", "python benchmarks/tinybert_speed.py", rows, claims, options.out)


if __name__ == "__main__":
    main()
