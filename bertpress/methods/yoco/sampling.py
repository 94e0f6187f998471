"""Draws of sub-networks that keep limits on their costs, exactly as probable as without limits among those that do.

Whole costs are added up exactly, for all limits together, as long as the sums stay few (`Sums`). Real-valued costs, and
whole ones with too many sums, are rounded up to thousandths of what a limit leaves above the smallest sub-network: so
nothing above the limit is drawn, the smallest always can be, and what is within a thousandth per layer of the limit may
be missed. A limit that would make the table too large is left out of it; draws are then repeated until they keep it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertpress.errors import AnswerNo
from bertpress.methods.yoco.costs import Additive, extremes
from bertpress.methods.yoco.distribution import Floats, uniform
from bertpress.methods.yoco.space import UNUSED, Choice, Space
from bertpress.methods.yoco.sums import Form, Numbers, Sums, pick

TRIES = 1000


class NothingFits(AnswerNo):
    """No sub-network keeps the limits, or none was found."""


@dataclass(frozen=True)
class Window:
    """What a cost may be, both ends included."""

    low: float = -math.inf
    high: float = math.inf

    def admits(self, values: Any, integral: bool) -> NDArray[np.bool_]:
        """Which values lie inside; real-valued ones may be off by round-off."""
        low, high = (0.0 if integral else 1e-9 * abs(end) for end in (self.low, self.high))
        return np.asarray((values >= self.low - low) & (values <= self.high + high))

    def __str__(self) -> str:
        ends = (("at least", self.low), ("at most", self.high))
        return " and ".join(f"{word} {_shown(end)}" for word, end in ends if math.isfinite(end)) or "anything"


Limit = tuple[Additive, Window]


def slot_costs(space: Space, cost: Additive, depth: int) -> list[NDArray[Any]]:
    """For each slot that the depth uses, what its options cost in all layers that it decides about."""
    kind = np.int64 if cost.integral else np.float64
    layers = [[cost.layers[layer] for layer in space.layers_of(depth, slot)] for slot in space.slots(depth)]
    return [np.array(each, dtype=kind).sum(0) for each in layers]


def refusal(space: Space, limits: Sequence[Limit]) -> str:
    """Why no sub-network keeps the limits, with what can be reached of each that none keeps."""
    missed = []
    for cost, window in limits:
        smallest, largest = extremes(space, cost)
        halves = (("smallest", smallest, Window(high=window.high)), ("largest", largest, Window(low=window.low)))
        for which, choice, half in halves:
            reached = cost.of(space, choice)
            if not half.admits(reached, cost.integral):
                named = f"the {which} possible is {_shown(reached)} ({space.sub_network(choice)})"
                missed.append(f"{cost.name} is to be {window}, and {named}")
    if missed:
        return f"No sub-network fits: {'; '.join(missed)}."
    asked = " and ".join(f"{cost.name} {window}" for cost, window in limits)
    return f"No sub-network was found with {asked}" + (" together; each alone is possible." if len(limits) > 1 else ".")


def _shown(number: float) -> str:
    return f"{number:,.0f}" if number == round(number) else f"{number:,.6g}"


def _rows(space: Space, depth: int, options: Numbers) -> Numbers:
    """(networks, variables): choices, of the options of the slots that a depth uses, (networks, slots)."""
    rows = np.full((len(options), len(space.sizes)), UNUSED)
    rows[:, 0] = depth
    rows[:, [1 + slot for slot in space.slots(depth)]] = options
    return rows


@dataclass(frozen=True)
class Plan:
    """How sub-networks of one depth are drawn."""

    costs: tuple[list[NDArray[Any]], ...]
    """for each limit and slot, what the options cost"""
    sums: Sums
    forms: dict[int, Form]
    """how the limits that are in the table stand there, by their number"""

    @classmethod
    def of(cls, space: Space, limits: Sequence[Limit], depth: int) -> Plan:
        """With as many limits in the table, the first ones first, as leave it small."""
        costs = tuple(slot_costs(space, cost, depth) for cost, _ in limits)
        forms: dict[int, Form] = {}
        sums = Sums.of([np.zeros((space.sizes[1 + slot], 0), np.int64) for slot in space.slots(depth)], ())
        for number, (cost, window) in enumerate(limits):
            trials = [Form.whole(costs[number], cost.fixed)] if cost.integral else []
            for form in (*trials, Form.rounded(costs[number], cost.fixed, window.high)):
                tried = {**forms, number: form}
                columns = zip(*(each.slots for each in tried.values()), strict=True)
                slots = [np.stack(column, axis=1) for column in columns]
                if larger := Sums.of(slots, [each.most for each in tried.values()]):
                    sums, forms = larger, tried
                    break
        assert sums is not None
        return cls(costs, sums, forms)

    @property
    def exact(self) -> bool:
        """Whether the table is the same for all windows."""
        return all(form.exact for form in self.forms.values())

    def admitted(self, limits: Sequence[Limit]) -> NDArray[np.bool_]:
        """(sums,) which of them can keep the limits in the table."""
        kept = np.ones(len(self.sums.reached), dtype=bool)
        for column, (number, form) in enumerate(self.forms.items()):
            window = limits[number][1] if form.exact else Window(low=limits[number][1].low)
            kept &= window.admits(form.totals(self.sums.reached[:, column]), form.exact)
        return kept

    def kept(self, limits: Sequence[Limit], options: Numbers) -> NDArray[np.bool_]:
        """(draws,) which of them keep the limits that the table does not have as they are."""
        kept = np.ones(len(options), dtype=bool)
        for number, ((cost, window), costs) in enumerate(zip(limits, self.costs, strict=True)):
            if number not in self.forms or not self.forms[number].exact:
                total = sum((each[options[:, slot]] for slot, each in enumerate(costs)), np.array(cost.fixed))
                kept &= window.admits(total, cost.integral)
        return kept


class Draws:
    """Draws sub-networks of a space that keep limits, as probable as `theta` makes them among all that do.

    Args:
        limits: costs and what they may be.
        theta: probabilities of the options of each variable; uniform without it.
    """

    def __init__(self, space: Space, limits: Sequence[Limit] = (), theta: Floats | None = None) -> None:
        self.space, self.limits = space, tuple(limits)
        self.theta = uniform(space.sizes) if theta is None else np.array(theta)
        self._plans: dict[int, Plan] = {}
        self._weights: dict[int, list[Floats]] = {}

    def at(self, theta: Floats) -> Draws:
        """The same with other probabilities; tables of sums are shared."""
        other = Draws(self.space, self.limits, theta)
        other._plans = self._plans
        return other

    def within(self, *windows: Window) -> Draws:
        """The same with other windows, one for each cost; tables of whole costs stay."""
        limits = [(cost, window) for (cost, _), window in zip(self.limits, windows, strict=True)]
        other = Draws(self.space, limits, self.theta)
        other._plans = {depth: plan for depth, plan in self._plans.items() if plan.exact}
        other._weights = {depth: weights for depth, weights in self._weights.items() if depth in other._plans}
        return other

    def mass(self, depth: int) -> float:
        """How probable it is that what is drawn of this depth without limits keeps those of the table.

        That is all of them, exactly, if they are whole and the table has them (`Plan.exact`).
        """
        return float(self._ends(depth).sum())

    def accepted(self, depth: int) -> float:
        """Of `TRIES` draws of a depth by the table the share that keep all limits; 1 where the table has them all."""
        mass = self.mass(depth)
        generator = np.random.default_rng(0)
        return len(self._tried(np.array([depth]), np.array([mass]), TRIES, generator)) / TRIES if mass > 0 else 0.0

    def count(self, depth: int | None = None) -> int:
        """Number of sub-networks, of one depth or of all, that keep the limits of the table."""
        if depth is None:
            return sum(map(self.count, range(len(self.space.layer_sets))))
        plan = self._plan(depth)
        ones = [np.ones(self.space.sizes[1 + slot], dtype=object) for slot in self.space.slots(depth)]
        return int(sum(plan.sums.weigh(ones)[-1][:-1][plan.admitted(self.limits)]))

    def fits(self, choice: Choice) -> bool:
        """Whether a sub-network keeps all limits."""
        return all(window.admits(cost.of(self.space, choice), cost.integral) for cost, window in self.limits)

    def draw(self, generator: np.random.Generator, depth: int | None = None) -> Choice:
        """One sub-network, of a depth option if that is given; see `many`."""
        return self.many(1, generator, depth)[0]

    def many(self, count: int, generator: np.random.Generator, depth: int | None = None) -> list[Choice]:
        """Independent draws.

        Raises:
            NothingFits: there is no such sub-network, or none was found within `TRIES`.
        """
        depths = list(range(len(self.space.layer_sets))) if depth is None else [depth]
        shares = np.array([self.mass(each) * (self.theta[0, each] if depth is None else 1.0) for each in depths])
        found: list[Choice] = []
        for _ in range(TRIES if shares.sum() > 0 else 0):
            found += self._tried(np.array(depths), shares, count - len(found), generator)
            if len(found) == count:
                return found
        raise NothingFits(refusal(self.space, self.limits))

    def _tried(self, depths: Numbers, shares: Floats, count: int, generator: np.random.Generator) -> list[Choice]:
        """What keeps the limits of so many draws by the tables."""
        numbers = generator.random((count, 1 + len(self.space.sizes)))  # of the depth, the slots, the sum
        drawn = depths[pick(shares, numbers[:, 0])]
        rows, kept = np.empty((count, len(self.space.sizes)), np.int64), np.empty(count, dtype=bool)
        for depth in np.unique(drawn).tolist():
            here, plan = drawn == depth, self._plan(depth)
            used = [*(1 + slot for slot in self.space.slots(depth)), -1]
            options = plan.sums.walk(
                self._slots(depth), self._weighed(depth), self._ends(depth), numbers[here][:, used]
            )
            rows[here], kept[here] = _rows(self.space, depth, options), plan.kept(self.limits, options)
        return [tuple(row) for row in rows[kept].tolist()]

    def _plan(self, depth: int) -> Plan:
        if depth not in self._plans:
            self._plans[depth] = Plan.of(self.space, self.limits, depth)
        return self._plans[depth]

    def _slots(self, depth: int) -> list[Floats]:
        return [self.theta[1 + slot, : self.space.sizes[1 + slot]] for slot in self.space.slots(depth)]

    def _weighed(self, depth: int) -> list[Floats]:
        if depth not in self._weights:
            self._weights[depth] = self._plan(depth).sums.weigh(self._slots(depth))
        return self._weights[depth]

    def _ends(self, depth: int) -> Floats:
        return np.where(self._plan(depth).admitted(self.limits), self._weighed(depth)[-1][:-1], 0.0)
