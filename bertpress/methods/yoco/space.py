"""What a super-network can become: its sub-networks, and the options they are chosen from.

Every part of the method speaks these types: the sampler, the costs, the search, the exporter. No torch here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bertpress.errors import RequestError

Choice = tuple[int, ...]
"""A sub-network as numbers of options: of the depth, then of each slot of the space; -1 where a slot has no layer."""
UNUSED = -1


@dataclass(frozen=True, order=True)
class LayerShape:
    """One layer of a sub-network."""

    origin: int
    """the super-network's layer that it is a part of, from 0"""
    heads: int
    intermediate_size: int


FIELDS = ("origin", "heads", "intermediate_size")


@dataclass(frozen=True, order=True)
class SubNetwork:
    """The layers of a sub-network, from the bottom up; equal ones are equal and hash alike."""

    layers: tuple[LayerShape, ...]

    def __post_init__(self) -> None:
        origins = [layer.origin for layer in self.layers]
        if not origins or origins != sorted(set(origins)):
            raise ValueError(f"expected at least one layer, their origins rising, got origins {origins}")

    @classmethod
    def of(cls, shapes: Sequence[Mapping[str, int]]) -> SubNetwork:
        """From what `to_list` gives, which is also the field `layer_shapes` of a compact model's configuration.

        Raises:
            ValueError: something else.
        """
        for each in shapes:
            if set(each) != set(FIELDS) or any(type(number) is not int for number in each.values()):
                raise ValueError(f"expected the whole numbers {', '.join(FIELDS)} of a layer, got {each!r}")
        return cls(tuple(LayerShape(*(each[name] for name in FIELDS)) for each in shapes))

    def to_list(self) -> list[dict[str, int]]:
        """A mapping for each layer, for JSON."""
        return [
            {"heads": layer.heads, "intermediate_size": layer.intermediate_size, "origin": layer.origin}
            for layer in self.layers
        ]

    def __str__(self) -> str:
        """Each layer as ORIGIN:HEADSxWIDTH."""
        return " ".join(f"{layer.origin}:{layer.heads}x{layer.intermediate_size}" for layer in self.layers)


@dataclass(frozen=True)
class Space:
    """The options of one super-network, as numbers.

    A sub-network is a depth and, for each *slot*, one of its options, a pair of heads and width. A slot decides about
    one layer; in a uniform space there is one slot, which decides about all.
    """

    layer_sets: tuple[tuple[int, ...], ...]
    """for each depth option, from shallow to deep, the super-network's layers that are run"""
    options: tuple[tuple[tuple[int, int], ...], ...]
    """for each slot its pairs of heads and width, from few to many: all heads of the first width, then of the next"""
    uniform: bool
    full: tuple[tuple[int, int], ...] = field(repr=False)
    """for each layer of the super-network all of its heads and its width"""

    @property
    def depths(self) -> tuple[int, ...]:
        """Numbers of layers that can be chosen, rising."""
        return tuple(map(len, self.layer_sets))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of options of each variable: the depth, then the slots."""
        return (len(self.layer_sets), *map(len, self.options))

    def slots(self, depth: int) -> tuple[int, ...]:
        """The slots that decide anything with depth option `depth`."""
        return (0,) if self.uniform else self.layer_sets[depth]

    def layers_of(self, depth: int, slot: int) -> tuple[int, ...]:
        """The super-network's layers that a slot decides about with that depth option."""
        return self.layer_sets[depth] if self.uniform else (slot,)

    def sub_network(self, choice: Choice) -> SubNetwork:
        """What a choice stands for."""
        layers = []
        for slot in self.slots(choice[0]):
            heads, width = self.options[slot][choice[1 + slot]]
            layers += [LayerShape(layer, heads, width) for layer in self.layers_of(choice[0], slot)]
        return SubNetwork(tuple(sorted(layers)))

    def choice_of(self, network: SubNetwork) -> Choice:
        """The choice that stands for a sub-network.

        Raises:
            RequestError: it is not in this space; says what is wrong with it.
        """
        origins = tuple(layer.origin for layer in network.layers)
        if origins not in self.layer_sets:
            raise RequestError(f"The space has no sub-network of layers {listed(origins)}; it has {self._sets()}.")
        depth = self.layer_sets.index(origins)
        choice = [depth, *[UNUSED] * len(self.options)]
        for layer in network.layers:
            slot = 0 if self.uniform else layer.origin
            shape = (layer.heads, layer.intermediate_size)
            if shape not in self.options[slot]:
                raise RequestError(f"The space has no {shape[0]} heads and width {shape[1]} for layer {layer.origin}.")
            index = self.options[slot].index(shape)
            if choice[1 + slot] not in (UNUSED, index):
                raise RequestError("Every sub-network of a uniform space has layers of one shape.")
            choice[1 + slot] = index
        return tuple(choice)

    def has(self, network: SubNetwork) -> bool:
        """True for a sub-network of this space."""
        try:
            self.choice_of(network)
        except RequestError:
            return False
        return True

    def _sets(self) -> str:
        return " or ".join(listed(layers) for layers in self.layer_sets)

    @property
    def largest(self) -> SubNetwork:
        """The deepest and widest sub-network."""
        return self.sub_network(self.widest(len(self.layer_sets) - 1))

    @property
    def smallest(self) -> SubNetwork:
        """The shallowest and narrowest sub-network."""
        return self.sub_network((0, *(0 if slot in self.slots(0) else UNUSED for slot in range(len(self.options)))))

    def widest(self, depth: int) -> Choice:
        """The sub-network of a depth option with the most heads and the largest widths."""
        active = self.slots(depth)
        return (depth, *(len(pairs) - 1 if slot in active else UNUSED for slot, pairs in enumerate(self.options)))

    @property
    def whole(self) -> SubNetwork:
        """The super-network itself, whether or not it can be chosen."""
        return SubNetwork(tuple(LayerShape(layer, *shape) for layer, shape in enumerate(self.full)))

    def count(self) -> int:
        """Number of different sub-networks."""
        return sum(
            math.prod(len(self.options[slot]) for slot in self.slots(depth)) for depth in range(len(self.layer_sets))
        )

    def described(self) -> str:
        """What can be chosen, in words."""
        depths = ", ".join(map(str, self.depths))
        shapes = sorted({pair for pairs in self.options for pair in pairs})
        heads, widths = (", ".join(map(str, sorted({shape[axis] for shape in shapes}))) for axis in (0, 1))
        return f"{depths} layers, {heads} heads, widths {widths}{', the same in every layer' if self.uniform else ''}"

    def opened(self, heads: int, widths: int, depths: int) -> Space:
        """This space with at most so many options of each kind, the largest ones."""
        return replace(
            self,
            layer_sets=self.layer_sets[-depths:],
            options=tuple(_largest(pairs, heads, widths) for pairs in self.options),
        )

    @property
    def is_stock(self) -> bool:
        """True if stock classes can hold every sub-network."""
        return self.uniform and all(heads == self.full[0][0] for heads, _ in self.options[0])

    def stock(self) -> Space:
        """The sub-networks whose shape stock classes can hold: all heads everywhere, and one width.

        Raises:
            RequestError: the space has none.
        """
        if len(set(self.full)) > 1:
            raise RequestError("The layers of this model differ in shape, so no stock class holds its sub-networks.")
        shared = set.intersection(*(set(options) for options in self.options))
        options = tuple(sorted((pair for pair in shared if pair[0] == self.full[0][0]), key=lambda pair: pair[1]))
        if not options:
            raise RequestError(
                f"Stock classes need all {self.full[0][0]} heads in every layer, which the space does not have; add "
                "them to its options, or leave out servable=stock."
            )
        return replace(self, options=(options,), uniform=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "layer_sets": [list(layers) for layers in self.layer_sets],
            "options": [[list(pair) for pair in pairs] for pairs in self.options],
            "uniform": self.uniform,
            "full": [list(shape) for shape in self.full],
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Space:
        """From what `to_dict` gives."""
        return cls(
            tuple(tuple(layers) for layers in values["layer_sets"]),
            tuple(tuple((heads, width) for heads, width in pairs) for pairs in values["options"]),
            values["uniform"],
            tuple((heads, width) for heads, width in values["full"]),
        )

    def missing_from(self, other: Space) -> list[str]:
        """What this space has and `other`, which was trained, does not; nothing if it is contained in it."""
        found = [f"layers {listed(layers)}" for layers in self.layer_sets if layers not in other.layer_sets]
        for depth in range(len(self.layer_sets)):
            for slot in self.slots(depth):
                for layer in self.layers_of(depth, slot):
                    own, trained = self.options[slot], other.options[0 if other.uniform else layer]
                    found += [f"{heads} heads and width {width} in layer {layer}"
                              for heads, width in own if (heads, width) not in trained]  # fmt: skip
        if other.uniform and not self.uniform and len(self.full) > 1:
            found.append("layers of unequal shape")
        return list(dict.fromkeys(found))


def _largest(pairs: Sequence[tuple[int, int]], heads: int, widths: int) -> tuple[tuple[int, int], ...]:
    """Of a slot's options those with the most heads and the largest widths."""
    head_counts, inner = (sorted({pair[axis] for pair in pairs}) for axis in (0, 1))
    return tuple(pair for pair in pairs if pair[0] in head_counts[-heads:] and pair[1] in inner[-widths:])


def listed(numbers: Sequence[int]) -> str:
    """Numbers in words."""
    return json.dumps(list(numbers))[1:-1]
