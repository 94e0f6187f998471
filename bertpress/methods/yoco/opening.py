"""The original's progressive phases: the space opens one option at a time.

Source: arXiv 2106.02435, figure 1: first heads, then inner widths, then depth, the largest option first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bertpress.errors import RequestError
from bertpress.methods.yoco.space import UNUSED, Choice, Space

Floats = NDArray[np.float64]


def phases(space: Space, progression: Sequence[str]) -> list[Space]:
    """The space as it is in each phase; kinds of options that `progression` leaves out are open from the start."""
    counts = {
        "heads": max(len({heads for heads, _ in pairs}) for pairs in space.options),
        "widths": max(len({width for _, width in pairs}) for pairs in space.options),
        "depth": len(space.layer_sets),
    }
    opened = {kind: 1 if kind in progression else count for kind, count in counts.items()}
    found = []
    for kind in progression:
        for count in range(2, counts[kind] + 1):
            opened[kind] = count
            found.append(space.opened(opened["heads"], opened["widths"], opened["depth"]))
    return found or [space]


def phase_at(step: int, total: int, lengths: Sequence[float]) -> int:
    """The phase that a step belongs to, where phases take shares of the run in the ratio of `lengths`."""
    ends = np.cumsum(lengths) / sum(lengths) * total
    return min(int(np.searchsorted(ends, step, side="right")), len(lengths) - 1)


def check_lengths(lengths: Sequence[float] | None, count: int) -> None:
    """Refuse lengths of phases that the space does not have.

    Raises:
        RequestError: names both numbers.
    """
    if lengths is not None and len(lengths) != count:
        raise RequestError(f"phase_lengths: the space opens in {count} phases, got {len(lengths)} lengths.")


def narrowed(theta: Floats, space: Space, part: Space) -> Floats:
    """The distribution over `space` as one over `part` of it: what is closed gets nothing, the rest adds to 1.

    Args:
        theta: (variables, options), with zeros beyond a variable's own.

    Returns:
        the same for `part`, (variables, most options of `part`).
    """
    columns = _columns(space, part)
    result = np.zeros((len(columns), max(map(len, columns))))
    for row, chosen in enumerate(columns):
        result[row, : len(chosen)] = theta[row, chosen] / theta[row, chosen].sum()
    return result


def widened(choice: Choice, space: Space, part: Space) -> Choice:
    """A choice in `part` of a space as one in the whole."""
    return tuple(
        UNUSED if option == UNUSED else chosen[option]
        for option, chosen in zip(choice, _columns(space, part), strict=True)
    )


def _columns(space: Space, part: Space) -> list[list[int]]:
    """For each variable, the place in `space` of each option of `part`."""
    depths = [space.layer_sets.index(layers) for layers in part.layer_sets]
    slots = zip(space.options, part.options, strict=True)
    return [depths, *([whole.index(pair) for pair in pairs] for whole, pairs in slots)]
