"""What sub-networks cost: sums of something fixed and of what each layer adds by its option.

Parameters and multiply-adds are known in closed form, times from a table. So no sub-network is ever built or traced to
be priced, and samplers can draw within a limit exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bertpress.costs.cost import HeadRows, head_macs, macs
from bertpress.costs.latency_table import LatencyTable, key_of
from bertpress.costs.parts import Layer, Linear, Part, Shape
from bertpress.costs.shapes import shape_of
from bertpress.errors import RequestError
from bertpress.methods.yoco.budget import Scope
from bertpress.methods.yoco.space import UNUSED, Choice, Space

if TYPE_CHECKING:
    from transformers import PretrainedConfig


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


def latency_costs(space: Space, table: LatencyTable) -> Additive:
    """Milliseconds of a batch, with the correction if the table has one.

    Raises:
        RequestError: the table lacks an option of the space.
    """
    if missing := [key for key in map(key_of, shapes_in(space)) if key not in table.layers_ms]:
        raise RequestError(
            f"The table of latencies has layers of HEADSxWIDTH {', '.join(table.layers_ms)}, but none of "
            f"{', '.join(missing)}; measure it anew for this space."
        )
    made = table.validation.correction if table.validation else None
    intercept, slope = (made.intercept_ms, made.slope) if made else (0.0, 1.0)
    layers = by_option(space, lambda heads, width: slope * table.layers_ms[key_of((heads, width))].median)
    return Additive("latency_ms", intercept + slope * table.base_ms.median, layers, integral=False)


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
    low = [extreme(space, cost, depth, min) for depth in range(len(space.layer_sets))]
    high = [extreme(space, cost, depth, max) for depth in range(len(space.layer_sets))]
    return min(low, key=lambda choice: cost.of(space, choice)), max(high, key=lambda choice: cost.of(space, choice))


def extreme(space: Space, cost: Additive, depth: int, pick: Callable[..., int]) -> Choice:
    """The cheapest (`pick` is min) or dearest (max) sub-network of a depth option."""
    chosen = [UNUSED] * len(space.options)
    for slot in space.slots(depth):
        layers = space.layers_of(depth, slot)
        sums = [sum(cost.layers[layer][option] for layer in layers) for option in range(len(space.options[slot]))]
        chosen[slot] = pick(range(len(sums)), key=sums.__getitem__)
    return (depth, *chosen)


def exactly(cost: Additive, value: float) -> str:
    """A value of a cost without its unit: a count to the last digit, a time to the microsecond."""
    return f"{value:,.0f}" if cost.integral else f"{round(value, 3):,.10g}"


def enough(cost: Additive, value: float) -> str:
    """A limit that a value keeps, as `exactly` writes it: a time that it would shorten is rounded up."""
    return exactly(cost, value if cost.integral else math.ceil(1000 * value) / 1000)


def shown(name: str, value: float) -> str:
    """A value of the cost of that name in three digits, with its unit: 15.2 M, 1.26 G, 7.8 ms."""
    rounded = float(f"{value:.3g}")
    if name == "latency_ms":
        return f"{rounded:,.10g} ms"
    scale, letter = next(((scale, letter) for scale, letter in SCALES if rounded >= scale), (1, ""))
    return f"{rounded / scale:,.10g} {letter}".rstrip()
