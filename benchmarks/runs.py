"""Whole runs as a user types them, and the tables of the reports of what they press.

mrpc are the README's own lines; they need BERTPRESS_DATA, or the Hub. reading is a teacher and a pressed model each on
HotpotQA and 2WikiMultihop, of which there are few questions: MiniLM first learns to read on SQuAD, and then goes from
the first to the second. race is a teacher and a pressed model on RACE, after MNLI. They are small enough for a
processor: an honest look at tasks whose data sets need more, not a comparison with published scores. demo-all is every
demo from one fine-tuned model, of which the composed one is shown. reading and race take some two hours, the others up
to half an hour; without names, demo and mrpc are run. In a folder that is kept, what was cut off goes on, and the time
of all commands is not told.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cells import PRECISION
from results import write_result

from bertpress.reports import reporting, sections
from bertpress.reports.sections import Report

USUAL = ("demo", "mrpc")

READER = (
    "bertpress finetune --model packaged-minilm --task squad --max-length 384 --limit train=6000 "
    f"--limit validation=300 --precision {PRECISION} --out runs/reader --learning-rate 1e-4 --epochs 1 --batch-size 8"
)

JUDGE = (
    "bertpress finetune --model packaged-minilm --task glue/mnli --limit validation=500 "
    f"--precision {PRECISION} --out runs/judge --learning-rate 1e-4 --epochs 2 --no-baseline"
)

ON_RACE = (" --accumulation 4 --set training.warmup=0.1", " --limit train=500 --set teacher_check=false")
"""A batch of 16 options holds four questions only. The teacher comes out hardly better than chance, so that there is
little to learn from it: its student reads few questions, and reads them whatever the teacher's score is."""


def pressed(
    task: str, length: int, limits: str, epochs: int, batch: int, model: str, more: tuple[str, str] = ("", "")
) -> list[str]:
    """The commands that fine-tune a model on a task, and teach half of its layers what it has learned.

    Batches are small because there are few rows; `more` holds flags of the first and of the second.
    """
    flags = f"--task {task} --max-length {length} {limits}--precision {PRECISION} --batch-size {batch}"
    teaching = f"--out runs/{task}-teacher --learning-rate 1e-4 --epochs {epochs}{more[0]}"
    second = f"--set prediction.learning_rate=1e-4 --set prediction.epochs={epochs} --set prediction.batch_size={batch}"
    return [
        f"bertpress finetune --model {model} {flags} {teaching}",
        f"bertpress tinybert --model runs/{task}-teacher {flags} --out runs/{task} --learning-rate 3e-4 "
        f"--epochs {epochs} {second}{more[1]}",
    ]


RUNS = {
    "demo": ["bertpress demo --out runs/demo"],
    "demo-all": ["bertpress demo --all --out runs/demo"],
    "mrpc": [
        "bertpress finetune --model packaged-minilm --task glue/mrpc --out runs/teacher --learning-rate 1e-4",
        "bertpress theseus --model runs/teacher --task glue/mrpc --out runs/small --learning-rate 3e-4 --epochs 5",
    ],
    "reading": [
        READER,
        *pressed("hotpotqa", 512, "", 3, 8, model="runs/reader"),
        *pressed("2wikimultihopqa", 512, "--limit validation=200 ", 2, 8, model="runs/hotpotqa-teacher"),
    ],
    "race": [JUDGE, *pressed("race", 256, "--limit validation=300 ", 1, 16, "runs/judge", ON_RACE)],
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


def results(report: Report) -> list[dict[str, str]]:
    """The rows of a report's table."""
    table = sections.overview(report)
    return [{"task": report["task"], **dict(zip(table.head, cells, strict=True))} for cells in table.rows]


def differences(report: Report) -> list[dict[str, str]]:
    """The paired tests of a report: whose scores, the difference in points, and its interval."""
    return [
        {"task": report["task"], "pair": f"{test['name']} against {test['against']}"}
        | {"points": sections.shown_points(test["difference"])}
        | {"95 % interval": f"{sections.shown_points(test['low'])} to {sections.shown_points(test['high'])}"}
        for test in report["comparisons"]
    ]


def captions(report: Report) -> list[dict[str, str]]:
    """What the scores of a report's table are, and how its times were taken."""
    return [{"task": report["task"], "score": sections.overview(report).caption}]


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
        rows = [row for part in (results, differences, captions) for report in reports for row in part(report)]
        claims = {}
        if options.runs is None:
            rows.append({"all commands, scoring and timing included (s)": f"{seconds:.0f}"})
            claims = {"demo-all-seconds": (seconds, seconds, seconds)} if name == "demo-all" else {}
        write_result(name.replace("-", "_"), "; ".join(commands), rows, claims)


if __name__ == "__main__":
    main()
