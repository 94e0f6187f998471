"""Which rows of a batch belong to one question, and are compared with each other.

A batch may hold a row several times, once for each way in which it is read; rows that are read in different ways are
not compared.
"""

from __future__ import annotations

import torch
from torch import Tensor


def questions_of(records: Tensor, rows: Tensor) -> Tensor:
    """The number of the question of each row of a batch, counted from 0, (batch,).

    Args:
        records: number of the question of each row in its data, (batch,).
        rows: number of each row, (batch,).
    """
    found: Tensor = torch.unique(torch.stack([records, _copies(rows)], dim=1), dim=0, return_inverse=True)[1]
    return found


def same_question(records: Tensor, rows: Tensor) -> Tensor:
    """True for two rows of one question, (batch, batch); arguments as for `questions_of`."""
    copies = _copies(rows)
    return (records[:, None] == records) & (copies[:, None] == copies)


def _copies(rows: Tensor) -> Tensor:
    """How often each row came before in the batch, (batch,)."""
    return (rows[:, None] == rows).tril(-1).sum(dim=1)
