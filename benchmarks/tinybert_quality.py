"""What TinyBERT keeps of a fine-tuned MiniLM in 3 of its 6 layers, on GLUE, and what each of its parts brings.

Teachers: MiniLM fine-tuned as in quality.py (for MRPC and CoLA its very cells), the best on dev of `PREDECESSOR`
(cells.py), or of `TRIED` for SST-2, which has 10,000 training rows.

Students of 3 layers. `truncated`: the teacher's bottom three, fine-tuned (for MRPC and CoLA quality.py's cells). All
others start from those layers that they learn from, 2, 4 and 6: `mapped, fine-tuned` on labels alone; `logits only`:
step 2 alone; `both steps`; and both on augmented texts (words proposed by MiniLM trained as a masked language model on
plain text; 5 samples of a text where the method's default is 20 to 30, for a CPU's sake). Students of 4 layers x 192:
both steps on the task's own texts, from general distillation or from random weights. Plain text is plain_text_en and
wikitext2, packed.

Every row of a task trains as many steps, those with two steps 2/3 of them in step 1; augmented rows see more texts,
not more steps. The learning rate, one for both steps, is the best of `rates_of` on seed 1; seeds 2 and 3 run with it.
All but the teachers train in bfloat16 where the processor multiplies in it; cells made elsewhere did not, and each row
of the table says what its cells trained in.

A cell is one training; its file in results/tinybert_quality/ is written when it ends, and a cell that has its file is
not run again; `tinybert_quality.json` sums up once all are there. Needs BERTPRESS_DATA. Some 18 hours of a core with
AVX2, less with bfloat16: first `--tasks ""` trains what all tasks need, then two processes with a thread each,
`--tasks mrpc` and `--tasks cola,sst2`, then once without `--tasks` to sum up.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import quality
from cells import PRECISION, PREDECESSOR, Cell, Grid, Key, Tried, grid_arguments, intervals, over_seeds, scores, summary
from results import HERE, Interval, data_root, write_result

from bertpress import Augmentation, Finetune, Runtime, TinyBert, Training, api, pretraining
from bertpress.methods.method import Method
from bertpress.methods.tinybert import Shape

RUNS = HERE.parent / "runs"
SEEDS = 3
TASKS = {"mrpc": (3668, 5), "cola": (8551, 5), "sst2": (10_000, 4)}
"""Training rows, and epochs of every row; those of quality.py where it has the task."""
ROWS = (
    "truncated",
    "mapped, fine-tuned",
    "logits only",
    "both steps",
    "both steps, augmented",
    "4 x 192, generally distilled",
    "4 x 192, random start",
)
SHAPE = "4x192x12x768"
"""As many heads as MiniLM, so that step 1 compares attention scores."""
LARGE, SMALL = (1e-4, 3e-4), (3e-4, 1e-3)
"""Learning rates of the students of 3 layers x 384, and of those of 4 layers x 192."""
TRIED: Tried = ((1e-4, 3), (1e-4, 5))
"""Of the teachers that quality.py does not have."""
SAMPLES = 5
PLAIN_TEXT = ("plain_text_en", "wikitext2")
MASKED_LM = Key("text", "masked language model", 5e-4, 1, 1)
GENERAL = Key("text", "general distillation", 6e-4, 1, 1)
FIRST_STEP = 2 / 3
"""Share of a row's optimizer steps in step 1, where it has two."""


@dataclass(frozen=True)
class Protocol:
    """Where everything lies, and how much of the data is used.

    Args:
        out: folder of the results.
        runs: folder of the models.
        masked_lm: what proposes words; None trains one.
        limit: rows of each split, for a trial.
    """

    out: Path
    runs: Path
    masked_lm: str | None = None
    limit: int | None = None

    @cached_property
    def grid(self) -> Grid:
        """This script's cells."""
        return Grid(self.out / "tinybert_quality", self.runs / "tinybert_quality")

    def teachers(self, task: str) -> Grid:
        """Whose predecessor is the teacher: quality.py's cells, where it has the task."""
        return Grid(self.out / "quality", self.runs / "quality") if task in quality.TASKS else self.grid

    def teacher(self, task: str) -> Cell:
        """The best of a task's fine-tuned models."""
        return self.teachers(task).predecessor(task, tried_of(task), limit=self.limits(task))

    def limits(self, task: str) -> dict[str, int]:
        """Largest numbers of rows of a task's splits."""
        if self.limit is not None:
            return {"train": self.limit, "validation": self.limit}
        return {"train": TASKS[task][0]} if task == "sst2" else {}

    def steps(self, task: str) -> int:
        """Optimizer steps of every row of a task."""
        rows, epochs = TASKS[task]
        return Training(epochs=epochs).steps(min(rows, self.limit or rows))


def tried_of(task: str) -> Tried:
    """(learning rate, epochs) among which a task's teacher is chosen."""
    return PREDECESSOR if task in quality.TASKS else TRIED


def rates_of(row: str) -> Sequence[float]:
    """Learning rates among which a row's is chosen."""
    if row == "truncated":
        return quality.RATES
    return SMALL if row.startswith("4 x 192") else LARGE


def trainings(row: str, total: int, rate: float) -> dict[str, Training | None]:
    """Step 1 and step 2 of a row, `total` optimizer steps together."""
    first = 0 if row in ("mapped, fine-tuned", "logits only") else round(FIRST_STEP * total)

    def of(steps: int) -> Training | None:
        return Training(max_steps=steps, learning_rate=rate, warmup=0.1) if steps else None

    return {"intermediate": of(first), "prediction": of(total - first)}


def method(row: str, total: int, rate: float, general: str | None = None) -> Method:
    """What a row but the truncated one trains.

    Args:
        general: the generally distilled student.
    """
    # The teacher's score is a cell of its own, so no training looks at it again.
    fields: dict[str, Any] = {**trainings(row, total, rate), "signals": "all", "teacher_check": False}
    if row == "mapped, fine-tuned":
        fields |= {"soft_weight": 0.0, "hard_weight": 1.0, "signals": "logits"}
    elif row == "logits only":
        fields["signals"] = "logits"
    elif row == "both steps, augmented":
        fields["signals"] = "none"  # most of its texts are seen once
    elif row == "4 x 192, generally distilled":
        fields["student"] = general
    elif row == "4 x 192, random start":
        fields["shape"] = Shape(**pretraining.parse_shape(SHAPE))
    return TinyBert(**fields)


def students(protocol: Protocol, task: str, row: str, teacher: Cell) -> Iterator[Cell]:
    """A row's cells of the chosen learning rate."""
    teachers, grid = protocol.teachers(task), protocol.grid
    cells = teachers if row == "truncated" else grid
    runtime = Runtime(device="cpu", signals=grid.runs / "signals" / task / signals_of(row))

    def train(rate: float, seed: int) -> Cell:
        key = Key(task, row, rate, TASKS[task][1], seed)
        if not cells.has(key):
            make_ready(protocol, task, row, teacher)
        step = method(row, protocol.steps(task), rate, str(grid.runs / GENERAL.name))
        if row == "truncated":
            step = quality.method(row, Training(epochs=key.epochs, learning_rate=rate, warmup=0.1))
        fields = {**data(protocol, task, row), "precision": PRECISION}
        return cells.cell(key, str(teachers.start(task)), step, runtime, **fields)

    return over_seeds(train, rates_of(row), SEEDS)


def signals_of(row: str) -> str:
    """Rows that read the same signals of the teacher share a folder."""
    if row in ("mapped, fine-tuned", "logits only"):
        return "logits"
    return "4 x 192" if row.startswith("4 x 192") else "3 layers"


def data(protocol: Protocol, task: str, row: str) -> dict[str, Any]:
    """Fields of a row's recipes that say on which rows it trains."""
    if row != "both steps, augmented":
        return {"task": f"glue/{task}", "limit": protocol.limits(task)}
    return {"task": {"name": f"glue/{task}", "data_dir": str(protocol.grid.runs / "augmented" / task)}}


def make_ready(protocol: Protocol, task: str, row: str, teacher: Cell) -> None:
    """Make what a row begins with, where it is not there."""
    teachers, limit = protocol.teachers(task), protocol.limits(task)
    teachers.make_start(task, teacher, tried_of(task), limit=limit)
    if row == "both steps, augmented":
        folder = protocol.grid.runs / "augmented" / task
        settings = Augmentation(samples=SAMPLES, masked_lm=masked_lm(protocol))
        runtime = Runtime(device="cpu")
        api.augment(f"glue/{task}", str(teachers.start(task)), folder, settings=settings, limit=limit, runtime=runtime)
    elif row == "4 x 192, generally distilled":
        distilled(protocol)


def masked_lm(protocol: Protocol) -> str:
    """What proposes words: the folder that was given, or MiniLM trained as a masked language model.

    Its encoder is trained too: a head alone learns little more than how often words occur.
    """
    step = Finetune(training=training_of(MASKED_LM, "masked-lm"))
    return protocol.masked_lm or str(
        protocol.grid.kept(MASKED_LM, "packaged-minilm", step, **text(protocol, "masked-lm"))
    )


def distilled(protocol: Protocol) -> Path:
    """The run of the generally distilled student."""
    shape = Shape(**pretraining.parse_shape(SHAPE))
    training = training_of(GENERAL, "distill")
    step = TinyBert(shape=shape, prediction=None, intermediate=training, signals="none")  # they would need 45 GB
    return protocol.grid.kept(GENERAL, "packaged-minilm", step, **text(protocol, "encoder"))


def text(protocol: Protocol, kind: str) -> dict[str, Any]:
    """Fields of recipes that train on plain text."""
    files = [str(data_root("plain_text_en and wikitext2") / name / "train.parquet") for name in PLAIN_TEXT]
    task = {"name": "text", "kind": kind, "corpus": {"files": files, "format": "lines"}}
    return {"task": task, "limit": protocol.limits("text"), "precision": PRECISION}


def training_of(key: Key, objective: str) -> Training:
    """The defaults of `bertpress pretrain`, with the cell's learning rate and epochs."""
    given = {"learning_rate": key.learning_rate, "epochs": key.epochs}
    return Training(**{**pretraining.TRAININGS[objective], **given})


def claims(teachers: list[Cell], cells: list[Cell]) -> dict[str, Interval]:
    """Each claim's value from the medians over seeds, and its range where every task has the scores of one seed."""
    tasks = [teacher["task"] for teacher in teachers]
    teacher = np.array([one["score"] for one in teachers])

    def values(seed: int | None) -> dict[str, float]:
        truncated, _, logits, both, augmented, general, fresh = (scores(cells, tasks, row, seed) for row in ROWS)
        return {
            "tinybert-recovered": float(((augmented - truncated) / (teacher - truncated)).mean()),
            "tinybert-kept": float(augmented.mean() / teacher.mean()),
            "tinybert-step1-helps": float((both - logits).mean()),
            "tinybert-augmentation-helps": float((augmented - both).mean()),
            "general-distillation-helps": float((general - fresh).mean()),
        }

    return intervals(values, SEEDS)


def carry_out(protocol: Protocol, task: str, rows: Sequence[str]) -> tuple[Cell, list[Cell]]:
    """The teacher's cell and those of the rows of a task."""
    teacher = protocol.teacher(task)
    cells = [cell for row in rows for cell in students(protocol, task, row, teacher)]
    shutil.rmtree(protocol.grid.runs / "signals" / task, ignore_errors=True)
    return teacher, cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS), help="which of the tasks, in that order")
    parser.add_argument("--rows", default=";".join(ROWS), help="which of the rows, with semicolons between them")
    parser.add_argument("--masked-lm", help="what proposes words, in place of a head trained here")
    options = grid_arguments(parser, RUNS, "GLUE, plain_text_en and wikitext2")
    if strange := {*options.rows.split(";")} - {*ROWS}:
        parser.error(f"--rows: there is no row {', '.join(sorted(strange))}; there are {'; '.join(ROWS)}")
    protocol = Protocol(options.out, options.runs, options.masked_lm, options.limit)
    tasks, rows = [task for task in options.tasks.split(",") if task], options.rows.split(";")
    if not tasks:
        print(masked_lm(protocol), distilled(protocol), sep="\n")
        return
    teachers, cells, lines = [], [], []
    for task in tasks:
        teacher, own = carry_out(protocol, task, rows)
        teachers, cells = [*teachers, teacher], [*cells, *own]
        if rows == [*ROWS]:
            lines += summary(task, teacher, own, ROWS, "teacher")
    if rows == [*ROWS] and tasks == [*TASKS]:
        command = "python benchmarks/tinybert_quality.py"
        write_result("tinybert_quality", command, lines, claims(teachers, cells), options.out)


if __name__ == "__main__":
    main()
