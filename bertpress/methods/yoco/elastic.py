"""The elastic super-network: a model of which any sub-network can be run, with the weights that it has.

A sub-network is some of the layers, and of each of these the first heads and the first neurons of its feed-forward
block. Linear layers look at their own parameters in each forward pass, so nothing is copied and nothing can be stale.
A sub-network is carried out in one of two ways that agree where nothing is dropped out: `slice` multiplies by parts of
the parameters, `mask` by all of them, with zeros in place of what the heads and neurons that are left out would give.
So shapes stay the same there, and code is compiled once for each set of layers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertpress.encoders import encoder_of, shapes_of
from bertpress.encoders.compact import compact_config
from bertpress.errors import RequestError
from bertpress.methods.yoco.space import LayerShape, SubNetwork
from bertpress.models import COMPACT, architecture_of, is_reduced, module_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from bertpress.models.layer_shapes import Places

Execution = Literal["slice", "mask"]


@dataclass(frozen=True)
class Cut:
    """A linear layer that is cut: its outputs or its inputs are the features of heads, or neurons."""

    path: str
    """of the linear layer, from its encoder layer"""
    unit: Literal["heads", "neurons"]
    side: Literal["outputs", "inputs"]

    @property
    def axes(self) -> dict[str, int]:
        """Each parameter that is cut, and along which of its axes."""
        return {"weight": 0, "bias": 0} if self.side == "outputs" else {"weight": 1}

    def features(self, shape: LayerShape, head_size: int) -> int:
        """Number of features that are left in a layer of that shape."""
        return shape.heads * head_size if self.unit == "heads" else shape.intermediate_size


def places_of(config: PretrainedConfig) -> Places:
    """Where the layers of a model keep their parts.

    Raises:
        RequestError: a model that cannot be elastic, and why.
    """
    compact_config(config)  # layers of unequal shape need compact classes; says why there are none
    if is_reduced(config):
        raise RequestError(
            "Token reduction comes last: its decisions were trained between the layers that there are, so these cannot "
            "be elastic; take the model that it was made of."
        )
    architecture = architecture_of(config)
    encoder: Any = getattr(module_of(architecture), f"Compact{COMPACT[architecture]}Model")
    places: Places = encoder.places
    return places


def cuts_of(places: Places) -> tuple[Cut, ...]:
    """The linear layers of a layer that are cut."""
    return (
        *(Cut(f"{places.attention}.{name}", "heads", "outputs") for name in places.projections),
        Cut(places.attention_output, "heads", "inputs"),
        Cut(places.inner, "neurons", "outputs"),
        Cut(places.outer, "neurons", "inputs"),
    )


def head_size_of(config: PretrainedConfig) -> int:
    """Features of a head, of which no sub-network changes anything."""
    return int(config.hidden_size // config.num_attention_heads)


def whole_of(config: PretrainedConfig) -> SubNetwork:
    """A model as its own sub-network."""
    return SubNetwork(tuple(LayerShape(layer, *shape) for layer, shape in enumerate(shapes_of(config))))


def check_network(network: SubNetwork, config: PretrainedConfig) -> None:
    """Refuse a sub-network that is not contained in a model.

    Raises:
        RequestError: names the layer, and what it has.
    """
    shapes = shapes_of(config)
    for layer in network.layers:
        if not 0 <= layer.origin < len(shapes):
            last = len(shapes) - 1
            raise RequestError(f"The model has layers 0 to {last}, but the sub-network has layer {layer.origin}.")
        heads, width = shapes[layer.origin]
        for what, asked, most in (("heads", layer.heads, heads), ("neurons", layer.intermediate_size, width)):
            if not 1 <= asked <= most:
                raise RequestError(f"Layer {layer.origin} can have 1 to {most} {what}, the sub-network has {asked}.")


class ElasticLinear(nn.Linear):
    """A linear layer of which the first outputs or inputs are used; the parameters are those of `linear`."""

    def __init__(self, linear: nn.Linear, side: Literal["outputs", "inputs"]) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.train(linear.training)
        self.side = side
        self.choose(linear.out_features if side == "outputs" else linear.in_features)

    def choose(self, used: int, masked: bool = False) -> None:
        """Use so many outputs or inputs from now on.

        Args:
            masked: compute all, and hide the inputs that are not in use.
        """
        self.used, self.masked = used, masked
        self.limit = torch.tensor(used, device="cpu")  # for `mask`: code would be compiled anew for each integer

    def forward(self, input: Tensor) -> Tensor:
        if self.masked:
            return super().forward(self._hidden(input) if self.side == "inputs" else input)
        if self.side == "inputs":
            # oneDNN takes a hundred times as long for columns with gaps between them
            return functional.linear(input, self.weight[:, : self.used].contiguous(), self.bias)
        return functional.linear(input, self.weight[: self.used], None if self.bias is None else self.bias[: self.used])

    def _hidden(self, input: Tensor) -> Tensor:
        unused = torch.arange(self.in_features, device=input.device) >= self.limit
        return input.masked_fill(unused, 0.0)


class ElasticLayers(nn.ModuleList):
    """The layers of a super-network; iterating gives those of the chosen sub-network, all else speaks of all."""

    def __init__(self, layers: Iterable[nn.Module], cuts: tuple[Cut, ...], whole: SubNetwork, head_size: int) -> None:
        super().__init__(layers)
        self.cuts, self.head_size = cuts, head_size
        for layer in self.children():
            for cut in cuts:
                linear: Any = layer.get_submodule(cut.path)
                layer.set_submodule(cut.path, ElasticLinear(linear, cut.side))
        self.choose(whole, "slice")

    def __iter__(self) -> Iterator[nn.Module]:
        return (self[layer.origin] for layer in self.network.layers)

    def choose(self, network: SubNetwork, execution: Execution) -> None:
        """Run this sub-network from now on; it must be contained in the super-network."""
        for shape in network.layers:
            for cut in self.cuts:
                linear: Any = self[shape.origin].get_submodule(cut.path)
                linear.choose(cut.features(shape, self.head_size), execution == "mask")
        self.network, self.execution = network, execution


def elastic(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a model that can run as any of its sub-networks; the given one is left as it was.

    Its class, its configuration and the names and shapes in its state are those of `model`, and it does what `model`
    does, bit for bit, until `choosing` says otherwise.

    Raises:
        RequestError: a model that cannot be elastic, and why.
    """
    cuts = cuts_of(places_of(model.config))
    result = copy.deepcopy(model)
    encoder, config = encoder_of(result.config), result.config
    layers = encoder.layer_list(result).children()
    encoder.set_layer_list(result, ElasticLayers(layers, cuts, whole_of(config), head_size_of(config)))
    return result


def elastic_layers(model: PreTrainedModel) -> ElasticLayers:
    """The layers of what `elastic` gave, which know the chosen sub-network.

    Raises:
        ValueError: another model.
    """
    layers = encoder_of(model.config).layer_list(model)
    if not isinstance(layers, ElasticLayers):
        raise ValueError(f"expected a model that `elastic` made, got a {type(model).__name__} of other layers")
    return layers


@contextmanager
def one_lookup(model: PreTrainedModel) -> Iterator[None]:
    """While entered, passes over one batch share its token embeddings, whose gradient, as large as the table, is
    computed once for all of them.
    """
    kept: list[Tensor] = []

    def first(module: nn.Module, given: Any, found: Tensor) -> Tensor:
        kept.append(found)
        return kept[0]

    handle = model.get_input_embeddings().register_forward_hook(first)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def choosing(model: PreTrainedModel, network: SubNetwork, execution: Execution = "slice") -> Iterator[None]:
    """While entered, an elastic model runs as `network`; then again as what it was before, whatever happened.

    With gradient checkpointing the backward pass runs layers again, so it belongs inside.

    Raises:
        RequestError: the sub-network is not contained in the model.
        ValueError: the model is not elastic, or there is no such way to carry it out.
    """
    layers = elastic_layers(model)
    check_network(network, model.config)
    if execution not in ("slice", "mask"):
        raise ValueError(f"expected the execution slice or mask, got {execution}")
    before = layers.network, layers.execution
    layers.choose(network, execution)
    try:
        yield
    finally:
        layers.choose(*before)
