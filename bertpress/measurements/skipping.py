"""What a model that skips tokens computes of real rows, and what the same rows would cost if it skipped none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


OWN = "start."
"""What the names of tensors begin with that the start model alone reads."""


@dataclass(frozen=True)
class Counts:
    """Tokens of the rows of a batch."""

    width: int
    """with padding"""
    lengths: tuple[int, ...]
    kept: tuple[tuple[int, ...], ...]
    """of each row, those that went on at each decision; none of a model without decisions"""


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
    config: PretrainedConfig,
    plain: PretrainedConfig,
    batches: Sequence[Counts],
    task: Task,
    before: Sequence[Counts] | None = None,
    rows: float = 1.0,
) -> dict[str, float]:
    """Ratios of multiply-adds: of all tokens to those kept, and of what both really compute in these batches.

    Args:
        before: the same texts as the start model reads them, where its vocabulary is another.
        rows: how many rows hold for the start model what one holds for this one.
    """
    asked: Any = {"head": task.head, "positions": task.positions}
    read = batches if before is None else before
    full = rows * sum(cost.ideal_macs(plain, batch.lengths, **asked) for batch in read)
    ideal = sum(cost.ideal_macs(config, batch.lengths, batch.kept, **asked) for batch in batches)
    padded = rows * sum(
        cost.executed_macs(plain, batch.lengths, width=batch.width, backend="padded", **asked) for batch in read
    )
    executed = sum(
        cost.executed_macs(config, batch.lengths, batch.kept, width=batch.width, **asked) for batch in batches
    )
    return {"theoretical_speedup": full / ideal, "executed_speedup": padded / executed}


def over_split(
    model: PreTrainedModel, plain: PretrainedConfig, task: Task, counting: Counting, before: Task | None = None
) -> dict[str, Any]:
    """The mean multiply-adds of a row of the development split, and how many of its tokens are kept.

    Args:
        counting: has seen the split, or nothing, in which case it is run.
        before: the task as the start model reads it, where its vocabulary is another.

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
        **speedups(model.config, plain, counting.batches, task, None if before is None else list(_lengths(before))),
    }


def _lengths(task: Task) -> Iterator[Counts]:
    """The development split in the batches in which it is scored."""
    for _, batch in batches_by_length(task, task.encoded(task.dev_split), torch.device("cpu")):
        yield _counts(batch["attention_mask"])


def _counts(mask: Tensor) -> Counts:
    return Counts(mask.shape[-1], tuple(mask.flatten(0, -2).sum(1).tolist()), ())


def annotate(
    rows: Sequence[dict[str, Any]],
    model: PreTrainedModel,
    plain: PretrainedConfig,
    task: Task,
    batches: Mapping[int, Sequence[Mapping[str, Tensor]]],
    start_rows: float = 1.0,
) -> None:
    """Add to rows of measured latency the speed-ups by multiply-adds on the batches that were timed.

    Args:
        batches: by their size; what the start model reads in its own way lies in them under names of their own.
        start_rows: how many rows hold for the start model what one holds for this one.
    """
    mask = f"{OWN}attention_mask"
    model.eval()
    for row in rows:
        counting = Counting(task)
        with torch.inference_mode():
            for batch in batches[row["batch"]]:
                counting(model, batch)
        before = [_counts(batch[mask]) for batch in batches[row["batch"]] if mask in batch] or None
        row.update(speedups(model.config, plain, counting.batches, task, before, start_rows))
