"""What sub-networks cost, in closed form, and the limits that a budget makes of it.

All costs are additive: something fixed, and of each layer something that its option decides. So no sub-network is ever
built or traced to be priced, and samplers can draw within a limit exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bertpress.cost import HeadRows, head_macs, macs
from bertpress.errors import AnswerNo, RequestError
from bertpress.methods.yoco.budget import Amount, Budget, Scope
from bertpress.methods.yoco.space import UNUSED, Choice, Space, SubNetwork
from bertpress.parts import Layer, Linear, Part, Shape
from bertpress.shapes import shape_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from bertpress.methods.yoco.latency_table import LatencyTable

UNITS = {
    "parameters": "parameters",
    "backbone_parameters": "parameters of the backbone",
    "encoder_parameters": "parameters of the encoder",
    "macs": "multiply-adds",
    "flops": "FLOPs",
    "latency_ms": "ms",
}
"""Name of a cost to its unit in words."""
SCALES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
MOST_SUMS = 300
"""Sets of sums larger than this are not followed when several limits are checked together."""


@dataclass(frozen=True)
class Additive:
    """A cost that is the sum of something fixed and of what each layer adds."""

    name: str
    fixed: float
    layers: tuple[tuple[float, ...], ...]
    """for each layer of the super-network what it adds with each option of its slot"""
    integral: bool
    """the values are whole numbers, so that sums are exact"""

    def of(self, space: Space, choice: Choice) -> float:
        """What a sub-network costs."""
        slots = space.slots(choice[0])
        layers = ((layer, choice[1 + slot]) for slot in slots for layer in space.layers_of(choice[0], slot))
        return self.fixed + sum(self.layers[layer][option] for layer, option in layers)

    def times(self, factor: float, name: str) -> Additive:
        """This cost in another unit."""
        layers = tuple(tuple(factor * value for value in values) for values in self.layers)
        return replace(self, name=name, fixed=factor * self.fixed, layers=layers)


def parameter_costs(space: Space, config: PretrainedConfig, head: str | None, scope: Scope = "total") -> Additive:
    """Parameters of the exported sub-networks of the model that `config` describes.

    Args:
        head: the kind of head; None for the bare model.
        scope: what counts. The backbone, as the original has it, is everything but the layer that gives the logits; of
            the bare model it is all.
    """
    shape = shape_of(config)
    counted: dict[Scope, Sequence[Part]] = {
        "total": (*shape.tokens, *shape.tops[head]),
        "backbone": (*shape.tokens, *_below_logits(shape.tops[head], head)),
        "encoder": (),
    }
    layers = _layer_costs(space, config, lambda layer: layer.parameters)
    name = "parameters" if scope == "total" else f"{scope}_parameters"
    return Additive(name, sum(part.parameters for part in counted[scope]), layers, integral=True)


def mac_costs(
    space: Space, config: PretrainedConfig, head: str | None, tokens: int, positions: HeadRows = 1
) -> Additive:
    """Multiply-adds of the exported sub-networks for one sequence, as `cost.macs` counts them.

    Args:
        tokens: of the sequence.
        positions: tokens that the head is applied to.
    """
    shape = shape_of(config)
    fixed = tokens * sum(part.macs for part in shape.tokens)
    fixed += head_macs([part.macs for part in shape.tops[head]], positions)
    return Additive("macs", fixed, _layer_costs(space, config, lambda layer: layer.macs(tokens)), integral=True)


def upstream_flops(config: PretrainedConfig, tokens: int) -> int:
    """FLOPs of a classifier as the original's profiler counts them, to compare with the paper's axis; no limit is this.

    Beside matrix products it counts every LayerNorm output and one product of the mask as multiply-adds:
    ``2 (MACs + (2 L + 1) T h + T)`` with L layers, T tokens and width h.
    """
    from bertpress.encoders import encoder_of

    norms: int = (2 * encoder_of(config).depth(config) + 1) * tokens * config.hidden_size
    return 2 * (macs(config, tokens) + norms + tokens)


def by_option(space: Space, price: Callable[[int, int], float]) -> tuple[tuple[float, ...], ...]:
    """For each layer of the super-network the price, by heads and width, of each option of its slot."""
    slots = (0 if space.uniform else layer for layer in range(len(space.full)))
    return tuple(tuple(price(heads, width) for heads, width in space.options[slot]) for slot in slots)


def shapes_in(space: Space) -> list[tuple[int, int]]:
    """Heads and width of every layer that a space can have, rising."""
    return sorted({pair for pairs in space.options for pair in pairs})


def _layer_costs(
    space: Space, config: PretrainedConfig, price: Callable[[Layer], int]
) -> tuple[tuple[float, ...], ...]:
    from bertpress.encoders.compact import compact_config

    pairs = shapes_in(space)
    described = [{"heads": heads, "intermediate_size": width} for heads, width in pairs]
    shape: Shape = shape_of(compact_config(config, layer_shapes=described))
    prices = dict(zip(pairs, map(price, shape.layers), strict=True))
    return by_option(space, lambda heads, width: prices[heads, width])


def _below_logits(parts: Sequence[Part], head: str | None) -> Sequence[Part]:
    """What stands between the layers and the linear layer that gives the logits; of a bare model everything."""
    last = max((index for index, part in enumerate(parts) if isinstance(part, Linear)), default=0)
    return parts if head is None else parts[:last]


def extremes(space: Space, cost: Additive) -> tuple[Choice, Choice]:
    """The sub-networks that cost least and most; the first of several equal ones."""
    low = [_extreme(space, cost, depth, min) for depth in range(len(space.layer_sets))]
    high = [_extreme(space, cost, depth, max) for depth in range(len(space.layer_sets))]
    return min(low, key=lambda choice: cost.of(space, choice)), max(high, key=lambda choice: cost.of(space, choice))


def _extreme(space: Space, cost: Additive, depth: int, pick: Callable[..., int]) -> Choice:
    """The cheapest (`pick` is min) or dearest (max) sub-network of a depth option."""
    chosen = [UNUSED] * len(space.options)
    for slot in space.slots(depth):
        layers = space.layers_of(depth, slot)
        sums = [sum(cost.layers[layer][option] for layer in layers) for option in range(len(space.options[slot]))]
        chosen[slot] = pick(range(len(sums)), key=sums.__getitem__)
    return (depth, *chosen)


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
        from bertpress.methods.yoco.latency_table import latency_costs

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
        f"limit {limit}: smallest reachable {exactly(limit.cost, limit.cost.of(space, low))} "
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
    cheapest = {_extreme(space, limit.cost, depth, min) for limit in limits for depth in depths}
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


def exactly(cost: Additive, value: float) -> str:
    """A value of a cost without its unit: a count to the last digit, a time to the microsecond."""
    return f"{value:,.0f}" if cost.integral else f"{round(value, 3):,.10g}"


def shown(name: str, value: float) -> str:
    """A value of the cost of that name in three digits, with its unit: 15.2 M, 1.26 G, 7.8 ms."""
    rounded = float(f"{value:.3g}")
    if name == "latency_ms":
        return f"{rounded:,.10g} ms"
    scale, letter = next(((scale, letter) for scale, letter in SCALES if rounded >= scale), (1, ""))
    return f"{rounded / scale:,.10g} {letter}".rstrip()
