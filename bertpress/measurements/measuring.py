"""What a finished model is measured by: scores of every development split, parameters, MACs, size and latency."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.costs import cost, latency
from bertpress.encoders import encoder_of
from bertpress.encoders.compact import without_decisions
from bertpress.engine.evaluation import mean_tokens
from bertpress.engine.run import save_predictions
from bertpress.measurements.skipping import OWN, Counting, annotate, over_split, plain_config
from bertpress.models import is_reduced, skips_tokens

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from bertpress.recipe import Recipe
    from bertpress.tasks.rows import Rows
    from bertpress.tasks.task import Task

BATCHES = 8
"""Batches of each size that latency is measured on."""


def measured(
    model: PreTrainedModel,
    task: Task,
    folder: Path,
    batch_size: int,
    start: PreTrainedModel | None = None,
    before: Task | None = None,
) -> dict[str, Any]:
    """Predictions into `folder`; metrics and costs as the common part of a result.

    Args:
        batch_size: what latency is measured at beside batch 1.
        start: the model that takes turns with this one.
        before: the task as `start` reads it; default as this one does.
    """
    from bertpress.engine.objective import choose_attention

    if not is_graph(model):
        choose_attention(model, training=False)
    counting = Counting(task) if leaves_out(model) else None
    return {
        "schema": 1,
        "metrics": predicted(model, task, folder, counting),
        "primary_metric": task.primary,
        "kind": task.kind,
        "labels": None if task.labels is None else list(task.labels),
        "positive": task.positive,
        "layers": encoder_of(model.config).depth(model.config),
        "cost": _costs(model, task, batch_size, start, before, counting),
    }


def predicted(
    model: PreTrainedModel, task: Task, folder: Path, counting: Counting | None = None
) -> dict[str, dict[str, float]]:
    """Predictions of every labelled development split into `folder`, and their metrics by split.

    Args:
        counting: watches the main development split.
    """
    from bertpress.engine.evaluation import logits_of

    metrics = {}
    for split in filter(task.has_labels, task.scored_splits()):
        logits = logits_of(model, task, task.encoded(split), counting if split == task.dev_split else None)
        save_predictions(folder, split, task, logits)
        metrics[split] = task.score(logits, split)
    return metrics


def _costs(
    model: PreTrainedModel,
    task: Task,
    batch_size: int,
    start: PreTrainedModel | None,
    before: Task | None,
    counting: Counting | None,
) -> dict[str, Any]:
    parameters = cost.parameters(model.config, head=task.head)
    tokens = mean_tokens(task)
    reduction = (
        {}
        if counting is None
        else over_split(model, plain_config(model, start), task, counting, other_reading(task, before))
    )
    if counting is not None:
        macs = reduction.pop("macs")
    elif is_reduced(model.config):  # a graph that hides tokens: it computes them all, and its decisions
        all_go_on = [[tokens] * len(model.config.token_reduction["layers"])]
        macs = cost.executed_macs(
            model.config, [tokens], all_go_on, backend="masked", head=task.head, positions=task.positions
        )
    else:
        macs = cost.macs(model.config, tokens, head=task.head, positions=task.positions(tokens))
    return {
        "parameters": {"total": parameters.total, "encoder": parameters.encoder},
        "macs": {"tokens": tokens, "value": macs},
        **({"token_reduction": reduction} if reduction else {}),
        "size_bytes": _size(model),
        "latency": timed(model, start, task, batch_size, seconds=3, before=before),
    }


def _size(model: Any) -> int:
    """Bytes of a model's tensors, or of an exported graph's files."""
    if is_graph(model):
        return int(model.size_bytes)
    stored = {value.data_ptr(): value for value in model.state_dict().values()}  # shared ones are saved once
    return sum(value.numel() * value.element_size() for value in stored.values())


def timed(
    model: PreTrainedModel,
    start: PreTrainedModel | None,
    task: Task,
    batch_size: int,
    seconds: float,
    before: Task | None = None,
) -> list[dict[str, Any]]:
    """Rows of measured latency at batch 1 and `batch_size`, set against `start` where there is one.

    Both read the same texts: `start` as the task `before` encodes them, where its vocabulary is another. Long texts may
    then be other numbers of windows for each, so times of `start` are those for as much text as a batch of `model` has.

    A model that skips tokens is also set against itself in the same execution without decisions, which shows what the
    decisions bring and not what leaving out padding does; and its rows say what is to be expected by multiply-adds.
    """
    sizes = (1, batch_size)
    first, second = (model, None) if start is None else (start, model)
    # A graph cannot be run without its decisions.
    undecided = without_decisions(model) if is_reduced(model.config) and not is_graph(model) else None
    forward, more = task.forward, 1.0
    if (before := other_reading(task, before)) is None:
        batches = latency_batches(task, sizes, model.device)
    else:
        batches, more = _batches_for_both(task, before, sizes, model.device)
        forward = _reading_own(task, start)
    how: dict[str, Any] = {"seconds": seconds, "forward": forward, "undecided": undecided, "start_rows": more}
    rows = latency.latency_rows(first, second, batches, **how)
    if undecided is not None:
        annotate(rows, model, plain_config(model, start), task, batches, more)
    return rows


def other_reading(task: Task, before: Task | None) -> Task | None:
    """The task as the start model reads it, if its vocabulary is another."""
    if before is None or before.tokenizer.get_vocab() == task.tokenizer.get_vocab():
        return None
    return before


def is_graph(model: nn.Module) -> bool:
    """True for an exported graph that stands in for a model."""
    from transformers import PreTrainedModel

    return not isinstance(model, PreTrainedModel)


def leaves_out(model: Any) -> bool:
    """True for a model that leaves out the tokens that it skips; a graph in masked execution computes them."""
    if is_graph(model):
        return skips_tokens(model.config) and bool(model.drops)
    return is_reduced(model.config)


def _batches_for_both(
    task: Task, before: Task, sizes: tuple[int, ...], device: Any
) -> tuple[dict[int, list[dict[str, Any]]], float]:
    """Batches that two tasks read in their own ways, and how many rows the second one has for each of the first."""
    ours, theirs = (len(each.encoded(each.dev_split)) for each in (task, before))
    found = {}
    for size in sizes:
        count = max(1, min(BATCHES, min(ours, theirs) // size))
        pairs = zip(*(latency_batches(each, (size,), device, count)[size] for each in (task, before)), strict=True)
        found[size] = [_with_own(*pair) for pair in pairs]
    return found, theirs / ours


def _with_own(batch: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A batch that holds the same texts as another model reads them too."""
    return {**batch, **{OWN + name: value for name, value in own.items()}}


def _reading_own(task: Task, start: PreTrainedModel | None) -> Any:
    """The task's forward pass, in which `start` reads what is its own of a batch."""

    def forward(model: PreTrainedModel, batch: Mapping[str, Any]) -> Any:
        if model is start:
            batch = {name.removeprefix(OWN): value for name, value in batch.items() if name.startswith(OWN)}
        return task.forward(model, batch)

    return forward


def latency_batch(recipe: Recipe) -> int:
    """The batch size of the user's: that of the budget if it has one, else of the last training."""
    if recipe.budget is not None and recipe.budget.batch_size > 1:
        return recipe.budget.batch_size
    last = next((step for step in reversed(recipe.steps) if step.trainings()), recipe.steps[-1])
    return max(2, last.baseline_training().batch_size)


def latency_batches(
    task: Task, sizes: tuple[int, ...], device: Any, count: int = BATCHES, rows: Rows | None = None
) -> dict[int, list[dict[str, Any]]]:
    """Batches of real rows for each batch size, spread evenly over `rows`, by default the dev split, and padded."""
    rows = task.encoded(task.dev_split) if rows is None else rows
    result: dict[int, list[dict[str, Any]]] = {}
    for size in sizes:
        picked = spread(len(rows), size, count, side_by_side=task.together is not None)
        batches = [task.collate([rows[row] for row in chosen]) for chosen in picked]
        result[size] = [{name: value.to(device) for name, value in batch.items()} for batch in batches]
    return result


def padded_tokens(task: Task, size: int) -> int:
    """Mean length of the batches of that size which latency is measured on: of the longest row in each, rounded."""
    lengths: list[int] = list(task.encoded(task.dev_split)["length"][:])
    picked = spread(len(lengths), size, BATCHES, side_by_side=task.together is not None)
    return round(sum(max(lengths[row] for row in chosen) for chosen in picked) / len(picked))


def spread(total: int, size: int, count: int, side_by_side: bool = False) -> list[list[int]]:
    """Numbers of rows of at most `count` batches, spread evenly over all rows.

    Args:
        total: number of rows.
        size: rows of a batch; where there are fewer, they stand in it again.
        side_by_side: the rows of a batch follow each other, as what belongs together does.
    """
    whole = max(1, min(count, total // size))
    if side_by_side:
        starts = [number * total // whole for number in range(whole)]
        return [[place % total for place in range(start, start + size)] for start in starts]
    return [[(index * whole + number) * total // (size * whole) for index in range(size)] for number in range(whole)]
