"""The sub-network as it is handed on: trained a little more if that is asked for, and in a form that can be served."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bertpress.engine.objective import Means, Objective
from bertpress.engine.teachers import find_teacher
from bertpress.losses import kl_divergence
from bertpress.methods.yoco.elastic import whole_of
from bertpress.methods.yoco.evaluating import Evaluator
from bertpress.methods.yoco.extracting import padded, sub_network
from bertpress.methods.yoco.space import SubNetwork

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.engine.run import StepRun
    from bertpress.methods.yoco import Yoco
    from bertpress.methods.yoco.steps import Trained
    from bertpress.tasks.task import Task


class Imitating(Objective):
    """A model that learns a teacher's predictions, and the labels if they have a weight.

    Args:
        split: by its rows checkpoints are chosen.
    """

    def __init__(self, model: PreTrainedModel, task: Task, method: Yoco, split: str, teacher: PreTrainedModel) -> None:
        super().__init__(task, teacher)
        self.model, self.method, self.split = model, method, split
        self.means = Means()

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        return {"loss": self.training_loss(batch) + 0.0 * self.anchor} if self.training else super().forward(**batch)

    def training_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Of shape ()."""
        outputs = self.task.forward(self.model, batch)
        with torch.no_grad():
            expected = self.task.forward(self.teacher, batch).logits
        temperature = self.method.temperature

        def soft(own: Tensor, other: Tensor) -> Tensor:
            return kl_divergence(own, other, temperature)

        total = self.task.distillation_losses(outputs.logits, expected, batch, soft).mean()
        self.means.add(distance=total)
        if self.method.label_weight and "labels" in batch:
            total = total + self.method.label_weight * self.task.example_losses(outputs, batch).mean()
        return total

    def progress(self) -> dict[str, float]:
        return self.means.take()

    def scores(self, split: str, device: torch.device) -> dict[str, float]:
        """Those on the rows by which checkpoints are chosen."""
        return super().scores(self.split, device)


def export(
    method: Yoco, trained: Trained, network: SubNetwork, model: PreTrainedModel, task: Task, run: StepRun
) -> PreTrainedModel:
    """The result: the sub-network as a model of its own.

    Args:
        model: what the step was given.
    """
    result = sub_network(trained.model, network).requires_grad_(True)
    if method.export is not None:
        result = trained_on(method, result, trained, model, task, run)
    return padded(result, whole_of(result.config)) if method.servable == "padded" else result


def trained_on(
    method: Yoco, result: PreTrainedModel, trained: Trained, model: PreTrainedModel, task: Task, run: StepRun
) -> PreTrainedModel:
    """The sub-network after some training of its own, or as it was if that is better on the rows of the search.

    Where these have no labels, checkpoints are chosen on the development split, and the training is kept.
    """
    assert method.export is not None
    if method.teacher == "none":
        teacher = sub_network(trained.model, trained.space.largest).eval().requires_grad_(False)
    else:
        teacher = find_teacher(method.teacher, model, task, run)
    judged = trained.split if trained.task.has_labels(trained.split) else trained.task.dev_split
    objective = Imitating(copy.deepcopy(result), trained.task, method, judged, teacher)
    run.train(objective, trained.task, method.export, "export")
    if judged != trained.split:
        return objective.model
    before, after = (mean_loss(each, trained) for each in (result, objective.model))
    run.runtime.say(f"loss on the rows of the search: {before:.4f} before its own training, {after:.4f} after")
    return objective.model if after < before else result


def mean_loss(model: PreTrainedModel, trained: Trained) -> float:
    """A model's mean loss on the rows of the search."""
    rows = Evaluator(model.eval(), trained.task, trained.split, (), None, 0)
    return rows.sums([None], 0)[0] / rows.ends[-1]
