"""Arrays in files, read piece by piece: what is read does not stay in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np


class DiskArray:
    """A one-dimensional array that stays in its file; `pread` keeps it out of memory, which a memory map would not.

    It can be pickled and forked: reading moves no position that processes could share.

    Args:
        path: the file, nothing but the numbers.
        dtype: their type, such as "uint16", or that of records.
        ahead: at least so many numbers are read at once and kept, for readers that go forward.
    """

    def __init__(self, path: Path, dtype: str | np.dtype, ahead: int = 0) -> None:
        self.path, self.dtype, self.ahead = path, np.dtype(dtype), ahead
        self._length = path.stat().st_size // self.dtype.itemsize
        self._descriptor: int | None = None
        self._start, self._block = 0, np.empty(0, self.dtype)

    def __len__(self) -> int:
        return self._length

    def read(self, first: int, last: int) -> np.ndarray:
        """The numbers `first` to `last` (exclusive); the caller must not change them."""
        if not 0 <= first <= last <= len(self):
            raise IndexError(f"{first}:{last} is not within the {len(self)} numbers of {self.path}")
        if not self.ahead:
            return self._fetch(first, last)
        if first < self._start or last > self._start + len(self._block):
            self._start, self._block = first, self._fetch(first, min(max(last, first + self.ahead), len(self)))
        return self._block[first - self._start : last - self._start]

    def before(self, index: int) -> int:
        """The number before `index`, 0 at the beginning: where entry `index` starts, if these are ends."""
        return int(self.read(index - 1, index)[0]) if index else 0

    def _fetch(self, first: int, last: int) -> np.ndarray:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDONLY)
        size = self.dtype.itemsize
        data = os.pread(self._descriptor, (last - first) * size, first * size)
        if len(data) != (last - first) * size:
            raise OSError(f"{self.path} ends early; delete its folder and make it anew")
        return np.frombuffer(data, self.dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_descriptor": None, "_start": 0, "_block": np.empty(0, self.dtype)}

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            os.close(self._descriptor)  # type: ignore[arg-type]


class Ends:
    """Which entry holds a position, where a `DiskArray` has the (growing) ends of entries; few of them are kept."""

    def __init__(self, ends: DiskArray) -> None:
        self.ends = ends
        self.step = max(1, len(ends) // 4096)
        last = range(self.step - 1, len(ends), self.step)
        self.coarse = np.array([ends.read(index, index + 1)[0] for index in last], dtype=np.uint64)

    def find(self, position: int) -> int:
        """The index of the entry that holds `position`."""
        start = int(np.searchsorted(self.coarse, position, side="right")) * self.step
        block = self.ends.read(start, min(start + self.step, len(self.ends)))
        return start + int(np.searchsorted(block, position, side="right"))
