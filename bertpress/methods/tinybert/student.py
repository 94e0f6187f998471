"""Where a student starts, and who teaches it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from bertpress.encoders import check_length, encoder_of
from bertpress.encoders.surgery import keep_layers, reorder_outputs
from bertpress.errors import RequestError
from bertpress.loading import load_config, load_for_task, load_tokenizer
from bertpress.methods.tinybert.checks import check_vocabulary, task_of_teacher

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.methods.tinybert import TinyBert
    from bertpress.run import StepRun
    from bertpress.tasks.task import Task


def make_student(method: TinyBert, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
    """The student before its training: layers of `model`, another folder, or random weights; all of it trainable."""
    if method.student is not None:
        tokenizer = load_tokenizer(method.student, run.runtime.trust_remote_code)
        check_vocabulary(task.tokenizer, tokenizer, "the input model", method.student)
        student = _loaded(method.student, task, run, new_head=True)
    elif method.shape is not None:
        student = type(model)(method.plan(model.config)).to(model.device)
    else:
        student = keep_layers(model, method.kept_layers(model.config))
    return student.eval().requires_grad_(True)


def find_teacher(method: TinyBert, model: PreTrainedModel, task: Task, run: StepRun) -> tuple[PreTrainedModel, Task]:
    """The frozen teacher, in eval mode, and the task as it reads it: the given one unless its vocabulary is another.

    Raises:
        RequestError: a folder without a trained head for this task, for shorter inputs, or with a vocabulary that does
            not go with what is compared.
    """
    if method.teacher == "input":
        teacher = copy.deepcopy(model)
    elif method.teacher == "start":
        teacher = run.start()
    else:
        task = task_of_teacher(method, task, load_tokenizer(method.teacher, run.runtime.trust_remote_code))
        teacher = _loaded(method.teacher, task, run, new_head=method.prediction is None)
    return teacher.eval().requires_grad_(False), task


def _loaded(name: str, task: Task, run: StepRun, new_head: bool) -> PreTrainedModel:
    """A model from a folder that takes the task's batches and answers in its order of labels."""
    labels = _assumed_labels(name, task, run)
    model, own, remarks = load_for_task(name, task, new_head, run.runtime.trust_remote_code, labels)
    for remark in remarks:
        run.runtime.say(remark)
    if own.labels != task.labels and own.labels and task.labels:
        reorder_outputs(model, task.head, [own.labels.index(label) for label in task.labels])
        task.configure(model.config)
    check_length(task.max_length, encoder_of(model.config).positions(model.config))
    if max(task.tokenizer.get_vocab().values()) >= model.config.vocab_size:
        raise RequestError(f"{name} has embeddings for {model.config.vocab_size} tokens, fewer than the tokenizer has.")
    return model.to(run.device)


def _assumed_labels(name: str, task: Task, run: StepRun) -> tuple[str, ...] | None:
    """The task's labels for a head that names none (LABEL_0 and so on); the check of the teacher guards the guess."""
    config = load_config(name, run.runtime.trust_remote_code)
    unnamed = all(label == f"LABEL_{index}" for index, label in config.id2label.items())
    if not task.labels or not unnamed or config.num_labels != len(task.labels):
        return None
    run.runtime.say(f"{name} does not name its labels; they are taken to be {', '.join(task.labels)}, in this order.")
    return task.labels
