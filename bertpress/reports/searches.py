"""What a search for sub-networks found, as plain values of known kinds, whatever stands in its file."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from bertpress.values import mapping, number, words

COSTS = ("parameters", "encoder_parameters", "macs", "flops", "latency_ms")
MOST_POINTS, MOST_MAPS, MOST_SLOTS, MOST_OPTIONS = 64, 8, 100, 400

Count = Annotated[int, Field(ge=0, le=10**9)]
Probability = Annotated[float, Field(ge=0, le=1)]


class _Layer(BaseModel):
    origin: Count
    heads: Count
    intermediate_size: Count


NETWORK = TypeAdapter(list[_Layer])


class _Space(BaseModel):
    layer_sets: Annotated[list[list[Count]], Field(min_length=1, max_length=MOST_SLOTS)]
    options: Annotated[list[list[tuple[Count, Count]]], Field(max_length=MOST_SLOTS)]
    uniform: bool = False


class _Learned(BaseModel):
    space: _Space
    theta: Annotated[list[list[Probability]], Field(max_length=1 + MOST_SLOTS)]
    depth: Count | None = None
    """layers of the networks that it is about; None: of any"""
    group: Count | None = None

    @model_validator(mode="after")
    def _fits(self) -> _Learned:
        sizes = [len(self.space.layer_sets), *map(len, self.space.options)]
        if len(self.theta) != len(sizes) or any(len(row) < size for row, size in zip(self.theta, sizes, strict=True)):
            raise ValueError("probabilities of another space")
        return self


def search_of(found: dict[str, Any]) -> dict[str, Any]:
    """The content of a step's ``found.json`` for the report; what is missing or strange there is None or left out.

    Returns:
        `points` by rising cost with the chosen one among them, their costs also as shares of the largest network's, and
        `maps`: what training and search learned, as probabilities of each option.
    """
    chosen = mapping(found, "chosen")
    return {
        "limits": [_limit(entry) for entry in _mappings(found.get("limits"))],
        "points": _points(_mappings(found.get("points")), chosen, mapping(found, "largest", "costs")),
        **{name: _count(found, name) for name in ("evaluated", "sub_networks", "forwards", "rows")},
        "metric": words(chosen.get("metric")),
        "split": words(chosen.get("split")),
        "maps": _maps(found, len(_network(chosen))),
    }


def _mappings(value: Any) -> list[dict[str, Any]]:
    """The mappings among the first values of a list."""
    return [entry for entry in value[:MOST_POINTS] if isinstance(entry, dict)] if isinstance(value, list) else []


def _limit(entry: dict[str, Any]) -> dict[str, Any]:
    return {"name": words(entry.get("name")), "most": _count(entry, "most"), "asked": words(entry.get("asked"))}


def _count(value: Any, *keys: str) -> float | None:
    """A number that is not negative."""
    found = number(value, *keys)
    return None if found is None or found < 0 else found


def _points(points: list[dict[str, Any]], chosen: dict[str, Any], largest: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for place, entry in enumerate(points, start=1):
        is_chosen = bool(_network(chosen)) and _network(entry) == _network(chosen)
        found.append(_point(f"point {place}" + ", chosen" * is_chosen, entry, is_chosen, largest))
    if chosen and not any(point["chosen"] for point in found):
        found.append(_point("chosen", chosen, True, largest))
    return sorted(found, key=lambda point: math.inf if (cost := point["encoder_parameters"]) is None else cost)


def _point(name: str, entry: dict[str, Any], is_chosen: bool, largest: dict[str, Any]) -> dict[str, Any]:
    costs = {cost: _count(entry, "costs", cost) for cost in COSTS}
    network = _network(entry)
    return {
        "name": name,
        "chosen": is_chosen,
        "layers": len(network) or None,
        "network": network,
        **costs,
        "encoder_share": _share(costs["encoder_parameters"], _count(largest, "encoder_parameters")),
        "macs_share": _share(costs["macs"], _count(largest, "macs")),
        "loss": _count(entry, "loss"),
        **{name: number(entry, name) for name in ("score", "low", "high")},
    }


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _network(entry: dict[str, Any]) -> list[dict[str, int]]:
    """The layers of a sub-network; none if they cannot be read."""
    try:
        layers = NETWORK.validate_python(entry.get("network"))
    except ValidationError:
        return []
    return [layer.model_dump() for layer in layers[:MOST_SLOTS]]


def _maps(found: dict[str, Any], depth: int) -> list[dict[str, Any]]:
    """What training learned, then what the search did: all of it, or, of much, what is about the chosen depth."""
    trained = mapping(found, "distribution")
    space = mapping(found, "space") or mapping(trained, "space")
    searched = found.get("searched")
    learned = [entry for entry in searched if isinstance(entry, dict)] if isinstance(searched, list) else []
    if len(learned) > MOST_MAPS:
        learned = [entry for entry in learned if entry.get("depth") == depth][:MOST_MAPS]
    entries = [{**trained, "depth": None}, *({"depth": 0, **entry, "space": space} for entry in learned)]
    return [shown for entry in entries if (shown := _map(entry))["slots"]]


def _map(entry: dict[str, Any]) -> dict[str, Any]:
    """The probabilities of a distribution; no slots if they cannot be read, or are not those of its space."""
    try:
        learned = _Learned.model_validate(entry)
    except ValidationError:
        return {"slots": []}
    space, of_one, (depths, *slots) = learned.space, learned.depth is not None, learned.theta
    layer_sets = [layers for layers in space.layer_sets if not of_one or len(layers) == learned.depth]
    used = {layer for layers in layer_sets for layer in layers}
    shown = []
    for layer, (pairs, row) in enumerate(zip(space.options, slots, strict=True)):
        if (layer in used or (space.uniform and used)) and 0 < len(pairs) <= MOST_OPTIONS:
            options = [[*pair, round(p, 5)] for pair, p in zip(pairs, row, strict=False)]
            shown.append({"layer": None if space.uniform else layer, "options": options})
    return {
        "depth": learned.depth,
        "group": learned.group,
        "depths": [] if of_one else [[len(layers), round(p, 5)] for layers, p in zip(layer_sets, depths, strict=False)],
        "slots": shown,
    }
