"""Press once, fine-tune often: MiniLM pressed on MNLI, then fine-tuned on smaller tasks, as the paper does it.

    bertpress finetune --model packaged-minilm --task glue/mnli --out mnli --learning-rate 1e-4 --precision bf16
    bertpress theseus --model mnli --task glue/mnli --out pressed --learning-rate 3e-4 --precision bf16
    bertpress finetune --model pressed --task glue/mrpc --out pressed-mrpc --learning-rate 1e-4 --epochs 5 \\
        --precision bf16

Beside it: MiniLM itself, and its three bottom layers, fine-tuned on the same tasks with the same settings. Needs
BERTPRESS_DATA or the Hub. A run that is finished is not run again, so the script goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cells import in_points
from results import HERE, RESULTS, write_result

from bertpress import Finetune, Runtime, Theseus, Training, compress

TASKS = {"mrpc": 5, "rte": 5, "sst2": 1, "stsb": 5}
"""Epochs."""
ROWS = ("MiniLM", "truncated", "pressed on MNLI")


def run(model: str, task: str, step: Any, out: Path, limit: int | None, seed: int = 1) -> dict[str, Any]:
    """The report's last row of a run, which is carried out or found finished."""
    runtime, rows = Runtime(device="cpu", say=print), {} if limit is None else {"train": limit, "validation": limit}
    fields = {"baseline": False, "seed": seed, "limit": rows, "precision": "bf16"}
    result = compress(model, f"glue/{task}", [step], out, runtime, **fields)
    return {**result.report["rows"][-1], "metric": result.report["primary_metric"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=HERE.parent / "runs" / "transfer", help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="rows of each split, for a trial")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result's file")
    options = parser.parse_args()
    runs, limit = options.runs, options.limit
    run("packaged-minilm", "mnli", Finetune(training=Training(learning_rate=1e-4)), runs / "mnli", limit)
    pressing = Theseus(replacing=Training(learning_rate=3e-4))
    run(str(runs / "mnli"), "mnli", pressing, runs / "pressed", limit)
    starts = {"MiniLM": ("packaged-minilm", None), "truncated": ("packaged-minilm", 3)}
    starts["pressed on MNLI"] = (str(runs / "pressed"), None)
    rows = []
    for task, epochs in TASKS.items():
        for name in ROWS:
            model, layers = starts[name]
            step = Finetune(layers=layers, training=Training(learning_rate=1e-4, epochs=epochs, warmup=0.1))
            seeds = range(1, options.seeds + 1)
            found = [run(model, task, step, runs / f"{name} {task} {seed}", limit, seed) for seed in seeds]
            rows.append(
                {"task": task, "start": name, "metric": found[0]["metric"], "layers": found[0]["layers"]}
                | {"seeds": len(found), **in_points([one["score"] for one in found])}
            )
    write_result("transfer", f"python benchmarks/transfer.py --seeds {options.seeds}", rows, {}, options.out)


if __name__ == "__main__":
    main()
