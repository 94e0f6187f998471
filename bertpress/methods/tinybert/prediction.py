"""Step 2: the student gives the teacher's answers, and the task's own where labels can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bertpress import losses
from bertpress.encoders import encoder_of
from bertpress.engine.evaluation import collect_logits
from bertpress.engine.objective import Means, Objective
from bertpress.methods.tinybert.observing import Observed, Wanted, observe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.methods.tinybert import TinyBert
    from bertpress.methods.tinybert.signals import Signals
    from bertpress.tasks.task import Task

Loss = Callable[[Tensor, Tensor], Tensor]
"""(student's logits, teacher's logits), both (rows, outputs) -> (rows,)"""


def loss_of(method: TinyBert) -> Loss:
    """The loss between two sets of logits that the settings ask for."""
    return {
        "soft_cross_entropy": lambda own, other: losses.soft_cross_entropy(own, other, method.temperature),
        "kl": lambda own, other: losses.kl_divergence(own, other, method.temperature),
        "mse": losses.logits_mse,
        "upstream": lambda own, other: losses.upstream_cross_entropy(own, other, method.temperature),
    }[method.prediction_loss]


class Prediction(Objective):
    """Weighted sum of the distance to the teacher's predictions, the task's loss, and the angle of the last states."""

    def __init__(
        self,
        student: PreTrainedModel,
        task: Task,
        method: TinyBert,
        teacher: PreTrainedModel | None,
        signals: Mapping[str, Signals] | None = None,
    ) -> None:
        super().__init__(task, teacher)
        self.model, self.method, self.signals = student, method, signals or {}
        student.requires_grad_(True)
        self.unused_parameters = not (method.soft_weight or method.hard_weight)  # the angle reaches no head
        self.needs_teacher = bool(method.soft_weight or method.cosine_weight)
        self.loss, self.means = loss_of(method), Means()
        self.wanted = wanted_of(method, student)

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        if not self.training:
            return super().forward(**batch)
        student = observe(self.model, self.task, batch, self.wanted)
        teacher = self.taught(batch) if self.needs_teacher else Observed()
        assert student.logits is not None
        parts: dict[str, Tensor] = {}
        if self.method.soft_weight:
            assert teacher.logits is not None
            expected = self._trusted_scores(teacher.logits, batch)
            soft = self.task.distillation_losses(student.logits, expected, batch, self.loss)
            parts["soft_loss"] = self.method.soft_weight * soft.mean()
        if self.method.hard_weight:
            own = self.task.example_losses(student.outputs, batch)
            parts["hard_loss"] = self.method.hard_weight * own.masked_fill(_augmented(batch), 0).mean()
        if self.method.cosine_weight:
            (mine,), (theirs,) = student.hidden.values(), teacher.hidden.values()
            angle = losses.cosine_loss(mine, theirs, batch["attention_mask"])
            parts["cosine_loss"] = self.method.cosine_weight * angle
        self.means.add(**parts)
        return {"loss": torch.stack(list(parts.values())).sum() + 0.0 * self.anchor}

    def progress(self) -> dict[str, float]:
        return self.means.take()

    @property
    def selection(self) -> tuple[str, bool]:
        return super().selection if self.task.has_labels(self.task.dev_split) else ("agreement", True)

    def scores(self, split: str, device: torch.device) -> dict[str, float]:
        """The task's metrics; without labels, how well the predictions agree with the teacher's."""
        if self.task.has_labels(split):
            return super().scores(split, device)
        rows = self.task.encoded(split)
        own = collect_logits(lambda batch: self(**batch)["logits"], self.task, rows, device)
        other = collect_logits(
            lambda batch: self.task.condense(self.taught(batch, split), batch), self.task, rows, device
        )
        return {"agreement": self.task.agreement(own, other)}

    def taught(self, batch: Mapping[str, Tensor], split: str = "train") -> Observed:
        """What the teacher says of a batch, read where it is stored."""
        if split in self.signals:
            return self.signals[split].read(batch["row"], batch["input_ids"].shape[1], batch["input_ids"].device)
        with torch.no_grad():
            return observe(self.teacher, self.task, batch, wanted_of(self.method, self.teacher))

    def _trusted_scores(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The teacher's logits; for a regression, the true score of rows that augmentation did not make."""
        if self.task.kind != "regression" or "labels" not in batch or self.method.regression_target == "teacher":
            return logits
        return torch.where(_augmented(batch)[:, None], logits, batch["labels"].to(logits)[:, None])


def wanted_of(method: TinyBert, model: PreTrainedModel) -> Wanted:
    """What step 2 looks at in a model."""
    last = encoder_of(model.config).depth(model.config)
    return Wanted(logits=True, hidden=(last,) if method.cosine_weight else ())


def _augmented(batch: Mapping[str, Tensor]) -> Tensor:
    """(batch,), True at rows that augmentation made."""
    rows = batch["row"]
    return batch["augmented"].bool() if "augmented" in batch else torch.zeros_like(rows, dtype=torch.bool)
