"""What is refused before a distillation begins: models and settings that do not go together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bertpress.augmentation.job import check_files, check_rows
from bertpress.encoders import check_length, encoder_of
from bertpress.engine.loading import load_config, load_tokenizer
from bertpress.engine.teachers import check_vocabulary, difference, takes_labels_of
from bertpress.errors import RequestError
from bertpress.methods.tinybert.intermediate import Comparison

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from bertpress.methods.method import Method, Situation
    from bertpress.methods.tinybert import TinyBert
    from bertpress.tasks.task import Task


def check_request(method: TinyBert, situation: Situation) -> None:
    """Refuse what the configurations and vocabularies of student and teacher tell, before data are read.

    Raises:
        RequestError: settings that do not fit the two models, or models that do not fit each other.
    """
    task, code = situation.task, situation.trust_remote_code
    if task is not None and method.augmentation is not None:
        check_rows(task)
    if task is not None and task.together is not None and method.augmentation is not None and method.hard_weight:
        raise RequestError(
            f"hard_weight: {task.name} is learned by comparing rows, and those that augmentation makes have no labels "
            "of their own; leave out hard_weight or augmentation."
        )
    own = {"start": situation.start, "input": situation.given}
    teacher = own[method.teacher] if method.teacher in own else load_config(method.teacher, code)
    student = method.plan(situation.given)
    if task is not None and method.student is not None:
        check_length(task.max_length, encoder_of(student).positions(student))
        check_vocabulary(task.tokenizer, load_tokenizer(method.student, code), "the input model", method.student)
    tokenizer = task.tokenizer if task is not None else None
    if task is not None and method.teacher not in own:
        check_length(task.max_length, encoder_of(teacher).positions(teacher))
        tokenizer = load_tokenizer(method.teacher, code)
        task_of_teacher(method, task, tokenizer)
        if method.prediction is not None and not takes_labels_of(task, teacher):
            task.aligned(teacher)
    if tokenizer is not None and method.augmentation is not None:
        check_files(method.augmentation, tokenizer, code)
    if method.intermediate is not None:
        Comparison(method, student, teacher)  # refuses what cannot be compared
    check_widths(method, student, teacher)


def check_widths(method: TinyBert, student: PretrainedConfig, teacher: PretrainedConfig) -> None:
    """Refuse the angle between states of different widths.

    Raises:
        RequestError: names both widths.
    """
    own, other = student.hidden_size, teacher.hidden_size
    if method.prediction is not None and method.cosine_weight and own != other:
        raise RequestError(f"cosine_weight needs equal widths, but the student has {own} and the teacher {other}.")


def check_teacher(teacher: PreTrainedModel, task: Task) -> None:
    """Refuse a teacher that has learnt nothing of the task: one that was never fine-tuned, or with other labels.

    Raises:
        RequestError: names its score and that of the commonest answer.
    """
    from bertpress.engine.evaluation import logits_of

    split = task.dev_split
    if not task.has_labels(split):
        return
    score = task.score(logits_of(teacher, task, task.encoded(split)), split)[task.primary]
    chance = task.chance_score(split)
    if not score > chance:
        raise RequestError(
            f"The teacher's {task.primary} on {split} is {100 * score:.1f}, no better than always giving the commonest "
            f"answer ({100 * chance:.1f}); fine-tune it first, or set teacher_check to false."
        )


def task_of_teacher(method: TinyBert, task: Task, tokenizer: PreTrainedTokenizerBase) -> Task:
    """The task as a teacher in a folder reads it: that of the student, unless the teacher has another vocabulary.

    What is compared token by token needs a common one. Predictions of a whole text do not: each model encodes the same
    texts in its own way, and the teacher's answers are stored by row.

    Raises:
        RequestError: names the first tokens that differ.
    """
    if difference(task.tokenizer, tokenizer) is None:
        return task
    by_token = method.intermediate is not None or method.cosine_weight > 0 or task.by_token
    if by_token or not task.columns:
        hint = (
            ""
            if not task.columns or task.by_token
            else ", or compare predictions alone (intermediate=null, cosine_weight=0)"
        )
        check_vocabulary(task.tokenizer, tokenizer, "the input model", method.teacher, hint)
    if method.signals == "none":
        raise RequestError(
            f"{method.teacher} has another vocabulary, so its answers are stored before the training; signals none "
            "forbids that: leave signals at auto."
        )
    return task.with_tokenizer(tokenizer)


def check_store(folder: Path, steps: Sequence[Method]) -> None:
    """Refuse a folder for stored signals that nothing would be put into.

    Args:
        steps: of a recipe.

    Raises:
        RequestError: no step stores any, or the folder is a file.
    """
    settings = [getattr(step, "signals", None) for step in steps if step.name == "tinybert"]
    if not settings:
        raise RequestError("--signals keeps what the teacher of tinybert says, but no step is tinybert; leave it out.")
    if set(settings) == {"none"}:
        raise RequestError("--signals names a folder for what the setting signals=none does not store; leave out one.")
    if folder.is_file():
        raise RequestError(f"--signals expects a folder, but {folder} is a file.")
