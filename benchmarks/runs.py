"""Whole runs as a user types them, and the tables of the report that the last command leaves.

mrpc are the README's own lines; they need BERTPRESS_DATA, or the Hub. race, hotpotqa and 2wikimultihopqa are a teacher
and one pressed model each, small enough for a processor: an honest look at tasks whose data sets need more, not a
comparison with published scores. demo-all is every demo from one fine-tuned model, of which the composed one is shown.
Each takes up to an hour; without names, demo and mrpc are run. In a folder that is kept, what was cut off goes on, and
the time of all commands is not told.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cells import PRECISION
from results import write_result

from bertpress.reports import reporting, sections

USUAL = ("demo", "mrpc")


def pressed(task: str, limits: str, length: int, epochs: int) -> list[str]:
    """The commands that fine-tune MiniLM on a task and leave half of its layers."""
    flags = f"--task {task} --max-length {length} {limits}--epochs {epochs} --precision {PRECISION}"
    return [
        f"bertpress finetune --model packaged-minilm {flags} --out runs/teacher --learning-rate 1e-4",
        f"bertpress theseus --model runs/teacher {flags} --out runs/small --learning-rate 3e-4",
    ]


RUNS = {
    "demo": ["bertpress demo --out runs/demo"],
    "demo-all": ["bertpress demo --all --out runs/demo"],
    "mrpc": [
        "bertpress finetune --model packaged-minilm --task glue/mrpc --out runs/teacher --learning-rate 1e-4",
        "bertpress theseus --model runs/teacher --task glue/mrpc --out runs/small --learning-rate 3e-4 --epochs 5",
    ],
    "race": pressed("race", "--limit train=1000 --limit validation=600 ", 256, 2),
    "hotpotqa": pressed("hotpotqa", "", 512, 4),
    "2wikimultihopqa": pressed("2wikimultihopqa", "", 512, 4),
}


def carry_out(commands: list[str], folder: Path) -> float:
    """Type the commands in `folder`; the seconds that they took."""
    began = time.perf_counter()
    for command in commands:
        subprocess.run([sys.executable, "-m", *shlex.split(command)], cwd=folder, check=True)
    return time.perf_counter() - began


def differences(report: dict[str, Any]) -> list[dict[str, str]]:
    """The paired tests of a report: whose scores, the difference in points, and its interval."""
    return [
        {"pair": f"{test['name']} against {test['against']}", "points": sections.shown_points(test["difference"])}
        | {"95 % interval": f"{sections.shown_points(test['low'])} to {sections.shown_points(test['high'])}"}
        for test in report["comparisons"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=USUAL, metavar="NAME", help=", ".join(RUNS))
    parser.add_argument("--runs", type=Path, help="folder of the runs, which is kept")
    options = parser.parse_args()
    if unknown := sorted({*options.names} - {*RUNS}):
        parser.error(f"no run is called {', '.join(unknown)}; there are {', '.join(RUNS)}")
    for name in options.names:
        commands = RUNS[name]
        with tempfile.TemporaryDirectory() as passing:
            folder = Path(passing) if options.runs is None else options.runs / name
            folder.mkdir(parents=True, exist_ok=True)
            seconds = carry_out(commands, folder)
            words = shlex.split(commands[-1])
            out = folder / words[words.index("--out") + 1]
            report = reporting.build(out / "composed" if name == "demo-all" else out)
        summary = sections.overview(report)
        rows = [dict(zip(summary.head, cells, strict=True)) for cells in summary.rows]
        total = {"score": summary.caption}
        claims = {}
        if options.runs is None:
            total = {"all commands, scoring and timing included (s)": f"{seconds:.0f}", **total}
            claims = {"demo-all-seconds": (seconds, seconds, seconds)} if name == "demo-all" else {}
        write_result(name.replace("-", "_"), "; ".join(commands), [*rows, *differences(report), total], claims)


if __name__ == "__main__":
    main()
