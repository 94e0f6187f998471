"""What is drawn in a training step: a function of seed, step and what was learned, the same in all processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bertpress.methods.yoco.costs import extremes, parameter_costs
from bertpress.methods.yoco.distribution import Distribution, exploit_probability, uniform
from bertpress.methods.yoco.opening import check_lengths, narrowed, phase_at, phases, widened
from bertpress.methods.yoco.sampling import Draws, NothingFits, Window
from bertpress.methods.yoco.space import Choice, SubNetwork

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from bertpress.methods.yoco import Yoco
    from bertpress.methods.yoco.space import Space

NEAR, GOLDEN = 0.1, (5**0.5 - 1) / 2
"""Networks that are compared cost the same but for this share, up and down."""


@dataclass(frozen=True)
class Drawn:
    """The networks of a step."""

    choices: tuple[Choice, ...]
    networks: tuple[SubNetwork, ...]
    explored: bool = False
    """drawn evenly, not from what was learned"""


class Drawer:
    """Draws the networks of each step.

    Args:
        config: of the super-network.
        start: the distribution before the first step.
        refresh: steps after which the probability to exploit is computed anew.
    """

    def __init__(
        self, method: Yoco, space: Space, config: PretrainedConfig, seed: int, start: Distribution, refresh: int
    ) -> None:
        self.method, self.space, self.seed, self.start, self.refresh = method, space, seed, start, refresh
        self.parts = phases(space, method.progression) if method.strategy == "progressive" else [space]
        check_lengths(method.phase_lengths, len(self.parts))
        self.lengths = method.phase_lengths or (1.0,) * len(self.parts)
        self.costs = [parameter_costs(part, config, None, "encoder") for part in self.parts]
        self.draws = [Draws(part, [(cost, Window())]) for part, cost in zip(self.parts, self.costs, strict=True)]
        for part, draws in zip(self.parts, self.draws, strict=True):  # so that what follows finds the tables made
            list(map(draws.mass, range(len(part.layer_sets))))
        self.ends = [
            [cost.of(part, choice) for choice in extremes(part, cost)]
            for part, cost in zip(self.parts, self.costs, strict=True)
        ]

    def exploit(self, distribution: Distribution) -> float:
        """How probable it is to draw from what was learned."""
        schedule = self.method.exploit
        return exploit_probability(distribution.entropy_share(schedule), schedule)

    def draw(self, distribution: Distribution, exploit: float, step: int, total_steps: int) -> Drawn:
        """The networks of a step, of one source and at about the same cost."""
        generator = np.random.default_rng((self.seed, step))
        number = phase_at(step, total_steps, self.lengths)
        part = self.parts[number]
        explored = bool(generator.random() >= exploit)
        theta = uniform(part.sizes) if explored else narrowed(distribution.theta, self.space, part)
        draws = self.draws[number].within(self._window(number, step)).at(theta)
        try:
            choices = draws.many(self.method.sampled, generator)
        except NothingFits:  # where options are few, nothing may lie near that cost
            choices = self.draws[number].at(theta).many(self.method.sampled, generator)
        choices = [widened(choice, self.space, part) for choice in choices]
        networks = tuple(self.space.sub_network(choice) for choice in choices)
        return Drawn(tuple(choices), networks, explored)

    def _window(self, number: int, step: int) -> Window:
        """Costs around one that goes over the whole range, evenly by its logarithm: each halving is met as often.

        Steps of the golden ratio spread any few consecutive steps over the range, so that none is all large networks.
        """
        if not self.method.same_cost:
            return Window()
        low, high = self.ends[number]
        start = np.random.default_rng(self.seed).random()
        middle = low * (high / low) ** ((start + GOLDEN * step) % 1)
        return Window(middle / (1 + NEAR), middle * (1 + NEAR))
