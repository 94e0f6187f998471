"""Finetune: train a model on a task, the ordinary way.

The idea: every parameter, or the head alone, is trained on the task's loss. It makes the predecessors and teachers of
the other methods, and with `layers` the baseline they have to beat: the bottom layers of a fine-tuned model, head
included, trained on.

Paper: none; the truncated baseline is the first row of the tables in arXiv 2002.02925.

Phases: `training`.

How we differ: no differences. A model that skips tokens is trained as it will be run: its policies stay as they are,
which changes what it decides only as far as the states that they look at change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from bertpress.errors import RequestError
from bertpress.methods.method import Method, Situation, Training

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from bertpress.engine.run import StepRun
    from bertpress.tasks.task import Task


class Finetune(Method):
    """Train a model on the task, optionally after cutting off the top layers."""

    name: ClassVar[str] = "finetune"
    phases: ClassVar[tuple[str, ...]] = ("training",)
    takes_reduced: ClassVar[bool] = True

    layers: int | None = Field(None, ge=1)
    """keep only that many bottom layers of the given model"""
    positions: int | None = Field(None, ge=1, le=1_000_000)
    """longest input that the model can read afterwards; it gets new positions, which this training has to teach it"""
    extend: Literal["tile", "interpolate"] = "tile"
    """how new positions begin: as the trained ones repeated, or as these stretched over the new length"""
    train: Literal["all", "head"] = "all"
    """every parameter, or those of the head that the encoder does not share: of a masked-lm head its transform, norm
    and bias, not the output table, which is the embeddings'"""
    training: Training = Training()
    """how it is trained"""
    encoder_only: bool = False
    """save the result without its head"""

    @property
    def saves_head(self) -> bool:
        return not self.encoder_only

    def plan(self, config: PretrainedConfig) -> PretrainedConfig:
        from bertpress.encoders import encoder_of
        from bertpress.encoders.positions import with_positions
        from bertpress.encoders.surgery import with_layers

        depth = encoder_of(config).depth(config)
        if self.layers is not None and self.layers > depth:
            raise RequestError(f"layers must lie between 1 and the model's {depth}, got {self.layers}.")
        if self.positions is None and self.extend != "tile":
            raise RequestError(f"extend={self.extend} says how new positions begin; say how many with positions.")
        present = encoder_of(config).positions(config)
        if self.train == "head" and self.positions not in (None, present):
            raise RequestError("positions that are new have to be trained, and train=head trains the head alone.")
        config = with_layers(config, [(layer,) for layer in range(self.layers or depth)])
        return config if self.positions is None else with_positions(config, self.positions)

    def extended(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model with the positions that are asked for; `model` itself where none are."""
        from bertpress.encoders.positions import extend_positions

        return model if self.positions is None else extend_positions(model, self.positions, self.extend)

    def check(self, situation: Situation) -> None:
        if self.train == "head" and situation.task is not None and situation.task.head is None:
            raise RequestError(f"{situation.task.name} has no head to train; leave train at all.")

    def trainings(self) -> dict[str, Training]:
        return {"training": self.training}

    def layer_passes(self, config: PretrainedConfig, phase: str, steps: int) -> float:
        from bertpress.encoders import encoder_of

        return (3.0 if self.train == "all" else 1.0) * (self.layers or encoder_of(config).depth(config))

    def warnings(self, config: PretrainedConfig, steps: dict[str, int]) -> list[str]:
        from bertpress.encoders import encoder_of

        present = encoder_of(config).positions(config)
        if self.positions is None or self.positions == present:
            return []
        return [
            f"positions from {present} on are new, and the model knows of them what this training teaches it "
            "(bertpress pretrain teaches more, on plain text)"
        ]

    def compress(self, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
        import copy

        from bertpress.encoders.compact import freeze_decisions
        from bertpress.encoders.surgery import head_parameters, keep_layers
        from bertpress.engine.objective import Supervised

        result = copy.deepcopy(model) if self.layers is None else keep_layers(model, range(self.layers))
        result = self.extended(result)
        result.requires_grad_(self.train == "all")
        freeze_decisions(result)
        for parameter in head_parameters(result, task.head):
            parameter.requires_grad_(True)
        run.train(Supervised(result, task), task, self.training, "training")
        return result
