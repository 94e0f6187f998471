"""Memory of plain text as training data: peak anonymous memory over a store's making and one pass over its rows.

A process of its own for each size and repetition, libraries included. The text is made of words of MiniLM's
vocabulary, rare ones rarely, in documents of 20 lines. The rows are read in the engine's order. The interval is the
range of the ratios of every large measurement to every small one; it covers what was measured and claims no more.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
from memory import anonymous_peak
from results import RESULTS, Interval, write_result

from bertpress.engine.loading import load_tokenizer

MODEL = "packaged-minilm"
WORDS_IN_LINE, LINES_IN_DOCUMENT = 16, 20
LARGE_REPEATS = 2
SIZES = "5,500"


def write_text(path: Path, megabytes: int) -> None:
    """Documents of so many MB in all; another seed for every MB or so."""
    words = np.array([word for word in load_tokenizer(MODEL).get_vocab() if word.isascii() and word.isalpha()])
    words = np.random.default_rng(0).permutation(words)
    shares = 1 / np.arange(1, len(words) + 1)  # Zipf's law
    limits = np.cumsum(shares / shares.sum())
    with path.open("w", encoding="ascii") as file:
        block = 0
        while file.tell() < megabytes * 1_000_000:
            draws = np.random.default_rng((1, block)).random((500 * LINES_IN_DOCUMENT, WORDS_IN_LINE))
            for number, line in enumerate(words[limits.searchsorted(draws).clip(max=len(words) - 1)], start=1):
                file.write(" ".join(line) + ("\n\n" if number % LINES_IN_DOCUMENT == 0 else "\n"))
            block += 1


def go_through(text: Path) -> None:
    """Prepare a text, and read each of its rows once."""
    from bertpress.corpus import CorpusSpec
    from bertpress.corpus.rows import build_rows
    from bertpress.corpus.store import build_store
    from bertpress.engine.length_batches import LengthBatches

    spec = CorpusSpec(files=str(text))
    store = build_store(spec, load_tokenizer(MODEL), text.with_suffix(".store"))
    build_rows(store, 128, spec, 1, "validation")
    rows = build_rows(store, 128, spec, 1, "train")
    for row in LengthBatches(rows["length"], 32, 1):
        rows[row]


def measured(megabytes: int) -> tuple[float, float]:
    """Peak MiB and seconds of a process that goes through so much text."""
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        write_text(text, megabytes)
        began = time.perf_counter()
        mib = anonymous_peak([sys.executable, __file__, "go-through", str(text)])
        return mib, time.perf_counter() - began


def ratio(small: list[float], large: list[float]) -> Interval:
    """Ratio of the medians, and the range over all pairs."""
    every = [above / below for below, above in product(small, large)]
    return statistics.median(large) / statistics.median(small), min(every), max(every)


def main() -> None:
    if sys.argv[1:2] == ["go-through"]:
        go_through(Path(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", default=SIZES, help="of the small and the large text")
    parser.add_argument("--rounds", type=int, default=7, help="repetitions of the small one; the large one has 2")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result's file")
    options = parser.parse_args()
    small, large = map(int, options.megabytes.split(","))
    sizes = [small] * options.rounds + [large] * min(LARGE_REPEATS, options.rounds)
    found = [(size, *measured(size)) for size in sizes]
    rows = []
    for size in (small, large):
        mib, seconds = zip(*((mib, seconds) for other, mib, seconds in found if other == size), strict=True)
        rows.append(
            {"text_mb": size, "peak_mib": statistics.median(mib), "low": min(mib), "high": max(mib)}
            | {"seconds": statistics.median(seconds), "repetitions": len(mib)}
        )
    peaks = [[mib for other, mib, _ in found if other == size] for size in (small, large)]
    claims = {"corpus-memory": ratio(*peaks)} if options.megabytes == SIZES else {}
    write_result("corpus_memory", "python benchmarks/corpus_memory.py", rows, claims, options.out)


if __name__ == "__main__":
    main()
