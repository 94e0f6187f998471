"""Where a search looks: within a budget, or around budgets that are spread over the whole front; depth by depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertpress.methods.yoco.costs import Additive, extremes
from bertpress.methods.yoco.distribution import Floats
from bertpress.methods.yoco.limits import Limit
from bertpress.methods.yoco.sampling import Draws, Window
from bertpress.methods.yoco.searching import Cell
from bertpress.methods.yoco.strategies import EeSng, Evolution, RandomFeasible, Strategy

if TYPE_CHECKING:
    from bertpress.methods.yoco import Yoco
    from bertpress.methods.yoco.space import Choice, Space

NEAR = 0.85
"""The search of a budget looks at networks that use at least this share of it: with more, a network loses less."""
ENOUGH = 0.01
"""So many of the draws near a limit have to keep all others."""
REACH = 0.6
"""Around a point of the front the search looks down so much of the way to the next one."""
SHARE_OF_POINT = 3
"""A point of the front has one of so many candidates of a round."""
FEWEST = 4
"""Networks of a cell that evolution waits for before it has children of them."""

Cells = tuple[list[Cell], set["Choice"]]
"""The cells, and what their strategies leave out."""


def cells_within(method: Yoco, space: Space, limits: Sequence[Limit], theta: Floats | None) -> Cells:
    """A cell for each depth that has networks within all limits; they compete with each other.

    Args:
        theta: what the training learned, from which strategies that learn begin; all others draw evenly.
    """
    seen: set[Choice] = set()
    depths = range(len(space.layer_sets))
    found = [(depth, draws) for depth in depths if (draws := draws_within(space, limits, depth)) is not None]
    count = method.search.candidates // max(1, len(found))
    return [Cell(0, depth, strategy_of(method, draws, seen, theta, count)) for depth, draws in found], seen


def draws_within(space: Space, limits: Sequence[Limit], depth: int) -> Draws | None:
    """Networks of a depth within all limits, near that which binds first if enough are; None if there are none at all.

    Of several limits only that one, which leaves the least of the depth's dearest network, can be nearly used up.
    """
    dearest = {limit.cost: _dearest(space, limit.cost, depth) for limit in limits}
    first, *others = sorted(limits, key=lambda limit: limit.most / dearest[limit.cost])
    rest = [(limit.cost, Window(high=limit.most)) for limit in others]
    low = NEAR * min(first.most, dearest[first.cost])
    near = Draws(space, [(first.cost, Window(low, first.most)), *rest])
    if near.accepted(depth) >= ENOUGH:
        return near
    below = Draws(space, [(first.cost, Window(high=first.most)), *rest])
    return below if below.mass(depth) > 0 else None


def _dearest(space: Space, cost: Additive, depth: int) -> float:
    """The most that a network of a depth costs."""
    return cost.fixed + sum(max(cost.layers[layer]) for layer in space.layer_sets[depth])


def cells_of_front(method: Yoco, space: Space, cost: Additive, theta: Floats | None) -> Cells:
    """For each of some costs between the smallest and the largest, a cell for each depth that can be had for it."""
    seen: set[Choice] = set()
    low, high = (cost.of(space, choice) for choice in extremes(space, cost))
    gap = (high - low) / method.search.points
    cells = []
    for point in range(1, method.search.points + 1):
        most = low + gap * point
        draws = Draws(space, [(cost, Window(most - REACH * gap, most))])
        depths = [depth for depth in range(len(space.layer_sets)) if draws.mass(depth) > 0]
        count = candidates_of_front(method) // max(1, len(depths))
        cells += [Cell(point, depth, strategy_of(method, draws, seen, theta, count)) for depth in depths]
    return cells, seen


def candidates_of_front(method: Yoco) -> int:
    """Candidates of each point of the front in a round."""
    return -(-method.search.candidates // SHARE_OF_POINT)


def strategy_of(method: Yoco, draws: Draws, seen: set[Choice], theta: Floats | None, count: int) -> Strategy:
    """Who proposes candidates within the limits of `draws`, that many of them in the first round."""
    name = method.search.strategy
    if name == "random":
        return RandomFeasible(draws, seen)
    if name == "evolution":
        return Evolution(draws, seen, population=max(FEWEST, count))
    adapt = method.learning != "fixed"
    return EeSng(
        draws,
        seen,
        theta,
        method.exploit,
        learn_from_explored=method.learn_from_explored,
        adapt=adapt,
        step=method.learning_step,
    )
