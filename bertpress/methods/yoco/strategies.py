"""Ways to choose which sub-networks are evaluated next: ask for some of a depth, tell their losses.

Depths are kept apart, because almost all networks within a tight limit are shallow: whoever asks shares the evaluations
between them. Every strategy asks only for networks that keep the limits of its draws. What it asks for follows from its
state, the generator and what was seen, so that a search stopped anywhere goes on as if it had not been.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from bertpress.methods.yoco.distribution import Distribution, Floats, Schedule, exploit_probability, uniform
from bertpress.methods.yoco.sampling import Draws, NothingFits
from bertpress.methods.yoco.space import UNUSED, Choice, Space

ROUNDS = 20
AT_ONCE = 64
MUTATION = 0.1
PARENTS = 0.25


def ranked(losses: Sequence[float]) -> list[float]:
    """The losses, with those that are not finite above all others: they rank last, together."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    worst = max(finite, default=0.0)
    return [loss if math.isfinite(loss) else worst + abs(worst) + 1 for loss in losses]


def sizes_of_depth(space: Space, depth: int) -> tuple[int, ...]:
    """Options of each variable when the depth is settled: 1 for the depth and for slots that it does not use."""
    used = space.slots(depth)
    return (1, *(size if slot in used else 1 for slot, size in enumerate(space.sizes[1:])))


class Strategy(ABC):
    """What is evaluated next.

    Args:
        draws: even ones from the space, within the limits that are kept.
        seen: what need not be asked for again; the caller's, which it may add to meanwhile.
    """

    def __init__(self, draws: Draws, seen: Collection[Choice] = ()) -> None:
        self.draws, self.seen = draws, seen

    @abstractmethod
    def ask(self, depth: int, count: int, generator: np.random.Generator) -> list[Choice]:
        """Different networks of a depth option, none of them seen; fewer where no others exist or are found."""

    @abstractmethod
    def tell(self, depth: int, choices: Sequence[Choice], losses: Sequence[float]) -> None:
        """Learn from networks that were compared with each other; a loss that is not finite ranks last."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that it learned, for JSON."""

    @abstractmethod
    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""

    def unseen(
        self, count: int, propose: Callable[[int], Sequence[Choice]], but: Collection[Choice] = ()
    ) -> list[Choice]:
        """Up to so many different proposals that were not seen and are not in `but`, after at most `ROUNDS` rounds."""
        found: dict[Choice, None] = {}
        for _ in range(ROUNDS):
            if len(found) >= count:
                break
            try:
                proposals = propose(max(AT_ONCE, count))
            except NothingFits:
                break
            found |= {choice: None for choice in proposals if choice not in self.seen and choice not in but}
        return list(found)[:count]


class RandomFeasible(Strategy):
    """All networks of the depth are equally probable."""

    def ask(self, depth: int, count: int, generator: np.random.Generator) -> list[Choice]:
        return self.unseen(count, lambda number: self.draws.many(number, generator, depth))

    def tell(self, depth: int, choices: Sequence[Choice], losses: Sequence[float]) -> None:
        """Nothing is learned."""

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """There is nothing to load."""


class EeSng(Strategy):
    """Exploit-explore stochastic natural gradient: a distribution for each depth, some draws of which are uniform.

    Args:
        theta: where the distributions of all depths begin; uniform without it.
        schedule: how often a draw is from what was learned, by how much that is; see `exploit_probability`.
        learn_from_explored: uniform draws are learned from as well, as if they came from the distribution.
    """

    def __init__(
        self,
        draws: Draws,
        seen: Collection[Choice] = (),
        theta: Floats | None = None,
        schedule: Schedule = "entropy",
        low: float = 0.1,
        high: float = 0.9,
        learn_from_explored: bool = False,
        adapt: bool = True,
        step: float = 1.0,
    ) -> None:
        super().__init__(draws, seen)
        self.schedule, self.low, self.high = schedule, low, high
        self.learn_from_explored = learn_from_explored
        depths = range(len(draws.space.layer_sets))
        sizes = [sizes_of_depth(draws.space, depth) for depth in depths]
        start = uniform(draws.space.sizes) if theta is None else theta
        self.tables = [Distribution(each, start, adapt, step) for each in sizes]
        self.explored: set[Choice] = set()
        """asked for without use of the distribution, and not told yet"""
        self.waiting: list[list[tuple[Choice, float]]] = [[] for _ in depths]
        """of each depth what can be learned from once there is another network to compare with"""

    def ask(self, depth: int, count: int, generator: np.random.Generator) -> list[Choice]:
        table = self.tables[depth]
        share = exploit_probability(table.entropy_share(self.schedule), self.schedule, self.low, self.high)
        wanted = int((generator.random(count) < share).sum())
        learned = self.draws.at(table.theta)
        exploited = self.unseen(wanted, lambda number: learned.many(number, generator, depth))
        explored = self.unseen(
            count - len(exploited), lambda number: self.draws.many(number, generator, depth), exploited
        )
        self.explored |= set(explored)
        return exploited + explored

    def tell(self, depth: int, choices: Sequence[Choice], losses: Sequence[float]) -> None:
        pairs = list(zip(choices, losses, strict=True))
        if not self.learn_from_explored:
            pairs = [(choice, loss) for choice, loss in pairs if choice not in self.explored]
        self.explored -= set(choices)
        waiting = [*self.waiting[depth], *pairs]
        if len(waiting) > 1:
            self.tables[depth].update(
                [(0, *choice[1:]) for choice, _ in waiting], ranked([loss for _, loss in waiting])
            )
            waiting = []
        self.waiting[depth] = waiting

    def state(self) -> dict[str, Any]:
        arrays = [{name: array.tolist() for name, array in table.to_arrays().items()} for table in self.tables]
        return {"tables": arrays, "explored": sorted(map(list, self.explored)), "waiting": self.waiting}

    def load(self, state: Mapping[str, Any]) -> None:
        for table, arrays in zip(self.tables, state["tables"], strict=True):
            table.load_arrays(arrays)
        self.explored = set(map(tuple, state["explored"]))
        self.waiting = [[(tuple(choice), loss) for choice, loss in pairs] for pairs in state["waiting"]]


class Evolution(Strategy):
    """Children of the best quarter of the best networks so far, by mutation or crossover; at first random networks.

    Args:
        population: how many of the best of each depth are remembered, and how many are random at first.
    """

    def __init__(self, draws: Draws, seen: Collection[Choice] = (), population: int = 32) -> None:
        super().__init__(draws, seen)
        self.population = population
        self.members: list[list[tuple[float, Choice]]] = [[] for _ in draws.space.layer_sets]
        """for each depth, best first"""

    def ask(self, depth: int, count: int, generator: np.random.Generator) -> list[Choice]:
        members = self.members[depth]
        parents = [choice for _, choice in members[: max(2, math.ceil(PARENTS * len(members)))]]
        children: list[Choice] = []
        if len(members) >= self.population:
            children = self.unseen(count, lambda number: self._children(parents, number, generator))
        return children + self.unseen(
            count - len(children), lambda number: self.draws.many(number, generator, depth), children
        )

    def _children(self, parents: Sequence[Choice], count: int, generator: np.random.Generator) -> list[Choice]:
        """So many attempts' children, those that keep the limits."""
        sizes = self.draws.space.sizes
        children = []
        for _ in range(count):
            first, second = (parents[index] for index in generator.integers(len(parents), size=2))
            if generator.random() < 0.5:
                other, chance = tuple(map(int, generator.integers(sizes))), MUTATION
            else:
                other, chance = second, 0.5
            changed = generator.random(len(sizes)) < chance
            genes = zip(first, other, changed, strict=True)
            child = (first[0], *(new if change and old != UNUSED else old for old, new, change in list(genes)[1:]))
            children += [child] if self.draws.fits(child) else []
        return children

    def tell(self, depth: int, choices: Sequence[Choice], losses: Sequence[float]) -> None:
        pairs = zip(choices, map(float, losses), strict=True)
        known = {choice: loss for loss, choice in self.members[depth]}
        known |= {choice: loss for choice, loss in pairs if math.isfinite(loss)}
        self.members[depth] = sorted((loss, choice) for choice, loss in known.items())[: self.population]

    def state(self) -> dict[str, Any]:
        return {"members": [[[loss, list(choice)] for loss, choice in members] for members in self.members]}

    def load(self, state: Mapping[str, Any]) -> None:
        self.members = [[(loss, tuple(choice)) for loss, choice in members] for members in state["members"]]
