"""Taking layers out of a model and putting others in. Always on copies; the given model is left as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from torch import nn

from bertpress.encoders import encoder_of
from bertpress.encoders.compact import stock_config
from bertpress.errors import RequestError
from bertpress.models import is_compact, is_reduced

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def with_layers(config: PretrainedConfig, origins: Sequence[Sequence[int]]) -> PretrainedConfig:
    """A copy of `config` for an encoder of other layers.

    Args:
        origins: for each layer of the result, the layers it is made of; the first of them gives its form, such as the
            kind of its attention.

    Raises:
        RequestError: layers that cannot stand there.
    """
    encoder = encoder_of(config)
    encoder.check_places(origins)
    _check_compact(config, origins, encoder.depth(config))
    result = copy.deepcopy(config)
    setattr(result, encoder.depth_field, len(origins))
    for name in encoder.per_layer:
        if (values := getattr(config, name)) is not None:
            setattr(result, name, [values[origin[0]] for origin in origins])
    return result


def _check_compact(config: PretrainedConfig, origins: Sequence[Sequence[int]], depth: int) -> None:
    """Refuse other layers under decisions about tokens, and a layer made of several of unequal shape."""
    if is_reduced(config) and list(map(tuple, origins)) != [(layer,) for layer in range(depth)]:
        raise RequestError(
            "Token reduction comes last: its decisions were trained between the layers that there are, so these cannot "
            "be changed; change those of the model that it was made of."
        )
    shapes = getattr(config, "layer_shapes", None) or []
    for origin in origins if shapes else []:
        sizes = {(shapes[layer]["heads"], shapes[layer]["intermediate_size"]) for layer in origin}
        if len(sizes) > 1:
            layers = "+".join(map(str, origin))
            raise RequestError(f"Layers {layers} have unequal shapes, so they have no mean; make each layer of one.")


def resized(
    config: PretrainedConfig, layers: int, hidden_size: int, heads: int, intermediate_size: int
) -> PretrainedConfig:
    """A copy of `config` for a stock encoder of another shape, whose weights have to be drawn anew.

    Raises:
        RequestError: more layers than an architecture whose layers differ can lend a form to.
    """
    config = stock_config(config) if is_compact(config) else config
    encoder = encoder_of(config)
    depth = encoder.depth(config)
    if encoder.per_layer and layers > depth:
        raise RequestError(
            f"a {config.model_type} of {depth} layers, which differ, lends a form to no {layers} layers."
        )
    result = with_layers(config, [(layer,) for layer in range(layers)])
    for name in encoder.other_widths:
        if getattr(config, name, None) == config.hidden_size:
            setattr(result, name, hidden_size)
    result.hidden_size = hidden_size  # some configurations keep these two under names of their own, and take these too
    result.num_attention_heads = heads
    if getattr(result, "attention_head_size", None) is not None:  # which some DeBERTas name besides
        result.attention_head_size = hidden_size // heads
    setattr(result, encoder.inner_width, intermediate_size)
    return result


def put_layers(
    model: PreTrainedModel, layers: Iterable[nn.Module], origins: Sequence[Sequence[int]]
) -> PreTrainedModel:
    """Make `layers` the encoder's layers, in place: indices renumbered, configuration adapted, no stale hooks.

    Args:
        origins: for each of them, the layers of `model` that it is made of, as for `with_layers`.
    """
    encoder = encoder_of(model.config)
    config = with_layers(model.config, origins)
    chosen = nn.ModuleList(layers)
    for index, layer in enumerate(chosen):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                setattr(module, "layer_idx", index)  # noqa: B010  (not a parameter)
            # Hidden states are captured by hooks that transformers installs once; copied layers would carry them twice.
            module._forward_hooks.clear()
    encoder.set_layer_list(model, chosen)
    model.config = config
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
    return put_layers(result, [copy.deepcopy(layers[index]) for index in indices], [(index,) for index in indices])


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


def renew_head(model: PreTrainedModel, head: str | None) -> None:
    """Draw the weights of the model's head of that kind anew, in place; an output table stays the embeddings'."""
    for part in encoder_of(model.config).head_parts(model, head):
        model.set_submodule(part, fresh(model.get_submodule(part), model))
    model._init_weights(model)  # some architectures have a rule of their own for the head of a whole model
    model.tie_weights()  # last: what was just drawn are copies, and the embeddings must not be drawn anew


def head_parameters(model: PreTrainedModel, head: str | None) -> list[nn.Parameter]:
    """Parameters of the model's head of that kind, without those that belong to the encoder as well."""
    encoder = {id(parameter) for parameter in model.base_model.parameters()}
    parts = encoder_of(model.config).head_parts(model, head)
    owned = (parameter for part in parts for parameter in model.get_submodule(part).parameters())
    return [parameter for parameter in owned if id(parameter) not in encoder]


def reorder_outputs(model: PreTrainedModel, head: str | None, order: Sequence[int]) -> None:
    """Put the outputs of a classifier in another order, in place.

    Args:
        order: for each output of the result, which output it was.
    """
    named = {name: module for part in encoder_of(model.config).head_parts(model, head)
             for name, module in model.get_submodule(part).named_modules(prefix=part)}  # fmt: skip
    last = [module for module in named.values() if isinstance(module, nn.Linear)][-1]
    for parameter in last.parameters():
        parameter.data = parameter.data[list(order)].clone()
