"""Heads and neurons in the order of their importance, so that the first ones, which sub-networks share, are the best.

The importance of a unit is what the loss has to lose with it, to first order: the gradient of the loss to a gate on the
unit. With x what a linear layer behind the units is applied to, and g its gradient, that is the sum of x g over tokens
and features of the unit (Michel et al., arXiv 1905.10650, equation 2; Molchanov et al., arXiv 1906.10771). Its absolute
value is taken batch by batch and averaged over batches of training rows. Permuting units leaves the model as it is.

Differences from the published code of DynaBERT (arXiv 2004.04037), which orders units like this: it scores on the
development split, and adds up gradients over batches, so that late ones count the early ones again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bertpress.encoders import encoder_of, shapes_of
from bertpress.engine.evaluation import pieces_of, side_by_side
from bertpress.engine.kernels import fastest_kernels
from bertpress.errors import RequestError
from bertpress.methods.yoco.elastic import cuts_of, head_size_of, places_of
from bertpress.tasks.rows import groups_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from bertpress.engine.objective import Batch
    from bertpress.tasks.task import Task

Floats = tuple[float, ...]
Numbers = tuple[int, ...]
TOLERANCE = 1e-5
"""How far logits may move when units are put in another order, as a share of the largest one if that is above 1."""


@dataclass(frozen=True)
class Scores:
    """How important each unit is; nothing but their order within a layer, and among layers, has a meaning."""

    heads: tuple[Floats, ...]
    """of each layer"""
    neurons: tuple[Floats, ...]
    """of each layer"""
    layers: Floats


@dataclass(frozen=True)
class Ordering:
    """The order of units after `order`."""

    heads: tuple[Numbers, ...]
    """of each layer: place to the head that stands there now, by the number that it had"""
    neurons: tuple[Numbers, ...]
    """the same for neurons"""
    layers: Numbers
    """from the most to the least important one; they stay where they are"""
    scores: Scores
    """what the order was made of, by the numbers that units had"""

    @classmethod
    def by(cls, scores: Scores) -> Ordering:
        """From high to low scores; equal ones stay in the order that they had.

        Raises:
            RequestError: scores that are no numbers.
        """
        heads, neurons = (tuple(map(_ranked, rows)) for rows in (scores.heads, scores.neurons))
        return cls(heads, neurons, _ranked(scores.layers), scores)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Named arrays, for safetensors, or as lists for JSON."""
        by_layer: dict[str, tuple[tuple[float, ...], ...]] = {
            "heads": self.heads,
            "neurons": self.neurons,
            "head_scores": self.scores.heads,
            "neuron_scores": self.scores.neurons,
        }
        arrays = {f"{name}.{layer}": np.array(row) for name, rows in by_layer.items() for layer, row in enumerate(rows)}
        return {**arrays, "layers": np.array(self.layers), "layer_scores": np.array(self.scores.layers)}

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> Ordering:
        """From what `to_arrays` gives."""
        rows = {name: tuple(np.asarray(values).tolist()) for name, values in arrays.items()}
        heads, neurons, head_scores, neuron_scores = (
            tuple(rows[f"{name}.{layer}"] for layer in range(len(rows["layers"])))
            for name in ("heads", "neurons", "head_scores", "neuron_scores")
        )
        return cls(heads, neurons, rows["layers"], Scores(head_scores, neuron_scores, rows["layer_scores"]))


def calibration_batches(
    task: Task, rows: int, batch_size: int, seed: int, device: torch.device | str = "cpu"
) -> list[dict[str, Tensor]]:
    """Batches of training rows drawn by seed, no row twice: the same for every process that asks.

    Args:
        rows: how many; all that there are if these are fewer, and a few more where rows belong together.

    Raises:
        RequestError: no training rows.
    """
    encoded = task.encoded("train")
    if not len(encoded):
        raise RequestError(f"{task.name} has no training rows to measure importance on.")
    order = np.random.default_rng(seed).permutation(len(encoded))
    groups = groups_of(encoded, task.together)
    if groups is None:
        chosen = order[:rows]
        pieces = [chosen[start : start + batch_size] for start in range(0, len(chosen), batch_size)]
    else:
        order, (end,) = side_by_side(order, groups, [min(rows, len(order))])
        chosen = order[:end]
        lengths = np.asarray(encoded["length"][:])[chosen]
        pieces = [chosen[piece] for piece in pieces_of(lengths, batch_size, groups[chosen])]
    batches = [task.collate([encoded[row] for row in piece.tolist()]) for piece in pieces]
    return [{name: value.to(device) for name, value in batch.items()} for batch in batches]


def gate_gradients(inputs: Tensor, gradient: Tensor, units: int) -> Tensor:
    """Gradients of the loss to gates of 1 on the units of what a linear layer is applied to, shape (units,).

    Args:
        inputs: (..., features), the features of a unit beside each other.
        gradient: of the loss to these.
    """
    return (inputs * gradient).reshape(-1, units, inputs.shape[-1] // units).sum((0, 2))


def unit_scores(model: PreTrainedModel, task: Task, batches: Sequence[Batch]) -> Scores:
    """Importance of heads and neurons; that of layers stays equal, see `layer_scores`.

    The model is left as it was, without gradients. Equal batches give equal scores on every process.

    Args:
        model: a stock model, or an elastic one of which everything is chosen.
        batches: rows without labels count by how far the model's answers lie from 0: their squared norm is the loss.

    Raises:
        RequestError: a model that cannot be elastic.
    """
    places, shapes = places_of(model.config), shapes_of(model.config)
    layers = list(encoder_of(model.config).layer_list(model).children())
    units: list[int] = []
    modules: list[nn.Module] = []
    for layer, counts in zip(layers, shapes, strict=True):
        modules += [layer.get_submodule(path) for path in (places.attention_output, places.outer)]
        units += counts
    totals = [torch.zeros(count, dtype=torch.float64, device=model.device) for count in units]
    with _evaluating(model), fastest_kernels(model.device), torch.enable_grad():
        for batch in batches:
            with _inputs_of(modules) as found:
                loss = _loss(model, task, batch)
            inputs = [found[module] for module in modules]
            gradients = torch.autograd.grad(loss, inputs)
            for total, values, gradient in zip(totals, inputs, gradients, strict=True):
                total += gate_gradients(values.detach(), gradient, len(total)).abs()
    means = [tuple((total / len(batches)).tolist()) for total in totals]
    return Scores(tuple(means[::2]), tuple(means[1::2]), (0.0,) * len(layers))


def layer_scores(model: PreTrainedModel, task: Task, batches: Sequence[Batch]) -> Floats:
    """By how much the mean loss of the batches grows if a layer is bypassed, of each layer.

    Args:
        batches: as for `unit_scores`.
    """
    layers = list(encoder_of(model.config).layer_list(model).children())
    growth = [0.0] * len(layers)
    with _evaluating(model), fastest_kernels(model.device), torch.no_grad():
        for batch in batches:
            before = float(_loss(model, task, batch))
            for index, layer in enumerate(layers):
                handle = layer.register_forward_hook(lambda module, given, states: given[0])
                try:
                    growth[index] += float(_loss(model, task, batch)) - before
                finally:
                    handle.remove()
    return tuple(total / len(batches) for total in growth)


def equal_scores(config: PretrainedConfig) -> Scores:
    """Scores that leave every unit where it is."""
    shapes = shapes_of(config)
    heads, neurons = (tuple((0.0,) * shape[which] for shape in shapes) for which in (0, 1))
    return Scores(heads, neurons, (0.0,) * len(shapes))


@torch.no_grad()
def order(model: PreTrainedModel, scores: Scores) -> Ordering:
    """Put heads and neurons in the order of their scores, in place; the model does what it did before.

    Raises:
        RequestError: a model that cannot be elastic, or scores that are no numbers.
    """
    result, cuts, head_size = Ordering.by(scores), cuts_of(places_of(model.config)), head_size_of(model.config)
    layers = encoder_of(model.config).layer_list(model).children()
    for layer, heads, neurons in zip(layers, result.heads, result.neurons, strict=True):
        first = torch.tensor(heads)[:, None] * head_size
        features = {"heads": (first + torch.arange(head_size)).flatten(), "neurons": torch.tensor(neurons)}
        for cut in cuts:
            for name, axis in cut.axes.items():
                parameter = getattr(layer.get_submodule(cut.path), name)
                parameter.copy_(parameter.index_select(axis, features[cut.unit].to(parameter.device)))
    return result


def check_same(before: PreTrainedModel, after: PreTrainedModel, inputs: Mapping[str, Tensor]) -> float:
    """The largest difference between the logits of two models.

    Args:
        inputs: what both are called with, such as `task.inputs_of(model, batch)`.

    Raises:
        ValueError: it is more than rounding explains.
    """
    with _evaluating(before), _evaluating(after), torch.no_grad():
        expected, found = (model(**inputs)[0].float() for model in (before, after))
    difference, most = (float(values.abs().max()) for values in (found - expected, expected))
    if not difference <= TOLERANCE * max(1.0, most):
        raise ValueError(f"expected equal logits after putting units in order, they differ by up to {difference:.2g}")
    return difference


def _ranked(scores: Floats) -> Numbers:
    if not all(map(math.isfinite, scores)):
        raise RequestError("Importance is not a number: the model's loss on training rows is broken; train it anew.")
    return tuple(sorted(range(len(scores)), key=lambda index: -scores[index]))


def _loss(model: PreTrainedModel, task: Task, batch: Batch) -> Tensor:
    outputs = task.forward(model, batch)
    if "labels" in batch:
        return task.example_losses(outputs, batch).mean()
    logits: Tensor = outputs.logits
    return logits.float().square().sum(-1).mean()


@contextmanager
def _inputs_of(modules: Sequence[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """While entered, what each module is applied to is put into a dictionary; gradients to it can be asked for."""
    found: dict[nn.Module, Tensor] = {}

    def remember(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        values = given[0] if given[0].requires_grad else given[0].detach().requires_grad_()  # below all is frozen
        found[module] = values
        return (values, *given[1:])

    handles = [module.register_forward_pre_hook(remember) for module in modules]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards each module's own flag again."""
    flags = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in flags.items():
            module.training = training
