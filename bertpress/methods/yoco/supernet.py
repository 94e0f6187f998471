"""The super-network's training: networks of several sizes on the same rows, and what they say about which are good."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bertpress import losses
from bertpress.engine.objective import Means, Objective
from bertpress.methods.yoco.distribution import Distribution
from bertpress.methods.yoco.drawing import Drawer, Drawn
from bertpress.methods.yoco.elastic import choosing, one_lookup
from bertpress.methods.yoco.space import SubNetwork
from bertpress.processes import mean_over_processes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.methods.yoco import Yoco
    from bertpress.tasks.task import Task

SILENT = 100
"""A loss with a weight that is 0 for so many steps is told."""
BROKEN = 100
"""After so many steps in a row whose losses are not finite there is nothing to be learned any more."""


@dataclass(frozen=True)
class Answer:
    """What a network makes of a batch."""

    outputs: Any
    states: tuple[Tensor, ...] | None
    """(batch, length, width) below the layers and after each"""

    @property
    def logits(self) -> Tensor:
        """As the task's head gives them."""
        logits: Tensor = self.outputs.logits
        return logits


class SuperNet(Objective):
    """The loss of the largest network, of the smallest and of drawn ones on a batch; or of one drawn network.

    All of them are computed in one forward pass and share one backward pass, so that several processes need no order
    of passes. Drawn networks are the same in all processes and micro-batches of a step; what they lose on average
    moves the distribution that they are drawn from, once per step.

    Args:
        model: an elastic one.
        drawer: what is drawn in a step.
        split: by its rows checkpoints are chosen.
        probes: networks that are scored for that.
        say: told when a loss that has a weight is always 0.
    """

    exploit: Tensor

    def __init__(
        self,
        model: PreTrainedModel,
        task: Task,
        method: Yoco,
        drawer: Drawer,
        split: str,
        probes: Mapping[str, SubNetwork],
        teacher: PreTrainedModel | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(task, teacher)
        self.model, self.method, self.drawer, self.split, self.say = model, method, drawer, split, say
        self.probes = dict(probes)
        self.shown = drawer.space.largest
        run = [layer.origin for layer in drawer.space.largest.layers]
        self.unused_parameters = method.strategy != "sandwich" or len(run) < len(drawer.space.full)
        imitated = run if method.imitated == "largest" else range(len(drawer.space.full))
        self.places = {origin: place for place, origin in enumerate(imitated)}
        """of each layer that the imitated network runs, its place there"""
        for name, array in drawer.start.to_arrays().items():
            self.register_buffer(name, torch.tensor(array, dtype=torch.float64))
        self.register_buffer("exploit", torch.tensor(drawer.exploit(drawer.start), dtype=torch.float64))
        self.means, self.spent, self.silent = Means(), Means(), dict[str, int]()
        self.dropped, self.broken = 0, 0
        """steps whose losses were not finite, since training began or went on; and how many of the last ones"""
        self.drawn: Drawn | None = None

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        if self.training:
            return {"loss": self.training_loss(batch) + 0.0 * self.anchor}
        with choosing(self.model, self.shown):
            return super().forward(**batch)

    def training_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Of shape (): the sum over the networks that are trained."""
        self.drawn = self.imposed or self.drawer.draw(
            self.distribution(), float(self.exploit), self.step, self.total_steps
        )
        if self.method.strategy != "sandwich":
            return self._single(batch, self.drawn)
        with one_lookup(self.model):
            return self._sandwich(batch, self.drawn)

    def _sandwich(self, batch: Mapping[str, Tensor], drawn: Drawn) -> Tensor:
        method, space = self.method, self.drawer.space
        largest = self._answer(space.largest, batch)
        target = largest
        total = largest.logits.new_zeros(())
        if "labels" in batch:
            total = total + self._noted("largest_loss", self._labelled(largest, batch).mean())
        if self.teacher is not None and (method.teacher_weight or method.imitated == "teacher"):
            taught = self._taught(batch)
            target = taught if method.imitated == "teacher" else largest
            if method.teacher_weight:
                kept = self._noted("teacher_distance", self._distance(largest, taught, batch).mean())
                total = total + method.teacher_weight * kept
        smallest = self._answer(space.smallest, batch)
        total = total + self._imitating(smallest, space.smallest, target, batch, "smallest")
        for place, network in enumerate(drawn.networks):
            answer = self._answer(network, batch)
            total = total + self._imitating(answer, network, target, batch, "drawn")
            self._compare(place, answer, target, batch)
        return total

    def _single(self, batch: Mapping[str, Tensor], drawn: Drawn) -> Tensor:
        """The loss of the first drawn network; the others are run for the comparison alone."""
        target = self._taught(batch) if self.method.imitated else None
        trained, *others = drawn.networks
        answer = self._answer(trained, batch)
        total = self._imitating(answer, trained, target, batch, "drawn")
        self._compare(0, answer, target, batch)
        with torch.no_grad():
            for place, network in enumerate(others if self.method.learning != "off" else (), start=1):
                self._compare(place, self._answer(network, batch), target, batch)
        return total

    def _answer(self, network: SubNetwork, batch: Mapping[str, Tensor]) -> Answer:
        with choosing(self.model, network):
            return self._run(self.model, batch)

    @torch.no_grad()
    def _taught(self, batch: Mapping[str, Tensor]) -> Answer:
        assert self.teacher is not None
        return self._run(self.teacher, batch)

    def _run(self, model: PreTrainedModel, batch: Mapping[str, Tensor]) -> Answer:
        wanted = {"output_hidden_states": True} if self.method.imitated and self.method.hidden_weight else {}
        outputs = self.task.forward(model, batch, **wanted)
        return Answer(outputs, outputs.hidden_states if wanted else None)

    def _imitating(
        self, answer: Answer, network: SubNetwork, target: Answer | None, batch: Mapping[str, Tensor], name: str
    ) -> Tensor:
        """The loss of a network that is not the largest, with what it is asked to imitate."""
        method = self.method
        total = answer.logits.new_zeros(())
        label_weight = method.label_weight if target is not None else 1.0
        if label_weight and "labels" in batch:
            total = total + label_weight * self._noted(f"{name}_loss", self._labelled(answer, batch).mean())
        if target is None:
            return total
        if method.logit_weight:
            distance = self._distance(answer, target, batch).mean()
            total = total + method.logit_weight * self._noted(f"{name}_distance", distance)
        if answer.states is not None and target.states is not None:
            mask, pairs = batch["attention_mask"], self._paired(answer.states, network, target.states)
            each = [losses.hidden_loss(state, expected, mask) for state, expected in pairs]
            total = total + method.hidden_weight * self._noted(f"{name}_hidden", torch.stack(each).sum())
        return total

    def _paired(
        self, own: tuple[Tensor, ...], network: SubNetwork, target: tuple[Tensor, ...]
    ) -> list[tuple[Tensor, Tensor]]:
        """States of a network, each with the one that it imitates: behind the same layer, and the last by the last.

        A layer that the imitated network does not run has none.
        """
        pairs = [
            (own[1 + place], target[1 + self.places[layer.origin]])
            for place, layer in enumerate(network.layers[:-1])
            if layer.origin in self.places
        ]
        return [*pairs, (own[-1], target[-1])]

    def _labelled(self, answer: Answer, batch: Mapping[str, Tensor]) -> Tensor:
        return self.task.example_losses(answer.outputs, batch)

    def _distance(self, answer: Answer, target: Answer, batch: Mapping[str, Tensor]) -> Tensor:
        """(batch,) distance of a network's predictions from those that it imitates, which get no gradient."""

        def soft(own: Tensor, other: Tensor) -> Tensor:
            return losses.kl_divergence(own, other, self.method.temperature)

        return self.task.distillation_losses(answer.logits, target.logits.detach(), batch, soft)

    def _compare(self, place: int, answer: Answer, target: Answer | None, batch: Mapping[str, Tensor]) -> None:
        """Note what a drawn network loses on these rows, which all of them see."""
        with torch.no_grad():
            if "labels" in batch:
                found = self._labelled(answer, batch)
            else:
                assert target is not None
                found = self._distance(answer, target, batch)
        self.spent.add(**{str(place): found.mean().double()})

    def _noted(self, name: str, value: Tensor) -> Tensor:
        """Log a loss, and tell if it never has anything to say."""
        self.means.add(**{name: value})
        self.silent[name] = 0 if value.detach().any() else self.silent.get(name, 0) + 1
        if self.silent[name] == SILENT:
            self.say(
                f"warning: {name} was 0 in {SILENT} passes, so it teaches nothing; check its weight and the teacher."
            )
        return value

    def distribution(self) -> Distribution:
        """What was learned about the networks so far."""
        result = self.drawer.start.copy()
        result.load_arrays({name: getattr(self, name).cpu().numpy().copy() for name in result.to_arrays()})
        return result

    def before_update(self) -> None:
        """Move the distribution by what the drawn networks lost in this step, the mean over all processes."""
        spent, drawn = self.spent.take(), self.drawn
        if drawn is None or self.method.learning == "off":
            return
        values = [mean_over_processes(value) for _, value in sorted(spent.items(), key=lambda item: int(item[0]))]
        self._count(all(map(math.isfinite, values)))
        distribution = self.distribution()
        if not drawn.explored or self.method.learn_from_explored:
            distribution.update(drawn.choices, values)
        for name, array in distribution.to_arrays().items():
            getattr(self, name).copy_(torch.as_tensor(array))
        if (self.step + 1) % self.drawer.refresh == 0:
            check_equal(distribution)
            self.exploit.fill_(self.drawer.exploit(distribution))

    def _count(self, is_finite: bool) -> None:
        """Count steps that the distribution cannot learn from, which leaves them out."""
        self.dropped, self.broken = self.dropped + (not is_finite), 0 if is_finite else self.broken + 1
        if self.broken == BROKEN:
            raise FloatingPointError(
                f"the losses of drawn networks were not finite in {BROKEN} steps in a row up to {self.step + 1}; lower "
                "the learning rate of supernet or raise its warmup"
            )

    def progress(self) -> dict[str, float]:
        dropped = {"dropped": float(self.dropped)} if self.dropped else {}
        return {"exploit": float(self.exploit), **dropped, **self.means.take()}

    @property
    def selection(self) -> tuple[str, bool]:
        return "score_of_probes", True

    def scores(self, split: str, device: torch.device) -> dict[str, float]:
        """The primary metric of each probe on the rows of the search, and their mean."""
        found = {}
        for name, network in self.probes.items():
            self.shown = network
            found[name] = super().scores(self.split, device)[self.task.primary]
        self.shown = self.drawer.space.largest
        return {**found, "score_of_probes": sum(found.values()) / len(found)}


def check_equal(distribution: Distribution) -> None:
    """End a training whose processes have learned different things, and so would draw different networks.

    Raises:
        RuntimeError: they have.
    """
    theta = distribution.theta
    total = float((theta * (1 + np.arange(theta.size)).reshape(theta.shape)).sum())
    if not math.isclose(mean_over_processes(total), total, rel_tol=1e-9):
        raise RuntimeError("the processes have learned different distributions over sub-networks")
