"""Candidates of all texts on disk, in shards that a killed run keeps, and in memory as one compact table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bertpress.files import new_file

TEXTS = 256
"""texts in a shard"""


@dataclass(frozen=True)
class Slot:
    """An eligible word of a text and its candidates; None: those of the word vectors."""

    start: int
    end: int
    candidates: Sequence[str] | None


def shard_path(folder: Path, index: int) -> Path:
    """The file of a shard."""
    return folder / f"{index:06d}.parquet"


def shard_texts(texts: Sequence[str], index: int) -> Sequence[str]:
    """The texts of a shard."""
    return texts[index * TEXTS : (index + 1) * TEXTS]


def shard_count(texts: Sequence[str]) -> int:
    """Number of shards."""
    return -(-len(texts) // TEXTS)


def write_shard(path: Path, slots: Sequence[Sequence[Slot]]) -> None:
    """Write the slots of each text of a shard in one step."""
    import pyarrow
    import pyarrow.parquet

    flat = [(number, slot) for number, own in enumerate(slots) for slot in own]
    columns = {
        "text": pyarrow.array([number for number, _ in flat], pyarrow.int32()),
        "start": pyarrow.array([slot.start for _, slot in flat], pyarrow.int32()),
        "end": pyarrow.array([slot.end for _, slot in flat], pyarrow.int32()),
        "candidates": pyarrow.array([slot.candidates for _, slot in flat], pyarrow.list_(pyarrow.string())),
    }
    with new_file(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(columns), temporary, compression="zstd")


@dataclass(frozen=True)
class CandidateTable:
    """The slots of all texts; each candidate is the number of a spelling, so that millions of words fit in memory."""

    texts: Sequence[str]
    first: NDArray[np.int64]  # (texts + 1,): where the slots of a text begin
    places: NDArray[np.int32]  # (slots, 2): start and end
    offsets: NDArray[np.int64]  # (slots + 1,): where the candidates of a slot begin
    spellings: Sequence[str]
    numbers: NDArray[np.int32]
    by_vectors: NDArray[np.bool_]  # (slots,)
    neighbours: Mapping[str, Sequence[str]]
    """candidates of the words that the word vectors were asked for"""

    def slots_of(self, text: int) -> list[tuple[int, int, Sequence[str]]]:
        """Start, end and candidates of each eligible word of a text."""
        found: list[tuple[int, int, Sequence[str]]] = []
        for slot in range(self.first[text], self.first[text + 1]):
            start, end = self.places[slot].tolist()
            if self.by_vectors[slot]:
                candidates = self.neighbours.get(self.texts[text][start:end], ())
            else:
                numbers = self.numbers[self.offsets[slot] : self.offsets[slot + 1]].tolist()
                candidates = [self.spellings[number] for number in numbers]
            found.append((start, end, candidates))
        return found

    def asked_of_vectors(self) -> list[str]:
        """The different words that the word vectors are asked for."""
        owners = np.repeat(np.arange(len(self.texts)), np.diff(self.first))
        chosen = np.flatnonzero(self.by_vectors)
        places = zip(owners[chosen].tolist(), self.places[chosen].tolist(), strict=True)
        return list(dict.fromkeys(self.texts[text][start:end] for text, (start, end) in places))


def read_shards(folder: Path, texts: Sequence[str]) -> CandidateTable:
    """All shards of `folder`, without neighbours."""
    spellings: dict[str, int] = {}
    counts, places, lengths, numbers, by_vectors = (list[NDArray[np.int64]]() for _ in range(5))
    for index in range(shard_count(texts)):
        size = len(shard_texts(texts, index))
        shard = _read_shard(shard_path(folder, index), spellings)
        counts.append(np.bincount(shard["text"], minlength=size))
        places.append(np.stack([shard["start"], shard["end"]], axis=1))
        lengths.append(shard["length"])
        numbers.append(shard["numbers"])
        by_vectors.append(shard["by_vectors"])
    return CandidateTable(
        texts=texts,
        first=_begins(counts),
        places=np.concatenate(places).astype(np.int32),
        offsets=_begins(lengths),
        spellings=list(spellings),
        numbers=np.concatenate(numbers).astype(np.int32),
        by_vectors=np.concatenate(by_vectors).astype(bool),
        neighbours={},
    )


def _begins(lengths: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    begins: NDArray[np.int64] = np.concatenate([[0], np.cumsum(np.concatenate(list(lengths)))]).astype(np.int64)
    return begins


def _read_shard(path: Path, spellings: dict[str, int]) -> dict[str, NDArray[np.int64]]:
    """The columns of a shard; `spellings` gets the new ones."""
    import pyarrow.parquet

    table = pyarrow.parquet.ParquetFile(path).read()
    candidates = table["candidates"].combine_chunks()
    own = candidates.flatten().dictionary_encode()
    known = [spellings.setdefault(word, len(spellings)) for word in own.dictionary.to_pylist()]
    lengths = candidates.value_lengths().fill_null(0)
    return {
        **{name: table[name].to_numpy() for name in ("text", "start", "end")},
        "length": lengths.to_numpy(zero_copy_only=False),
        "numbers": np.asarray(known, dtype=np.int32)[own.indices.to_numpy(zero_copy_only=False)],
        "by_vectors": candidates.is_null().to_numpy(zero_copy_only=False),
    }


def missing_shards(folder: Path, count: int, share: int, shares: int) -> Iterator[int]:
    """The shards of one of several processes that are not on disk yet."""
    return (index for index in range(share, count, shares) if not shard_path(folder, index).is_file())
