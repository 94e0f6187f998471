"""Sub-networks of one super-network at three budgets, against chance, one width, spread layers, truncation and Theseus.

MiniLM on MRPC and on 10,000 rows of SST-2. The predecessor is the best on dev of `TRIED`. A super-network is trained
once per seed (a sandwich of four networks per step) and searched for each of `BUDGETS`, shares of the encoder's
parameters, on training rows that were held out; the score is that on dev. From the same super-network come `random`,
the median of five random networks that cost nearly the budget; `uniform`, the dearest network within it whose layers
are alike; and `spread`, as many whole layers as it has room for, evenly spread. `truncated` trains the bottom layers of
the predecessor and `theseus` replaces them (linear curriculum), each at the depth that the budget has room for and for
as many optimizer steps. Learning rates are the best of `RATES` on dev on seed 1, further seeds run with them.

A cell is one training in bfloat16 where the processor has it; its file in results/yoco_quality/ is written when it
ends, and a cell that has its file is not run again. `yoco_quality.json` sums up once all cells are there. Needs
BERTPRESS_DATA.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cells import PRECISION, Cell, Grid, Key, grid_arguments, in_points, over_seeds
from results import HERE, RESULTS, Interval, write_result

from bertpress import Finetune, Theseus, Training, Yoco, search
from bertpress.engine.evaluation import logits_of
from bertpress.engine.loading import load_for_task, load_tokenizer
from bertpress.files import write_json
from bertpress.methods.method import Method
from bertpress.methods.yoco.costs import parameter_costs
from bertpress.methods.yoco.elastic import choosing, elastic
from bertpress.methods.yoco.options import Options, resolve
from bertpress.methods.yoco.sampling import Draws, Window
from bertpress.methods.yoco.space import SubNetwork
from bertpress.methods.yoco.super_network import About, find_super_network
from bertpress.recipe import TaskSpec
from bertpress.runs.pipeline import quieten
from bertpress.tasks import load_task

CELLS, RUNS = RESULTS / "yoco_quality", HERE.parent / "runs" / "yoco_quality"
TRIED = ((1e-4, 3), (1e-4, 5))
RATES = (1e-4, 3e-4)
EPOCHS, SEEDS = 5, 3
BUDGETS = {0.75: 4, 0.5: 3, 0.33: 2}
"""Share of the encoder's parameters to the layers of the six that it has room for; a third, rounded up, for two."""
TASKS: dict[str, dict[str, int]] = {"mrpc": {}, "sst2": {"train": 10_000}}
DEAREST = {
    "uniform": Options(uniform=True),
    "spread": Options(uniform=True, depth=(1, 2, 3, 4, 5, 6), heads=(1.0,), widths=(1.0,)),
}
"""Rows that are the dearest network within a budget to which networks: those whose layers are alike, or whole layers,
evenly spread over the model."""
FOUND = ("yoco", "random", *DEAREST)
"""Rows that come from a super-network."""
RANDOM = 5
ROOM = 0.005
"""Two of six layers are 33.3 % and so just above a third as written: budgets have this much more room."""


def training(rate: float, steps: int | None = None) -> Training:
    """What every row is trained like."""
    return Training(epochs=EPOCHS, max_steps=steps, learning_rate=rate, warmup=0.1, weight_decay=0.01)


class Protocol:
    """The grid of one task."""

    def __init__(self, task: str, limit: int | None, runs: Path, out: Path) -> None:
        rows = dict.fromkeys(("train", "validation"), limit) if limit else TASKS[task]
        self.task: str = task
        self.fields: dict[str, Any] = {"limit": rows, "precision": PRECISION}
        self.grid = Grid(out / "yoco_quality", runs)

    def predecessor(self) -> Cell:
        """The best of the fine-tuned MiniLMs; its model lies in `start`."""
        found = self.grid.predecessor(self.task, TRIED, **self.fields)
        self.grid.make_start(self.task, found, TRIED, **self.fields)
        return found

    @property
    def start(self) -> str:
        """The predecessor's model."""
        return str(self.grid.start(self.task))

    def steps(self) -> int:
        """Optimizer steps of every row, those of the super-network."""
        task = self.loaded()
        return training(1e-4).steps(Yoco().rows(task))

    def loaded(self) -> Any:
        """The task's rows."""
        return load_task(TaskSpec(name=f"glue/{self.task}"), load_tokenizer(self.start), 128, self.fields["limit"])

    def super_networks(self) -> Iterator[Cell]:
        """A super-network for each seed, with the scores of what comes from it at each budget."""

        def train(rate: float, seed: int) -> Cell:
            key = Key(self.task, "super-network", rate, EPOCHS, seed)
            if self.grid.has(key) and "points" in (cell := self.grid.cell(key, self.start, Yoco())):
                return cell
            run = self.grid.kept(key, self.start, Yoco(supernet=training(rate)), **self.fields)
            cell = self.grid.cell(key, self.start, Yoco())
            cell["points"] = [self.point(run, budget) for budget in BUDGETS]
            cell["score"] = statistics.mean(point["yoco"] for point in cell["points"])
            write_json(self.grid.files / f"{key.name}.json", cell)
            print(key.name, cell["points"], flush=True)
            shutil.rmtree(run)
            return cell

        return over_seeds(train, RATES, SEEDS)

    def point(self, run: Path, budget: float) -> dict[str, Any]:
        """Scores on dev at one budget."""
        share = f"{100 * (budget + ROOM):g}%"
        folder = run.with_name(f"{run.name} {budget}")
        found = search(run, folder, parameters=share, search={"rounds": 4})
        row = found.report["rows"][-1]
        shutil.rmtree(folder)
        others = self.others(run, budget + ROOM)
        return {"budget": budget, "yoco": row["score"], "parameters": row["encoder_parameters"], **others}

    def others(self, run: Path, share: float) -> dict[str, Any]:
        """Random networks and the uniform one of the same super-network."""
        folder = find_super_network(str(run))
        loaded, task, _ = load_for_task(str(folder), self.loaded())
        model, space = elastic(loaded.eval()), About.read(folder).space
        cost = parameter_costs(space, model.config, task.head, "encoder")
        most = share * cost.of(space, space.choice_of(space.largest))
        draws = Draws(space, [(cost, Window(0.9 * most, most))])
        drawn = [space.sub_network(choice) for choice in draws.many(RANDOM, np.random.default_rng(1))]

        def score(network: SubNetwork) -> float:
            with choosing(model, network):
                logits = logits_of(model, task, task.encoded("validation"))
            return float(task.score(logits, "validation")[task.primary])

        scores = [score(network) for network in drawn]
        found = {name: score(dearest(options, model.config, task.head, most)) for name, options in DEAREST.items()}
        return {"random": statistics.median(scores), "random_all": scores, **found}

    def trained(self, row: str, layers: int) -> Iterator[Cell]:
        """The cells of truncation or Theseus at one depth."""
        steps = self.steps()

        def train(rate: float, seed: int) -> Cell:
            key = Key(self.task, f"{row} {layers}", rate, EPOCHS, seed)
            settings = training(rate, steps)
            step: Method = Finetune(layers=layers, training=settings)
            if row == "theseus":
                step = Theseus(successor_layers=layers, replacing=settings)
            return self.grid.cell(key, self.start, step, **self.fields)

        return over_seeds(train, RATES, SEEDS)


def dearest(options: Options, config: Any, head: str | None, most: float) -> SubNetwork:
    """The network of most parameters, at most so many, among those whose layers are alike."""
    space = resolve(options, config)
    costs = parameter_costs(space, config, head, "encoder")
    choices = [(depth, option) for depth in range(len(space.layer_sets)) for option in range(len(space.options[0]))]
    fitting = [choice for choice in choices if costs.of(space, choice) <= most]
    return space.sub_network(max(fitting, key=lambda choice: (costs.of(space, choice), choice)))


def table(task: str, start: Cell, points: Sequence[Cell], cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A line for each budget and row: median and range over seeds."""
    lines = []
    for budget, layers in BUDGETS.items():
        own = {
            row: [point[row] for cell in points for point in cell["points"] if point["budget"] == budget]
            for row in FOUND
        }
        for row in ("truncated", "theseus"):
            own[row] = [cell["score"] for cell in cells if cell["row"] == f"{row} {layers}"]
        truncated = statistics.median(own["truncated"])
        for row, scores in own.items():
            median = statistics.median(scores)
            lost = start["score"] - truncated
            lines.append(
                {"task": task, "budget": f"{100 * budget:.0f} %", "row": row, "seeds": len(scores)}
                | {**in_points(scores), "kept %": f"{100 * median / start['score']:.1f}"}
                | {"recovered %": f"{100 * (median - truncated) / lost:.0f}" if lost > 0 else "-"}
            )
    return lines


def claims(lines: Sequence[dict[str, Any]]) -> dict[str, Interval]:
    """The lesser over tasks and budgets; medians over seeds have no interval of their own."""

    def value(task: str, budget: str, row: str, column: str = "median") -> float:
        (line,) = [one for one in lines if (one["task"], one["budget"], one["row"]) == (task, budget, row)]
        return float(line[column]) if line[column] != "-" else 100.0

    pairs = [(task, budget) for task in TASKS for budget in ("50 %", "33 %")]
    others = ("random", *DEAREST, "truncated", "theseus")
    best = min(value(*pair, "yoco") - max(value(*pair, other) for other in others) for pair in pairs)
    recovered = min(value(*pair, "yoco", "recovered %") for pair in pairs)
    kept = min(value(task, "50 %", "yoco", "kept %") for task in TASKS)
    return {
        "yoco-best": (best, best, best),
        "yoco-recovered": (recovered, recovered, recovered),
        "yoco-kept": (kept, kept, kept),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default=",".join(TASKS), help="only these; the summary needs all")
    parser.add_argument("--rows", default="super-network,truncated,theseus", help="only these")
    options = grid_arguments(parser, RUNS, "mrpc and sst2 (GLUE)")
    quieten()
    lines: list[dict[str, Any]] = []
    wanted, tasks = options.rows.split(","), options.tasks.split(",")
    for task in tasks:
        protocol = Protocol(task, options.limit, options.runs / task, options.out)
        start = protocol.predecessor()
        points = list(protocol.super_networks()) if "super-network" in wanted else []
        cells = [
            cell
            for row in ("truncated", "theseus")
            if row in wanted
            for layers in BUDGETS.values()
            for cell in protocol.trained(row, layers)
        ]
        if len(wanted) == 3:
            lines += table(task, start, points, cells)
    if len(wanted) == 3 and set(tasks) == set(TASKS):
        write_result("yoco_quality", "python benchmarks/yoco_quality.py", lines, claims(lines), options.out)


if __name__ == "__main__":
    main()
