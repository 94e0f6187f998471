"""The tasks by name, and `load_task`, which reads one. The table loads neither torch nor data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from bertpress.encoders import check_length
from bertpress.errors import RequestError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertpress.recipe import TaskSpec
    from bertpress.tasks.data import TextData
    from bertpress.tasks.task import Task

TASKS: dict[str, str] = {
    "glue/cola": "is a sentence acceptable English (Matthews correlation)",
    "glue/sst2": "sentiment of phrases from film reviews (accuracy)",
    "glue/mrpc": "are two sentences paraphrases (mean of accuracy and F1)",
    "glue/stsb": "similarity of two sentences, 0 to 5 (mean of Pearson and Spearman correlation)",
    "glue/qqp": "are two questions duplicates (mean of accuracy and F1)",
    "glue/mnli": "entailment in three classes (accuracy on matched genres; mismatched beside it)",
    "glue/qnli": "does a sentence answer a question (accuracy)",
    "glue/rte": "entailment in two classes (accuracy)",
    "glue/wnli": "pronoun resolution as entailment (accuracy)",
    "glue/ax": "GLUE's diagnostic set, predicted with an MNLI model (test only)",
    "imdb": "long documents: sentiment of film reviews (accuracy)",
    "yelp_review_full": "long documents: stars that a review gives, 1 to 5 (accuracy)",
    "20newsgroups": "long documents: which of 20 newsgroups a message stood in (accuracy)",
    "hyperpartisan": "long documents: does a news article take sides blindly (accuracy)",
    "pydoc": "area of the library a docstring sentence documents; comes with Python, needs no download (accuracy)",
    "files": "your own data: --data-dir, --columns, --label",
    "text": "guess masked tokens of plain text, a sentence a line: --data-dir (masked accuracy)",
}
"""Name to one line on what is asked and the primary metric."""


def load_task(
    spec: TaskSpec,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    limit: Mapping[str, int] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Task:
    """A task's data, ready for a tokenizer; plain text is tokenised when its rows are first asked for.

    Args:
        spec: which task, and where its data are.
        tokenizer: of the model in question.
        max_length: longest input in tokens.
        limit: largest number of rows of a split.
        say: told what takes time.

    Raises:
        RequestError: no such task, or data that cannot be used, naming file and row.
    """
    from bertpress.tasks import splits
    from bertpress.tasks.classification import Classification

    check_length(max_length, tokenizer.model_max_length)
    _check(spec)
    if spec.name == "text":
        return _text(spec, tokenizer, max_length, limit, say)
    data = _read(spec)
    if spec.make_splits is not None:
        data = splits.make_splits(data, spec.make_splits)
    elif not spec.name.startswith("glue/"):  # these have validation splits of their own: a folder without is not whole
        data = splits.hold_out(data)
    if limit:
        data = dataclasses.replace(data, splits=splits.limit(data.splits, limit, seed=0))
    return Classification(data, tokenizer, max_length)


def _check(spec: TaskSpec) -> None:
    """Refuse a task that there is not, and settings that it does not have."""
    if spec.name not in TASKS:
        raise RequestError(f"There is no task '{spec.name}'{nearest(spec.name, list(TASKS))}.")
    own_columns = spec.columns and spec.name != "text"
    if spec.name not in ("files", "text") and (own_columns or spec.kind or spec.label != "label"):
        raise RequestError(f"--columns, --label and --kind describe your own data (--task files), not {spec.name}.")
    if spec.name == "text" and (len(spec.columns or ("",)) != 1 or spec.label != "label"):
        raise RequestError("Plain text has one column and no label; leave out --label and name one column.")
    if spec.kind is not None and (spec.kind in ("masked-lm", "encoder")) != (spec.name == "text"):
        raise RequestError(f"The kind {spec.kind} does not go with the task {spec.name}; leave out --kind.")
    if spec.unlabelled and spec.name != "files":
        raise RequestError(f"--unlabelled describes your own data (--task files), not {spec.name}.")
    if spec.name != "text" and (spec.masking or spec.corpus):
        raise RequestError(f"corpus and masking describe plain text (--task text), not {spec.name}.")
    if spec.name == "text" and spec.make_splits:
        raise RequestError("Plain text holds validation rows out by corpus.validation; leave out --make-splits.")
    if spec.data_dir and spec.corpus:
        raise RequestError("Give either --data-dir or a corpus, not both.")
    if spec.name == "pydoc" and spec.data_dir:
        raise RequestError("pydoc comes from the installed Python; leave out --data-dir.")


def _text(
    spec: TaskSpec,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    limit: Mapping[str, int] | None,
    say: Callable[[str], None],
) -> Task:
    from bertpress.tasks.masked_lm import MaskedLanguageModel
    from bertpress.tasks.plain_text import PlainText
    from bertpress.tasks.text import TextSplits, corpus_of

    corpus = spec.corpus or corpus_of(spec.data_dir, *(spec.columns or (None,)))
    rows = TextSplits(corpus, tokenizer, max_length, limit or {}, say)
    kind = PlainText if spec.kind == "encoder" else MaskedLanguageModel
    return kind(spec.name, rows, tokenizer, max_length, spec.masking)


def _read(spec: TaskSpec) -> TextData:
    if spec.name == "files":
        from bertpress.tasks.files import load_files

        kind = spec.kind if spec.kind in ("classification", "regression") else None
        return load_files(
            data_dir=spec.data_dir, columns=spec.columns, label=spec.label, kind=kind, unlabelled=spec.unlabelled
        )
    if spec.name == "pydoc":
        return _pydoc()
    if spec.name.startswith("glue/"):
        from bertpress.tasks.glue import load_glue

        return load_glue(spec.name, spec.data_dir)
    from bertpress.tasks.documents import load_documents

    return load_documents(spec.name, spec.data_dir)


def _pydoc() -> TextData:
    import platform

    from bertpress.tasks import pydoc
    from bertpress.tasks.data import TextData

    return TextData(
        name="pydoc",
        splits=pydoc.load(),
        columns=("text",),
        labels=tuple(pydoc.AREAS),
        metrics=("accuracy", "f1_macro"),
        primary="accuracy",
        notes=(f"docstrings of Python {platform.python_version()}",),
    )
