from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertpress.corpus import holdout
from bertpress.corpus.holdout import Part, held_out_of, part_of
from bertpress.corpus.store import Store


def made_store(folder: Path, documents: list[list[int]]) -> Store:
    """A store of documents given as the lengths of their sentences."""
    lengths = [length for document in documents for length in document]
    counts: dict[str, Any] = {
        "sentences": np.cumsum(lengths),
        "documents": np.cumsum([len(each) for each in documents]),
    }
    for name, ends in counts.items():
        (folder / f"{name}.bin").write_bytes(ends.astype(np.uint64).tobytes())
    manifest = {"train_sentences": len(lengths), "train_documents": len(documents), "sentences": len(lengths)}
    return Store(folder, manifest)


def test_a_part_counts_its_sentences_through() -> None:
    part = Part([(3, 5), (7, 7), (9, 12)])
    assert len(part) == 5
    assert [part.stretch(number)[0] for number in range(5)] == [3, 4, 9, 10, 11]
    assert part.stretch(4)[1] == (9, 12)
    inside = {3: 0, 4: 1, 9: 2, 10: 3, 11: 4}
    for sentence in range(14):
        assert part.number(sentence) == sum(other < sentence for other in inside)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("shape", ["many documents", "few documents", "one document", "lines"])
def test_training_and_validation_share_nothing(shape: str, share: float, tmp_path: Path) -> None:
    generator = random.Random(0)
    count = {"many documents": 400, "few documents": 7, "one document": 1, "lines": 1}[shape]
    documents = [[generator.randint(1, 30) for _ in range(generator.randint(1, 4000 // count))] for _ in range(count)]
    store = made_store(tmp_path, documents)
    form = "lines" if shape == "lines" else "documents"
    parts = [part_of(store, form, share, split) for split in ("train", "validation")]
    sentences = [{part.stretch(number)[0] for number in range(len(part))} for part in parts]
    assert not sentences[0] & sentences[1]
    assert sentences[0] | sentences[1] == set(range(store.train_sentences))
    lengths = np.array([length for document in documents for length in document])
    held = lengths[sorted(sentences[1])].sum() / lengths.sum()
    assert 0.6 * share <= held <= share + 16 * 30 / lengths.sum()
    if shape == "many documents":
        bounds = {0, *np.cumsum([len(each) for each in documents]).tolist()}
        assert all(first in bounds and last in bounds for first, last in parts[1].stretches), "whole documents"


def test_the_least_and_the_most(tmp_path: Path) -> None:
    tiny = made_store(tmp_path, [[5, 5, 5]])
    assert len(part_of(tiny, "lines", 0.01, "validation")) == 1
    assert len(part_of(tiny, "lines", 0.0, "validation")) == 0
    assert len(part_of(made_store(tmp_path, [[5]]), "lines", 0.5, "validation")) == 0, "training keeps a line"
    long_lines = made_store(tmp_path, [[100] * 50_000])
    held = part_of(long_lines, "lines", 0.5, "validation")
    assert 0.95 * holdout.MOST_TOKENS <= 100 * len(held) <= holdout.MOST_TOKENS
    short_lines = made_store(tmp_path, [[2] * 50_000])
    assert len(part_of(short_lines, "lines", 0.5, "validation")) == holdout.MOST_LINES
    small_documents = made_store(tmp_path, [[2]] * 50_000)
    assert len(part_of(small_documents, "documents", 0.5, "validation")) == holdout.MOST_DOCUMENTS
    books = made_store(tmp_path, [[100] * 3000] * 10)
    assert 0 < 100 * len(part_of(books, "documents", 0.1, "validation")) <= holdout.MOST_TOKENS, "runs of lines instead"


def test_it_is_always_the_same(tmp_path: Path) -> None:
    store = made_store(tmp_path, [[3, 4]] * 500)
    first = held_out_of(store, "documents", 0.02)
    state = random.getstate()
    random.seed(7)
    assert held_out_of(store, "documents", 0.02) == first
    random.setstate(state)
    assert len(first) == 10
    assert np.ptp([begin for begin, _ in first]) > 400, "from all over the text"
