"""What a trained head was made for: its kind of task, and a task without rows to ask it about texts of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bertpress.errors import RequestError
from bertpress.tasks import KINDS, loaded

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from bertpress.recipe import TaskSpec
    from bertpress.tasks.task import Task

HEADS = {"ForQuestionAnswering": "qa", "ForMultipleChoice": "choice", "ForMultiHop": "multihop"}
"""What an architecture's name ends in to the kind, where that tells it."""
TEXTLESS = {"choice": "choices.task.no_options", "candidates": "candidates.task.no_texts"}
"""Kind to what gives the error for texts of one's own, which cannot be put to it."""
OF_HEAD = {
    "qa": "reading.task.of_head",
    "multihop": "hops.task.of_head",
    "tagging": "tagging.task.of_head",
    "mrc": "queries.task.of_head",
    "embedding": "embedding.task.of_head",
}
"""Kind to what makes its task of a head."""
OF_ANY_MODEL = ("embedding", "masked-lm", "encoder")
"""Kinds that may be asked of a model whatever its head was trained for."""


def kind_of_head(config: PretrainedConfig) -> str | None:
    """The kind of task that a model was trained for, a key of `CLASSES`; None where its configuration tells none."""
    architecture = next(iter(config.architectures or ()), "")
    for ending, kind in HEADS.items():
        if architecture.endswith(ending):
            return kind
    if architecture.endswith("ForTokenClassification"):
        return _kind_of_tokens(config)
    if architecture.endswith("ForSequenceClassification"):
        from bertpress.tasks.choices.task import scores_separately

        return "choice" if scores_separately(config) else None
    from bertpress.tasks.embedding.task import is_sentence_encoder

    return "embedding" if is_sentence_encoder(config) else None


def _kind_of_tokens(config: PretrainedConfig) -> str | None:
    from bertpress.tasks.candidates.task import has_candidates
    from bertpress.tasks.queries.task import marks_places
    from bertpress.tasks.tagging.heads import has_tags, head_names

    if has_candidates(config):
        return "candidates"
    if marks_places(config):
        return "mrc"
    return "tagging" if has_tags(head_names(config.id2label)) else None


def task_of_head(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Task:
    """A task without rows for the trained head of a model, to predict texts of your own.

    Raises:
        RequestError: a head that texts cannot be put to, or whose outputs have no names that tell their meaning.
    """
    kind = kind_of_head(config)
    if kind is None and next(iter(config.architectures or ()), "").endswith("ForTokenClassification"):
        kind = "tagging"  # which says what is wrong with its labels
    if kind in TEXTLESS:
        refusal: RequestError = loaded(TEXTLESS[kind])()
        raise refusal
    if kind in OF_HEAD:
        task: Task = loaded(OF_HEAD[kind])(config, tokenizer, max_length)
        return task
    from bertpress.tasks.classification import Classification, data_of_head

    return Classification(data_of_head(config), tokenizer, max_length)


def of_its_kind(spec: TaskSpec, config: PretrainedConfig, model: str) -> TaskSpec:
    """The task, of the kind that a finished model was trained for where it names none itself.

    Args:
        config: the model's.
        model: its name, for a message.

    Raises:
        RequestError: it names another one.
    """
    trained = kind_of_head(config)
    if trained is None or spec.kind == trained or spec.kind in OF_ANY_MODEL:
        return spec
    has_it = trained in KINDS.get(spec.name, ())
    if spec.kind is None:
        return spec.model_copy(update={"kind": trained}) if has_it else spec
    instead = "leave out --kind" if has_it else f"name a task of the kind {trained}"
    raise RequestError(
        f"{model} was trained for the kind {trained}, but --kind {spec.kind} asks for another: {instead}, or fine-tune "
        f"it for {spec.kind} first."
    )
