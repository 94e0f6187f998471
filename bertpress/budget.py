"""A budget for a model that skips tokens: its thresholds or shares are moved until given texts cost so much."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from bertpress.costs.row_costs import RowCosts
from bertpress.engine.evaluation import batches_by_length
from bertpress.errors import RequestError
from bertpress.models.deciding import Decide
from bertpress.models.shared_choices import Shared
from bertpress.models.token_selection import Settings, tokens_of
from bertpress.models.walks import Decision, Trace
from bertpress.tasks.rows import Rows, SomeRows

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from bertpress.tasks.task import Task

CORRECTIONS, CLOSE = 3, 0.005
"""How often what was missed corrects the power of the next try, and how near to a budget is near enough, as a share."""
TRIES, RESOLUTION = 18, 1.001
"""How often thresholds are fitted at most, and how near two powers are between which no other is looked for."""
LEAST, MOST = 2.0**-14, 2.0**14
"""Powers: a policy that keeps a thousandth or all but a thousandth by itself can be brought to either end by them."""


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


def fit(
    model: PreTrainedModel, task: Task, encoded: Rows, target: float, measure: Callable[[], float] | None = None
) -> float:
    """Let a reduced model keep that share of the multiply-adds of its layers on encoded rows, in place.

    Its thresholds are moved so that each decision keeps a share of the tokens that it sees: the one that it keeps by
    itself (of policies, by their mean probability), raised to a power that is the same for all decisions; shares are
    raised to a power likewise. The power is the one whose cost, measured on the rows, is nearest to the target. Labels
    are not looked at.

    Args:
        measure: what is to be the target, with the settings that the model has when it is called; by default the mean
            over the rows of the share that is left of each one's multiply-adds.

    Returns:
        the share that it keeps now.
    """
    costs = RowCosts.of(model.config)
    batches = [batch for _, batch in batches_by_length(task, encoded, model.device)]
    settings = settings_of(model)
    if settings.selector == "policy" and settings.shares is None:  # what is found depends on the weights alone
        change_settings(model, thresholds=None)
    own = None if settings.shares is not None else own_ratios(model, traced(model, task, batches))
    measure = measure or (lambda: mean_share(model, task, batches, costs))
    tried: dict[float, Settings] = {}

    def cost(power: float) -> float:
        if own is None:
            shares = torch.tensor(settings.shares, dtype=torch.float64)
            change_settings(model, shares=(shares**power).tolist())
        else:
            _set_thresholds(model, task, batches, own**power)
        tried[power] = settings_of(model)
        return measure()

    lengths, least = least_kept(settings, task, batches)
    power, reached = nearest_power(cost, _expected(costs, lengths, least, own, settings.shares), target)
    change_settings(model, thresholds=tried[power].thresholds, shares=tried[power].shares)
    return reached


def nearest_power(
    cost: Callable[[float], float], expected: Callable[[float], float], target: float
) -> tuple[float, float]:
    """The power whose cost is nearest to the target, and that cost.

    Costs fall with the power, mostly in steps: a row keeps a whole number of tokens, and tokens of equal scores stay or
    go together. Where the target lies between two steps, both are looked at.

    Args:
        cost: of a power, measured.
        expected: the same foreseen. The first powers tried are those at which it is the target, corrected by how far
            the last try was off; then what lies between too dear and too cheap is halved.
    """
    low, high, goal = LEAST, MOST, target
    tried: dict[float, float] = {}
    for step in range(TRIES):
        power = fitting_power(expected, goal) if step <= CORRECTIONS else 0.0
        if power in tried or not low <= power <= high:
            power = (low * high) ** 0.5
        found = tried[power] = cost(power)
        low, high = (power, high) if found > target else (low, power)
        goal = max(0.0, goal + target - found)
        if abs(found - target) <= CLOSE * target or high <= low * RESOLUTION:
            break
    best = min(tried, key=lambda each: abs(tried[each] - target))
    return best, tried[best]


def _expected(
    costs: RowCosts, lengths: Tensor, least: Tensor, own: Tensor | None, shares: tuple[float, ...] | None
) -> Callable[[float], float]:
    """What a power is foreseen to cost: every row keeps its share of the tokens that may be skipped."""
    if own is not None:
        ratios, asked = own, (lengths - least)[:, None]
        return lambda power: costs.mean(lengths, least[:, None] + asked * (ratios**power).cumprod(0))
    given, always = torch.tensor(shares, dtype=torch.float64), (least - 1).clamp(min=0)[:, None]
    return lambda power: costs.mean(lengths, always + _whole((lengths[:, None] - always) * given**power))


def _whole(tokens: Tensor) -> Tensor:
    """Numbers of tokens as a share of a row's gives them."""
    return torch.ceil(tokens - 1e-9).clamp(min=1)


def least_kept(settings: Settings, task: Task, batches: Iterable[Mapping[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """(rows,) tokens of each row, and those of them that go on whatever is decided: 1, or more by the settings."""
    lengths, least = [], []
    for batch in batches:
        valid = batch["attention_mask"].bool()
        tokens = tokens_of(valid)
        groups = task.groups(batch) if settings.shared else None
        shared = None if groups is None else Shared.of(groups, batch["input_ids"], valid)
        ids = torch.tensor(settings.always_keep, dtype=torch.long, device=valid.device)
        decide = Decide(settings, nn.ModuleList(), torch.isin(batch["input_ids"], ids).flatten(), shared=shared)
        held = decide.held(torch.zeros_like(tokens.place, dtype=torch.bool), tokens)
        # The least of a row is filled up behind what stays anyway.
        keep = decide.held(decide.limited(torch.zeros_like(held), held.double(), tokens), tokens)
        lengths.append(valid.sum(1))
        least.append(torch.zeros_like(lengths[-1]).index_add(0, tokens.place // tokens.width, keep.long()))
    return torch.cat(lengths).double().cpu(), torch.cat(least).double().cpu()


def check_least(target: float, config: PretrainedConfig, task: Task, encoded: Rows) -> None:
    """Refuse a share of the multiply-adds that is less than what the tokens cost that go on whatever is decided.

    Args:
        config: of the reduced model.
        encoded: the rows that are to cost so much.

    Raises:
        RequestError: names the smallest share that can be reached.
    """
    costs = RowCosts.of(config)
    settings = Settings.of(config.token_reduction, len(costs.linear))
    batches = (batch for _, batch in batches_by_length(task, encoded, torch.device("cpu")))
    lengths, least = least_kept(settings, task, batches)
    share = costs.mean(lengths, least[:, None].expand(-1, len(costs.layers)))
    if target < share:
        raise RequestError(
            f"macs {target:g} cannot be reached on {task.name}: what is never skipped (the layers below the first "
            f"decision, first tokens, the options' own tokens) is {share:.3f} of the multiply-adds; give at least "
            f"{math.ceil(1000 * share) / 1000:g}, or decide earlier (reduction_layers)."
        )


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
    """What that share of the scores, which lie between 0 and 1, exceeds; between two of them, so that none is near.

    A policy may be so sure that scores are 1: what exceeds none of them is more.
    """
    if not len(scores):
        return 0.5
    kept = round(share * len(scores))
    ordered = [1.01, *scores.sort(descending=True).values.tolist(), 0.0]
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
        return torch.empty(0, dtype=torch.float64, device=decision.keep.device)
    first = torch.zeros_like(decision.keep).index_fill(0, decision.tokens.starts, True)
    asked = decision.scores[~first].double()
    return asked[~asked.isnan()]


def fitting_power(cost: Callable[[float], float], target: float) -> float:
    """The power from `LEAST` to `MOST` at which the cost, which falls with it, is the target; the nearest end else."""
    low, high = LEAST, MOST
    for _ in range(40):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if cost(middle) > target else (low, middle)
    return high


def spread(encoded: Rows, rows: int, together: str | None = None) -> Rows:
    """About that many rows of an encoded split, at even distances; all where there are fewer.

    Args:
        together: the column by which equal rows are all taken, or none of them.
    """
    step = len(encoded) / rows
    if step <= 1:
        return encoded
    if together is None:
        return SomeRows(encoded, [int(index * step) for index in range(rows)])
    groups = np.unique(encoded[together][:], return_inverse=True)[1]
    chosen = np.arange(0, groups.max() + 1, step).astype(int)
    return SomeRows(encoded, np.flatnonzero(np.isin(groups, chosen)).tolist())


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
