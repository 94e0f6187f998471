"""Rows in columns, and some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, overload

import numpy as np


class Rows(Protocol):
    """Rows in columns, wherever they lie; a `datasets.Dataset` is one.

    Encoded rows have `input_ids` (special tokens included, no padding), `length`, `row` (their number, which
    determines what is drawn for them) and whatever else their task puts into a batch. A column is sliced, `[:]`, where
    all of it is wanted: that of a Dataset is decoded row by row otherwise, a hundred times as slowly.
    """

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, key: str) -> Sequence[Any]: ...

    @overload
    def __getitem__(self, key: int) -> Mapping[str, Any]: ...

    @overload
    def __getitem__(self, key: list[int]) -> Mapping[str, Sequence[Any]]: ...


class SomeRows:
    """Some of other rows, in the order in which they are named, read when they are asked for."""

    def __init__(self, rows: Rows, numbers: Sequence[int]) -> None:
        self.rows, self.numbers = rows, np.asarray(numbers, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            column = self.rows[key][:]
            if isinstance(column, np.ndarray):
                return column[self.numbers]
            return [column[number] for number in self.numbers.tolist()]
        if isinstance(key, int | np.integer):
            return self.rows[int(self.numbers[key])]
        return self.rows[self.numbers[key].tolist()]

    def __getitems__(self, places: Sequence[int]) -> list[Mapping[str, Any]]:
        """Several rows; what a DataLoader asks for."""
        return [self[int(place)] for place in places]


def groups_of(encoded: Rows, together: str | None) -> np.ndarray | None:
    """(rows,) of the column by which equal rows belong together, or None where there is no such column."""
    return None if together is None else np.asarray(encoded[together][:])
