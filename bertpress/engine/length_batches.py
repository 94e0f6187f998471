"""The order of rows in training: batches of similar length, drawn by seed and epoch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


def longest_of_group(lengths: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(rows,) of each row the largest length in its group.

    Args:
        lengths: (rows,) tokens of each.
        groups: (rows,) number of the group of each.
    """
    numbers, group = np.unique(groups, return_inverse=True)
    longest = np.zeros(len(numbers), dtype=lengths.dtype)
    np.maximum.at(longest, group, lengths)
    return longest[group]


def gathered(order: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """An order in which the rows of each group follow the first one.

    Args:
        order: rows.
        groups: number of the group of each row.
    """
    _, first, group = np.unique(groups[order], return_index=True, return_inverse=True)
    return order[np.argsort(first[group], kind="stable")]


class LengthBatches(Sampler[int]):
    """Row numbers in an order that puts rows of similar length into the same global batch.

    A pure function of (seed, epoch): rows are shuffled, sorted by length within pools of 50 batches, cut into batches,
    and the batches shuffled; an incomplete batch comes last.

    Args:
        groups: number of the group of each row; the rows of a group stay side by side, as long as its longest, and
            groups are put so that as few as can be lie across the border of two batches of one process.
        batch: rows of a batch of one process; default the global batch.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        global_batch: int,
        seed: int,
        groups: Sequence[int] | np.ndarray | None = None,
        batch: int | None = None,
    ) -> None:
        self.batch = batch or global_batch
        self.lengths, self.global_batch, self.seed, self.epoch = np.asarray(lengths), global_batch, seed, 0
        self.groups: np.ndarray | None = None
        if groups is not None:
            self.groups = np.asarray(groups)
            self.lengths = longest_of_group(self.lengths, self.groups)

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of that pass over the data."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng((self.seed, self.epoch))
        small = np.int32 if len(self.lengths) < 1 << 31 else np.int64
        order = generator.permutation(np.arange(len(self.lengths), dtype=small))
        if self.groups is not None:
            order = gathered(order, self.groups)
        whole = len(order) - len(order) % self.global_batch
        pool = 50 * self.global_batch
        for start in range(0, whole, pool):
            piece = order[start : min(start + pool, whole)]
            piece[:] = piece[np.argsort(self.lengths[piece], kind="stable")]
        if self.groups is not None:
            order = self._whole_groups(order)
        for batch in generator.permutation(np.arange(whole // self.global_batch, dtype=small)):
            yield from order[batch * self.global_batch : (batch + 1) * self.global_batch].tolist()
        yield from order[whole:].tolist()

    def _whole_groups(self, order: np.ndarray) -> np.ndarray:
        """The rows with their groups in the order in which they fill batches."""
        assert self.groups is not None
        _, first, group = np.unique(self.groups[order], return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))[group]  # of each row's group, by its first row
        members = np.split(order[np.argsort(rank, kind="stable")], np.cumsum(np.bincount(rank))[:-1])
        return np.concatenate([members[number] for number in filling([*map(len, members)], self.batch)])


def filling(sizes: Sequence[int], room: int) -> list[int]:
    """An order of groups of these sizes, near the given one, in which they fill batches of `room` rows.

    The next group is the first one that leaves room which others can fill; where none does, one is cut by the border.
    """
    waiting: dict[int, deque[int]] = {}
    for number, size in enumerate(sizes):
        waiting.setdefault(size, deque()).append(number)
    can_be_filled = [True]
    for space in range(1, room + 1):
        can_be_filled.append(any(size <= space and can_be_filled[space - size] for size in waiting))
    order, left = [], room
    while waiting:
        fitting = [size for size in waiting if size <= left and can_be_filled[left - size]] or list(waiting)
        size = min(fitting, key=lambda size: waiting[size][0])
        order.append(waiting[size].popleft())
        if not waiting[size]:
            del waiting[size]
        left = (left - size) % room or room
    return order
