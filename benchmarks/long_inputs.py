"""What more positions bring on long texts: MiniLM cut at 512 tokens, and extended by tiles to 1,024.

Hyperpartisan news: half of the articles are longer than 512 tokens, a quarter than 1,024. Each length is tried twice:
fine-tuned at once, and after `MASKED` epochs of masked words on the training articles, in rows of that length, which is
where a table that was only just extended learns. The learning rate is the best of `RATES` on seed 1 by validation
accuracy, and further seeds run with it; what counts is the accuracy on the test articles, of which there are 65, so a
single answer is 1.5 points.

A cell is one training; its file in results/long_inputs/ is written when it ends, and a cell that has its file is not
run again. `long_inputs.json` sums up. Needs BERTPRESS_DATA.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cells import Cell, Grid, Key, grid_arguments, intervals, over_seeds, scores
from results import HERE, Interval, write_result

from bertpress import Finetune, Training, evaluate
from bertpress.engine.loading import load_tokenizer
from bertpress.recipe import TaskSpec
from bertpress.runs.pipeline import quieten
from bertpress.tasks import load_task

NAME, MODEL = "hyperpartisan", "packaged-minilm"
RUNS = HERE.parent / "runs" / "long_inputs"
RATES, EPOCHS, SEEDS, MASKED = (1e-4, 3e-4), 5, 3, 3


@dataclass(frozen=True)
class Row:
    """How a model comes to its length."""

    length: int
    masked: bool
    """masked words before fine-tuning"""

    @property
    def positions(self) -> int | None:
        """What a first training extends it to."""
        return None if self.length == 512 else self.length


ROWS = {
    "512": Row(512, False),
    "1024": Row(1024, False),
    "512, masked words first": Row(512, True),
    "1024, masked words first": Row(1024, True),
}


class Protocol:
    """The grid, and what its models read."""

    def __init__(self, limit: int | None, runs: Path, out: Path) -> None:
        self.limit = {} if limit is None else {"train": limit, "validation": limit, "test": limit}
        self.grid = Grid(out / "long_inputs", runs, MODEL, batch_size=8)

    def text(self) -> Path:
        """The training articles, one to a line."""
        file = self.grid.runs / "train.txt"
        if not file.exists():
            quieten()
            rows = load_task(TaskSpec(name=NAME), load_tokenizer(MODEL), 512, self.limit).splits["train"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{' '.join(text.split())}\n" for text in rows["text"]), encoding="utf-8")
        return file

    def start(self, row: Row) -> str:
        """What a row is fine-tuned from."""
        if not row.masked:
            return MODEL
        corpus = {"files": [str(self.text())], "format": "lines", "validation": 0.1}
        training = Training(epochs=MASKED, learning_rate=1e-4, batch_size=8, warmup=0.1, weight_decay=0.01)
        key = Key(NAME, f"masked words at {row.length}", 1e-4, MASKED, 1)
        step = Finetune(positions=row.positions, training=training)
        fields: dict[str, Any] = {"task": {"name": "text", "corpus": corpus}, "max_length": row.length}
        return str(self.grid.kept(key, MODEL, step, **fields) / "00-finetune" / "model")

    def cells(self, name: str) -> Iterator[Cell]:
        """A row's cells of the chosen learning rate, with their accuracy on the test articles as the score."""
        row = ROWS[name]

        def train(rate: float, seed: int) -> Cell:
            key = Key(NAME, name, rate, EPOCHS, seed)
            if self.grid.has(key):
                return self.grid.read(key)
            training = Training(epochs=EPOCHS, learning_rate=rate, batch_size=8, accumulation=2, warmup=0.1)
            step = Finetune(positions=None if row.masked else row.positions, training=training)
            fields: dict[str, Any] = {"task": NAME, "max_length": row.length, "limit": self.limit}
            run = self.grid.kept(key, self.start(row), step, **fields)
            found = evaluate(str(run), NAME, "test", max_length=row.length, limit=self.limit)["test"]
            cell = {**self.grid.read(key), "test": found["accuracy"]}
            self.grid.write(cell)
            return cell

        for cell in over_seeds(train, RATES, SEEDS):
            yield {**cell, "validation": cell["score"], "score": cell["test"]}


def summary(cells: Sequence[Cell]) -> list[Cell]:
    """A line for each row: median and range over seeds."""
    lines = []
    for name in ROWS:
        own = [cell for cell in cells if cell["row"] == name]
        test = [100 * cell["score"] for cell in own]
        lines.append(
            {"row": name, "metric": "accuracy, test", "seeds": len(own)}
            | {"learning rate": f"{own[0]['learning_rate']:g}", "median": f"{statistics.median(test):.1f}"}
            | {"low": f"{min(test):.1f}", "high": f"{max(test):.1f}"}
            | {"validation": f"{100 * statistics.median(cell['validation'] for cell in own):.1f}"}
            | {"seconds": round(statistics.median(cell["seconds"] for cell in own))}
        )
    return lines


def claims(cells: Sequence[Cell]) -> dict[str, Interval]:
    """The gain of the median over seeds, and the range of what a seed gains over itself."""

    def values(seed: int | None) -> dict[str, float]:
        long, short = (scores(cells, [NAME], f"{length}, masked words first", seed)[0] for length in (1024, 512))
        return {"long-inputs-gain": float(long - short)}

    return intervals(values, SEEDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options = grid_arguments(parser, RUNS, "the folder hyperpartisan")
    protocol = Protocol(options.limit, options.runs, options.out)
    cells = [cell for name in ROWS for cell in protocol.cells(name)]
    measured = {} if options.limit else claims(cells)
    write_result("long_inputs", "python benchmarks/long_inputs.py", summary(cells), measured, options.out)


if __name__ == "__main__":
    main()
