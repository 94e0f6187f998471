"""Tiny super-networks of 4 layers with 4 heads of 4 features and 24 neurons, and sub-networks of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import make_model
from models.making import Batch, answers
from torch import Tensor

from bertpress.encoders import encoder_of
from bertpress.encoders.surgery import keep_layers
from bertpress.methods.yoco.elastic import places_of
from bertpress.methods.yoco.space import LayerShape, SubNetwork
from bertpress.models import COMPACT

HEADS = ("sequence-classification", "masked-lm")
each_family = pytest.mark.parametrize("family", COMPACT)
each_head = pytest.mark.parametrize("head", HEADS)


def network(*layers: tuple[int, int, int]) -> SubNetwork:
    """Each layer as (origin, heads, neurons)."""
    return SubNetwork(tuple(LayerShape(*layer) for layer in layers))


WHOLE = network(*((layer, 4, 24) for layer in range(4)))
UNEVEN = network((0, 3, 24), (1, 1, 5), (3, 2, 13))
SMALLEST = network((2, 1, 1))
NETWORKS = {
    "whole": WHOLE,
    "uneven": UNEVEN,
    "smallest": SMALLEST,
    "fewer heads": network(*((layer, 3, 24) for layer in range(4))),
    "fewer neurons": network(*((layer, 4, 9) for layer in range(4))),
    "fewer layers": network((1, 4, 24), (2, 4, 24)),
}
COMPACT_NETWORK = network((0, 1, 24), (2, 3, 5), (3, 1, 16))
"""A sub-network of a compact model of the shapes `models.making.SHAPES`, whose heads have 8 features."""


def make_super(family: str = "bert", head: str = HEADS[0], seed: int = 0, **fields: Any) -> Any:
    """A stock model with random parameters, in eval mode."""
    heads = "n_heads" if family == "distilbert" else "num_attention_heads"
    return make_model(seed, family, head, **{heads: 4, **fields})


def run(model: Any, batch: Batch) -> Tensor:
    """What a model says."""
    with torch.no_grad():
        return answers(model(**batch))


def layers_of(model: Any) -> list[Any]:
    """All layers of a model, chosen or not."""
    return list(encoder_of(model.config).layer_list(model).children())


def by_hand(model: Any, chosen: SubNetwork) -> Any:
    """A stock model of the chosen layers in which nothing comes of the other heads and neurons."""
    result, places = keep_layers(model, [shape.origin for shape in chosen.layers]), places_of(model.config)
    head_size = model.config.hidden_size // model.config.num_attention_heads
    for layer, shape in zip(layers_of(result), chosen.layers, strict=True):
        layer.get_submodule(places.attention_output).weight.data[:, shape.heads * head_size :] = 0
        layer.get_submodule(places.outer).weight.data[:, shape.intermediate_size :] = 0
    return result
