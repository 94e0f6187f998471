"""Nearest neighbours of words among word vectors: a file in GloVe's text format, or a model's own input embeddings."""

from __future__ import annotations

import gzip
import io
import itertools
import math
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bertpress.augmentation.vocabulary import vocabulary_of
from bertpress.errors import RequestError, beside

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Floats = NDArray[np.float32]
CHUNK = 2**25  # similarities that are held at once


@dataclass(frozen=True)
class WordVectors:
    """Words with vectors of length 1, and how the vector of any word is found."""

    words: list[str]
    matrix: Floats  # (words, dimensions)
    vector_of: Callable[[str], Floats | None]
    """the vector of length 1 of a word, None where there is none"""
    skipped: int = 0
    """malformed rows of the file"""

    def nearest(self, words: Sequence[str], count: int, exclude_original: bool, device: str) -> dict[str, list[str]]:
        """The `count` words of highest cosine for each word that has a vector, best first."""
        vectors = {word: vector for word in words if (vector := self.vector_of(word)) is not None}
        if not vectors:
            return {}
        same: dict[str, list[int]] = {}
        for index, word in enumerate(self.words):
            same.setdefault(word.lower(), []).append(index)
        table = torch.from_numpy(self.matrix).to(device)
        asked, found = list(vectors), {}
        step = max(1, CHUNK // len(self.words))
        for begin in range(0, len(asked), step):
            part = asked[begin : begin + step]
            similar = torch.from_numpy(np.stack([vectors[word] for word in part])).to(device) @ table.T
            if exclude_original:
                leave_out(similar, [same.get(word.lower(), []) for word in part])
            values, indices = similar.topk(min(count, len(self.words)))
            for word, kept, row in zip(part, values.isfinite().tolist(), indices.tolist(), strict=True):
                found[word] = [self.words[index] for index, finite in zip(row, kept, strict=True) if finite]
        return found


def leave_out(scores: Tensor, columns: Sequence[Sequence[int]]) -> None:
    """Set the given columns of each row to minus infinity; columns that there are not are passed over."""
    places = [(row, column) for row, numbers in enumerate(columns) for column in numbers if column < scores.shape[1]]
    if places:
        scores[tuple(zip(*places, strict=True))] = -torch.inf


def read_glove(file: str, limit: int) -> WordVectors:
    """The first `limit` rows of a file with a word and its numbers per line.

    A first line of two whole numbers is a header. The number of dimensions is that of the first row; rows are read from
    the right, because some published files have words with spaces. A row with a number more is malformed: what stands
    at its end is no vector of its word. Rows of zeros and words without a letter are left out. A word is looked up as
    it stands, then in lower case.

    Raises:
        RequestError: no such file, no file of vectors, or more malformed rows than good ones.
    """
    words: dict[str, np.ndarray] = {}
    dimensions, read, skipped = 0, 0, 0
    with closing(_rows(Path(file), limit)) as rows:
        for fields in rows:
            read += 1
            dimensions = dimensions or _trailing_numbers(fields)
            numbers = _numbers(fields[-dimensions:]) if 0 < dimensions < len(fields) else None
            word = " ".join(fields[:-dimensions])
            is_wider = len(fields) > dimensions + 1 and _numbers(fields[-dimensions - 1 : -dimensions]) is not None
            if numbers is None or not word or is_wider:
                skipped += 1
            elif word not in words and any(numbers) and any(map(str.isalpha, word)):
                words[word] = np.array(numbers, dtype=np.float32)
    if not words or skipped > read / 2:
        came = f"{skipped} of {read} rows malformed" if read else "no row"
        raise RequestError(
            f"Expected a word and its numbers on each line of {file}, found {came}; give GloVe's format."
        )
    matrix = _of_length_one(np.stack(list(words.values())))
    index = {word: row for row, word in enumerate(words)}

    def vector_of(word: str) -> Floats | None:
        row = index.get(word, index.get(word.lower()))
        return None if row is None else matrix[row]

    return WordVectors(list(words), matrix, vector_of, skipped)


def _rows(path: Path, limit: int) -> Generator[list[str]]:
    """The fields of the first rows, without a header of two whole numbers."""
    with closing(_lines(path)) as lines:
        first = next(lines, "").rstrip().split(" ")
        header = len(first) == 2 and all(field.isdigit() for field in first)
        rest = (line.rstrip().split(" ") for line in lines)
        yield from itertools.islice(rest if header or first == [""] else itertools.chain([first], rest), limit)


def _lines(path: Path) -> Generator[str]:
    if not path.is_file():
        raise RequestError(f"Expected a file of word vectors at {path}, found none{beside(path)}.")
    try:
        with ExitStack() as stack:
            file = stack.enter_context(_opened(path, stack))
            text = stack.enter_context(io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="\n"))
            yield from text
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        came = f"{path}, got '{error}'; fetch it again"
        raise RequestError(f"Expected a readable file of word vectors at {came}.") from None


def _opened(path: Path, stack: ExitStack) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path)  # type: ignore[return-value]
    if path.suffix != ".zip":
        return path.open("rb")
    archive = stack.enter_context(zipfile.ZipFile(path))
    names = [name for name in archive.namelist() if name.endswith((".txt", ".vec"))] or archive.namelist()
    if len(names) != 1:
        held = ", ".join(names[:5]) or "none"
        raise RequestError(f"Expected one .txt file in {path}, found {held}; unpack the one that you want.")
    return archive.open(names[0])


def _trailing_numbers(fields: Sequence[str]) -> int:
    """How many fields from the right are numbers; the first field is the word whatever it looks like."""
    count = 0
    while count < len(fields) - 1 and _numbers(fields[-1 - count : len(fields) - count]) is not None:
        count += 1
    return count


def _numbers(fields: Iterable[str]) -> list[float] | None:
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def embedding_vectors(embeddings: Floats, tokenizer: PreTrainedTokenizerBase) -> WordVectors:
    """Word vectors out of a model's input embeddings, shape (vocabulary, width).

    The mean embedding is subtracted first, because all embeddings share a large common part. A word of several tokens
    has the mean of their vectors. Neighbours are the tokens that are whole words of two letters or more.
    """
    vocabulary = vocabulary_of(tokenizer)
    size = min(len(vocabulary.spelling), len(embeddings))
    centred = embeddings - embeddings[:size].mean(axis=0)
    chosen = [
        number
        for number in np.flatnonzero(vocabulary.is_word[:size]).tolist()
        if len(vocabulary.spelling[number]) > 1 and vocabulary.spelling[number].isalpha() and centred[number].any()
    ]

    def vector_of(word: str) -> Floats | None:
        # With a space before it, as in the middle of a text.
        ids = [number for number in tokenizer(f" {word}", add_special_tokens=False)["input_ids"] if number < size]
        mean = centred[ids].mean(axis=0, keepdims=True) if ids else np.zeros((1, 1), dtype=np.float32)
        return _of_length_one(mean)[0] if mean.any() else None

    spelling = [vocabulary.spelling[number] for number in chosen]
    return WordVectors(spelling, _of_length_one(centred[chosen]), vector_of)


def _of_length_one(matrix: Floats) -> Floats:
    result: Floats = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return result
