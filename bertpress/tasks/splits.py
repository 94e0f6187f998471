"""Which rows stand in which split: limits."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bertpress.errors import RequestError, nearest

if TYPE_CHECKING:
    from datasets import Dataset


def limit(splits: Mapping[str, Dataset], sizes: Mapping[str, int], seed: int) -> dict[str, Dataset]:
    """The splits, those in `sizes` cut to that many rows: a random subset in the order of the file."""
    limited = dict(splits)
    for split, size in sizes.items():
        if split not in splits:
            raise RequestError(f"Expected a split to limit, got '{split}'{nearest(split, list(splits))}: name a split.")
        if size < 1:
            raise RequestError(f"Expected at least 1 row for '{split}', got {size}: give a positive limit.")
        rows = len(splits[split])
        if size < rows:
            limited[split] = splits[split].select(sorted(random.Random(f"{seed} {split}").sample(range(rows), size)))
    return limited
