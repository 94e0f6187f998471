"""Taking layers out of a model and putting others in. Always on copies; the given model is left as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from torch import nn

from bertpress.encoders import encoder_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def with_depth(config: PretrainedConfig, layers: int) -> PretrainedConfig:
    """A copy of `config` for an encoder of that many layers."""
    result = copy.deepcopy(config)
    setattr(result, encoder_of(config).depth_field, layers)
    return result


def put_layers(model: PreTrainedModel, layers: Iterable[nn.Module]) -> PreTrainedModel:
    """Make `layers` the encoder's layers, in place: indices renumbered, configuration adapted, no stale hooks."""
    encoder = encoder_of(model.config)
    chosen = nn.ModuleList(layers)
    for index, layer in enumerate(chosen):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                setattr(module, "layer_idx", index)  # noqa: B010  (not a parameter)
            # Hidden states are captured by hooks that transformers installs once; copied layers would carry them twice.
            module._forward_hooks.clear()
    encoder.set_layer_list(model, chosen)
    model.config = with_depth(model.config, len(chosen))
    share_config(model)
    for module in model.modules():
        if hasattr(module, "_output_capturing_hooks_installed"):
            module._output_capturing_hooks_installed = False
    return model


def share_config(model: PreTrainedModel) -> None:
    """Let every part of `model` read the same configuration; a copied layer brings a copy of its own."""
    for module in model.modules():
        if hasattr(module, "config"):
            module.config = model.config


def keep_layers(model: PreTrainedModel, indices: Sequence[int]) -> PreTrainedModel:
    """A copy of `model` with only the layers of those indices, in that order."""
    result = copy.deepcopy(model)
    layers = list(encoder_of(model.config).layer_list(result).children())
    return put_layers(result, [copy.deepcopy(layers[index]) for index in indices])


def mean_layer(layers: Sequence[nn.Module]) -> nn.Module:
    """A copy of the first layer whose parameters are the mean over `layers`."""
    result = copy.deepcopy(layers[0])
    columns = zip(*(layer.parameters() for layer in layers), strict=True)
    for parameter, column in zip(result.parameters(), columns, strict=True):
        parameter.data.copy_(sum(value.detach() for value in column) / len(layers))
    return result


def fresh(module: nn.Module, model: PreTrainedModel) -> nn.Module:
    """A copy of `module` with newly drawn weights, as the architecture of `model` initialises them."""
    result = copy.deepcopy(module)  # a copied parameter is not marked as loaded, so that `_init_weights` fills it
    result.apply(model._init_weights)
    return result
