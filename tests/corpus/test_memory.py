"""Ten times the text needs no more memory: a child process builds a store and reads all rows while it is watched."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = """
import sys
from pathlib import Path
from bertpress.corpus import CorpusSpec
from bertpress.corpus.rows import build_rows
from bertpress.corpus.store import build_store
from transformers import BertTokenizer
from bertpress.engine.length_batches import LengthBatches

text, vocabulary = sys.argv[1:]
store = build_store(CorpusSpec(files=text), BertTokenizer(vocab=vocabulary), Path(text + ".store"))
for next_sentence in ("none", "random50"):
    for split in ("validation", "train"):
        rows = build_rows(store, 128, CorpusSpec(files=text, next_sentence=next_sentence), 1, split)
    for row in LengthBatches(rows["length"], 32, 1):
        rows[row]
"""


def write_text(path: Path, size: int) -> None:
    """Documents of 20 lines of invented words, `size` bytes in all."""
    generator = random.Random(0)
    words = ["".join(generator.choices("abcdefghijklmnop", k=generator.randint(2, 9))) for _ in range(20_000)]
    with path.open("w") as file:
        line = 0
        while file.tell() < size:
            file.write(" ".join(generator.choices(words, k=16)) + ("\n\n" if line % 20 == 19 else "\n"))
            line += 1


def peak_mb(text: Path, vocabulary: Path) -> float:
    """Most anonymous memory of a process that goes through `text` once, in MB."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, text, vocabulary])
    status = Path(f"/proc/{child.pid}/status")
    peak = 0
    while child.poll() is None:
        lines = [line for line in status.read_text().splitlines() if line.startswith("RssAnon")]
        peak = max([peak, *(int(line.split()[1]) for line in lines)])
        time.sleep(0.02)
    assert child.returncode == 0
    return peak / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="RssAnon is of Linux")
def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocab.txt"
    letters = "abcdefghijklmnop"
    pieces = [*letters, *(a + b for a in letters for b in letters)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary.write_text("\n".join([*special, *pieces, *(f"##{piece}" for piece in pieces)]))
    peaks = []
    for size in (2_500_000, 25_000_000):
        write_text(tmp_path / str(size), size)
        peaks.append(peak_mb(tmp_path / str(size), vocabulary))
    assert peaks[1] <= 1.1 * peaks[0] + 5, peaks
