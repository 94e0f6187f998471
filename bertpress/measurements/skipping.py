"""What a model that skips tokens computes of real rows, and what the same rows would cost if it skipped none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bertpress.costs import cost
from bertpress.encoders.compact import compact_config
from bertpress.engine.evaluation import batches_by_length
from bertpress.models import is_reduced
from bertpress.models.walks import Trace

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from bertpress.tasks.task import Task


@dataclass(frozen=True)
class Counts:
    """Tokens of the rows of a batch."""

    width: int
    """with padding"""
    lengths: tuple[int, ...]
    kept: tuple[tuple[int, ...], ...]
    """of each row, those that went on at each decision"""


class Counting:
    """A task's forward pass of a model that skips tokens, which notes in `batches` how many it kept."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.batches: list[Counts] = []

    def __call__(self, model: PreTrainedModel, batch: Mapping[str, Tensor]) -> Any:
        trace = Trace()
        outputs = self.task.forward(model, batch, trace=trace)
        assert trace.valid is not None
        lengths, kept = trace.valid.sum(1).tolist(), trace.kept().tolist()
        self.batches.append(Counts(trace.valid.shape[1], tuple(lengths), tuple(map(tuple, kept))))
        return outputs


def plain_config(model: PreTrainedModel, start: PreTrainedModel | None) -> PretrainedConfig:
    """What the costs of a model that skips tokens are compared with: `start`, or itself without decisions."""
    if start is None or is_reduced(start.config):
        return compact_config(model.config, token_reduction=None)
    return start.config


def speedups(
    config: PretrainedConfig, plain: PretrainedConfig, batches: Sequence[Counts], task: Task
) -> dict[str, float]:
    """Ratios of multiply-adds: of all tokens to those kept, and of what both really compute in these batches."""
    asked: Any = {"head": task.head, "positions": task.positions}
    full = sum(cost.ideal_macs(plain, batch.lengths, **asked) for batch in batches)
    ideal = sum(cost.ideal_macs(config, batch.lengths, batch.kept, **asked) for batch in batches)
    padded = sum(
        cost.executed_macs(plain, batch.lengths, width=batch.width, backend="padded", **asked) for batch in batches
    )
    executed = sum(
        cost.executed_macs(config, batch.lengths, batch.kept, width=batch.width, **asked) for batch in batches
    )
    return {"theoretical_speedup": full / ideal, "executed_speedup": padded / executed}


def over_split(model: PreTrainedModel, plain: PretrainedConfig, task: Task, counting: Counting) -> dict[str, Any]:
    """The mean multiply-adds of a row of the development split, and how many of its tokens are kept.

    Args:
        counting: has seen the split, or nothing, in which case it is run.

    Returns:
        `macs`; `kept`: for each decision the layer before which it is made, and the share of a row's tokens that goes
        on, its mean and percentiles over rows; and `speedups`.
    """
    if not counting.batches:
        model.eval()
        with torch.inference_mode():
            for _, batch in batches_by_length(task, task.encoded(task.dev_split), model.device):
                counting(model, batch)
    rows = [pair for batch in counting.batches for pair in zip(batch.lengths, batch.kept, strict=True)]
    lengths, kept = zip(*rows, strict=True)
    macs = cost.ideal_macs(model.config, lengths, kept, head=task.head, positions=task.positions)
    shares = np.array(kept) / np.array(lengths)[:, None]
    return {
        "macs": round(macs / len(rows)),
        "kept": [
            {"layer": layer, "mean": float(column.mean())}
            | {f"p{percent}": float(np.percentile(column, percent)) for percent in (5, 50, 95)}
            for layer, column in zip(model.config.token_reduction.get("layers", ()), shares.T, strict=True)
        ],
        **speedups(model.config, plain, counting.batches, task),
    }


def annotate(
    rows: Sequence[dict[str, Any]],
    model: PreTrainedModel,
    plain: PretrainedConfig,
    task: Task,
    batches: Mapping[int, Sequence[Mapping[str, Tensor]]],
) -> None:
    """Add to rows of measured latency the speed-ups by multiply-adds on the batches that were timed."""
    model.eval()
    for row in rows:
        counting = Counting(task)
        with torch.inference_mode():
            for batch in batches[row["batch"]]:
                counting(model, batch)
        row.update(speedups(model.config, plain, counting.batches, task))
