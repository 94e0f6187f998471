"""What a budget allows in a space, and whether some sub-network keeps to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bertpress.amounts import Amount
from bertpress.costs.cost import HeadRows
from bertpress.errors import AnswerNo, RequestError
from bertpress.methods.yoco.budget import Budget, Scope
from bertpress.methods.yoco.costs import (
    UNITS,
    Additive,
    enough,
    exactly,
    extreme,
    extremes,
    latency_costs,
    mac_costs,
    parameter_costs,
)
from bertpress.methods.yoco.space import Space, SubNetwork

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from bertpress.costs.latency_table import LatencyTable

MOST_SUMS = 300
"""Sets of sums larger than this are not followed when several limits are checked together."""


@dataclass(frozen=True)
class Limit:
    """The most that a sub-network may cost; exactly as much is allowed."""

    cost: Additive
    most: float
    asked: str
    """as it was asked for: 30,000,000 or 40%"""

    def __str__(self) -> str:
        """With its unit; a share also as the number that it stands for."""
        number, unit = exactly(self.cost, self.most), UNITS[self.cost.name]
        return f"{number} {unit}" if self.asked == number else f"{self.asked} ({number} {unit})"


def limits(
    budget: Budget,
    space: Space,
    config: PretrainedConfig,
    head: str | None,
    tokens: int,
    positions: HeadRows = 1,
    table: LatencyTable | None = None,
) -> list[Limit]:
    """What a budget allows in this space; shares are of its largest sub-network under the same count.

    Args:
        config: of the super-network.
        head: the kind of head.
        tokens: length at which multiply-adds are counted.
        positions: tokens that the head is applied to.
        table: measured latencies; needed for a limit on latency.

    Raises:
        RequestError: a limit on latency without a table, or with one that lacks an option of the space.
    """

    def cost_of(name: str, amount: Amount) -> Additive:
        if name == "parameters":
            scope: Scope = budget.scope or ("encoder" if amount.is_share else "total")
            return parameter_costs(space, config, head, scope)
        if name != "latency_ms":
            additive = mac_costs(space, config, head, tokens, positions)
            return additive if name == "macs" else additive.times(2, "flops")
        if table is None:
            raise RequestError("A limit on latency needs a table of measured latencies; measure one on this machine.")
        return latency_costs(space, table)

    found = []
    for name, amount in budget.given().items():
        additive = cost_of(name, amount)
        most = amount.of(additive.of(space, extremes(space, additive)[1]))
        found.append(Limit(additive, math.floor(most) if additive.integral else float(most), str(amount)))
    return found


def check(limits: Sequence[Limit], space: Space) -> list[str]:
    """Whether some sub-network meets all limits; a line for each limit that none exceeds.

    Each limit alone is compared with the smallest sub-network by its cost. Together they are met if one of these meets
    all; else sums of costs are enumerated layer by layer, without those that another one undercuts in every cost. That
    is exact, but where more than `MOST_SUMS` sums remain it ends without a verdict, and nothing is refused.

    Raises:
        AnswerNo: none does; names each limit and the smallest that can be reached, in its unit.
    """
    ends = [(limit, *extremes(space, limit.cost)) for limit in limits]
    least = "; ".join(
        f"limit {limit}: smallest reachable {enough(limit.cost, limit.cost.of(space, low))} "
        f"({described(space.sub_network(low))})"
        for limit, low, _ in ends
    )
    if any(limit.cost.of(space, low) > limit.most for limit, low, _ in ends):
        raise AnswerNo(f"No network of the space meets this budget: {least}.")
    if not _met_together(limits, space):
        raise AnswerNo(f"Each limit can be met alone, but no network of the space meets all of them: {least}.")
    largest = [(limit, limit.cost.of(space, high)) for limit, _, high in ends]
    return [
        f"The limit {limit} does not bind: the largest network of the space has {exactly(limit.cost, value)}."
        for limit, value in largest
        if limit.most >= value
    ]


def _met_together(limits: Sequence[Limit], space: Space) -> bool:
    """Whether a sub-network meets all limits; True as well where there are too many sums to decide it."""
    depths = range(len(space.layer_sets))
    cheapest = {extreme(space, limit.cost, depth, min) for limit in limits for depth in depths}
    if not limits or any(all(limit.cost.of(space, choice) <= limit.most for limit in limits) for choice in cheapest):
        return True
    return any(_met_at(limits, space, depth) for depth in depths)


def _met_at(limits: Sequence[Limit], space: Space, depth: int) -> bool:
    """Whether a sub-network of a depth option meets all limits, or too many sums remain."""
    sums = [tuple(limit.cost.fixed for limit in limits)]
    for slot in space.slots(depth):
        layers = space.layers_of(depth, slot)
        added = undominated(
            tuple(sum(limit.cost.layers[layer][option] for layer in layers) for limit in limits)
            for option in range(len(space.options[slot]))
        )
        longer = (tuple(map(sum, zip(before, more, strict=True))) for before in sums for more in added)
        sums = undominated(
            each for each in longer if all(value <= limit.most for value, limit in zip(each, limits, strict=True))
        )
        if len(sums) > MOST_SUMS:
            return True
    return bool(sums)


def undominated(vectors: Iterable[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Those of which no other one is at most as large in every place; of equal ones one."""
    kept: list[tuple[float, ...]] = []
    for vector in sorted(set(vectors)):
        if not any(all(a <= b for a, b in zip(other, vector, strict=True)) for other in kept):
            kept.append(vector)
    return kept


def described(network: SubNetwork) -> str:
    """A sub-network in words; layer by layer where its layers differ."""
    count, shapes = len(network.layers), {(layer.heads, layer.intermediate_size) for layer in network.layers}
    layers = f"{count} layer{'s' * (count > 1)}"
    if len(shapes) > 1:
        return f"{layers}: {network}"
    ((heads, width),) = shapes
    return f"{layers}, {heads} head{'s' * (heads > 1)}, width {width}"
