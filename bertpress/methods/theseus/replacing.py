"""Module replacing: a predecessor whose modules are swapped for substitutes at random in every forward pass."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor, nn

from bertpress.encoders import encoder_of
from bertpress.encoders.layers import ChosenLayers
from bertpress.encoders.surgery import fresh, mean_layer, put_layers, share_config
from bertpress.engine.objective import Objective
from bertpress.methods.theseus.modules import origins

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.methods.theseus import Theseus
    from bertpress.tasks.task import Task

Mask = tuple[bool, ...]


def draw_mask(rates: tuple[float, ...], key: tuple[int, ...], empty_mask: str = "skip") -> Mask:
    """One independent draw per module: True where it is replaced.

    Args:
        rates: probability of each module.
        key: non-negative numbers that determine the draw, here (seed, step, micro-batch).
        empty_mask: what to do when nothing is replaced. For n modules and one rate p, `resample` raises the rate of a
            module to p / (1 - (1-p)^n) and `force_one` to p + (1-p)^n / n.
    """
    generator = np.random.default_rng(key)
    mask = tuple(bool(draw < rate) for draw, rate in zip(generator.random(len(rates)), rates, strict=True))
    if any(mask) or empty_mask == "skip" or not any(rates):
        return mask
    if empty_mask == "force_one":
        chosen = generator.integers(len(rates))
        return tuple(index == chosen for index in range(len(rates)))
    while not any(mask):
        mask = tuple(bool(draw < rate) for draw, rate in zip(generator.random(len(rates)), rates, strict=True))
    return mask


class Hybrid:
    """A model whose encoder runs, module by module, either frozen predecessor layers or trainable substitutes.

    The given model is changed in place: its encoder walks over a `ChosenLayers`, and everything but the substitutes is
    frozen. Usable in any training loop: call `draw` before each forward pass, `successor` at the end.
    """

    def __init__(self, model: PreTrainedModel, method: Theseus, seed: int) -> None:
        self.model, self.method, self.seed = model, method, seed
        method.plan(model.config)  # refuses what does not fit this model
        encoder = encoder_of(model.config)
        layers = list(encoder.layer_list(model).children())
        self.layout = method.layout(len(layers))
        self.origins = origins(self.layout, method.initialisation)
        following = iter(self.origins)
        old = [[layers[index] for index in module.layers] for module in self.layout]
        starts = [[next(following) for _ in range(module.substitutes)] for module in self.layout]
        new = [
            group if module.kept else [self._substitute(layers, origin) for origin in chosen]
            for module, group, chosen in zip(self.layout, old, starts, strict=True)
        ]
        self.layers = ChosenLayers(old, new)
        encoder.set_layer_list(model, self.layers)
        share_config(model)
        model.requires_grad_(False)
        self.replaceable = [index for index, module in enumerate(self.layout) if not module.kept]
        for index in self.replaceable:
            self.substitutes(index).requires_grad_(True)

    def substitutes(self, index: int) -> nn.Module:
        """The successor layers of module `index`."""
        return self.layers.substitutes[index]

    def _substitute(self, layers: list[nn.Module], origin: tuple[int, ...]) -> nn.Module:
        if self.method.initialisation == "random":
            return fresh(layers[origin[0]], self.model)
        return mean_layer([layers[index] for index in origin])

    def draw(self, step: int, total_steps: int, micro_batch: int = 0) -> Mask:
        """Draw and set the mask of the next forward pass, a function of (seed, step, micro-batch) alone."""
        rates = self.method.rates(step, total_steps, self.layout)
        self.set(draw_mask(rates, (self.seed, step, micro_batch), self.method.empty_mask))
        return self.mask

    @property
    def mask(self) -> Mask:
        """Per replaceable module, whether the next forward pass replaces it."""
        return tuple(self.layers.mask[index] for index in self.replaceable)

    def set(self, mask: Mask) -> None:
        """Use this mask, one truth value per replaceable module."""
        if len(mask) != len(self.replaceable):
            raise ValueError(f"expected a mask of {len(self.replaceable)} modules, got {len(mask)}")
        complete = [True] * len(self.layout)
        for index, replaced in zip(self.replaceable, mask, strict=True):
            complete[index] = bool(replaced)
        self.layers.mask = tuple(complete)

    def set_successor(self) -> None:
        """Replace every module: the model that will be shipped."""
        self.set((True,) * len(self.replaceable))

    def successor(self) -> PreTrainedModel:
        """An ordinary model of the successor layers, independent of this one."""
        self.set_successor()
        encoder = encoder_of(self.model.config)
        encoder.set_layer_list(self.model, nn.ModuleList())
        result = copy.deepcopy(self.model)
        encoder.set_layer_list(self.model, self.layers)
        return put_layers(result, [copy.deepcopy(layer) for layer in self.layers], self.origins)


class Replacing(Objective):
    """The task's loss on the hybrid while training, on the successor in eval mode."""

    unused_parameters = True
    touched: Tensor

    def __init__(self, predecessor: PreTrainedModel, task: Task, method: Theseus, seed: int) -> None:
        super().__init__(task)
        self.hybrid = Hybrid(predecessor, method, seed)
        self.model = self.hybrid.model
        modules = len(self.hybrid.replaceable)
        self.register_buffer("touched", torch.zeros(modules, dtype=torch.bool))  # modules that ever had a gradient
        self.replaced, self.passes = np.zeros(modules), 0

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if not self.hybrid.method.predecessor_dropout:
            for index in self.hybrid.replaceable:
                self.hybrid.layers.predecessor[index].eval()
        return self

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        if self.imposed is not None:
            self.hybrid.set(self.imposed)
        elif self.training:
            self.hybrid.draw(self.step, self.total_steps, self.micro_batch)
        else:
            self.hybrid.set_successor()
        if self.training:
            self.replaced += self.hybrid.mask
            self.passes += 1
        return super().forward(**batch)

    def before_update(self) -> None:
        if self.hybrid.method.idle_update == "skip":
            return
        drawn = [self._has_gradient(index) for index in self.hybrid.replaceable]
        if not any(drawn):
            return  # nothing was replaced in the whole window: no update, whatever the option
        for position, index in enumerate(self.hybrid.replaceable):
            self.touched[position] |= drawn[position]
            if self.touched[position] and not drawn[position]:
                for parameter in self.hybrid.substitutes(index).parameters():
                    parameter.grad = torch.zeros_like(parameter)

    def _has_gradient(self, index: int) -> bool:
        return any(parameter.grad is not None for parameter in self.hybrid.substitutes(index).parameters())

    def progress(self) -> dict[str, float]:
        rates = self.hybrid.method.rates(self.step, self.total_steps, self.hybrid.layout)
        numbers = {"replace_rate": float(np.mean(rates))}
        if self.passes:
            numbers |= {f"replaced_{index}": value / self.passes for index, value in enumerate(self.replaced.tolist())}
        self.replaced[:], self.passes = 0, 0
        return numbers

    def successor(self) -> PreTrainedModel:
        """The result as an ordinary model."""
        return self.hybrid.successor()
