"""What a sentence encoder of half the depth keeps: MiniLM on STS-B, Spearman correlation of its similarities.

The predecessor is the packaged MiniLM trained on the scores of STS-B as in `TRIED`. Every row keeps 3 of its 6 layers
and trains as many steps in all. `truncated` and `theseus` learn the scores; `tinybert` learns states, attention and
vectors of the predecessor, and the scores with a tenth of their weight. Learning rates are the best of `RATES` on seed
1, and further seeds run with them; checkpoints, rates and scores are those of the development split, as in the other
grids.

A cell is one training; its file in results/embedding_quality/ is written when it ends, and a cell that has its file is
not run again. `embedding_quality.json` sums up. Needs BERTPRESS_DATA and sentence-transformers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from cells import Cell, Grid, Key, grid_arguments, intervals, over_seeds, scores, summary
from results import HERE, Interval, write_result

from bertpress import Finetune, Theseus, TinyBert, Training
from bertpress.methods.method import Method
from bertpress.runs.pipeline import quieten

RUNS = HERE.parent / "runs" / "embedding_quality"
NAME, LENGTH, LAYERS = "stsb", 128, 3
SPEC = {"name": "glue/stsb", "kind": "embedding"}
TRIED, RATES = ((5e-5, 4),), (1e-4, 3e-4)
SEEDS, EPOCHS, FIRST_STEP = 3, 4, 1
"""`FIRST_STEP` of the epochs are TinyBERT's step 1."""
ROWS = ("truncated", "theseus", "tinybert")


def method(row: str, rate: float) -> Method:
    """What a row trains."""
    training = Training(epochs=EPOCHS, learning_rate=rate, warmup=0.1)
    if row == "truncated":
        return Finetune(layers=LAYERS, training=training)
    if row == "theseus":
        return Theseus(successor_layers=LAYERS, replacing=training)
    first = training.model_copy(update={"epochs": FIRST_STEP, "decay": "constant"})
    second = training.model_copy(update={"epochs": EPOCHS - FIRST_STEP})
    return TinyBert(layers=LAYERS, intermediate=first, prediction=second, hard_weight=0.1, teacher_check=False)


def cells_of(grid: Grid, row: str, fields: dict[str, Any]) -> Iterator[Cell]:
    """A row's cells of the chosen learning rate; the predecessor must be there."""

    def train(rate: float, seed: int) -> Cell:
        return grid.cell(Key(NAME, row, rate, EPOCHS, seed), str(grid.start(NAME)), method(row, rate), **fields)

    return over_seeds(train, RATES, SEEDS)


def claims(predecessor: Cell, cells: Sequence[Cell]) -> dict[str, Interval]:
    """What the better of Theseus and TinyBERT keeps: median over seeds, and their range."""

    def values(seed: int | None) -> dict[str, float]:
        best = max(float(scores(cells, [NAME], row, seed)[0]) for row in ("theseus", "tinybert"))
        return {"embedding-kept": best / predecessor["score"]}

    return intervals(values, SEEDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options = grid_arguments(parser, RUNS, "the folder stsb")
    quieten()
    grid = Grid(options.out / "embedding_quality", options.runs)
    limit = dict.fromkeys(("train", "validation"), options.limit) if options.limit else {}
    fields: dict[str, Any] = {"task": SPEC, "max_length": LENGTH, "limit": limit}
    predecessor = grid.predecessor(NAME, TRIED, **fields)
    grid.make_start(NAME, predecessor, TRIED, **fields)
    cells = [cell for row in ROWS for cell in cells_of(grid, row, fields)]
    lines = summary(NAME, predecessor, cells, ROWS, "predecessor")
    write_result(
        "embedding_quality", "python benchmarks/embedding_quality.py", lines, claims(predecessor, cells), options.out
    )


if __name__ == "__main__":
    main()
