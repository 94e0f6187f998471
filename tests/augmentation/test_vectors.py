from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertpress.augmentation.vectors import WordVectors, embedding_vectors, read_glove
from bertpress.errors import RequestError

ROWS = """paris 1 0 0
London 0.9 0.1 0
berlin 0.8 0.3 0
the new york 0.7 0.5 0
red 0 0 2
blue 0 0.1 1
"""


def nearest(vectors: WordVectors, words: list[str], count: int = 3, exclude: bool = True) -> dict[str, list[str]]:
    return vectors.nearest(words, count, exclude, "cpu")


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    file = tmp_path / "glove.txt"
    file.write_text(ROWS, encoding="utf-8")
    return file


def test_neighbours_by_cosine(glove: Path) -> None:
    vectors = read_glove(str(glove), 100)
    assert vectors.words == ["paris", "London", "berlin", "the new york", "red", "blue"], "spaces belong to the word"
    np.testing.assert_allclose(np.linalg.norm(vectors.matrix, axis=1), 1, rtol=1e-6)
    found = nearest(vectors, ["Paris", "London", "london", "unheard"], 2)
    assert found == {"Paris": ["London", "berlin"], "London": ["paris", "berlin"]}, "exact, else in lower case"
    assert nearest(vectors, ["Paris"], 2, exclude=False) == {"Paris": ["paris", "London"]}
    assert nearest(vectors, ["red"], 100)["red"][0] == "blue", "length has no say"
    assert len(nearest(vectors, ["red"], 100)["red"]) == 5


def test_chunks_change_nothing(glove: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = read_glove(str(glove), 100)
    words = ["paris", "berlin", "red", "blue"]
    whole = nearest(vectors, words)
    monkeypatch.setattr("bertpress.augmentation.vectors.CHUNK", 1)
    assert nearest(vectors, words) == whole


def test_what_files_bring_along(tmp_path: Path) -> None:
    file = tmp_path / "odd.vec"
    file.write_bytes(
        b"6 3\n" b"paris 1 0 0 \n" b"<unk> 0 0 0\n" b"zero 0 0 0\n" b"short 1 0\n" b"nan 1 0 1\n" b"bad 1 x 1\n"
        b"inf inf 1 0\n" b"paris 0 1 0\n" b"\n" b"caf\xc3\xa9 0 1 0\n" b". 1 1 1\n"
    )  # fmt: skip
    vectors = read_glove(str(file), 100)
    assert vectors.words == ["paris", "nan", "café"], "zeros, repetitions and what has no letter are left out"
    assert vectors.skipped == 4
    np.testing.assert_allclose(vectors.matrix[0], [1, 0, 0])
    assert read_glove(str(file), 2).words == ["paris"], "the header is no row, left out rows are"


def test_a_row_with_a_number_too_many_is_malformed(tmp_path: Path) -> None:
    rows = ("paris 1 0 0", "wider 7 0 1 0", "much 7 7 0 1 1", ". . . 0 0 1", "at name@domain.com 0 1 0", "7 1 1 0")
    file = tmp_path / "glove.txt"
    file.write_text("\n".join(rows), encoding="utf-8")
    vectors = read_glove(str(file), 100)
    assert vectors.words == ["paris", "at name@domain.com"], "words with spaces are no wider rows"
    assert vectors.skipped == 2


def test_packed_files(glove: Path, tmp_path: Path) -> None:
    with gzip.open(tmp_path / "glove.gz", "wb") as packed:
        packed.write(glove.read_bytes())
    with zipfile.ZipFile(tmp_path / "glove.zip", "w") as archive:
        archive.write(glove, "glove.txt")
        archive.writestr("licence", "free")
    for name in ("glove.gz", "glove.zip"):
        np.testing.assert_array_equal(read_glove(str(tmp_path / name), 9).matrix, read_glove(str(glove), 9).matrix)


BAD = {
    "missing.txt": (None, "found none"),
    "empty.txt": (b"", "found no row"),
    "text.txt": (b"these are\nordinary sentences\nof nobody\n", "3 of 3 rows malformed"),
    "mixed.txt": (b"a 1 2 3\nb 1 2\nc 1 2\n", "2 of 3 rows malformed"),
    "zeros.txt": (b"a 0 0\nb 0 0\n", "0 of 2 rows malformed"),
    "cut.gz": (gzip.compress(ROWS.encode())[:40], "readable file"),
    "none.gz": (b"not packed", "readable file"),
    "none.zip": (b"not packed", "readable file"),
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_cannot_be_used(name: str, tmp_path: Path) -> None:
    content, message = BAD[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError, match=message):
        read_glove(str(tmp_path / name), 100)


def test_an_archive_of_several_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "glove.zip", "w") as archive:
        archive.writestr("glove.50d.txt", ROWS)
        archive.writestr("glove.100d.txt", ROWS)
    with pytest.raises(RequestError, match=r"Expected one .txt file .* found glove.50d.txt, glove.100d.txt"):
        read_glove(str(tmp_path / "glove.zip"), 100)


def test_vectors_out_of_embeddings(tokenizer: Any) -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(tokenizer.vocab_size, 8)).astype(np.float32) + 5  # a large common part
    vectors = embedding_vectors(embeddings, tokenizer)
    assert {"house", "river"} <= set(vectors.words)
    assert not set(vectors.words) & {"a", "b", "##a", "[MASK]", "[UNK]"}, "whole words of two letters or more"
    ids = tokenizer.convert_tokens_to_ids(["house", "##y"])
    centred = embeddings - embeddings.mean(axis=0)
    mean = centred[ids].mean(axis=0)
    own = vectors.vector_of("housey")
    assert own is not None
    if tokenizer.tokenize("housey") == ["house", "##y"]:
        np.testing.assert_allclose(own, mean / np.linalg.norm(mean), rtol=1e-5)
    cosines = {
        word: float(own @ (centred[number] / np.linalg.norm(centred[number])))
        for word, number in ((word, tokenizer.convert_tokens_to_ids(word)) for word in vectors.words)
    }
    expected = sorted(cosines, key=cosines.__getitem__, reverse=True)[:3]
    assert nearest(vectors, ["housey"]) == {"housey": expected}
    assert "house" not in nearest(vectors, ["House"])["House"]


def test_whole_words_of_a_byte_level_vocabulary(byte_level: Any) -> None:
    embeddings = np.random.default_rng(0).normal(size=(len(byte_level), 8)).astype(np.float32)
    vectors = embedding_vectors(embeddings, byte_level)
    assert {"house", "river", "House", "road"} <= set(vectors.words)
    place = vectors.words.index("house")
    own = vectors.vector_of("house")
    assert own is not None
    np.testing.assert_allclose(own, vectors.matrix[place], rtol=1e-5)  # the token with a space before it
