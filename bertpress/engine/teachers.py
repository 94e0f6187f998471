"""Who teaches: the recipe's start model, the one that a step is given, or a folder's."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from bertpress.encoders import check_length, encoder_of
from bertpress.encoders.surgery import reorder_outputs
from bertpress.engine.loading import load_config, load_for_task, load_tokenizer
from bertpress.errors import RequestError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from bertpress.engine.run import StepRun
    from bertpress.tasks.task import Task


def find_teacher(
    name: str, model: PreTrainedModel, task: Task, run: StepRun, needs_head: bool = True
) -> PreTrainedModel:
    """The frozen teacher, in eval mode.

    Args:
        name: start, input, or a folder whose vocabulary is that of `task`.
        model: what the step is given.
        needs_head: its predictions are learned.

    Raises:
        RequestError: a folder without a trained head for this task, or for shorter inputs.
    """
    if name == "input":
        teacher = copy.deepcopy(model)
    elif name == "start":
        teacher = run.start()
    else:
        teacher = load_beside(name, task, run, new_head=not needs_head)
    return teacher.eval().requires_grad_(False)


def read_by_both(name: str, task: Task, run: StepRun) -> Task:
    """The task with the inputs that a teacher from a folder takes, too: segments, if a BERT teaches a DistilBERT.

    Each model leaves out what it does not take.
    """
    if name in ("start", "input", "none"):
        return task
    known = load_tokenizer(name, run.runtime.trust_remote_code).model_input_names
    more = [each for each in known if each not in task.inputs]
    if not more:
        return task
    tokenizer = copy.deepcopy(task.tokenizer)
    tokenizer.model_input_names = [*task.inputs, *more]
    return task.with_tokenizer(tokenizer)


def load_beside(name: str, task: Task, run: StepRun, new_head: bool) -> PreTrainedModel:
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


def takes_labels_of(task: Task, config: PretrainedConfig) -> bool:
    """True for a head that names no labels (LABEL_0 and so on) and has as many outputs as the task has."""
    unnamed = all(label == f"LABEL_{index}" for index, label in config.id2label.items())
    return unnamed and bool(task.labels) and config.num_labels == len(task.labels or ())


def _assumed_labels(name: str, task: Task, run: StepRun) -> tuple[str, ...] | None:
    """The task's labels for a head that names none (LABEL_0 and so on); the check of the teacher guards the guess."""
    if task.labels is None or not takes_labels_of(task, load_config(name, run.runtime.trust_remote_code)):
        return None
    run.runtime.say(f"{name} does not name its labels; they are taken to be {', '.join(task.labels)}, in this order.")
    return task.labels


def check_vocabulary(
    first: PreTrainedTokenizerBase,
    second: PreTrainedTokenizerBase,
    first_name: str,
    second_name: str,
    hint: str = "",
) -> None:
    """Refuse tokenizers that give a token different numbers; one may know more tokens than the other.

    Args:
        hint: what else there is to do.

    Raises:
        RequestError: names the first tokens that differ.
    """
    if (shown := difference(first, second)) is not None:
        raise RequestError(
            f"{first_name} and {second_name} have different vocabularies ({shown}), so tokens cannot be compared; "
            f"give a student and a teacher that share one{hint}."
        )


def difference(first: PreTrainedTokenizerBase, second: PreTrainedTokenizerBase) -> str | None:
    """The first tokens to which two tokenizers give different numbers; None if there are none."""
    own, other = first.get_vocab(), second.get_vocab()
    smaller = own if len(own) <= len(other) else other
    differing = sorted((token for token in smaller if own.get(token) != other.get(token)), key=smaller.__getitem__)
    sample = "Distilling Élan 深度 don't 3.5%"
    if not differing and first(sample)["input_ids"] == second(sample)["input_ids"]:
        return None
    return ", ".join(repr(token) for token in differing[:3]) or "the same words are split otherwise"
