"""Which sums of costs the options of some slots can reach, and draws of options that reach wanted ones.

Costs are added slot by slot, equal sums become one. So the number of ways to a sum, or their probability, is a sum over
few numbers, and walking a table of them backwards draws one of the ways, exactly as probable as it is among all of
those. In BERT-base a table has at most 2,625 sums, for any number of costs that are linear in heads and widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
MOST_SUMS = 20_000
BINS = 1000
UNLIMITED = int(np.iinfo(np.int64).max)


def pick(weights: Floats, numbers: Floats) -> Numbers:
    """Options by inverse CDF, one for each of `numbers` in [0, 1); none has weight 0, whatever round-off does.

    Args:
        weights: (options,) for all, or (draws, options).
    """
    sums = np.cumsum(weights, axis=-1)
    marks = numbers * sums[..., -1]
    last = weights.shape[-1] - 1 - np.argmax(weights[..., ::-1] > 0, axis=-1)
    if weights.ndim == 1:
        return np.asarray(np.minimum(np.searchsorted(sums, marks, side="right"), last))
    return np.asarray(np.minimum((sums <= marks[:, None]).sum(-1), last))


@dataclass(frozen=True)
class Sums:
    """The sums that slots can reach together, and from where."""

    reached: Numbers
    """(sums, costs) after the last slot"""
    sources: tuple[Numbers, ...]
    """for each slot, (sums after it, options): the number of the sum before it; -1 where there is none"""

    @classmethod
    def of(cls, slots: Sequence[Numbers], most: Sequence[int]) -> Sums | None:
        """All sums that are never above `most`, one number for each cost; None if they are too many.

        Args:
            slots: for each (options, costs), none negative where `most` limits anything.
        """
        sums, sources = np.zeros((1, len(most)), np.int64), []
        for costs in slots:
            grown = (sums[:, None] + costs).reshape(len(sums) * len(costs), len(most))
            kept = np.flatnonzero((grown <= np.array(most, np.int64)).all(1))
            _, first, numbers = np.unique(_keys(grown[kept]), return_index=True, return_inverse=True)
            if len(first) > MOST_SUMS:
                return None
            source = np.full((len(first), len(costs)), -1)
            source[numbers, kept % len(costs)] = kept // len(costs)
            sums = grown[kept[first]]
            sources.append(source)
        return cls(sums, tuple(sources))

    def weigh(self, rows: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Before each slot and after the last, the weight of all ways to each sum; behind them a 0, for no way.

        Args:
            rows: for each slot the weights of its options; ones that are integers of Python count ways exactly.
        """
        weights = [np.array([1, 0], dtype=rows[0].dtype)]
        for source, row in zip(self.sources, rows, strict=True):
            weights.append(np.append((weights[-1][source] * row).sum(1), weights[0][1:]))
        return weights

    def walk(self, rows: Sequence[Floats], weights: Sequence[Floats], ends: Floats, numbers: Floats) -> Numbers:
        """(draws, slots): options on the way to a sum that is drawn by `ends`, the weights of all sums.

        Args:
            weights: what `weigh` makes of `rows`.
            numbers: (draws, slots + 1) in [0, 1).
        """
        options = np.empty((len(numbers), len(rows)), np.int64)
        sums = pick(ends, numbers[:, -1])
        for slot in reversed(range(len(rows))):
            before = self.sources[slot][sums]
            options[:, slot] = pick(rows[slot] * weights[slot][before], numbers[:, slot])
            sums = before[np.arange(len(sums)), options[:, slot]]
        return options


def _keys(rows: Numbers) -> Numbers:
    """A number for each row, the same for equal rows."""
    keys = rows[:, 0] if rows.shape[1] else np.zeros(len(rows), np.int64)
    for column in range(1, rows.shape[1]):
        _, keys = np.unique(keys, return_inverse=True)
        values, ranks = np.unique(rows[:, column], return_inverse=True)
        keys = keys * len(values) + ranks
    return keys


@dataclass(frozen=True)
class Form:
    """A cost as whole numbers: ``offset + unit * number`` is the cost, or a little more where it is rounded."""

    slots: tuple[Numbers, ...]
    """for each slot what its options cost"""
    offset: float
    unit: float
    most: int
    """the limit, if it does not depend on it later"""
    exact: bool

    @classmethod
    def whole(cls, costs: Sequence[NDArray[Any]], fixed: float) -> Form:
        """An integral cost as it is."""
        return cls(tuple(each.astype(np.int64) for each in costs), round(fixed), 1, UNLIMITED, True)

    @classmethod
    def rounded(cls, costs: Sequence[NDArray[Any]], fixed: float, high: float) -> Form:
        """What is above the smallest, rounded up to thousandths of the room that the limit `high` leaves there."""
        least, largest = (fixed + sum(float(end) for end in ends) for ends in zip(*map(_ends, costs), strict=True))
        limit = min(high, largest)
        room = limit + 1e-9 * abs(limit) - least
        unit = room / BINS if room > 0 else 1.0
        numbers = tuple(np.ceil(np.minimum((each - each.min()) / unit, BINS + 1)).astype(np.int64) for each in costs)
        most = UNLIMITED if high >= largest else BINS if room > 0 else -1
        return cls(numbers, least, unit, most, False)

    def totals(self, numbers: Numbers) -> NDArray[Any]:
        """Sums of its numbers as costs; whole ones stay whole."""
        return np.asarray(self.offset + self.unit * numbers)


def _ends(costs: NDArray[Any]) -> tuple[float, float]:
    return costs.min(), costs.max()
