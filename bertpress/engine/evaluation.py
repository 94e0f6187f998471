"""A model's answers to a whole split, batched by length; the one path for checkpoints, `evaluate` and `predict`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bertpress.engine.kernels import fastest_kernels
from bertpress.engine.length_batches import gathered, longest_of_group
from bertpress.tasks.rows import groups_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.tasks.rows import Rows
    from bertpress.tasks.task import Task


def pieces_of(lengths: np.ndarray, size: int, groups: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Numbers of rows by length, in pieces of at most `size`.

    Args:
        lengths: (rows,) tokens of each.
        groups: (rows,) rows with equal numbers come into a piece together, and a piece holds one group at least.
    """
    if groups is None:
        order = np.argsort(lengths, kind="stable")
        yield from (order[start : start + size] for start in range(0, len(order), size))
        return
    order = np.lexsort((groups, longest_of_group(lengths, groups)))
    borders = borders_of(groups[order])
    start = 0
    for end, following in pairwise([*borders.tolist(), len(order) + size + 1]):
        if following - start > size:
            yield order[start:end]
            start = end


def borders_of(groups: np.ndarray) -> np.ndarray:
    """Behind which of rows that stand side by side by their group each group ends, counted from 1."""
    return np.flatnonzero(np.diff(groups, append=-1)) + 1


def side_by_side(order: np.ndarray, groups: np.ndarray, ends: Sequence[int]) -> tuple[np.ndarray, list[int]]:
    """An order in which the rows of each group follow each other, and ends moved up to where a group ends.

    Args:
        order: rows; groups come in the order of their first ones.
        groups: number of the group of each row.
    """
    order = gathered(order, groups)
    borders = borders_of(groups[order])
    return order, sorted({int(borders[np.searchsorted(borders, end)]) for end in ends})


def batches_by_length(
    task: Task, encoded: Rows, device: torch.device, batch_size: int = 64
) -> Iterator[tuple[np.ndarray, dict[str, torch.Tensor]]]:
    """All rows of `encoded` in batches of similar length, so that little padding is computed: (numbers, batch)."""
    groups = groups_of(encoded, task.together)
    for chosen in pieces_of(np.asarray(encoded["length"][:]), batch_size, groups):
        rows = encoded[chosen.tolist()]
        batch = task.collate([dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)])
        yield chosen, {name: value.to(device) for name, value in batch.items()}


def collect_logits(
    forward: Callable[[Mapping[str, Any]], torch.Tensor],
    task: Task,
    encoded: Rows,
    device: torch.device,
    batch_size: int = 64,
) -> np.ndarray:
    """What `forward` gives of every row of `encoded`, in its order, shape (rows, width), float32."""
    numbers, pieces = [], []
    with torch.inference_mode(), fastest_kernels(device):
        for chosen, batch in batches_by_length(task, encoded, device, batch_size):
            numbers.append(chosen)
            pieces.append(forward(batch).float().cpu().numpy())
    ordered = np.concatenate(pieces)
    result = np.empty_like(ordered)
    result[np.concatenate(numbers)] = ordered
    return result


def logits_of(
    model: PreTrainedModel,
    task: Task,
    encoded: Rows,
    forward: Callable[[PreTrainedModel, Mapping[str, Any]], Any] | None = None,
) -> np.ndarray:
    """What the task condenses a model's outputs to (the logits, if it is not more than these), in eval mode.

    Args:
        forward: in place of the task's, with the same outputs.
    """
    run = forward or task.forward
    model.eval()
    return collect_logits(lambda batch: task.condense(run(model, batch), batch), task, encoded, model.device)


def mean_tokens(task: Task) -> int:
    """Mean length of the dev split, special tokens included, rounded."""
    lengths = task.encoded(task.dev_split)["length"][:]
    return max(1, int(np.mean(lengths) + 0.5))
