"""A sub-network as a model of its own, with tensors of its own: a stock model where one can hold it, else compact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bertpress.encoders import encoder_of
from bertpress.encoders.compact import compact_config, new_model, stock_config
from bertpress.encoders.surgery import with_layers
from bertpress.errors import RequestError
from bertpress.methods.yoco.elastic import check_network, cuts_of, head_size_of, places_of
from bertpress.methods.yoco.space import SubNetwork

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def sub_network_config(config: PretrainedConfig, network: SubNetwork, compact_only: bool = False) -> PretrainedConfig:
    """The configuration of a sub-network as a model of its own.

    It is a stock one if all layers have the model's number of heads and one width. Else it is a compact one, whose
    `layer_shapes` name the layers of the start model: those of the super-network, or what these were made of.

    Args:
        config: of the super-network, or of the model that it was made of.
        compact_only: a compact one in any case.

    Raises:
        RequestError: a sub-network that `config` does not contain, or a model that cannot be elastic.
    """
    places_of(config)  # refuses what cannot be elastic
    check_network(network, config)
    return _config(config, network, compact_only)


def sub_network(model: PreTrainedModel, network: SubNetwork, compact_only: bool = False) -> PreTrainedModel:
    """A sub-network as a model of its own, which does what the super-network does when it is chosen.

    Args:
        model: elastic or stock; left as it was.
        compact_only: a compact model, even where a stock one could hold it.

    Raises:
        RequestError: a sub-network that the model does not contain, or a model that cannot be elastic.
    """
    config = sub_network_config(model.config, network, compact_only)
    return _built(model, config, _weights(model, network))


def padded(model: PreTrainedModel, network: SubNetwork) -> PreTrainedModel:
    """A sub-network as a stock model that does the same: heads and neurons that it lacks are there and give nothing.

    All layers are as wide as the widest, with all heads, so nothing but the depth is saved.

    Args:
        model: elastic or stock; left as it was.

    Raises:
        RequestError: as for `sub_network`; also if a layer has more heads than stock models can have.
    """
    config = model.config
    places_of(config)
    check_network(network, config)
    heads, width = config.num_attention_heads, max(layer.intermediate_size for layer in network.layers)
    most = max(layer.heads for layer in network.layers)
    if most > heads:
        raise RequestError(f"A stock model of this size has {heads} heads in a layer, but the sub-network has {most}.")
    room = SubNetwork(tuple(replace(layer, heads=heads, intermediate_size=width) for layer in network.layers))
    return _built(model, _config(config, room), _weights(model, network, room))


def _config(config: PretrainedConfig, network: SubNetwork, compact_only: bool = False) -> PretrainedConfig:
    own = getattr(config, "layer_shapes", None) or []
    shapes = network.to_list()
    for shape in shapes if own else []:
        shape["origin"] = own[shape["origin"]].get("origin", shape["origin"])
    made = compact_config(with_layers(config, [(layer.origin,) for layer in network.layers]), layer_shapes=shapes)
    heads, widths = ({shape[name] for shape in shapes} for name in ("heads", "intermediate_size"))
    if compact_only or heads != {config.num_attention_heads} or len(widths) > 1:
        return made
    result = stock_config(made)
    setattr(result, encoder_of(result).inner_width, widths.pop())
    return result


def _weights(model: PreTrainedModel, network: SubNetwork, room: SubNetwork | None = None) -> dict[str, Tensor]:
    """The state of a sub-network by the names of a model of its own; parts of the model's tensors.

    Args:
        room: layers of these shapes instead, zeros where the sub-network has nothing.
    """
    layers, full = encoder_of(model.config).layer_list(model), model.state_dict()
    stem = next(name for name, module in model.named_modules() if module is layers)
    cuts, head_size = cuts_of(places_of(model.config)), head_size_of(model.config)
    result = {name: value for name, value in full.items() if not name.startswith(f"{stem}.")}
    for position, shape in enumerate(network.layers):
        prefix = f"{stem}.{shape.origin}."
        layer = {name.removeprefix(prefix): value for name, value in full.items() if name.startswith(prefix)}
        for cut in cuts:
            used = cut.features(shape, head_size)
            size = cut.features(room.layers[position], head_size) if room else used
            for parameter, axis in cut.axes.items():
                name = f"{cut.path}.{parameter}"
                layer[name] = _resized(layer[name], axis, used, size)
        result |= {f"{stem}.{position}.{name}": value for name, value in layer.items()}
    return result


def _resized(tensor: Tensor, axis: int, used: int, size: int) -> Tensor:
    """The first `used` entries along an axis, and zeros until there are `size`."""
    kept = tensor.narrow(axis, 0, used)
    if size == used:
        return kept
    missing = list(tensor.shape)
    missing[axis] = size - used
    return torch.cat([kept, tensor.new_zeros(missing)], axis)


def _built(model: PreTrainedModel, config: PretrainedConfig, weights: Mapping[str, Tensor]) -> PreTrainedModel:
    """A model with the head of `model` and these weights, which it copies."""
    with torch.random.fork_rng(devices=[]):  # what is drawn here is written over
        result = new_model(model, config)
    result.to(device=model.device, dtype=model.dtype)
    result.load_state_dict(weights)
    return result.train(model.training)
