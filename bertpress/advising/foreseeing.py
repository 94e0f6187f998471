"""What a recipe's result would cost: parameters and multiply-adds in closed form, times from those of single layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bertpress.advising import Candidate
from bertpress.bounds import Bounds

BREAK_EVEN = 24
"""Tokens below which a single text gains no time by skipping some (docs/results.md)."""
REALISED = {True: 0.82, False: 0.98}
"""Share of the theoretical speed-up by skipping tokens that is measured: of a single text, of a batch (same place)."""


@dataclass(frozen=True)
class Costs:
    """Of a model: what it has and what it takes."""

    parameters: int
    encoder: int
    """parameters of its layers"""
    macs: float
    """multiply-adds of a text of mean length"""
    milliseconds: float
    """of a batch"""


@dataclass(frozen=True)
class Layers:
    """What was measured of the start model, for a batch."""

    base_ms: float
    """without layers: embeddings and head"""
    shares: tuple[float, ...]
    """how narrow the layers were that were timed: their parameters, as shares of those of the whole ones, up to 1"""
    milliseconds: tuple[float, ...]
    """a layer, as the mean over those of the model, at each share"""

    def layer(self, share: float) -> float:
        """Milliseconds of a layer with that share of the parameters, between those that were timed."""
        return float(np.interp(share, self.shares, self.milliseconds))


@dataclass(frozen=True)
class Known:
    """What is known of a start model, its task and the machine."""

    start: Costs
    layers_macs: float
    """multiply-adds of its layers"""
    depth: int
    timed: Layers
    tokens: int
    """mean length of a text"""
    batch_size: int
    int8: float = 1.0
    """time of its int8 export over its own"""
    embeddings: int = 0
    """parameters of the tokens that the task does not use"""


def foreseen(candidate: Candidate, known: Known) -> Costs:
    """What a candidate's result would cost."""
    start, timed = known.start, known.timed
    kept = candidate.layers / known.depth * candidate.width
    encoder = round(start.encoder * kept)
    factor = skipping_factor(candidate.tokens, known.tokens, known.batch_size)
    milliseconds = timed.base_ms + candidate.layers * timed.layer(candidate.width) * factor
    return Costs(
        parameters=start.parameters - start.encoder + encoder - candidate.has_fewer_tokens * known.embeddings,
        encoder=encoder,
        macs=start.macs - known.layers_macs * (1 - kept * candidate.tokens),
        milliseconds=milliseconds * (known.int8 if candidate.int8 else 1),
    )


def skipping_factor(share: float, tokens: int, batch_size: int) -> float:
    """Time of the layers when that share of their multiply-adds goes on, over their time when all do."""
    if share == 1 or (batch_size == 1 and tokens < BREAK_EVEN):
        return 1.0
    return min(1.0, share / REALISED[batch_size == 1])


def shortfall(budget: Bounds, start: Costs, costs: Costs) -> float:
    """By what factor the worst bound is exceeded; at most 1 if all are kept. What a score is about is left out."""
    factors = [0.0]
    for amount, before, after in (
        (budget.max_parameters, start.parameters, costs.parameters),
        (budget.max_macs, start.macs, costs.macs),
    ):
        if amount is not None:
            factors.append(after / float(amount.of(before)))
    if budget.max_latency_ms is not None:
        factors.append(costs.milliseconds / budget.max_latency_ms)
    if budget.min_speedup is not None:
        factors.append(budget.min_speedup * costs.milliseconds / start.milliseconds)
    return max(factors)
