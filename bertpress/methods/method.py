"""What every method is: a frozen configuration with `plan` and `compress`. No torch here, so help is instant."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from bertpress.config import Config

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from bertpress.engine.run import Runtime, StepRun
    from bertpress.tasks.task import Task


class Training(Config):
    """How one phase is trained."""

    epochs: float = Field(3, gt=0, le=100_000)
    """passes over the training split"""
    max_steps: int | None = Field(None, ge=1)
    """optimizer steps; wins over epochs"""
    learning_rate: float = Field(2e-5, gt=0, allow_inf_nan=False)
    """peak learning rate of AdamW"""
    batch_size: int = Field(32, ge=1)
    """examples per micro-batch and process"""
    accumulation: int = Field(1, ge=1)
    """micro-batches per optimizer step"""
    warmup: float = Field(0, ge=0, le=1)
    """share of the steps over which the learning rate rises"""
    weight_decay: float = Field(0, ge=0)
    """decoupled weight decay; none for biases and norms"""
    decay: Literal["linear", "cosine", "constant"] = "linear"
    """course of the learning rate after the warm-up"""
    clip: float = Field(1.0, gt=0)
    """largest norm of the gradient over the trainable parameters"""

    def steps(self, examples: int, processes: int = 1) -> int:
        """Number of optimizer steps on that many training examples."""
        if self.max_steps is not None:
            return self.max_steps
        return math.ceil(self.epochs * self.steps_of_epoch(examples, processes))

    def steps_of_epoch(self, examples: int, processes: int = 1) -> int:
        """Number of optimizer steps in which that many training examples are seen once.

        An incomplete batch (of all processes together) is dropped where the data hold at least one whole global batch,
        as the engine does.
        """
        micro = self.batch_size * processes
        whole = examples >= micro * self.accumulation
        batches = examples // micro if whole else math.ceil(examples / micro)
        return math.ceil(batches / self.accumulation)


def _completed(default: Any, given: Any) -> Any:
    """The fields that are given of a phase, with those that its default sets; a whole training stays as it is."""
    if not isinstance(default, Training) or not isinstance(given, Mapping):
        return given
    of_default = default.model_dump(exclude_unset=True)
    if given.get("max_steps") is not None:
        of_default.pop("epochs", None)
    return {**of_default, **given}


@dataclass(frozen=True)
class Situation:
    """What is known of a step before data are read."""

    given: PretrainedConfig
    """configuration of the model that the step is given"""
    start: PretrainedConfig
    """that of the recipe's start model, the default teacher"""
    task: Task | None
    """its rows are not to be read; None while there is no tokenizer"""
    trust_remote_code: bool


class Method(Config, ABC):
    """One way to make an encoder smaller.

    A subclass names itself and its phases, tells the shape of its result before anything trains (`plan`) and makes it
    (`compress`); `trainings` and `layer_passes` tell how long that takes.
    """

    name: ClassVar[str]
    phases: ClassVar[tuple[str, ...]]
    takes_reduced: ClassVar[bool] = False
    """True if it works on a model that skips tokens, and leaves its decisions as they are"""
    changes_tokens: ClassVar[bool] = False
    """True if its result has a tokenizer of its own, so that no step can follow, each of which reads the same rows"""

    @model_validator(mode="before")
    @classmethod
    def _complete_phases(cls, values: Any) -> Any:
        """Let what is given of a phase change the phase's own default: what is left out stays as it is there."""
        if not isinstance(values, Mapping):
            return values
        defaults = {name: cls.model_fields[name].default for name in values if name in cls.model_fields}
        return {name: _completed(defaults.get(name), value) for name, value in values.items()}

    @property
    def saves_head(self) -> bool:
        """False if the result is a bare encoder."""
        return True

    @property
    def needs_labels(self) -> bool:
        """False if it trains on texts without labels too."""
        return True

    @property
    def needs_head(self) -> bool:
        """False if it trains a bare encoder too."""
        return True

    def active_phases(self) -> list[str]:
        """Phases that are not switched off, in order."""
        return list(self.trainings())

    @abstractmethod
    def plan(self, config: PretrainedConfig) -> PretrainedConfig:
        """Configuration of the result for a model of configuration `config`.

        Raises:
            RequestError: the request does not fit this model.
        """

    def check(self, situation: Situation) -> None:
        """Refuse settings that no data can meet, before any are read; the result's shape is `plan`'s to refuse.

        Raises:
            RequestError: says which setting does not fit.
        """

    def check_rows(self, config: PretrainedConfig, task: Task) -> None:
        """Refuse what a task's rows cannot give, once they are read and before anything is written.

        Args:
            config: of the model that the step is given.

        Raises:
            RequestError: says which setting does not fit.
        """

    @abstractmethod
    def compress(self, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
        """The compressed model; `model` is left unchanged."""

    def reread(self, task: Task, run: StepRun) -> tuple[Task, list[str]]:
        """The task as the result reads it, and what that changes, in sentences; the same unless its tokens change."""
        return task, []

    @abstractmethod
    def trainings(self) -> dict[str, Training]:
        """Phase name to its settings, in order, without the phases that are switched off."""

    def baseline_training(self) -> Training:
        """What the truncated baseline is trained like, but for its number of steps."""
        return next(iter(self.trainings().values()), Training())

    def truncated_layers(self, config: PretrainedConfig) -> int:
        """Layers of the truncated baseline that the result is compared with; all of them: there is none."""
        from bertpress.encoders import encoder_of

        return encoder_of(config).depth(self.plan(config))

    def rows(self, task: Task) -> int:
        """Number of rows that a task's training rows become, at most."""
        return len(task.encoded("train"))

    @abstractmethod
    def layer_passes(self, config: PretrainedConfig, phase: str, steps: int) -> float:
        """Mean cost of one training step in layer forwards (backward: one for activations, one for weights).

        Predicts time before anything trains; it need not be exact.
        """

    def seconds_before(self, task: Task, runtime: Runtime) -> float:
        """Measured seconds of what a step does before its trainings, where that takes long."""
        return 0.0

    def warnings(self, config: PretrainedConfig, steps: dict[str, int]) -> list[str]:
        """Remarks a user should read before training starts, given each phase's number of steps."""
        return []

    @classmethod
    def help(cls) -> list[tuple[str, str, Any]]:
        """(field, help text, default) of every field."""
        return [(name, field.description or "", field.default) for name, field in cls.model_fields.items()]
