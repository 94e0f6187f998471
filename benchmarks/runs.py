"""Whole runs as a user types them, and the tables of the reports of what they press.

mrpc are the README's own lines; they need BERTPRESS_DATA, or the Hub. race, hotpotqa and 2wikimultihopqa are a teacher
and two pressed models each, small enough for a processor: an honest look at tasks whose data sets need more, not a
comparison with published scores. Their few hundred questions teach MiniLM nothing by themselves, so it first learns to
read on SQuAD. demo-all is every demo from one fine-tuned model, of which the composed one is shown.
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
from collections.abc import Iterator, Sequence
from pathlib import Path

from cells import PRECISION
from results import write_result

from bertpress.reports import reporting, sections
from bertpress.reports.sections import Report

USUAL = ("demo", "mrpc")


def pressed(task: str, limits: str, length: int, epochs: int) -> list[str]:
    """The commands that fine-tune MiniLM on SQuAD and then on a task, and leave half of its layers in two ways."""
    squad = f"--task squad --max-length 384 --limit train=6000 --limit validation=300 --precision {PRECISION}"
    flags = f"--task {task} --max-length {length} {limits}--precision {PRECISION}"
    taught = f"--learning-rate 3e-4 --epochs {epochs // 2} --set layers=3 --no-baseline"
    taught += f" --set prediction.learning_rate=3e-4 --set prediction.epochs={epochs // 2}"
    return [
        f"bertpress finetune --model packaged-minilm {squad} --epochs 2 --out runs/reader --learning-rate 2e-4",
        f"bertpress finetune --model runs/reader {flags} --epochs {epochs} --out runs/teacher --learning-rate 1e-4",
        f"bertpress theseus --model runs/teacher {flags} --epochs {epochs} --out runs/small --learning-rate 3e-4",
        f"bertpress tinybert --model runs/teacher {flags} {taught} --out runs/taught",
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


def pressing(commands: list[str]) -> Iterator[str]:
    """Where the commands that do more than fine-tuning leave their runs."""
    for command in map(shlex.split, commands):
        if command[1] != "finetune":
            out = command[command.index("--out") + 1]
            yield f"{out}/composed" if "--all" in command else out


def results(reports: Sequence[Report]) -> Iterator[dict[str, str]]:
    """The rows of reports on one start model, which stands first and once."""
    known = set()
    for table in map(sections.overview, reports):
        rows = [dict(zip(table.head, cells, strict=True)) for cells in table.rows]
        yield from (row for row in rows if row["name"] not in known)
        known.update(row["name"] for row in rows)


def differences(report: Report) -> list[dict[str, str]]:
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
            reports = [reporting.build(folder / out) for out in pressing(commands)]
        rows = [*results(reports), *(test for report in reports for test in differences(report))]
        total = {"score": sections.overview(reports[0]).caption}
        claims = {}
        if options.runs is None:
            total = {"all commands, scoring and timing included (s)": f"{seconds:.0f}", **total}
            claims = {"demo-all-seconds": (seconds, seconds, seconds)} if name == "demo-all" else {}
        write_result(name.replace("-", "_"), "; ".join(commands), [*rows, total], claims)


if __name__ == "__main__":
    main()
