"""What is left of a model that answers questions: fewer layers against fewer tokens, quality beside measured speed.

MiniLM on SQuAD 2.0 in windows of 384 tokens: 3,000 questions of the training rows and of the validation articles in the
training fold, scored on 1,500 of the other articles, so no score can be compared with published ones. The predecessor
is the best of `TRIED`. `truncated` and `theseus` keep its bottom 3 of 6 layers; `policy` is TR-BERT, trained for
`TRAINED` of the multiply-adds. Learning rates are the best of `RATES` on seed 1, and further seeds run with them.
Checkpoints and rates are chosen on 300 questions.

A cell is one training in bfloat16 where the processor has it, of up to 20 minutes on a core; its file in
results/reading_quality/ is written when it ends, and a cell that has its file is not run again. `--time`, alone on a
quiet machine, times the models of seed 1 in turn with the predecessor, all without padding, and fits the thresholds of
`policy` (to a share of the multiply-adds, without labels) until it is measured to be twice as fast at batch 16; those
of the other seeds are then fitted to the same share. Leaving out padding brings much by itself where lengths are so
unequal; speed against the padded predecessor stands beside. `reading_quality.json` sums up. Needs BERTPRESS_DATA.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cells import PRECISION, Cell, Grid, Key, grid_arguments, over_seeds
from results import HERE, number, write_result

from bertpress import Finetune, Theseus, Training, TrBert
from bertpress.budget import fit, spread
from bertpress.costs import latency
from bertpress.encoders.compact import compact
from bertpress.engine.evaluation import logits_of
from bertpress.engine.loading import load_for_task, load_tokenizer
from bertpress.files import write_json
from bertpress.measurements.measuring import latency_batches
from bertpress.methods.method import Method
from bertpress.recipe import TaskSpec
from bertpress.runs.pipeline import quieten
from bertpress.tasks import load_task
from bertpress.tasks.task import Task

RUNS = HERE.parent / "runs" / "reading_quality"
NAME, LENGTH = "squad_v2", 384
SPEC: dict[str, Any] = {"name": NAME, "qa": {"folds": True}}
TRIED, RATES = ((1e-4, 3), (2e-4, 3)), (1e-4, 3e-4)
SEEDS, EPOCHS = 3, 3
LAYERS, TRAINED = 3, 0.45
SPEED, NEAR, TRIES = 2.0, 0.03, 6
"""How fast `policy` should be, how near to that is near enough, and how often its thresholds are fitted for it."""
BATCHES = (1, 16)
ROWS = ("truncated", "theseus", "policy")
LIMITS = {"train": 3000, "validation": 300}
SCORED = 1500
METRICS = ("answer_f1", "exact_match")


def method(row: str, rate: float) -> Method:
    """What a row trains."""
    training = Training(epochs=EPOCHS, learning_rate=rate, warmup=0.1)
    if row == "truncated":
        return Finetune(layers=LAYERS, training=training)
    if row == "theseus":
        return Theseus(successor_layers=LAYERS, replacing=training)
    policy = Training(epochs=1, learning_rate=1e-3, warmup=0.1)
    joint = training.model_copy(update={"epochs": EPOCHS - 1})
    return TrBert(macs=TRAINED, rollouts=4, guide_rate=0.2, hard_weight=1, policy=policy, joint=joint)


class Protocol:
    """The grid, and the questions that its models are scored on."""

    def __init__(self, limit: int | None, runs: Path, out: Path) -> None:
        limits = dict.fromkeys(LIMITS, limit) if limit else LIMITS
        self.fields: dict[str, Any] = {"task": SPEC, "max_length": LENGTH, "limit": limits, "precision": PRECISION}
        self.scored_limit = {"train": limits["train"], "validation": limit or SCORED}
        self.grid = Grid(out / "reading_quality", runs)

    @property
    def times(self) -> Path:
        """Where measured speeds lie."""
        return self.grid.files / "times.json"

    @property
    def start(self) -> Path:
        """The predecessor's model."""
        return self.grid.start(NAME)

    def predecessor(self) -> Cell:
        """The best of the fine-tuned MiniLMs; its model lies in `start`."""
        found = self.grid.predecessor(NAME, TRIED, **self.fields)
        self.grid.make_start(NAME, found, TRIED, **self.fields)
        return self.scored(found, self.start, 1.0)

    def cells(self, row: str, budget: float) -> Iterator[Cell]:
        """A row's cells of the chosen learning rate, with their scores.

        Args:
            budget: share of the multiply-adds that `policy` is fitted to.
        """

        def train(rate: float, seed: int) -> Cell:
            key = Key(NAME, row, rate, EPOCHS, seed)
            if not self.grid.has(key):
                self.model_of(key)
            return self.grid.read(key)

        share = budget if row == "policy" else 1.0
        for cell in over_seeds(train, RATES, SEEDS):
            known = any(point["budget"] == share for point in cell.get("points", ()))
            yield cell if known else self.scored(cell, self.model_of(Key.of(cell)), share)

    def model_of(self, key: Key) -> Path:
        """The model of a cell, which is trained where it is not there."""
        run = self.grid.kept(key, str(self.start), method(key.row, key.learning_rate), **self.fields)
        return next(run.glob("00-*/model"))

    def first_model(self, row: str) -> Path:
        """That of a row's first seed."""
        rated = [Key(NAME, row, rate, EPOCHS, 1) for rate in RATES]
        return self.model_of(max(rated, key=lambda key: float(self.grid.read(key)["score"])))

    def task(self, model: Path) -> Task:
        """The questions that are scored."""
        return load_task(TaskSpec(**SPEC), load_tokenizer(str(model)), LENGTH, self.scored_limit)

    def scored(self, cell: Cell, model: Path, budget: float) -> Cell:
        """The cell with its metrics at a budget among its points, which its file keeps."""
        points = cell.setdefault("points", [])
        if not any(point["budget"] == budget for point in points):
            loaded, task, _ = load_for_task(str(model), self.task(model))
            if budget < 1:
                fit(loaded.eval(), task, fitting_rows(task), budget)
            found = task.score(logits_of(loaded, task, task.encoded("validation")), "validation")
            points.append({"budget": budget, **{metric: found[metric] for metric in METRICS}})
            self.grid.write(cell)
            print(Key.of(cell).name, points[-1], flush=True)
        return cell


def fitting_rows(task: Task) -> Any:
    """Windows by which thresholds are fitted; none of them is scored."""
    return spread(task.encoded("train"), 500)


def without_padding(model: Any) -> Any:
    """The model in packed execution, with all of its tokens."""
    return compact(model, token_reduction={"layers": []}).eval()


def timed(protocol: Protocol, seconds: float) -> dict[str, Any]:
    """Speed-ups of the models of seed 1, and the share of the multiply-adds at which `policy` is twice as fast."""
    start, task, _ = load_for_task(str(protocol.start), protocol.task(protocol.start))
    batches = latency_batches(task, BATCHES, start.device)
    packed = without_padding(start)

    def speeds(row: str, model: Any, sizes: Sequence[int]) -> list[dict[str, Any]]:
        chosen = {size: batches[size] for size in batches if size in sizes}
        both = [latency.latency_rows(one, model, chosen, seconds, task.forward) for one in (packed, start.eval())]
        return [
            {"row": row, "batch": fair["batch"], "speedup": fair["speedup"], "low": fair["speedup_low"]}
            | {"high": fair["speedup_high"], "against_padded": padded["speedup"]}
            for fair, padded in zip(*both, strict=True)
        ]

    rows = []
    for row in ("truncated", "theseus"):
        model = load_for_task(str(protocol.first_model(row)), task)[0]
        rows += speeds(row, without_padding(model), [*batches])
    model = load_for_task(str(protocol.first_model("policy")), task)[0].eval()
    budget, large = TRAINED, max(batches)
    for _ in range(TRIES):
        fit(model, task, fitting_rows(task), budget)
        speed = speeds("policy", model, [large])[0]["speedup"]
        print(f"{100 * budget:.1f} % of the multiply-adds: {number(speed)} times as fast", flush=True)
        if abs(speed / SPEED - 1) <= NEAR:
            break
        budget = min(1.0, budget * speed / SPEED)
    return {"budget": budget, "rows": [*rows, *speeds("policy", model, [*batches])]}


def lines(predecessor: Cell, cells: Sequence[Cell], times: dict[str, Any]) -> list[dict[str, Any]]:
    """A row of the table for each model."""
    found = []
    for row in ("predecessor", *ROWS):
        own = [predecessor] if row == "predecessor" else [cell for cell in cells if cell["row"] == row]
        budget = times["budget"] if row == "policy" else 1.0
        points = [point for cell in own for point in cell["points"] if point["budget"] == budget]
        line: dict[str, Any] = {"row": row, "seeds": len(own)}
        for metric in METRICS:
            values = [100 * point[metric] for point in points]
            line |= {
                metric: f"{statistics.median(values):.1f}",
                f"{metric}, range": f"{min(values):.1f} to {max(values):.1f}",
            }
        fast = {one["batch"]: one for one in times["rows"] if one["row"] == row}
        for batch in BATCHES:
            line[f"speed-up at batch {batch}"] = f"{fast[batch]['speedup']:.2f}" if batch in fast else "-"
            line[f"against padded at batch {batch}"] = f"{fast[batch]['against_padded']:.2f}" if batch in fast else "-"
        found.append(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help="which rows")
    parser.add_argument("--time", action="store_true", help="time the models of seed 1")
    parser.add_argument("--seconds", type=float, default=20, help="of timing a model at one batch size")
    options = grid_arguments(parser, RUNS, "the folder squad_v2")
    quieten()
    protocol, rows = Protocol(options.limit, options.runs, options.out), options.rows.split(",")
    predecessor = protocol.predecessor()
    cells = [cell for row in rows for cell in protocol.cells(row, TRAINED)]
    if options.time:
        write_json(protocol.times, timed(protocol, options.seconds))
    times: dict[str, Any] = {"budget": TRAINED, "rows": []}
    if protocol.times.is_file():
        times = json.loads(protocol.times.read_text(encoding="utf-8"))
        cells = [cell for row in rows for cell in protocol.cells(row, times["budget"])]
    if rows == [*ROWS]:
        write_result(
            "reading_quality", "python benchmarks/reading_quality.py", lines(predecessor, cells, times), {}, options.out
        )


if __name__ == "__main__":
    main()
