"""Where each architecture keeps its parts: one row of names per architecture, no code of transformers copied."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from bertpress.errors import RequestError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Encoder:
    """Names of one architecture; paths start at the bare encoder (`model.base_model`), with or without a head."""

    layers: str
    """the list of layers that the encoder walks over"""
    depth_field: str
    """the configuration's number of layers"""
    head: tuple[str, ...]
    """modules of the sequence-classification head that a bare encoder lacks"""

    def depth(self, config: PretrainedConfig) -> int:
        """Number of layers."""
        return int(getattr(config, self.depth_field))

    def layer_list(self, model: PreTrainedModel) -> nn.Module:
        """The module that the encoder walks over."""
        layers: nn.Module = attrgetter(self.layers)(model.base_model)
        return layers

    def set_layer_list(self, model: PreTrainedModel, layers: nn.Module) -> None:
        """Let the encoder walk over `layers` instead."""
        parent, _, name = self.layers.rpartition(".")
        setattr(attrgetter(parent)(model.base_model), name, layers)


ENCODERS: dict[str, Encoder] = {
    "bert": Encoder(layers="encoder.layer", depth_field="num_hidden_layers", head=("classifier",)),
}


def encoder_of(config: PretrainedConfig) -> Encoder:
    """The row of the architecture of `config`.

    Raises:
        RequestError: an architecture without a row.
    """
    if config.model_type not in ENCODERS:
        raise RequestError(
            f"Models of type '{config.model_type}' are not supported yet; supported: {', '.join(ENCODERS)}."
        )
    return ENCODERS[config.model_type]
