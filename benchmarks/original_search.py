"""The search of YOCO-BERT's published code, written as a competent user of it would run it today.

Every iteration draws one sub-network from the distribution that training left, evaluates it on the whole split, and
feeds the reward to the distribution, which takes a fixed step after every second one. A network above the limit is
evaluated too, and its reward multiplied by a penalty. The answer is the best accuracy seen strictly below the limit.
Left out is the evaluation of the distribution's mode in every iteration, whose result the code never uses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bertpress.methods.yoco.costs import Additive
from bertpress.methods.yoco.distribution import Distribution
from bertpress.methods.yoco.sampling import Draws
from bertpress.methods.yoco.space import Space, SubNetwork

ITERATIONS, POWER, SAMPLES = 1000, 2.0, 2


@dataclass(frozen=True)
class Outcome:
    """What the search found."""

    network: SubNetwork
    accuracy: float
    """on the rows that it searched on"""
    feasible: int
    """iterations whose network was within the limit"""


def search(
    space: Space,
    cost: Additive,
    limit: float,
    theta: np.ndarray,
    accuracy: Callable[[SubNetwork], float],
    seed: int,
    iterations: int = ITERATIONS,
) -> Outcome:
    """The published search.

    Args:
        accuracy: of a network on the whole split.
    """
    distribution = Distribution(space.sizes, theta, adapt=False, step=1.0)
    generator = np.random.default_rng(seed)
    most = cost.of(space, space.choice_of(space.largest))
    best, feasible, waiting = None, 0, []
    for _ in range(iterations):
        choice = Draws(space, [], distribution.theta).draw(generator)
        network, spent = space.sub_network(choice), cost.of(space, choice)
        found = accuracy(network)
        feasible += spent < limit
        if spent < limit and (best is None or found > best.accuracy):
            best = Outcome(network, found, 0)
        reward = found if spent < limit else found * (1 - (spent - limit) / (most - limit)) ** POWER
        waiting.append((choice, -reward))
        if len(waiting) == SAMPLES:
            distribution.update([one for one, _ in waiting], [loss for _, loss in waiting])
            waiting = []
    if best is None:
        raise RuntimeError("the published search has no answer where nothing that it drew was within the limit")
    return Outcome(best.network, best.accuracy, feasible)
