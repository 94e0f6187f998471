"""One forward pass of a teacher or a student, and what the losses look at in it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from bertpress.encoders.scores import Captured, capture, enable_capture

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.tasks.task import Task


@dataclass(frozen=True)
class Wanted:
    """What a loss looks at. Layers are counted from 1; hidden state 0 is what enters the first layer."""

    logits: bool = False
    hidden: tuple[int, ...] = ()
    attention: tuple[int, ...] = ()
    values: bool = False
    """of attention, the values beside queries and keys"""

    def __or__(self, other: Wanted) -> Wanted:
        return Wanted(
            self.logits or other.logits,
            tuple(sorted({*self.hidden, *other.hidden})),
            tuple(sorted({*self.attention, *other.attention})),
            self.values or other.values,
        )

    def covers(self, other: Wanted) -> bool:
        """True if what `other` asks for is part of this."""
        return self | other == self

    def __bool__(self) -> bool:
        return self.logits or bool(self.hidden) or bool(self.attention)


@dataclass
class Observed:
    """What the task's forward pass gave; logits; hidden states (batch, length, width) by number; attention by layer."""

    outputs: Any = None
    logits: Tensor | None = None
    hidden: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, Captured] = field(default_factory=dict)


def observe(model: PreTrainedModel, task: Task, batch: Mapping[str, Tensor], wanted: Wanted) -> Observed:
    """Run `model` on a batch; its head only where logits are wanted."""
    asked = {"output_hidden_states": True} if wanted.hidden else {}
    with _captured(model, wanted) as captured:
        if wanted.logits:
            outputs = task.forward(model, batch, **asked)
        else:
            outputs = model.base_model(**task.inputs_of(model.base_model, batch), **asked)
    states = outputs.hidden_states if wanted.hidden else ()
    return Observed(
        outputs=outputs,
        logits=outputs.logits if wanted.logits else None,
        hidden={number: states[number] for number in wanted.hidden},
        attention={layer: captured[layer - 1] for layer in wanted.attention},
    )


def _captured(model: PreTrainedModel, wanted: Wanted) -> AbstractContextManager[dict[int, Captured]]:
    if not wanted.attention:
        return nullcontext({})
    enable_capture(model)
    return capture(model, [layer - 1 for layer in wanted.attention])
