"""Sentences into the files of a store, tokenised in batches."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate, chain
from pathlib import Path
from typing import IO, Any

import numpy as np

Say = Callable[[str], None]
BATCH_LINES, BATCH_CHARACTERS = 1000, 200_000
SECONDS_BETWEEN_REMARKS = 30.0


@contextmanager
def every_thread() -> Iterator[None]:
    """Let the tokenizers library use all threads, which is switched off elsewhere because of processes that fork."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


class Writer:
    """Tokenises sentences in batches and appends them to the files of a store."""

    def __init__(self, folder: Path, backend: Any, dtype: str, say: Say) -> None:
        self.backend, self.dtype, self.say = backend, np.dtype(dtype), say
        self.files: dict[str, IO[bytes]] = {
            name: (folder / f"{name}.bin").open("wb") for name in ("tokens", "sentences", "documents")
        }
        self.tokens = self.sentences = self.documents = self.characters = 0
        self._document_end = 0
        self._began = self._reported = time.perf_counter()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self.files.values():
            file.close()

    def write(self, lines: Iterator[str | None]) -> None:
        """Append the sentences of a file, whose end also ends a document."""
        texts: list[str] = []
        breaks: list[int] = []  # how many texts of the batch precede each boundary
        characters = 0
        for line in chain(lines, [None]):
            if line is None:
                breaks.append(len(texts))
                continue
            texts.append(line)
            characters += len(line)
            if len(texts) == BATCH_LINES or characters > BATCH_CHARACTERS:
                self._append(texts, breaks, characters)
                texts, breaks, characters = [], [], 0
        self._append(texts, breaks, characters)

    def _append(self, texts: list[str], breaks: list[int], characters: int) -> None:
        with every_thread():
            encoded = self.backend.encode_batch_fast(texts, add_special_tokens=False)
        ids = [entry.ids for entry in encoded]
        filled = list(accumulate((bool(entry) for entry in ids), initial=0))
        ends = self.tokens + np.cumsum([len(entry) for entry in ids if entry], dtype=np.uint64)
        for place in breaks:
            if self.sentences + filled[place] > self._document_end:
                self._document_end = self.sentences + filled[place]
                self.documents += 1
                self._put("documents", np.array([self._document_end], np.uint64))
        self._put("tokens", np.fromiter(chain.from_iterable(ids), self.dtype))
        self._put("sentences", ends)
        self.sentences += len(ends)
        self.tokens = int(ends[-1]) if len(ends) else self.tokens
        self.characters += characters
        if time.perf_counter() - self._reported > SECONDS_BETWEEN_REMARKS:
            self.report("Tokenising: so far")

    def _put(self, name: str, numbers: np.ndarray) -> None:
        self.files[name].write(numbers.tobytes())

    def report(self, begin: str) -> None:
        """Say how far it is and how fast it goes."""
        self._reported = time.perf_counter()
        speed = self.characters / max(1e-9, self._reported - self._began) / 1e6
        self.say(
            f"{begin} {self.characters / 1e6:.1f} million characters ({speed:.1f} million a second): {self.tokens:,} "
            f"tokens, {self.sentences:,} lines, {self.documents:,} documents."
        )
