"""What is trained: an `Objective` takes a batch and gives its loss; it is the model the Trainer trains.

Teachers, frozen halves and draws live inside its forward, so that resuming, several processes, mixed precision and
checkpoints come from the Trainer without a subclass per method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from bertpress.encoders import encoder_of
from bertpress.encoders.scores import CAPTURING
from bertpress.models.packed_attention import PACKED

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.tasks.task import Task

Batch = Mapping[str, Tensor]


class Objective(nn.Module):
    """A batch in, ``{"loss", "logits"}`` out; the logits (as the task condenses them) in eval mode only.

    The engine sets `step` (finished optimizer steps), `total_steps` and `micro_batch` before each forward pass. Losses
    are means over the micro-batch. In eval mode the deployable model runs and nothing is drawn. What must survive a
    restart is a parameter or a buffer; checkpoints hold trainable parameters and buffers only.
    """

    accepts_loss_kwargs = False  # The Trainer then divides the loss by the accumulation steps; models do not.
    unused_parameters = False
    """True if a step may leave a trainable parameter without gradient."""
    model: PreTrainedModel
    """the deployable one"""

    def __init__(self, task: Task, teacher: nn.Module | None = None) -> None:
        super().__init__()
        self.task = task
        self.step, self.total_steps, self.micro_batch = 0, 1, 0
        self.imposed: Any = None
        # Not a submodule on purpose: a teacher is never trained, saved, put in train mode or wrapped by DDP.
        self.__dict__["teacher"] = None if teacher is None else teacher.eval().requires_grad_(False)
        # Its gradient is always 0: a step that trains nothing still has a graph, and moves nothing.
        self.anchor = nn.Parameter(torch.zeros(()))

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        """Loss of the task, shape (), and in eval mode what the task condenses the deployed model's outputs to."""
        outputs = self.task.forward(self.model, batch)
        result = {} if self.training else {"logits": self.task.condense(outputs, batch)}
        if "labels" in batch:
            result["loss"] = self.task.example_losses(outputs, batch).mean() + 0.0 * self.anchor
        return result

    @property
    def selection(self) -> tuple[str, bool]:
        """The metric that chooses the checkpoint, and whether more of it is better."""
        return self.task.primary, True

    def scores(self, split: str, device: torch.device) -> dict[str, float]:
        """Every metric on a split, the one of `selection` among them; in eval mode."""
        from bertpress.engine.evaluation import collect_logits

        rows = self.task.encoded(split)
        return self.task.score(collect_logits(lambda batch: self(**batch)["logits"], self.task, rows, device), split)

    def impose(self, draw: Any) -> None:
        """Use `draw` instead of drawing at random; None draws again. For tests and fixed choices."""
        self.imposed = draw

    def before_update(self) -> None:
        """Called before each optimizer step, after the gradient was clipped."""

    def progress(self) -> dict[str, float]:
        """Numbers to log beside the loss, over the time since the last call."""
        return {}

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        choose_attention(self.model, training=mode)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        teacher = self.__dict__["teacher"]
        if teacher is not None:
            teacher._apply(fn, recurse)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:  # type: ignore[override]
        """Trainable parameters and buffers, one name per tied pair, contiguous."""
        full = super().state_dict(*args, **kwargs)
        return {name: full[name].contiguous() for name in self._saved_names(full)}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load what `state_dict` saved; another set of names is refused."""
        expected = self._saved_names(super().state_dict())
        if set(expected) != set(state_dict):
            differing = sorted(set(expected) ^ set(state_dict))
            raise ValueError(f"a checkpoint of another objective: {len(differing)} names differ, first {differing[0]}")
        super().load_state_dict(state_dict, strict=False, assign=assign)
        return nn.modules.module._IncompatibleKeys([], [])

    def _saved_names(self, full: Mapping[str, Any]) -> list[str]:
        trainable = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        buffers = {name for name, _ in self.named_buffers()}
        return [name for name in full if name in trainable or name in buffers]


class Means:
    """Means of named numbers since they were last taken, for `Objective.progress`."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, **numbers: Tensor) -> None:
        """Note numbers of a step, each of shape ()."""
        for name, number in numbers.items():
            self.sums[name] = self.sums.get(name, 0.0) + number.detach()
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """The means; what was noted is forgotten."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means


class Supervised(Objective):
    """The task's own loss on a model whose trainable parameters the caller has chosen."""

    def __init__(self, model: PreTrainedModel, task: Task) -> None:
        super().__init__(task)
        self.model = model

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        encoder = self.model.base_model
        if mode and not any(parameter.requires_grad for parameter in encoder.parameters()):
            # Dropout trains layers to do without single units; a frozen encoder cannot learn that.
            encoder.eval()
            choose_attention(self.model, training=False)
        return self


def choose_attention(model: PreTrainedModel, training: bool) -> None:
    """Set the attention that is expected to be fastest here.

    On CPU, scaled-dot-product attention with dropout takes an unfused path with the stock dropout inside, so training
    there uses eager attention, whose dropout `CpuKernels` can replace; without dropout, and on other devices, the fused
    path is taken. `benchmarks/kernels.py` compares them. An architecture with an attention of its own keeps it, and so
    do a model whose queries and keys are captured, and one that skips tokens; these take the same two paths.
    """
    config = model.config
    if not model._supports_sdpa or config._attn_implementation in (CAPTURING, PACKED):
        return
    dropout = getattr(config, encoder_of(config).attention_dropout)
    wanted = "eager" if training and dropout > 0 and model.device.type == "cpu" else "sdpa"
    if config._attn_implementation != wanted:
        model.set_attn_implementation(wanted)
