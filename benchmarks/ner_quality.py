"""What Theseus and TinyBERT keep of models that find entities, by tags and by reading comprehension.

`conll2003`: MiniLM tags words; 3 of its 6 layers are left. All 14,041 sentences, scored on the validation split.
`theseus` is the linear curriculum.
`conll2003 mrc`: it is asked a question for each type of entity (3,500 sentences), with the settings of the recipes
mrc-ner-*: focal loss, a constant course of the learning rate, a second stage that trains everything at a quarter of the
first one's rate. `one stage` is the constant rate and nothing after it. `msra_ner mrc`: the same with Chinese questions
and the model of chinese_encoder.py, pressed to half of its layers.

The predecessor of a task is the best on dev of its list. Other rows of a task all train for as many steps; the learning
rate (of the first stage) is the best of the task's on seed 1, and further seeds run with it. A batch has 32 sentences,
or 16 questions where the published program has 8. Checkpoints and rates of reading comprehension are chosen on a few
hundred sentences; afterwards every model is scored on all of `JUDGED`, of which the first counts, by exact spans and by
the lenient score of the published table.

A cell is one training in bfloat16 where the processor has it, of at most some 10 minutes on a core; its file in
results/ner_quality/ is written when it ends, and a cell that has its file is not run again; `ner_quality.json` sums up.
Needs BERTPRESS_DATA.
"""

from __future__ import annotations

import argparse
import copy
import shlex
import shutil
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cells import PRECISION, Cell, Grid, Key, Tried, grid_arguments, intervals, over_seeds, scores, summary
from results import HERE, Interval, write_result

from bertpress import Finetune, Theseus, TinyBert, Training
from bertpress.engine.evaluation import logits_of
from bertpress.engine.loading import load_for_task, load_tokenizer
from bertpress.methods.method import Method
from bertpress.methods.theseus import Linear
from bertpress.recipe import TaskSpec, make_recipe, read_recipe
from bertpress.runs.pipeline import quieten
from bertpress.tasks import load_task

RUNS = HERE.parent / "runs" / "ner_quality"
LENGTH, SEEDS = 128, 3
FIRST_STEP = 2 / 3
"""Share of TinyBERT's epochs in step 1."""
TAGGING = ("truncated", "theseus", "tinybert")
READING = {
    "truncated": None,
    "two stages, constant": "mrc-ner-constant",
    "two stages, linear": "mrc-ner-linear",
    "one stage": "mrc-ner-one-stage",
}
"""Row to the recipe whose settings it has."""
JUDGED = {
    "conll2003 mrc": {"conll2003": "validation"},
    "msra_ner mrc": {"msra_ner": "test", "peoples_daily_ner": "test"},
}
"""Where the models of a task are scored when they are done: data set to split."""


@dataclass(frozen=True)
class Setting:
    """How a task's models are trained.

    Args:
        layers: of the pressed models.
        tried: (learning rate, epochs) of predecessors.
        rates: of all other rows.
        epochs: of all other rows, in all stages.
        limit: rows of splits.
        splits: that there are.
    """

    rows: Sequence[str]
    layers: int
    tried: Tried
    rates: Sequence[float]
    epochs: int
    batch_size: int
    limit: dict[str, int]
    splits: Sequence[str] = ("train", "validation")


TASKS = {
    "conll2003": Setting(TAGGING, 3, ((2e-4, 3), (4e-4, 3)), (1e-4, 3e-4, 1e-3), 3, 32, {}),
    "conll2003 mrc": Setting(
        [*READING], 3, ((1e-4, 2), (2e-4, 2)), (1e-4, 3e-4), 4, 16, {"train": 3500, "validation": 400}
    ),
    "msra_ner mrc": Setting(
        [*READING], 2, ((3e-4, 6), (6e-4, 6)), (1e-4, 3e-4), 8, 16, {}, ("train", "validation", "test")
    ),
}
LEADS = {
    "conll2003 mrc": ("mrc-linear", "mrc-one-stage"),
    "msra_ner mrc": ("mrc-chinese-linear", "mrc-chinese-one-stage"),
}
"""The claims of each task of reading comprehension."""


def method(task: str, row: str, rate: float) -> Method:
    """What a row trains."""
    setting = TASKS[task]
    if task in JUDGED:
        return reading(setting, READING[row], rate)
    training = Training(epochs=setting.epochs, learning_rate=rate, warmup=0.1)
    if row == "truncated":
        return Finetune(layers=setting.layers, training=training)
    if row == "tinybert":
        first = FIRST_STEP * setting.epochs
        steps = {
            name: training.model_copy(update={"epochs": epochs})
            for name, epochs in (("intermediate", first), ("prediction", setting.epochs - first))
        }
        # The teacher's score is a cell of its own, and what it says would need some GB.
        return TinyBert(layers=setting.layers, **steps, signals="none", teacher_check=False)
    return Theseus(successor_layers=setting.layers, rate=Linear(), replacing=training)


def reading(setting: Setting, recipe: str | None, rate: float) -> Method:
    """A recipe's step with batches, epochs and rates of ours; without one the truncated model, trained as one stage."""
    values = copy.deepcopy(read_recipe(recipe or "mrc-ner-one-stage"))
    fields = values["steps"][0]["theseus"]
    stages = [name for name in ("replacing", "finetuning") if name in fields]
    first = fields["replacing"]["learning_rate"]
    for stage in stages:
        own = {"batch_size": setting.batch_size, "epochs": setting.epochs / len(stages)}
        fields[stage] |= {**own, "learning_rate": rate * fields[stage]["learning_rate"] / first}
    if recipe is None:
        return Finetune(layers=setting.layers, training=Training(**fields["replacing"]))
    fields["successor_layers"] = setting.layers
    return make_recipe({**values, "model": "any", "task": "pydoc"}).steps[0]


class Protocol:
    """The grid of one task."""

    def __init__(self, task: str, options: argparse.Namespace) -> None:
        self.task, self.setting, self.limit = task, TASKS[task], options.limit
        model = {"model": options.chinese} if task == "msra_ner mrc" else {}
        self.grid = Grid(options.out / "ner_quality", options.runs, batch_size=self.setting.batch_size, **model)
        limit = dict.fromkeys(self.setting.splits, options.limit) if options.limit else self.setting.limit
        self.fields: dict[str, Any] = {"task": self.spec(task.split()[0]), "max_length": LENGTH, "limit": limit}
        self.fields["precision"] = PRECISION

    def spec(self, name: str) -> dict[str, Any]:
        """A data set, asked what this task asks."""
        asked = read_recipe("mrc-ner-constant")["task"] if self.task in JUDGED else {}
        return {**asked, "name": name}

    def predecessor(self) -> Cell:
        """The best of the fine-tuned models."""
        found = self.grid.predecessor(self.task, self.setting.tried, **self.fields)
        if self.task in JUDGED and "scores" not in found:
            self.make_start(found)
            return self.judged(found, self.grid.start(self.task))
        return found

    def make_start(self, predecessor: Cell) -> None:
        """Put the predecessor's model in its place."""
        self.grid.make_start(self.task, predecessor, self.setting.tried, **self.fields)

    def cells(self, row: str, predecessor: Cell) -> Iterator[Cell]:
        """A row's cells of the chosen learning rate."""

        def train(rate: float, seed: int) -> Cell:
            key = Key(self.task, row, rate, self.setting.epochs, seed)
            done = self.grid.has(key) and (self.task not in JUDGED or "scores" in self.grid.read(key))
            if done:
                return self.grid.read(key)
            self.make_start(predecessor)
            start, step = str(self.grid.start(self.task)), method(self.task, row, rate)
            if self.task not in JUDGED:
                return self.grid.cell(key, start, step, **self.fields)
            run = self.grid.kept(key, start, step, **self.fields)
            cell = self.judged(self.grid.read(key), run / "00-finetune" if row == "truncated" else run / "00-theseus")
            shutil.rmtree(run)
            return cell

        return over_seeds(train, self.setting.rates, SEEDS)

    def judged(self, cell: Cell, model: Path) -> Cell:
        """The cell with its scores on all of `JUDGED`, which its file keeps."""
        cell["scores"] = {}
        for name, split in JUDGED[self.task].items():
            limit = {split: self.limit} if self.limit else None
            spec = TaskSpec(**self.spec(name))
            loaded, task, _ = load_for_task(str(model), load_task(spec, load_tokenizer(str(model)), LENGTH, limit))
            found = task.score(logits_of(loaded, task, task.encoded(split)), split)
            cell["scores"][name] = {metric: found[metric] for metric in ("span_f1", "surface_f1")}
        self.grid.write(cell)
        print(Key.of(cell).name, cell["scores"], flush=True)
        return cell


def counted(cell: Cell) -> Cell:
    """The cell with the score that counts: after all sentences, where it has more than those that chose it."""
    return {**cell, "score": next(iter(cell["scores"].values()))["span_f1"]} if "scores" in cell else cell


def judged_lines(task: str, predecessor: Cell, cells: Sequence[Cell]) -> list[Cell]:
    """A row of the table of both scores for each row of a task: medians over seeds."""
    lines = []
    for row in ("predecessor", *TASKS[task].rows):
        own = [predecessor] if row == "predecessor" else [cell for cell in cells if cell["row"] == row]
        line: Cell = {"task": task, "row": row, "seeds": len(own)}
        for name, split in JUDGED[task].items():
            for metric, word in (("span_f1", "exact"), ("surface_f1", "lenient")):
                median = statistics.median(cell["scores"][name][metric] for cell in own)
                line[f"{name} {split}, {word}"] = f"{100 * median:.1f}"
        lines.append(line)
    return lines


def claims(task: str, predecessor: Cell, cells: Sequence[Cell]) -> dict[str, Interval]:
    """The claims of a task, in points or per cent: medians over seeds, and the range over seeds."""

    def values(seed: int | None) -> dict[str, float]:
        found = {row: 100 * float(scores(cells, [task], row, seed)[0]) for row in TASKS[task].rows}
        if task in LEADS:
            constant = found["two stages, constant"]
            return dict(
                zip(LEADS[task], (found["two stages, linear"] - constant, constant - found["one stage"]), strict=True)
            )
        whole, truncated = 100 * predecessor["score"], found["truncated"]
        best = max(found[row] for row in TAGGING[1:])
        recovered = 100 * (best - truncated) / (whole - truncated) if whole > truncated else float("nan")
        return {"ner-recovered": recovered, "ner-kept": 100 * best / whole}

    return intervals(values, SEEDS)


def arguments() -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS), help="which of the tasks, in that order")
    parser.add_argument("--rows", help="which rows, separated by semicolons; only all of them are summed up")
    parser.add_argument("--chinese", help="folder of the Chinese model, for msra_ner")
    options = grid_arguments(parser, RUNS, "conll2003, msra_ner and peoples_daily_ner")
    options.tasks = options.tasks.split(",")
    if "msra_ner mrc" in options.tasks and not options.chinese:
        parser.error("msra_ner needs --chinese, the folder of a Chinese model (chinese_encoder.py makes one)")
    return options


def main() -> None:
    options = arguments()
    quieten()
    lines, both, measured = [], [], {}
    for task in options.tasks:
        protocol = Protocol(task, options)
        predecessor = protocol.predecessor()
        rows = options.rows.split(";") if options.rows else TASKS[task].rows
        cells = [cell for row in rows if row in TASKS[task].rows for cell in protocol.cells(row, predecessor)]
        if options.rows:
            continue
        found = [counted(cell) for cell in cells]
        lines += summary(task, counted(predecessor), found, TASKS[task].rows, "predecessor")
        measured |= claims(task, counted(predecessor), found)
        if task in JUDGED:
            both += judged_lines(task, predecessor, cells)
    if lines:
        some = options.tasks != [*TASKS]
        command = "python benchmarks/ner_quality.py" + some * f" --tasks {shlex.quote(','.join(options.tasks))}"
        write_result("ner_quality", command, [*lines, *both], measured, options.out)


if __name__ == "__main__":
    main()
