"""Where a student starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertpress.encoders.compact import stock_class
from bertpress.encoders.surgery import keep_layers
from bertpress.teachers import load_beside

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.methods.tinybert import TinyBert
    from bertpress.run import StepRun
    from bertpress.tasks.task import Task


def make_student(method: TinyBert, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
    """The student before its training: layers of `model`, another folder, or random weights; all of it trainable."""
    if method.student is not None:
        student = load_beside(method.student, task, run, new_head=True)
    elif method.shape is not None:
        student = stock_class(model)(method.plan(model.config)).to(model.device)
    else:
        student = keep_layers(model, method.kept_layers(model.config))
    return student.eval().requires_grad_(True)
