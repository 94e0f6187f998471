"""Where a student starts, and who teaches it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from bertpress.encoders.surgery import keep_layers
from bertpress.errors import RequestError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bertpress.methods.tinybert import TinyBert
    from bertpress.run import StepRun
    from bertpress.tasks.task import Task


def make_student(method: TinyBert, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
    """The student before its training: layers of `model`, another folder, or random weights; all of it trainable."""
    if method.student is not None:
        student = _loaded(method.student, task, run)
    elif method.shape is not None:
        student = type(model)(method.plan(model.config)).to(model.device)
    else:
        student = keep_layers(model, method.kept_layers(model.config))
    return student.eval().requires_grad_(True)


def _loaded(name: str, task: Task, run: StepRun) -> PreTrainedModel:
    from bertpress.loading import load_for_task, load_tokenizer

    check_vocabulary(task.tokenizer, load_tokenizer(name, run.runtime.trust_remote_code), "the input model", name)
    student, _, remarks = load_for_task(name, task, new_head=True, trust_remote_code=run.runtime.trust_remote_code)
    for remark in remarks:
        run.runtime.say(remark)
    return student.to(run.device)


def find_teacher(method: TinyBert, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
    """The frozen teacher, in eval mode.

    Raises:
        RequestError: a folder without a trained head for this task, or with another vocabulary.
    """
    if method.teacher == "input":
        teacher = copy.deepcopy(model)
    elif method.teacher == "start":
        teacher = run.start()
    else:
        from bertpress.loading import load_for_task, load_tokenizer

        code = run.runtime.trust_remote_code
        check_vocabulary(task.tokenizer, load_tokenizer(method.teacher, code), "the input model", method.teacher)
        teacher = load_for_task(method.teacher, task, trust_remote_code=code)[0].to(run.device)
    return teacher.eval().requires_grad_(False)


def check_vocabulary(
    first: PreTrainedTokenizerBase, second: PreTrainedTokenizerBase, first_name: str, second_name: str
) -> None:
    """Refuse tokenizers that give a token different numbers; one may know more tokens than the other.

    Raises:
        RequestError: names the first tokens that differ.
    """
    own, other = first.get_vocab(), second.get_vocab()
    smaller = own if len(own) <= len(other) else other
    differing = sorted((token for token in smaller if own.get(token) != other.get(token)), key=smaller.__getitem__)
    sample = "Distilling Élan 深度 don't 3.5%"
    if not differing and first(sample)["input_ids"] == second(sample)["input_ids"]:
        return
    shown = ", ".join(repr(token) for token in differing[:3]) or "the same words are split otherwise"
    raise RequestError(
        f"{first_name} and {second_name} have different vocabularies ({shown}), so tokens cannot be compared; "
        "give a student and a teacher that share one."
    )
