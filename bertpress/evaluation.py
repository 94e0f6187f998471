"""Logits of a whole split, batched by length; the one path for checkpoints, `bertpress evaluate` and `predict`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bertpress.kernels import fastest_kernels

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from bertpress.tasks.task import Task


def collect_logits(
    forward: Callable[[Mapping[str, Any]], torch.Tensor],
    task: Task,
    encoded: Dataset,
    device: torch.device,
    batch_size: int = 64,
) -> np.ndarray:
    """Logits of every row of `encoded`, in its order, shape (rows, outputs), float32.

    Rows of similar length share a batch, so that little padding is computed.
    """
    order = np.argsort(np.asarray(encoded["length"]), kind="stable")
    pieces = []
    with torch.inference_mode(), fastest_kernels(device):
        for start in range(0, len(order), batch_size):
            rows = encoded[order[start : start + batch_size].tolist()]
            batch = task.collate([dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)])
            logits = forward({name: value.to(device) for name, value in batch.items()})
            pieces.append(logits.float().cpu().numpy())
    ordered = np.concatenate(pieces)
    result = np.empty_like(ordered)
    result[order] = ordered
    return result


def logits_of(model: PreTrainedModel, task: Task, encoded: Dataset) -> np.ndarray:
    """`collect_logits` of a model with a head, in eval mode."""
    model.eval()

    def forward(batch: Mapping[str, Any]) -> torch.Tensor:
        logits: torch.Tensor = model(**{name: batch[name] for name in task.inputs if name in batch}).logits
        return logits

    return collect_logits(forward, task, encoded, model.device)
