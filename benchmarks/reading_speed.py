"""Questions to windows and scores to answers: how fast on SQuAD 2.0's development questions, and in how much memory.

Windows have 384 tokens of MiniLM's tokenizer and begin every 128. Features: the questions are read from the file,
checked, tokenised, cut and stored, each round in an empty cache. Decoding: scores drawn at random for every window are
condensed as the task does it; timed is what follows, scoring and the files of SQuAD's scripts. Memory: the same
questions once and ten times, under new ids, as SQuAD's JSON; even once they are many times what is held at once. A
process of its own for each size and repetition makes the windows and reads each once, and its peak of anonymous memory
counts, libraries included; the rows also have what it is above that of a process with a single article. The interval is
the range of the ratios of every large measurement to every small one. Needs BERTPRESS_DATA.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from corpus_memory import LARGE_REPEATS, ratio
from memory import anonymous_peak
from results import RESULTS, data_root, write_result

from bertpress.engine.loading import load_tokenizer
from bertpress.recipe import TaskSpec
from bertpress.runs.pipeline import quieten
from bertpress.statistics import median_interval
from bertpress.tasks import load_task
from bertpress.tasks.reading.task import SpanReading, SpanScores

MODEL, LENGTH = "packaged-minilm", 384
COPIES = "1,10"
ARTICLE, SPLIT = 0, "validation"
"""Copies of a file with one article, and the split of all."""


@contextmanager
def empty_cache() -> Iterator[None]:
    """A cache that holds nothing, and is gone afterwards."""
    before = os.environ.get("BERTPRESS_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BERTPRESS_CACHE"] = folder
        try:
            yield
        finally:
            os.environ.pop("BERTPRESS_CACHE")
            if before is not None:
                os.environ["BERTPRESS_CACHE"] = before


def questions_in(folder: Path) -> SpanReading:
    """The development questions of a folder as a task; its windows are made when they are first asked for."""
    task = load_task(TaskSpec(name="squad_v2", data_dir=str(folder)), load_tokenizer(MODEL), LENGTH)
    assert isinstance(task, SpanReading)
    assert (task.reading.step, task.may_be_nothing) == (128, True)
    return task


def features(folder: Path, rounds: int) -> list[tuple[float, int]]:
    """Seconds and number of windows of each round; a first one is dropped."""
    found = []
    for _ in range(rounds + 1):
        with empty_cache():
            began = time.perf_counter()
            windows = len(questions_in(folder).encoded(SPLIT))
            found.append((time.perf_counter() - began, windows))
    return found[1:]


def condensed(task: SpanReading) -> np.ndarray:
    """What scores drawn at random condense to, (windows, width)."""
    generator = torch.Generator().manual_seed(1)
    pieces = []
    for rows in task.encoded(SPLIT).iter(64):
        batch = task.collate([dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)])
        logits = torch.randn(*batch["input_ids"].shape, 2, generator=generator)
        pieces.append(task.condense(SpanScores(logits), batch).numpy())
    return np.concatenate(pieces)


def decoding(folder: Path, rounds: int) -> list[float]:
    """Seconds of each round of scoring and writing answers; a first one is dropped."""
    found = []
    with empty_cache():
        task = questions_in(folder)
        scores = condensed(task)
        for _ in range(rounds + 1):
            began = time.perf_counter()
            task.score(scores, SPLIT)
            for name, text in task.answer_files(scores, SPLIT).items():
                (Path(os.environ["BERTPRESS_CACHE"]) / name).write_text(text, encoding="utf-8")
            found.append(time.perf_counter() - began)
    return found[1:]


def write_copies(task: SpanReading, path: Path, copies: int) -> int:
    """All questions so many times, under new ids, as SQuAD writes them; how many they are."""
    records = sorted(task.splits[SPLIT], key=lambda record: record["title"])
    articles = []
    for title, of_article in itertools.groupby(records, key=lambda record: record["title"]):
        paragraphs = itertools.groupby(of_article, key=lambda record: record["context"])
        articles.append((title, [(context, list(questions)) for context, questions in paragraphs]))
    chosen = articles if copies else articles[:1]
    count = 0
    with path.open("w", encoding="utf-8") as file:
        file.write('{"version": "v2.0", "data": [')
        for copy, (title, paragraphs) in itertools.product(range(max(1, copies)), chosen):
            written = [
                {"context": context, "qas": [_question(record, copy) for record in questions]}
                for context, questions in paragraphs
            ]
            file.write((", " if count else "") + json.dumps({"title": title, "paragraphs": written}))
            count += sum(len(paragraph["qas"]) for paragraph in written)
        file.write("]}\n")
    return count


def _question(record: dict[str, Any], copy: int) -> dict[str, Any]:
    spans = zip(record["answer_texts"], record["answer_starts"], strict=True)
    answers = [{"text": text, "answer_start": start} for text, start in spans]
    return {"id": f"{record['id']}-{copy}", "question": record["question"], "answers": answers} | {
        "is_impossible": not answers
    }


def go_through(folder: Path) -> None:
    """Make the windows of a folder's questions, and read each of them once."""
    task = questions_in(folder)
    for rows in task.encoded(SPLIT).iter(32):
        task.collate([dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)])


def memory(folder: Path, copies: tuple[int, int], rounds: int) -> dict[int, tuple[int, list[float]]]:
    """Number of questions, and peak MiB of each repetition, of a single article and of so many copies of all."""
    found = {}
    with empty_cache():
        task = questions_in(folder)
        for size in (ARTICLE, *copies):
            place = Path(os.environ["BERTPRESS_CACHE"]) / f"copies-{size}"
            place.mkdir()
            questions = write_copies(task, place / f"{SPLIT}.json", size)
            peaks = []
            for _ in range(min(rounds, LARGE_REPEATS) if size == copies[1] else rounds):
                with empty_cache():
                    peaks.append(anonymous_peak([sys.executable, __file__, "go-through", str(place)]))
            found[size] = questions, peaks
    return found


def rows_of(
    made: list[tuple[float, int]], decoded: list[float], peaks: dict[int, tuple[int, list[float]]]
) -> list[dict[str, Any]]:
    """Speeds, then memory by number of questions."""
    per_minute, low, high = median_interval([60 * windows / seconds for seconds, windows in made])
    seconds = median_interval(decoded)
    timed = [
        {"what": "windows a minute", "value": per_minute, "low": low, "high": high, "rounds": len(made)},
        {"what": "seconds of decoding", **dict(zip(("value", "low", "high"), seconds, strict=True))}
        | {"rounds": len(decoded)},
    ]
    least = statistics.median(peaks[ARTICLE][1])
    held = [
        {"questions": questions, "peak_mib": statistics.median(mib), "low": min(mib), "high": max(mib)}
        | {"above_one_article_mib": statistics.median(mib) - least, "repetitions": len(mib)}
        for questions, mib in peaks.values()
    ]
    return [*timed, *held]


def main() -> None:
    if sys.argv[1:2] == ["go-through"]:
        go_through(Path(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of features, of decoding and of the small memory")
    parser.add_argument("--copies", default=COPIES, help="of all questions, for the small and the large memory")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result's file")
    options = parser.parse_args()
    root = data_root("the folder squad_v2")
    quieten()
    small, large = map(int, options.copies.split(","))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(root / "squad_v2" / f"{SPLIT}.parquet", folder)
        made, decoded = features(folder, options.rounds), decoding(folder, options.rounds)
        peaks = memory(folder, (small, large), options.rounds)
    claims = {
        "reading-features": median_interval([60 * windows / seconds for seconds, windows in made]),
        "reading-decoding": median_interval(decoded),
    }
    if options.copies == COPIES:
        claims["reading-memory"] = ratio(peaks[small][1], peaks[large][1])
    rows = rows_of(made, decoded, peaks)
    write_result("reading_speed", "python benchmarks/reading_speed.py", rows, claims, options.out)


if __name__ == "__main__":
    main()
