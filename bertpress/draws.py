"""Random numbers per example that depend on nothing but a key, the example's row and their place.

So a batch's composition, its padding, the number of processes and a restart change nothing, and no generator has to be
saved. The numbers are those of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
2014), one stream per row, which start at a hash of key and row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STRIDE, _WHOLE = 0x9E3779B97F4A7C15, 2**64 - 1


def uniform(key: Sequence[int], rows: Sequence[int] | NDArray[np.integer], count: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), shape (rows, count).

    Args:
        key: numbers from 0 to 2^64 - 1, such as seed, epoch and what is drawn.
        rows: number of each example.
        count: how many; the first ones are the same for any count.
    """
    state = 0  # a plain integer: several times faster than arrays of one
    for number in key:
        state = _mixed((state ^ number) + _STRIDE & _WHOLE)
    starts = _mixed((np.asarray(rows).astype(np.uint64) ^ np.uint64(state)) + np.uint64(_STRIDE))
    places = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_STRIDE)
    bits: NDArray[np.uint64] = _mixed(starts[:, None] + places)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(bits: Any) -> Any:
    """SplitMix64's output function, of one number or of many (uint64)."""
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 & _WHOLE
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB & _WHOLE
    return bits ^ (bits >> 31)
