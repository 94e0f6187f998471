"""General distillation on packed rows against one sentence per row: real tokens taken in per second.

MiniLM teaches a fresh student of 4 layers x 192 (scores and hidden states) on the text of plain_text_en, its short
paragraphs cut into sentences. All sides take turns in one process with the same training step and see the same text:
rows of 128 filled with whole sentences; a sentence per row, padded to 128; a sentence per row in batches of similar
length, padded to the longest; and, beside the claim, a paragraph per row padded to 128. Real tokens are all but
padding, so each row's two special tokens count for the sides with more rows.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from results import arguments, data_root, write_result
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, PreTrainedTokenizerBase

from bertpress.corpus import CorpusSpec
from bertpress.corpus.reading import read_lines
from bertpress.corpus.rows import build_rows
from bertpress.corpus.store import build_store
from bertpress.engine.kernels import fastest_kernels
from bertpress.engine.length_batches import LengthBatches
from bertpress.engine.loading import load_tokenizer, packaged_minilm
from bertpress.methods.tinybert import Shape, TinyBert
from bertpress.methods.tinybert.intermediate import Comparison, Intermediate
from bertpress.pretraining import parse_shape
from bertpress.runs.pipeline import quieten
from bertpress.statistics import median_interval, ratio_interval
from bertpress.tasks.plain_text import PlainText

MODEL = "packaged-minilm"
BATCH, LENGTH = 32, 128
METHOD = TinyBert(shape=Shape(**parse_shape("4x192x12x768")), prediction=None)
SENTENCE_END = re.compile(r"(?<=[a-z]{3}[.!?])\s+(?=[\"'(]?[A-Z])")
"""Three small letters before the mark: most abbreviations have none."""


@dataclass(frozen=True)
class Side:
    """A way to make batches of text."""

    name: str
    unit: str
    """of the text in a line: sentence or paragraph"""
    packed: bool
    padded: bool
    """every row to 128; batches are then of random rows"""


SIDES = (
    Side("rows of 128, packed", "sentence", packed=True, padded=False),
    Side("a sentence per row, padded to 128", "sentence", packed=False, padded=True),
    Side("a sentence per row, by length", "sentence", packed=False, padded=False),
    Side("a paragraph per row, padded to 128", "paragraph", packed=False, padded=True),
)


def write_texts(folder: Path) -> dict[str, Path]:
    """plain_text_en, a line for each sentence or each paragraph."""
    root = data_root("the folder plain_text_en")
    paragraphs = [line for line in read_lines(root / "plain_text_en" / "train.parquet") if line]
    units = {"paragraph": paragraphs, "sentence": [part for line in paragraphs for part in SENTENCE_END.split(line)]}
    for unit, lines in units.items():
        (folder / f"{unit}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {unit: folder / f"{unit}.txt" for unit in units}


class Learner:
    """One side: its text, its student, and its training step."""

    def __init__(self, side: Side, text: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        own = {} if side.packed else {"pack": "off", "pair_probability": 0.0}
        spec = CorpusSpec(files=str(text), format="lines", **own)
        store = build_store(spec, tokenizer, text.with_suffix(".store"))
        rows = build_rows(store, LENGTH, spec, 1, "train")
        self.side, self.task = side, PlainText("text", {"train": rows}, tokenizer, LENGTH)
        self.objective = objective(self.task)
        trained = [parameter for parameter in self.objective.parameters() if parameter.requires_grad]
        self.parameters = trained
        self.optimizer = torch.optim.AdamW(trained, lr=5e-5, weight_decay=0.01, fused=True)
        self.batches = self._batches()

    def _batches(self) -> Iterator[list[int]]:
        """Row numbers, batch by batch and without end."""
        lengths = self.task.encoded("train")["length"]
        order = list(LengthBatches(np.ones_like(lengths) if self.side.padded else lengths, BATCH, seed=1))
        starts = range(0, len(order) - BATCH + 1, BATCH)
        return cycle(order[start : start + BATCH] for start in starts)

    def step(self) -> int:
        """One training step, reading the rows included; how many real tokens it took in."""
        rows = self.task.encoded("train")
        batch = self.task.collate([rows[row] for row in next(self.batches)])
        if self.side.padded:
            batch = padded(batch)
        with fastest_kernels(torch.device("cpu")):
            self.objective(**batch)["loss"].backward()
            nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return int(batch["attention_mask"].sum())


def objective(task: PlainText) -> Intermediate:
    """Step 1 of TinyBERT between bare encoders, the student's weights drawn anew."""
    torch.manual_seed(1)
    teacher = AutoModel.from_pretrained(packaged_minilm())
    student = type(teacher)(METHOD.plan(teacher.config))
    return Intermediate(student, task, Comparison(METHOD, student.config, teacher.config), teacher).train()


def padded(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """A batch whose token columns are padded with zeros (the pad token of MiniLM) to 128."""
    return {
        name: functional.pad(value, (0, LENGTH - value.shape[1])) if value.dim() == 2 else value
        for name, value in batch.items()
    }


def seconds_per_token(learners: Sequence[Learner], rounds: int, steps: int) -> np.ndarray:
    """Of each side in each round, shape (sides, rounds); a first round is dropped."""
    found = np.empty((len(learners), rounds + 1))
    for turn in range(rounds + 1):
        for place, learner in enumerate(learners):
            began = time.perf_counter()
            tokens = sum(learner.step() for _ in range(steps))
            found[place, turn] = (time.perf_counter() - began) / tokens
    return found[:, 1:]


def main() -> None:
    options = arguments(__doc__, rounds=15, steps=3)
    quieten()
    with tempfile.TemporaryDirectory() as folder:
        texts, tokenizer = write_texts(Path(folder)), load_tokenizer(MODEL)
        learners = [Learner(side, texts[side.unit], tokenizer) for side in SIDES]
        times = seconds_per_token(learners, options.rounds, options.steps)
        means = [float(np.mean(learner.task.encoded("train")["length"])) for learner in learners]
    rows = []
    for side, own, mean in zip(SIDES, times, means, strict=True):
        ratio, low, high = ratio_interval(own, times[0])
        rows.append(
            {"rows": side.name, "real_tokens_per_row": mean, "real_tokens_per_second": median_interval(1 / own)[0]}
            | {"packed_over_it": ratio, "low": low, "high": high, "rounds": options.rounds, "steps": options.steps}
        )
    claims = {"packing": ratio_interval(times[1], times[0])}
    write_result("packing", "python benchmarks/packing.py", rows, claims, options.out)


if __name__ == "__main__":
    main()
