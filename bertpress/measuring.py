"""What a finished model is measured by: scores of every development split, parameters, MACs, size and latency."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress import cost, latency
from bertpress.encoders import encoder_of
from bertpress.run import save_predictions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.recipe import Recipe
    from bertpress.tasks.task import Task


def measured(
    model: PreTrainedModel, task: Task, folder: Path, batch_size: int, start: PreTrainedModel | None = None
) -> dict[str, Any]:
    """Predictions into `folder`; metrics and costs as the common part of a result.

    Args:
        batch_size: what latency is measured at beside batch 1.
        start: the model that takes turns with this one.
    """
    from bertpress.evaluation import logits_of
    from bertpress.objective import choose_attention

    choose_attention(model, training=False)
    metrics = {}
    for split in filter(task.has_labels, task.scored_splits()):
        logits = logits_of(model, task, task.encoded(split))
        save_predictions(folder, split, task, logits)
        metrics[split] = task.score(logits, split)
    parameters = cost.parameters(model.config, head=task.head)
    tokens = mean_tokens(task)
    macs = cost.macs(model.config, tokens, head=task.head, positions=task.positions(tokens))
    batches = latency_batches(task, (1, batch_size), model.device)
    other = None if start is None else model
    timed = latency.latency_rows(start or model, other, batches, seconds=3, forward=task.forward)
    return {
        "schema": 1,
        "metrics": metrics,
        "primary_metric": task.primary,
        "kind": task.kind,
        "labels": None if task.labels is None else list(task.labels),
        "positive": task.positive,
        "layers": encoder_of(model.config).depth(model.config),
        "cost": {
            "parameters": {"total": parameters.total, "encoder": parameters.encoder},
            "macs": {"tokens": tokens, "value": macs},
            "size_bytes": sum(value.numel() * value.element_size() for value in model.state_dict().values()),
            "latency": timed,
        },
    }


def latency_batch(recipe: Recipe) -> int:
    """The batch size of the user's: that of the last step's training."""
    training = next(iter(recipe.steps[-1].trainings().values()))
    return max(2, training.batch_size)


def mean_tokens(task: Task) -> int:
    """Mean length of the dev split, special tokens included, rounded."""
    lengths = task.encoded(task.dev_split)["length"]
    return max(1, int(sum(lengths) / len(lengths) + 0.5))


def latency_batches(task: Task, sizes: tuple[int, ...], device: Any, count: int = 8) -> dict[int, list[dict[str, Any]]]:
    """Batches of real rows for each batch size, spread evenly over the dev split, padded to their longest."""
    rows = task.encoded(task.dev_split)
    result: dict[int, list[dict[str, Any]]] = {}
    for size in sizes:
        size = min(size, len(rows))
        whole = max(1, min(count, len(rows) // size))
        picked = [
            [(index * whole + number) * len(rows) // (size * whole) for index in range(size)] for number in range(whole)
        ]
        batches = [task.collate([rows[row] for row in chosen]) for chosen in picked]
        result[size] = [{name: value.to(device) for name, value in batch.items()} for batch in batches]
    return result
