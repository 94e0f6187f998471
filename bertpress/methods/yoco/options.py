"""What may be chosen, as people write it, and the space that this makes of a model. No torch here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from bertpress.config import Config
from bertpress.encoders import shapes_of
from bertpress.errors import RequestError
from bertpress.methods.yoco.space import Space, listed

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def _as_amount(value: Any) -> Any:
    """A number of units as an integer, a share of them as a float: 4, 0.25, 1/3 and 25 %."""
    if isinstance(value, str):
        text = value.strip()
        try:
            if text.endswith("%"):
                return float(text[:-1]) / 100
            return float(Fraction(text)) if {"/", "."} & set(text) else int(text)
        except (ValueError, ZeroDivisionError):
            raise ValueError("expected a number such as 4 or a share such as 0.25, 1/3 or 25%") from None
    return value


Amount = Annotated[int | float, BeforeValidator(_as_amount)]
"""Units: an integer counts them, anything else is a share of what the model has."""
THIRDS: tuple[Amount, ...] = (1 / 3, 2 / 3, 1.0)
WIDTHS: tuple[Amount, ...] = (1 / 6, 1 / 4, 1 / 3, 1.0)
DEPTHS: tuple[Amount, ...] = (1 / 2, 2 / 3, 5 / 6, 1.0)


class LayerOptions(Config):
    """Options of one layer, in place of those of all."""

    heads: tuple[Amount, ...] | None = None
    """numbers of heads"""
    widths: tuple[Amount, ...] | None = None
    """widths inside of the feed-forward block"""


class Options(Config):
    """What may be chosen; an integer is a number of units, anything else (0.25, 1/3, 25%) a share of the model's."""

    depth: tuple[Amount, ...] = DEPTHS
    """numbers of layers"""
    heads: tuple[Amount, ...] = THIRDS
    """numbers of heads of a layer"""
    widths: tuple[Amount, ...] = WIDTHS
    """widths inside of a layer's feed-forward block"""
    layers: dict[int, LayerOptions] = Field({})
    """other options of single layers of the super-network, by their number from 0"""
    uniform: bool = False
    """every layer of a sub-network has the same shape"""
    depth_policy: Literal["first", "uniform", "importance"] = "uniform"
    """which layers a shallower sub-network has: the first ones, as in the original, evenly spread ones, or the most
    important ones"""


def resolve(options: Options, config: PretrainedConfig, ranking: Sequence[int] | None = None) -> Space:
    """The space that options make of a model.

    Args:
        ranking: the model's layers from the most to the least important, for the depth policy `importance`; without
            it, as long as it is not known, the first layers stand for them.

    Raises:
        RequestError: an option that the model cannot have; names the field and the legal range.
    """
    full = shapes_of(config)
    depths = _counts("depth", options.depth, len(full))
    if strange := sorted(set(options.layers) - set(range(len(full)))):
        raise RequestError(f"space.layers: the model has layers 0 to {len(full) - 1}, got {listed(strange)}.")
    if options.uniform and (options.layers or len(set(full)) > 1):
        raise RequestError(
            "space.uniform: layers of one shape cannot have options of their own; leave out one of them."
        )
    pairs = []
    for layer, (heads, width) in enumerate(full):
        own, place = options.layers.get(layer, LayerOptions()), f"layers.{layer}." if layer in options.layers else ""
        head_counts = _counts(f"{place}heads", own.heads or options.heads, heads)
        widths = _counts(f"{place}widths", own.widths or options.widths, width)
        pairs.append(tuple((count, inner) for inner in widths for count in head_counts))
    sets = tuple(_layer_set(options.depth_policy, depth, len(full), ranking) for depth in depths)
    return Space(sets, (pairs[0],) if options.uniform else tuple(pairs), options.uniform, full)


def _counts(name: str, amounts: Sequence[int | float], whole: int) -> tuple[int, ...]:
    """Options as numbers, rising, each once."""
    if not amounts:
        raise RequestError(f"space.{name} is empty; give at least one number from 1 to {whole}.")
    counts = []
    for amount in amounts:
        count = amount if isinstance(amount, int) else max(1, math.floor(amount * whole + 0.5))
        legal = 1 <= count <= whole if isinstance(amount, int) else 0 < amount <= 1
        if not legal:
            raise RequestError(
                f"space.{name} must be numbers from 1 to {whole}, or shares above 0 and at most 1, got {amount}."
            )
        counts.append(count)
    return tuple(sorted(set(counts)))


def _layer_set(policy: str, depth: int, layers: int, ranking: Sequence[int] | None) -> tuple[int, ...]:
    if policy == "uniform":
        # DynaBERT (arXiv 2004.04037): to keep the share m of the layers, take layers floor(i / m).
        return tuple(index * layers // depth for index in range(depth))
    if policy == "importance" and ranking is not None:
        return tuple(sorted(ranking[:depth]))
    return tuple(range(depth))
