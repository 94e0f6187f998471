"""Layers of unequal shape: fewer heads and another inner width than the stock configuration gives every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Places:
    """Where an architecture keeps the parts of its layers; paths start at the encoder or at a layer."""

    layers: str = "encoder.layer"
    attention: str = "attention.self"
    projections: tuple[str, str, str] = ("query", "key", "value")
    """of `attention`"""
    heads: str = "num_attention_heads"
    """the attribute of `attention`"""
    attention_output: str = "attention.output.dense"
    inner: str = "intermediate.dense"
    outer: str = "output.dense"


def reshape(layer: nn.Module, places: Places, heads: int, intermediate_size: int) -> None:
    """Give a stock layer fewer heads and another inner width, in place; its new parts have no weights of meaning."""
    attention: Any = layer.get_submodule(places.attention)
    width = heads * attention.attention_head_size
    setattr(attention, places.heads, heads)
    output: Any = layer.get_submodule(places.attention_output)
    hidden = output.out_features
    for name in places.projections:
        attention.set_submodule(name, nn.Linear(hidden, width))
    if hasattr(attention, "all_head_size"):
        attention.all_head_size = width
    layer.set_submodule(places.attention_output, nn.Linear(width, hidden))
    layer.set_submodule(places.inner, nn.Linear(hidden, intermediate_size))
    layer.set_submodule(places.outer, nn.Linear(intermediate_size, hidden))


def check_shapes(shapes: Sequence[Mapping[str, Any]], depth: int) -> None:
    """Refuse layer shapes that do not describe an encoder of `depth` layers.

    Raises:
        ValueError: what does not fit.
    """
    if len(shapes) != depth:
        raise ValueError(f"layer_shapes must describe {depth} layers, got {len(shapes)}")
    for index, shape in enumerate(shapes):
        if set(shape) - {"heads", "intermediate_size", "origin"} or not {"heads", "intermediate_size"} <= set(shape):
            raise ValueError(f"layer_shapes[{index}] must have heads, intermediate_size and origin, got {dict(shape)}")
        if min(shape["heads"], shape["intermediate_size"]) < 1:
            raise ValueError(f"layer_shapes[{index}] must be at least 1 wide, got {dict(shape)}")
