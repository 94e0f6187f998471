"""The search of a super-network against the published one: the same score for how many example forwards and seconds.

One super-network of MiniLM on SST-2 (6,000 rows, of which a tenth is held out for both searches) is trained once, then
searched for half of the encoder's parameters by each side, several times with other seeds. `published` is
original_search.py: 1,000 evaluations on all rows held out. `bertpress` is what `bertpress search` does. Both answers
are scored on the development split, which neither saw; both sides evaluate with the same code, batches and threads.
`whole front` is what `bertpress yoco` searches where no budget is given.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import original_search
from results import HERE, RESULTS, Interval, data_root, write_result

from bertpress import Finetune, Runtime, Training, Yoco, compress
from bertpress.engine.evaluation import logits_of
from bertpress.engine.loading import load_tokenizer
from bertpress.engine.run import StepRun
from bertpress.methods.yoco.answering import best, priced, searched
from bertpress.methods.yoco.elastic import choosing
from bertpress.methods.yoco.evaluating import Evaluator
from bertpress.methods.yoco.searching import Search
from bertpress.methods.yoco.space import SubNetwork
from bertpress.methods.yoco.steps import Trained, opened
from bertpress.recipe import Recipe, TaskSpec
from bertpress.runs.pipeline import quieten
from bertpress.tasks import load_task
from bertpress.tasks.task import Task

TASK, ROWS, RUNS = "glue/sst2", {"train": 6000}, HERE.parent / "runs" / "search_speed"
TEACHER = Finetune(training=Training(epochs=2, learning_rate=1e-4, warmup=0.1))
SUPERNET = Training(epochs=3, learning_rate=1e-4, warmup=0.1, weight_decay=0.01)
BUDGET = "50%"


def trained_run(out: Path) -> Path:
    """A run with a trained super-network, made once."""
    teacher = compress("packaged-minilm", TASK, [TEACHER], out / "teacher", limit=ROWS).folder
    compress(
        str(teacher), TASK, [Yoco(supernet=SUPERNET, search={"rounds": 0})], out / "yoco", limit=ROWS, baseline=False
    )
    return out / "yoco"


class Both:
    """The super-network, and what both sides need of it."""

    def __init__(self, out: Path) -> None:
        self.folder = trained_run(out)
        recipe = Recipe.model_validate(
            {"model": str(out / "teacher"), "task": TASK, "steps": [self.method()], "limit": ROWS}
        )
        spec = TaskSpec(name=TASK)
        self.task: Task = load_task(spec, load_tokenizer(str(out / "teacher")), 128, ROWS)
        self.run = StepRun(out, recipe, Runtime(device="cpu"), lambda: None)  # type: ignore[arg-type, return-value]
        self.trained: Trained = opened(self.method(), self.task, self.run)

    def method(self, **fields: Any) -> Yoco:
        """A search of the super-network."""
        return Yoco(super_network=str(self.folder), **fields)

    def score(self, network: SubNetwork) -> float:
        """The primary metric on the development split."""
        with choosing(self.trained.model, network):
            logits = logits_of(self.trained.model, self.task, self.task.encoded("validation"))
        return self.task.score(logits, "validation")[self.task.primary]

    def ours(self, seed: int, **fields: Any) -> tuple[Search, float]:
        """A search by bertpress from nothing, and its seconds."""
        rounds = {} if fields else {"search": {"rounds": 3}}
        method = self.method(**({"search": {"rounds": 6}} | fields if fields else rounds))
        prices = priced(method, self.trained, self.task, self.run)
        with tempfile.TemporaryDirectory() as folder:
            object.__setattr__(self.run, "recipe", self.run.recipe.model_copy(update={"seed": seed}))
            began = time.perf_counter()
            found = searched(method, self.trained, prices, Path(folder), self.run)
            seconds = time.perf_counter() - began
        return found, seconds

    def published(self, seed: int, iterations: int) -> tuple[original_search.Outcome, float, int]:
        """The published search, its seconds and its example forwards."""
        trained = self.trained
        rows = Evaluator(trained.model.eval(), trained.task, trained.split, (), None, 0)
        method = self.method(parameters=BUDGET)
        (limit,) = priced(method, trained, self.task, self.run).limits
        labels = np.asarray(trained.task.encoded(trained.split)["labels"])

        def accuracy(network: SubNetwork) -> float:
            with choosing(trained.model, network):
                logits = logits_of(trained.model, trained.task, trained.task.encoded(trained.split))
            return float((logits.argmax(1) == labels).mean())

        began = time.perf_counter()
        theta = trained.about.distribution.theta
        found = original_search.search(trained.space, limit.cost, limit.most + 1, theta, accuracy, seed, iterations)
        return found, time.perf_counter() - began, iterations * rows.ends[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="searches of each side")
    parser.add_argument("--iterations", type=int, default=original_search.ITERATIONS, help="of the published search")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the super-network")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result's file")
    options = parser.parse_args()
    data_root("the folder sst2 (GLUE)")
    quieten()
    both = Both(options.runs)
    rows, ratios = [], []
    for seed in range(1, options.seeds + 1):
        search, seconds = both.ours(seed, parameters=BUDGET)
        limits = priced(both.method(parameters=BUDGET), both.trained, both.task, both.run).limits
        own = {
            "forwards": search.forwards,
            "seconds": seconds,
            "score": both.score(best(search, limits).network),
        }
        found, seconds, forwards = both.published(seed, options.iterations)
        other = {"forwards": forwards, "seconds": seconds, "score": both.score(found.network)}
        front, seconds = both.ours(seed)
        whole = {"forwards": front.forwards, "seconds": seconds, "score": "-"}
        sides = {"bertpress": own, "published": other, "bertpress, whole front": whole}
        rows += [{"side": side, "seed": seed, **values} for side, values in sides.items()]
        ratios.append((own, other, whole))
        print(rows[-3:], flush=True)
    claims = {
        "search-forwards": _spread([other["forwards"] / own["forwards"] for own, other, _ in ratios]),
        "search-seconds": _spread([other["seconds"] / own["seconds"] for own, other, _ in ratios]),
        "search-score": _spread([own["score"] - other["score"] for own, other, _ in ratios], median=True),
        "search-front": _spread([whole["forwards"] / own["forwards"] for own, _, whole in ratios]),
    }
    write_result("search_speed", "python benchmarks/search_speed.py", rows, claims, options.out)


def _spread(values: list[float], median: bool = False) -> Interval:
    middle = statistics.median(values)
    return (middle, middle, middle) if median else (middle, min(values), max(values))


if __name__ == "__main__":
    main()
