"""Thresholds or shares of a reduced model, moved together until given texts cost what was asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bertpress.evaluation import batches_by_length
from bertpress.models.token_selection import Settings
from bertpress.models.walks import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.methods.trbert.costs import RowCosts
    from bertpress.tasks.task import Task

LEAST, MOST = 1e-3, 1e3
"""How far thresholds are moved: by factors on the odds of being skipped."""


def settings_of(model: PreTrainedModel) -> Settings:
    """How a reduced model decides."""
    encoder: Any = model.base_model
    settings: Settings = encoder.settings
    return settings


def change_settings(model: PreTrainedModel, **fields: Any) -> None:
    """Change fields of a reduced model's settings, in the model and in its configuration."""
    encoder: Any = model.base_model
    depth = len(encoder.get_submodule(encoder.places.layers))
    encoder.settings = Settings.of({**encoder.settings.to_dict(), **fields}, depth)
    model.config.token_reduction = encoder.config.token_reduction = encoder.settings.to_dict()


def moved(settings: Settings, factor: float) -> dict[str, Any]:
    """The settings with which more (a factor above 1) or fewer tokens are kept."""
    if settings.shares is not None:
        return {"shares": [min(1.0, share * factor ** (step + 1)) for step, share in enumerate(settings.shares)]}
    thresholds = settings.thresholds or (0.5,) * len(settings.layers)
    if settings.selector == "attention":
        return {"thresholds": [value / factor for value in thresholds]}
    odds = [value / (1 - value) / factor for value in thresholds]
    return {"thresholds": [value / (1 + value) for value in odds]}


def fitting_factor(cost: Callable[[float], float], target: float, rounds: int) -> float:
    """The largest factor found whose cost is at most the target, by bisection between `LEAST` and `MOST`.

    Args:
        cost: rises with the factor, in steps.
    """
    low, high = LEAST, MOST
    for _ in range(rounds):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if cost(middle) > target else (middle, high)
    return low


def fit(
    model: PreTrainedModel, task: Task, costs: RowCosts, target: float, split: str, rows: int, rounds: int
) -> float:
    """Let the model keep that share of the multiply-adds on texts of a split, in place.

    Thresholds of policies are moved from 0.5, whatever they are now, so that what comes out depends on the weights
    alone; other thresholds and shares from where they are.

    Args:
        rows: of the split, at most, evenly spread.
        rounds: passes over them.

    Returns:
        the share that it keeps now.
    """
    settings = settings_of(model)
    if settings.selector == "policy":
        settings = dataclasses.replace(settings, thresholds=None, shares=None)
    batches = [batch for _, batch in batches_by_length(task, spread(task.encoded(split), rows), model.device)]

    def spent(factor: float) -> float:
        change_settings(model, **moved(settings, factor))
        return mean_share(model, task, batches, costs)

    return spent(fitting_factor(spent, target, rounds))


def spread(encoded: Any, rows: int) -> Any:
    """That many rows of an encoded split, at even distances; all where there are fewer."""
    step = len(encoded) / rows
    return encoded if step <= 1 else encoded.select([int(index * step) for index in range(rows)])


def mean_share(model: PreTrainedModel, task: Task, batches: Iterable[Mapping[str, Tensor]], costs: RowCosts) -> float:
    """Mean over rows of the multiply-adds that the model's own decisions leave."""
    found = []
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            trace = Trace()
            task.forward(model, batch, trace=trace)
            found.append(costs.share_of(trace))
    return float(torch.cat(found).mean())
