"""The rows that a search looks at: taken from the training rows, so that no result is reported on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bertpress.errors import RequestError

if TYPE_CHECKING:
    from bertpress.methods.yoco import Search
    from bertpress.tasks.task import Task

SPLIT = "search"
"""What the split of rows held out is called."""
FEW, MOST = 5000, 5000
"""Of fewer training rows than FEW a fifth is held out, else a tenth; never more than MOST."""


def held_out_rows(rows: int, share: float | None) -> int:
    """How many of so many training records a search holds out."""
    wanted = rows * (share or (0.2 if rows < FEW else 0.1))
    return min(MOST, max(1, round(wanted)))


def divide(search: Search, task: Task, seed: int) -> tuple[Task, str]:
    """The task without the rows of the search among its training rows, and the name of the split that has them.

    Raises:
        RequestError: a split that there is not or that results are reported on, or too few training rows.
    """
    if search.split is not None:
        return _named(search.split, task)
    rows = len(task.splits["train"])
    held = held_out_rows(rows, search.held_out)
    if held >= rows:
        raise RequestError(f"The search holds {held} of {rows} training rows out, so none is left; lower held_out.")
    order = np.random.default_rng((seed, rows)).permutation(rows)
    return task.divided({SPLIT: np.sort(order[:held]).tolist(), "train": np.sort(order[held:]).tolist()}), SPLIT


def _named(split: str, task: Task) -> tuple[Task, str]:
    if split not in task.splits:
        raise RequestError(f"search.split: {task.name} has no split '{split}'; it has {', '.join(task.splits)}.")
    if split == "train" or split in task.scored_splits():
        raise RequestError(
            f"search.split: '{split}' is a split that is trained or reported on; leave it out, and training rows are "
            "held out for the search."
        )
    return task, split
