"""Augmenting MRPC against one word at a time: rows of the data set per second.

Both sides take turns in one process on the same rows, no text of which comes twice, with the same masked-language model
(MiniLM's encoder under a head with random weights, which cost what trained ones do) and the same word vectors: the
model's input embeddings.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
from interleave import MODEL, mrpc
from original_augmentation import Original
from results import arguments, write_result
from transformers import AutoModelForMaskedLM

from bertpress.augmentation import Augmentation
from bertpress.augmentation.augmenting import augment
from bertpress.augmentation.job import Job, source_of
from bertpress.augmentation.words import stop_words
from bertpress.engine.loading import load_masked_lm, load_tokenizer, model_folder
from bertpress.engine.run import Runtime
from bertpress.runs.pipeline import quieten
from bertpress.statistics import median_interval, ratio_interval
from bertpress.tasks.classification import Classification
from bertpress.tasks.task import Task

SAMPLES = 30


def save_masked_lm(folder: Path) -> str:
    """MiniLM with a new language-model head, and its tokenizer."""
    AutoModelForMaskedLM.from_pretrained(model_folder(MODEL)).save_pretrained(folder)
    load_tokenizer(MODEL).save_pretrained(folder)
    return str(folder)


def blocks(task: Task, count: int, size: int) -> list[Classification]:
    """Tasks of `size` training rows each, no text of which comes twice."""
    train = task.splits["train"]
    seen: set[str] = set()
    rows = []
    for row, texts in enumerate(zip(*(train[column] for column in task.columns), strict=True)):
        if not seen.intersection(texts) and len(set(texts)) == len(texts):
            seen.update(texts)
            rows.append(row)
    if count * size > len(rows):
        raise SystemExit(f"{count * size} rows are more than the {len(rows)} whose texts come once.")
    return [
        Classification(
            dataclasses.replace(task.data, splits={"train": train.select(rows[begin : begin + size])}),
            task.tokenizer,
            task.max_length,
        )
        for begin in range(0, count * size, size)
    ]


def timed(task: Task, folder: Path, rounds: int, size: int) -> np.ndarray:
    """Seconds per block of ours and of the original's arrangement, shape (2, rounds); a first round is dropped."""
    name = save_masked_lm(folder / "model")
    runtime, settings = Runtime(device="cpu"), Augmentation(masked_lm=name, samples=SAMPLES)
    teacher = source_of(name, runtime)
    jobs = [Job.of(block, settings, teacher, runtime) for block in blocks(task, rounds + 1, size)]
    loaded = {"proposer": jobs[0].proposer, "vectors": jobs[0].vectors}  # both sides have their model in memory
    tokenizer, vectors = load_tokenizer(name), jobs[0].vectors
    original = Original(
        load_masked_lm(name), tokenizer, vectors.words, vectors.matrix, stop_words("en"), samples=SAMPLES
    )
    seconds = []
    for index, job in enumerate(jobs):
        vars(job).update(loaded)
        began = time.perf_counter()
        augment(job, folder / str(index))
        ours = time.perf_counter() - began
        train = job.task.splits["train"]
        began = time.perf_counter()
        for texts in zip(*(train[column] for column in job.task.columns), strict=True):
            original.rows(texts)
        seconds.append((ours, time.perf_counter() - began))
    return np.array(seconds[1:]).T


def main() -> None:
    options = arguments(__doc__, rounds=10, steps=64)
    quieten()
    with tempfile.TemporaryDirectory() as folder:
        ours, original = timed(mrpc(), Path(folder), options.rounds, options.steps)
    rows = [
        {"side": side, "rows_per_second": median_interval(options.steps / seconds)[0]}
        | {"rounds": options.rounds, "rows_per_round": options.steps}
        for side, seconds in (("bertpress", ours), ("original's arrangement", original))
    ]
    claims = {"augmentation-speed": ratio_interval(original, ours)}
    write_result("augmentation", "python benchmarks/augmentation.py", rows, claims, options.out)


if __name__ == "__main__":
    main()
