"""What more positions bring on long texts: MiniLM cut at 512 tokens, extended by tiles to 1,024, and that in 3 layers.

Hyperpartisan news: half of the articles are longer than 512 tokens, a quarter than 1,024. At both lengths MiniLM first
learns `MASKED` epochs of masked words on the training articles, in rows of that length, which is where a table that was
only just extended learns; then it is fine-tuned. Theseus presses one of the models of 1,024 tokens. All rows train
with the same learning rate, which was not chosen by results; what counts is the accuracy on the test articles, of which
there are 65, so a single answer is 1.5 points. An optimizer step sees eight articles, two at a time.

A cell is one training; its file in results/long_inputs/ is written when it ends, and a cell that has its file is not
run again. `long_inputs.json` sums up. Needs BERTPRESS_DATA.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cells import PRECISION, Cell, Grid, Key, grid_arguments, in_points, intervals, over_seeds, scores
from results import HERE, Interval, write_result

from bertpress import Finetune, Theseus, Training, evaluate
from bertpress.engine.loading import load_tokenizer
from bertpress.files import write_text
from bertpress.methods.method import Method
from bertpress.recipe import TaskSpec
from bertpress.runs.pipeline import quieten
from bertpress.tasks import load_task

NAME, MODEL = "hyperpartisan", "packaged-minilm"
RUNS = HERE.parent / "runs" / "long_inputs"
RATE, EPOCHS, SEEDS, MASKED = 1e-4, 3, 3, 2
PRESSED = "1024, 3 layers"
LENGTHS = {"512": 512, "1024": 1024, PRESSED: 1024}
"""Of each row's inputs, in tokens."""


class Protocol:
    """The grid, and what its models read."""

    def __init__(self, limit: int | None, runs: Path, out: Path) -> None:
        self.limit = {} if limit is None else {"train": limit, "validation": limit, "test": limit}
        self.grid = Grid(out / "long_inputs", runs, MODEL)

    def text(self) -> Path:
        """The training articles, one to a line."""
        file = self.grid.runs / "train.txt"
        if not file.exists():
            quieten()
            rows = load_task(TaskSpec(name=NAME), load_tokenizer(MODEL), 512, self.limit).splits["train"]
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, "".join(f"{' '.join(text.split())}\n" for text in rows["text"]))
        return file

    def cells(self, row: str) -> Iterator[Cell]:
        """A row's cells, with their accuracy on the test articles as the score."""
        seeds = 1 if row == PRESSED else SEEDS
        for cell in over_seeds(lambda rate, seed: self.cell(Key(NAME, row, rate, EPOCHS, seed)), (RATE,), seeds):
            yield {**cell, "validation": cell["score"], "score": cell["test"]}

    def cell(self, key: Key) -> Cell:
        """One cell, with its accuracy on the test articles beside the score."""
        if self.grid.has(key) and "test" in (cell := self.grid.read(key)):
            return cell
        run = str(self.run(key))
        found = evaluate(run, NAME, "test", max_length=LENGTHS[key.row], limit=self.limit)["test"]
        cell = {**self.grid.read(key), "test": found["accuracy"]}
        self.grid.write(cell)
        return cell

    def run(self, key: Key) -> Path:
        """The folder of a cell's training."""
        length = LENGTHS[key.row]
        training = training_of(epochs=EPOCHS)
        step: Method = Finetune(training=training)
        if key.row == PRESSED:
            step, start = Theseus(successor_layers=3, replacing=training), self.run(Key.of(next(self.cells("1024"))))
        else:
            start = self.masked(length)
        fields = {"max_length": length, "limit": self.limit, "precision": PRECISION}
        return self.grid.kept(key, str(start), step, task=NAME, **fields)

    def masked(self, length: int) -> Path:
        """The folder of MiniLM's training on masked words in rows of `length` tokens."""
        corpus = {"files": [str(self.text())], "format": "lines", "validation": 0.1}
        training = training_of(epochs=MASKED, weight_decay=0.01)
        step = Finetune(positions=None if length == 512 else length, training=training)
        key = Key(NAME, f"masked words at {length}", RATE, MASKED, 1)
        task = {"name": "text", "corpus": corpus}
        return self.grid.kept(key, MODEL, step, task=task, max_length=length, precision=PRECISION)


def training_of(**fields: Any) -> Training:
    """What all trainings share, and what is one's own."""
    return Training(learning_rate=RATE, batch_size=2, accumulation=4, warmup=0.1, **fields)


def summary(cells: Sequence[Cell]) -> list[Cell]:
    """A line for each row: median and range over seeds."""
    lines = []
    for name in LENGTHS:
        own = [cell for cell in cells if cell["row"] == name]
        lines.append(
            {"row": name, "metric": "accuracy, test", "seeds": len(own)}
            | {"learning rate": f"{own[0]['learning_rate']:g}", **in_points([cell["score"] for cell in own])}
            | {"validation": f"{100 * statistics.median(cell['validation'] for cell in own):.1f}"}
            | {"seconds": round(statistics.median(cell["seconds"] for cell in own))}
        )
    return lines


def claims(cells: Sequence[Cell]) -> dict[str, Interval]:
    """The gain of the median over seeds, and the range of what a seed gains over itself."""

    def values(seed: int | None) -> dict[str, float]:
        long, short = (scores(cells, [NAME], length, seed)[0] for length in ("1024", "512"))
        return {"long-inputs-gain": float(long - short)}

    return intervals(values, SEEDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options = grid_arguments(parser, RUNS, "the folder hyperpartisan")
    protocol = Protocol(options.limit, options.runs, options.out)
    cells = [cell for name in LENGTHS for cell in protocol.cells(name)]
    measured = {} if options.limit else claims(cells)
    write_result("long_inputs", "python benchmarks/long_inputs.py", summary(cells), measured, options.out)


if __name__ == "__main__":
    main()
