"""Accuracy of token reduction on IMDB at three budgets, for five selectors, and on Theseus' half-depth result.

MiniLM on IMDB: 2,000 training rows, 256 tokens, scored on the 4,000 test rows. The predecessor is the best on dev of
`TRIED`. Every selector is trained once per seed for a budget of half the multiply-adds, with 4 rollouts where it draws;
its thresholds or shares are then fitted on dev texts, without labels, to each of `BUDGETS`. `theseus` keeps 3 layers of
the predecessor, and `theseus, policy` skips tokens in it. The learning rate of the joint phase is the best of `RATES`
on dev on seed 1, and further seeds run with it.

A cell is one training in bfloat16 where the processor has it; its file in results/trbert_quality/ is written when it
ends, and a cell that has its file is not run again. `--time`, alone on a quiet machine, times the models of seed 1 at
every budget, each in turn with the predecessor; `trbert_quality.json` sums up. Needs BERTPRESS_DATA.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from cells import PRECISION, Cell, Grid, Key, grid_arguments, in_points, intervals, over_seeds
from results import HERE, RESULTS, Interval, number, write_result

from bertpress import Theseus, Training, TrBert
from bertpress.budget import fit, settings_of
from bertpress.costs import latency
from bertpress.costs.row_costs import RowCosts
from bertpress.encoders.compact import compact
from bertpress.engine.evaluation import collect_logits
from bertpress.engine.loading import load_for_task, load_tokenizer
from bertpress.files import write_json
from bertpress.measurements.measuring import latency_batches
from bertpress.methods.method import Method
from bertpress.models.walks import Trace
from bertpress.recipe import TaskSpec
from bertpress.runs.pipeline import quieten
from bertpress.tasks import load_task
from bertpress.tasks.task import Task

CELLS, RUNS = RESULTS / "trbert_quality", HERE.parent / "runs" / "trbert_quality"
TRIED = ((5e-5, 3), (1e-4, 3))
RATES = (5e-5, 1e-4)
BUDGETS = (0.65, 0.5, 0.35)
SEEDS, EPOCHS = 3, 3
SELECTORS = ("policy", "gumbel", "attention", "random", "first")
COMPOSED = ("theseus", "theseus, policy")
LIMITS = {"train": 2000, "validation": 1000}
FIELDS: dict[str, Any] = {"task": "imdb", "max_length": 256, "limit": LIMITS, "precision": PRECISION}


def method(row: str, rate: float) -> Method:
    """What a row trains."""
    joint = Training(epochs=EPOCHS, learning_rate=rate, warmup=0.1)
    if row == "theseus":
        return Theseus(replacing=joint)
    policy = Training(epochs=2, learning_rate=1e-3, warmup=0.1)
    selector: Any = "policy" if row == "theseus, policy" else row
    return TrBert(macs=0.5, selector=selector, rollouts=4, policy=policy, joint=joint)


class Protocol:
    """The grid, and the texts that its models are scored on."""

    def __init__(self, limit: int | None, runs: Path, out: Path) -> None:
        self.fields = {**FIELDS, "limit": dict.fromkeys((*LIMITS, "test"), limit) if limit else LIMITS}
        self.grid, self.out = Grid(out / "trbert_quality", runs), out

    def predecessor(self) -> Cell:
        """The best of the fine-tuned MiniLMs; its model lies in `start`."""
        found = self.grid.predecessor("imdb", TRIED, **self.fields)
        self.grid.make_start("imdb", found, TRIED, **self.fields)
        return self.scored(found, self.start)

    @property
    def start(self) -> Path:
        """The predecessor's model."""
        return self.grid.start("imdb")

    def cells(self, row: str) -> Iterator[Cell]:
        """A row's cells of the chosen learning rate, each with its scores at every budget."""

        def train(rate: float, seed: int) -> Cell:
            key = Key("imdb", row, rate, EPOCHS, seed)
            start = self.start if row != "theseus, policy" else self.model(self.best("theseus", seed))
            run = self.grid.kept(key, str(start), method(row, rate), **self.fields)
            cell = self.scored(self.grid.read(key), next(run.glob("00-*/model")))
            if seed > 1 and row != "theseus":
                shutil.rmtree(run)
            return cell

        return over_seeds(train, RATES, SEEDS)

    def best(self, row: str, seed: int) -> Key:
        """The cell of a row's chosen learning rate."""
        rated = [Key("imdb", row, rate, EPOCHS, 1) for rate in RATES]
        rate = max(rated, key=lambda key: float(self.grid.read(key)["score"])).learning_rate
        return Key("imdb", row, rate, EPOCHS, seed)

    def model(self, key: Key) -> Path:
        """Where a kept cell's model lies."""
        return next((self.grid.runs / key.name).glob("00-*/model"))

    def task(self) -> Task:
        """IMDB with its test split."""
        spec = TaskSpec(name="imdb")
        return load_task(spec, load_tokenizer(str(self.start)), 256, self.fields["limit"])

    def scored(self, cell: Cell, model: Path) -> Cell:
        """The cell with accuracy on the test split at each budget, which its file keeps."""
        if "points" in cell:
            return cell
        loaded, task, _ = load_for_task(str(model), self.task())
        cell["points"] = [point(loaded.eval(), task, budget) for budget in budgets(loaded)]
        self.grid.write(cell)
        print(
            Key.of(cell).name,
            *(f"{one['macs']:.2f}: {100 * one['accuracy']:.1f}" for one in cell["points"]),
            flush=True,
        )
        return cell


def budgets(model: Any) -> Sequence[float]:
    """Those that a model is fitted to; a stock one has no choice."""
    return BUDGETS if getattr(model.config, "token_reduction", None) else (1.0,)


def point(model: Any, task: Task, budget: float) -> dict[str, Any]:
    """Accuracy on the test split, and what was kept there, after fitting on dev texts."""
    costs, traces = None, []
    if budget < 1:
        costs = RowCosts.of(model.config)
        fit(model, task, task.encoded("validation"), budget)

    def answer(batch: Any) -> torch.Tensor:
        traces.append(Trace())
        asked = {"trace": traces[-1]} if costs else {}
        logits: torch.Tensor = task.forward(model, batch, **asked).logits
        return logits

    logits = collect_logits(answer, task, task.encoded("test"), model.device, batch_size=16)
    found: dict[str, Any] = {"budget": budget, "accuracy": task.score(logits, "test")["accuracy"], "macs": 1.0}
    if costs:
        found["macs"] = float(torch.cat([costs.share_of(trace) for trace in traces]).mean())
        kept, tokens = (torch.cat(parts).sum(0) for parts in _kept(traces))
        found["kept"] = (kept / tokens).tolist()
        found["thresholds"], found["shares"] = settings_of(model).thresholds, settings_of(model).shares
    return found


def _kept(traces: list[Trace]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    valid = [trace.valid.sum(1, keepdim=True) for trace in traces if trace.valid is not None]
    return [trace.kept() for trace in traces], valid


def timed(protocol: Protocol) -> list[dict[str, Any]]:
    """Speed-up over the padded predecessor at batch 1 and 16, at each budget, of the models of seed 1."""
    start, task, _ = load_for_task(str(protocol.start), protocol.task())
    plain = compact(start, token_reduction={"layers": []}).eval()
    batches = latency_batches(task, (1, 16), start.device)
    rows = []
    for row in (*SELECTORS, *COMPOSED):
        model = load_for_task(str(protocol.model(protocol.best(row, 1))), task)[0].eval()
        for budget in budgets(model):
            if budget < 1:
                fit(model, task, task.encoded("validation"), budget)
            padded = latency.latency_rows(start.eval(), model, batches, seconds=20, forward=task.forward)
            packed = latency.latency_rows(plain, model, batches, seconds=20, forward=task.forward)
            rows += [
                {"row": row, "budget": budget, "batch": one["batch"], "against_padded": one["speedup"]}
                | {"low": one["speedup_low"], "high": one["speedup_high"], "against_packed": other["speedup"]}
                for one, other in zip(padded, packed, strict=True)
            ]
            print("  ".join(f"{name}={number(value)}" for name, value in rows[-1].items()), flush=True)
    return rows


def lines(predecessor: Cell, cells: Sequence[Cell], times: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row of the table for each selector and budget."""
    whole = predecessor["points"][0]["accuracy"]
    found = [_line("predecessor", 1.0, [predecessor], whole, times)]
    for row in (*SELECTORS, *COMPOSED):
        own = [cell for cell in cells if cell["row"] == row]
        for budget in [one["budget"] for one in own[0]["points"]]:
            found.append(_line(row, budget, own, whole, times))
    return found


def _line(row: str, budget: float, own: Sequence[Cell], whole: float, times: Any) -> dict[str, Any]:
    points = [one for cell in own for one in cell["points"] if one["budget"] == budget]
    scores = [one["accuracy"] for one in points]
    fast = {one["batch"]: one for one in times if (one["row"], one["budget"]) == (row, budget)}
    return {
        "row": row,
        "MACs kept %": f"{100 * statistics.median(one['macs'] for one in points):.1f}",
        "seeds": len(points),
        **in_points(scores),
        "change": f"{100 * (statistics.median(scores) - whole):+.1f}",
    } | {f"speed-up at batch {batch}": f"{fast[batch]['against_padded']:.2f}" if fast else "-" for batch in (1, 16)}


def accuracy(cells: Sequence[Cell], row: str, budget: float, seed: int | None) -> float:
    """Of one seed, or the median."""
    own = [cell for cell in cells if cell["row"] == row and seed in (None, cell["seed"])]
    return statistics.median(one["accuracy"] for cell in own for one in cell["points"] if one["budget"] == budget)


def claims(predecessor: Cell, cells: Sequence[Cell], times: Sequence[dict[str, Any]]) -> dict[str, Interval]:
    """The least lead over random and first at any budget; what twofold speed costs, between the budgets around it."""
    whole = predecessor["points"][0]["accuracy"]

    def learned(budget: float, seed: int | None) -> float:
        return max(accuracy(cells, row, budget, seed) for row in ("policy", "gumbel"))

    def lead(seed: int | None) -> float:
        blind = {budget: max(accuracy(cells, row, budget, seed) for row in ("random", "first")) for budget in BUDGETS}
        return min(learned(budget, seed) - blind[budget] for budget in BUDGETS)

    def cost(seed: int | None) -> float:
        speed = {one["budget"]: one["against_padded"] for one in times if (one["row"], one["batch"]) == ("policy", 16)}
        fast = [budget for budget in BUDGETS if speed.get(budget, 0.0) >= 2]
        return whole - learned(max(fast), seed) if fast else float("nan")

    return intervals(lambda seed: {"trbert-beats-blind": lead(seed), "trbert-cost-at-twofold": cost(seed)}, SEEDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join((*SELECTORS, "theseus", "theseus+policy")), help="which rows")
    parser.add_argument("--time", action="store_true", help="time the models of seed 1")
    options = grid_arguments(parser, RUNS, "the folder imdb")
    quieten()
    protocol = Protocol(options.limit, options.runs, options.out)
    predecessor = protocol.predecessor()
    rows = [row.replace("+", ", ") for row in options.rows.split(",")]
    cells = [cell for row in rows for cell in protocol.cells(row)]
    file = protocol.grid.files / "times.json"
    if options.time:
        write_json(file, timed(protocol))
    times = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    if len(rows) == len(SELECTORS) + len(COMPOSED):
        measured = claims(predecessor, cells, times)
        write_result(
            "trbert_quality",
            "python benchmarks/trbert_quality.py",
            lines(predecessor, cells, times),
            measured,
            options.out,
        )


if __name__ == "__main__":
    main()
