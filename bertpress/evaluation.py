"""A model's answers to a whole split, batched by length; the one path for checkpoints, `evaluate` and `predict`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bertpress.kernels import fastest_kernels

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.tasks.task import Rows, Task


def collect_logits(
    forward: Callable[[Mapping[str, Any]], torch.Tensor],
    task: Task,
    encoded: Rows,
    device: torch.device,
    batch_size: int = 64,
) -> np.ndarray:
    """What `forward` gives of every row of `encoded`, in its order, shape (rows, width), float32.

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


def logits_of(model: PreTrainedModel, task: Task, encoded: Rows) -> np.ndarray:
    """What the task condenses a model's outputs to (the logits, if it is not more than these), in eval mode."""
    model.eval()
    return collect_logits(lambda batch: task.condense(task.forward(model, batch), batch), task, encoded, model.device)
