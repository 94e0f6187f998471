"""A budget for a model that skips tokens: its thresholds or shares are moved until given texts cost so much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bertpress.evaluation import batches_by_length
from bertpress.models.token_selection import Settings
from bertpress.models.walks import Decision, Trace
from bertpress.row_costs import RowCosts

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.tasks.rows import Rows
    from bertpress.tasks.task import Task

CORRECTIONS, CLOSE = 3, 0.005
"""How often thresholds that miss a budget are fitted again, and how near to it is near enough, as a share of it."""


def settings_of(model: PreTrainedModel) -> Settings:
    """How a reduced model decides."""
    encoder: Any = model.base_model
    settings: Settings = encoder.settings
    return settings


@contextmanager
def with_settings(model: PreTrainedModel, settings: Settings) -> Iterator[None]:
    """The model with other settings of its token reduction inside."""
    encoder: Any = model.base_model
    before, encoder.settings = encoder.settings, settings
    try:
        yield
    finally:
        encoder.settings = before


def change_settings(model: PreTrainedModel, **fields: Any) -> None:
    """Change fields of a reduced model's settings, in the model and in its configuration."""
    encoder: Any = model.base_model
    depth = len(encoder.get_submodule(encoder.places.layers))
    encoder.settings = Settings.of({**encoder.settings.to_dict(), **fields}, depth)
    model.config.token_reduction = encoder.config.token_reduction = encoder.settings.to_dict()


def fit(model: PreTrainedModel, task: Task, encoded: Rows, target: float) -> float:
    """Let a reduced model keep that share of the multiply-adds of its layers on encoded rows, in place.

    Its thresholds are moved so that each decision keeps a share of the tokens that it sees: the one that it keeps by
    itself (of policies, by their mean probability), raised to a power that is the same for all decisions and makes the
    whole cost what it should; shares are raised to a power likewise. That supposes rows alike and no tokens that are
    always kept; so the goal is corrected by how far the last one was missed. Labels are not looked at.

    Returns:
        the share that it keeps now.
    """
    costs = RowCosts.of(model.config)
    batches = [batch for _, batch in batches_by_length(task, encoded, model.device)]
    lengths = torch.tensor(encoded["length"], dtype=torch.float64)
    settings = settings_of(model)
    if settings.selector == "policy" and settings.shares is None:  # what is found depends on the weights alone
        change_settings(model, thresholds=None)
    own = None if settings.shares is not None else own_ratios(model, traced(model, task, batches))
    goal, reached = target, 1.0
    for _ in range(CORRECTIONS + 1):
        if own is None:
            shares = torch.tensor(settings.shares, dtype=torch.float64)
            change_settings(model, shares=(shares ** _power_of_shares(costs, lengths, shares, goal)).tolist())
        else:
            _set_thresholds(model, task, batches, own ** _power(costs, lengths, own, goal))
        reached = mean_share(model, task, batches, costs)
        if abs(reached - target) <= CLOSE * target:
            break
        goal = max(0.0, goal + target - reached)
    return reached


def _power_of_shares(costs: RowCosts, lengths: Tensor, shares: Tensor, target: float) -> float:
    return fitting_power(lambda power: costs.mean(lengths, _whole(lengths[:, None] * shares**power)), target)


def _whole(tokens: Tensor) -> Tensor:
    """Numbers of tokens as a share of a row's gives them."""
    return torch.ceil(tokens - 1e-9).clamp(min=1)


def _power(costs: RowCosts, lengths: Tensor, ratios: Tensor, target: float) -> float:
    others = lengths[:, None] - 1  # all but the first token, which is always kept
    return fitting_power(lambda power: costs.mean(lengths, 1 + others * (ratios**power).cumprod(0)), target)


def _set_thresholds(model: PreTrainedModel, task: Task, batches: list[dict[str, Tensor]], ratios: Tensor) -> None:
    """Thresholds at which each decision keeps that share of the tokens that it sees, one after the other."""
    thresholds = [-1.0] * len(ratios)  # as yet, everything is kept
    for step, ratio in enumerate(ratios.tolist()):
        change_settings(model, thresholds=thresholds)
        scores = torch.cat([_asked(trace.decisions[step]) for trace in traced(model, task, batches)])
        thresholds[step] = _threshold(scores, ratio)
    change_settings(model, thresholds=thresholds)


def own_ratios(model: PreTrainedModel, traces: list[Trace]) -> Tensor:
    """(decisions,): the share of the tokens it sees that each decision keeps by itself."""
    settings = settings_of(model)
    found = [_own_ratio(settings, traces, step) for step in range(len(settings.layers))]
    return torch.tensor(found, dtype=torch.float64).clamp(1e-3, 1 - 1e-3)


def _threshold(scores: Tensor, share: float) -> float:
    """What that share of the scores, which lie between 0 and 1, exceeds; between two of them, so that none is near."""
    if not len(scores):
        return 0.5
    kept = round(share * len(scores))
    ordered = [1.0, *scores.sort(descending=True).values.tolist(), 0.0]
    return float(ordered[kept] + ordered[kept + 1]) / 2


def _own_ratio(settings: Settings, traces: list[Trace], step: int) -> float:
    """The share of the tokens it sees that a decision keeps by itself."""
    scores = torch.cat([_asked(trace.decisions[step]) for trace in traces])
    if not len(scores):
        return 0.5
    if settings.selector == "policy":
        return float(scores.mean())
    threshold = 0.5 if settings.thresholds is None else settings.thresholds[step]
    return float((scores >= threshold).double().mean())


def _asked(decision: Decision) -> Tensor:
    """Scores of the tokens about which there was something to decide: all but the first of each row."""
    if decision.scores is None:  # every row is too short
        return torch.empty(0, dtype=torch.float64)
    first = torch.zeros_like(decision.keep).index_fill(0, decision.tokens.starts, True)
    asked = decision.scores[~first].double()
    return asked[~asked.isnan()]


def fitting_power(cost: Callable[[float], float], target: float) -> float:
    """The power from 1/64 to 64 at which the cost, which falls with it, is the target; the nearest end else."""
    low, high = 1 / 64, 64.0
    for _ in range(40):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if cost(middle) > target else (low, middle)
    return high


def spread(encoded: Any, rows: int, together: str | None = None) -> Any:
    """About that many rows of an encoded split, at even distances; all where there are fewer.

    Args:
        together: the column by which equal rows are all taken, or none of them.
    """
    step = len(encoded) / rows
    if step <= 1:
        return encoded
    if together is None:
        return encoded.select([int(index * step) for index in range(rows)])
    groups = np.unique(encoded[together][:], return_inverse=True)[1]
    chosen = np.arange(0, groups.max() + 1, step).astype(int)
    return encoded.select(np.flatnonzero(np.isin(groups, chosen)))


def traced(model: PreTrainedModel, task: Task, batches: Iterable[Mapping[str, Tensor]]) -> list[Trace]:
    """What the model's own decisions are on these batches."""
    found = []
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            trace = Trace()
            task.forward(model, batch, trace=trace)
            found.append(trace)
    return found


def mean_share(model: PreTrainedModel, task: Task, batches: Iterable[Mapping[str, Tensor]], costs: RowCosts) -> float:
    """Mean over rows of the multiply-adds that the model's own decisions leave."""
    return float(torch.cat([costs.share_of(trace) for trace in traced(model, task, batches)]).mean())
