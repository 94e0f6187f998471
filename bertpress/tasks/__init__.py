"""The tasks by name, and `load_task`, which reads one. The table loads neither torch nor data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    "conll2003": "entities in English news: persons, organisations, places, others (F1 of exact spans)",
    "msra_ner": "entities in Chinese news: persons, organisations, places (F1 of exact spans)",
    "peoples_daily_ner": "entities in the People's Daily: persons, organisations, places (F1 of exact spans)",
    "cluener": "entities of ten types in Chinese news (F1 of exact spans)",
    "weibo_ner": "entities in Chinese social media, names and nouns (F1 of exact spans)",
    "resume_ner": "entities of eight types in Chinese curricula vitae (F1 of exact spans)",
    "squad": "which span of a paragraph answers a question (F1 of the answers' words)",
    "squad_v2": "the same, where some questions have no answer there (F1 of the answers' words)",
    "newsqa": "questions on news articles (F1 of the answers' words)",
    "natural_questions": "questions that people searched for, on pages of Wikipedia (F1 of the answers' words)",
    "triviaqa": "trivia questions on long texts, with several right answers (F1 of the answers' words)",
    "hotpotqa": "questions on ten paragraphs, with the sentences that say the answer (joint F1 of both)",
    "2wikimultihopqa": "the same, from pages of Wikipedia and facts of Wikidata (joint F1 of both)",
    "wikihop": "which candidate answers a query on several documents (accuracy)",
    "race": "which of four options answers a question on a school text (accuracy)",
    "pydoc": "area of the library a docstring sentence documents; comes with Python, needs no download (accuracy)",
    "files": "your own data: --data-dir, --columns, --label, --kind",
    "text": "guess masked tokens of plain text, a sentence a line: --data-dir (masked accuracy)",
}
"""Name to one line on what is asked and the primary metric."""
ENTITIES = ("conll2003", "msra_ner", "peoples_daily_ner", "cluener", "weibo_ner", "resume_ner")
QUESTIONS = ("squad", "squad_v2", "newsqa", "natural_questions", "triviaqa")
HOPS = ("hotpotqa", "2wikimultihopqa")
KINDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(ENTITIES, ("tagging", "mrc")),
    **dict.fromkeys(QUESTIONS, ("qa",)),
    **dict.fromkeys(HOPS, ("multihop",)),
    "wikihop": ("candidates",),
    "race": ("choice",),
    "glue/stsb": ("regression", "embedding"),
    "files": (
        "classification",
        "regression",
        "tagging",
        "mrc",
        "qa",
        "multihop",
        "candidates",
        "choice",
        "embedding",
    ),
    "text": ("masked-lm", "encoder"),
}
"""Name to what may be asked of the data, the default first; `files` has none, its labels tell. Others have one kind."""
SETTINGS: dict[str, tuple[str, ...]] = {
    "tagging": ("tagging", "mrc"),
    "mrc": ("mrc",),
    "qa": ("qa",),
    "multihop": ("multihop",),
    "candidates": ("candidates",),
    "choice": ("choice",),
    "embedding": ("embedding",),
}
"""Field of a task that holds settings to the kinds that have them."""

CLASSES: dict[str, str] = {
    "tagging": "tagging.task.Tagging",
    "mrc": "queries.task.EntityReading",
    "qa": "reading.task.SpanReading",
    "multihop": "hops.task.MultiHop",
    "candidates": "candidates.task.Candidates",
    "choice": "choices.task.MultipleChoice",
    "embedding": "embedding.task.Embedding",
}
"""Kind to the class of its task, whose settings are the field of that name; others are classifiers."""
SETTINGS_FOR = {"qa": "reading.named.settings_for", "embedding": "embedding.settings.settings_for"}
"""Kind to what gives its settings, where data sets have some of their own."""
READERS: dict[str, tuple[str, ...]] = {
    "tagging": ("tagging.formats.load_sentences", "data_dir", "columns", "label", "tagging"),
    "mrc": ("tagging.formats.load_sentences", "data_dir", "columns", "label", "tagging"),
    "qa": ("reading.records.load_reading", "data_dir", "columns", "label", "qa"),
    "multihop": ("hops.records.load_hops", "data_dir"),
    "candidates": ("candidates.records.load_candidates", "data_dir"),
    "choice": ("choices.records.load_choices", "data_dir", "columns", "label"),
}
"""Kind to the function that reads its data, and the fields of a task that this takes behind the name."""


def load_task(
    spec: TaskSpec,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    limit: Mapping[str, int] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Task:
    """A task's data, ready for a tokenizer; what takes long is tokenised when its rows are first asked for.

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

    check_length(max_length, tokenizer.model_max_length, "tokens that the tokenizer allows (model_max_length)")
    _check(spec)
    if spec.name == "text":
        return _text(spec, tokenizer, max_length, limit, say)
    data = _read(spec)
    if spec.make_splits is not None:
        data = splits.make_splits(data, spec.make_splits)
    elif not spec.name.startswith("glue/"):  # these have validation splits of their own: a folder without is not whole
        data = splits.hold_out(data)
    if limit:
        data = splits.limited(data, limit)
    return _asked(spec, data, tokenizer, max_length)


def kind_of(spec: TaskSpec) -> str:
    """What is asked of the data; classification also stands for scores, which the labels tell."""
    return spec.kind or ("classification" if spec.name == "files" else KINDS.get(spec.name, ("classification",))[0])


def _asked(spec: TaskSpec, data: TextData, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Task:
    """The data with what is asked of them."""
    kind = kind_of(spec)
    if kind not in CLASSES:
        from bertpress.tasks.classification import Classification

        return Classification(data, tokenizer, max_length)
    settings = getattr(spec, kind)
    if kind in SETTINGS_FOR:
        settings = loaded(SETTINGS_FOR[kind])(spec.name, settings)
    task: Task = loaded(CLASSES[kind])(data, tokenizer, max_length, settings)
    return task


def loaded(path: str) -> Any:
    """A class or a function by its module and name."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(f"bertpress.tasks.{module}"), name)


def _check(spec: TaskSpec) -> None:
    """Refuse a task that there is not, and settings that it does not have."""
    name, kind = spec.name, kind_of(spec)
    if name not in TASKS:
        raise RequestError(f"There is no task '{name}'{nearest(name, list(TASKS))}.")
    if name not in ("files", "text") and (spec.columns or spec.label):
        raise RequestError(f"--columns and --label describe your own data (--task files), not {name}.")
    if spec.kind is not None and spec.kind not in KINDS.get(name, ()):
        kinds = f"its kinds are {' and '.join(KINDS[name])}" if name in KINDS else "leave out --kind"
        raise RequestError(f"The kind {spec.kind} does not go with the task {name}; {kinds}.")
    if kind in ("multihop", "candidates") and (spec.columns or spec.label):
        raise RequestError(f"Records of the kind {kind} have columns of fixed names; leave out --columns and --label.")
    if name == "text" and (len(spec.columns or ("",)) != 1 or spec.label):
        raise RequestError("Plain text has one column and no label; leave out --label and name one column.")
    for field, kinds_of_field in SETTINGS.items():
        if getattr(spec, field) is not None and kind not in kinds_of_field:
            raise RequestError(f"task.{field} describes tasks of the kind {field}, and {name} is {kind}.")
    if spec.unlabelled and (name != "files" or kind not in ("classification", "regression")):
        raise RequestError(
            "--unlabelled describes your own data (--task files) with a label a row, "
            f"not {f'the kind {kind}' if name == 'files' else name}; leave it out."
        )
    if name != "text" and (spec.masking or spec.corpus):
        raise RequestError(f"corpus and masking describe plain text (--task text), not {name}.")
    if name == "text" and spec.make_splits:
        raise RequestError("Plain text holds validation rows out by corpus.validation; leave out --make-splits.")
    if spec.data_dir and spec.corpus:
        raise RequestError("Give either --data-dir or a corpus, not both.")
    if name == "pydoc" and spec.data_dir:
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
    if (kind := kind_of(spec)) in READERS:
        reader, *fields = READERS[kind]
        data: TextData = loaded(reader)(spec.name, *(getattr(spec, field) for field in fields))
        return data
    if spec.name == "files":
        from bertpress.tasks import files

        own_kind = spec.kind if spec.kind in files.KINDS else None
        return files.load_files(spec.data_dir, spec.columns, spec.label, own_kind, spec.unlabelled)
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
