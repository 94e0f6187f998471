"""Where a student starts, and who teaches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertpress.encoders.compact import new_model
from bertpress.encoders.surgery import keep_layers
from bertpress.engine import teachers
from bertpress.engine.loading import load_tokenizer
from bertpress.methods.tinybert.checks import task_of_teacher

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.engine.run import StepRun
    from bertpress.methods.tinybert import TinyBert
    from bertpress.tasks.task import Task


def make_student(method: TinyBert, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
    """The student before its training: layers of `model`, another folder, or random weights; all of it trainable."""
    if method.student is not None:
        tokenizer = load_tokenizer(method.student, run.runtime.trust_remote_code)
        teachers.check_vocabulary(task.tokenizer, tokenizer, "the input model", method.student)
        student = teachers.load_beside(method.student, task, run, new_head=True)
    elif method.shape is not None:
        student = new_model(model, method.plan(model.config)).to(model.device)
    else:
        student = keep_layers(model, method.kept_layers(model.config))
    return student.eval().requires_grad_(True)


def find_teacher(method: TinyBert, model: PreTrainedModel, task: Task, run: StepRun) -> tuple[PreTrainedModel, Task]:
    """The frozen teacher, in eval mode, and the task as it reads it: the given one unless its vocabulary is another.

    Raises:
        RequestError: a folder without a trained head for this task, for shorter inputs, or with a vocabulary that does
            not go with what is compared.
    """
    if method.teacher not in ("start", "input"):
        task = task_of_teacher(method, task, load_tokenizer(method.teacher, run.runtime.trust_remote_code))
    return teachers.find_teacher(method.teacher, model, task, run, needs_head=method.prediction is not None), task
