"""What an augmentation works with: the texts, how their words are found, who proposes candidates, and what tells it
apart from another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bertpress.augmentation import Augmentation
from bertpress.augmentation.candidates import Masked, Proposer
from bertpress.augmentation.models import load_embeddings, load_masked_lm, model_identity
from bertpress.augmentation.sampling import carry_case
from bertpress.augmentation.shards import Slot
from bertpress.augmentation.vectors import WordVectors, embedding_vectors, read_glove
from bertpress.augmentation.words import Analyser, Word
from bertpress.engine.loading import load_tokenizer
from bertpress.engine.run import Runtime, default_device
from bertpress.errors import RequestError
from bertpress.files import digest
from bertpress.fingerprints import tokenizer_digest
from bertpress.tasks import load_task
from bertpress.tasks.data import MARK

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from bertpress.recipe import TaskSpec
    from bertpress.tasks.task import Task


ADDED = {"source_row": "int64", "field": "string", "sample_index": "int32", MARK: "bool"}
"""Columns of the augmented split beside those of the task."""

FIRST_ROWS = 1000
SHOWN = 16
"""digits of a digest, which messages show"""


@dataclass(frozen=True)
class Source:
    """A model whose tokenizer splits words and whose input embeddings may serve as word vectors."""

    identity: str
    """what tells its weights apart from others"""
    tokenizer: PreTrainedTokenizerBase
    embeddings: Callable[[], np.ndarray]


def source_of(name: str, runtime: Runtime) -> Source:
    """The source that a folder, run or hub name stands for; its weights are read when they are asked for."""
    return Source(
        identity=model_identity(name),
        tokenizer=load_tokenizer(name, runtime.trust_remote_code),
        embeddings=lambda: load_embeddings(name, runtime.trust_remote_code),
    )


@dataclass(frozen=True)
class Job:
    """An augmentation that was checked, before any model is loaded.

    `slots_of` loads the masked-language model when it is first called, `neighbours` the word vectors.
    """

    task: Task
    settings: Augmentation
    source: Source
    runtime: Runtime
    analyser: Analyser
    texts: list[str]
    """every different text of the training split, in the order of its first row"""
    vectors_file: WordVectors | None

    @classmethod
    def of(cls, task: Task, settings: Augmentation, teacher: Source, runtime: Runtime) -> Job:
        """Check what can be checked without a model.

        Args:
            task: gives the training split.
            settings: of the augmentation.
            teacher: the fine-tuned model; a masked-language model that is given takes its place, because what it can
                replace is up to its own tokenizer.
            runtime: device and remarks.

        Raises:
            RequestError: no training split, or a file or model that cannot be used.
        """
        check_rows(task)
        vectors = None if settings.vectors is None else read_glove(settings.vectors, settings.vector_limit)
        source = teacher if settings.masked_lm is None else source_of(settings.masked_lm, runtime)
        check_mask(settings, source.tokenizer)
        columns = (task.splits["train"][column][:] for column in task.columns)
        texts = list(dict.fromkeys(text for row in zip(*columns, strict=True) for text in row))
        analyser = Analyser.of(settings, source.tokenizer)
        job = cls(task, settings, source, runtime, analyser, texts, vectors)
        job._check_segments()
        return job

    def _check_segments(self) -> None:
        if not self.analyser.segments:
            return
        found = sum("".join(text.split()) in self.analyser.segments for text in self.texts)
        if not found:
            raise RequestError(
                f"word_segments: {self.settings.word_segments} segments none of the texts; each line should be a text "
                "of the training split with spaces put in."
            )
        if found < len(self.texts):
            self.runtime.say(f"{len(self.texts) - found} of {len(self.texts)} texts have no segmentation")

    @property
    def splits(self) -> Mapping[str, Dataset]:
        """The rows of the task, as they were read."""
        return cast("Mapping[str, Dataset]", self.task.splits)

    @property
    def samples(self) -> int:
        """Copies of each text."""
        return self.settings.samples_of(self.task.name)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that determines the result, flat; files and models by what is in them."""
        values = self.settings.model_dump(mode="json", exclude={"token_budget", "masked_lm"})
        for name in ("vectors", "word_segments", "stopwords"):
            if values[name] is not None and Path(values[name]).is_file():
                values[name] = digest(Path(values[name]))[:SHOWN]
        uses_model = self.settings.masked_lm is not None or self.settings.vectors is None
        data = [(name, split.column_names, [split[column][:] for column in split.column_names])
                for name, split in self.splits.items()]  # fmt: skip
        return {
            **values,
            "single_piece": self.settings.single_rule(),
            "samples": self.samples,
            "task": self.task.name,
            "data": digest(json.dumps(data).encode())[:SHOWN],
            "masked_lm" if self.settings.masked_lm is not None else "model": self.source.identity
            if uses_model
            else None,
            "tokenizer": tokenizer_digest(self.source.tokenizer),
        }

    @cached_property
    def proposer(self) -> Proposer | None:
        """The masked-language model; None where none is given."""
        if self.settings.masked_lm is None:
            return None
        model = load_masked_lm(self.settings.masked_lm, self.runtime.trust_remote_code)
        return Proposer(model.to(self.runtime.device or default_device()), self.source.tokenizer, self.settings)

    @cached_property
    def vectors(self) -> WordVectors:
        """The word vectors: those of the file, else the model's input embeddings."""
        if self.vectors_file is not None:
            if self.vectors_file.skipped:
                self.runtime.say(f"{self.vectors_file.skipped} malformed rows of {self.settings.vectors} are left out")
            return self.vectors_file
        self.runtime.say(
            "no word vectors are given, so the model's input embeddings serve (TinyBERT took GloVe's: --vectors)"
        )
        return embedding_vectors(self.source.embeddings(), self.source.tokenizer)

    def slots_of(self, texts: Sequence[str]) -> list[list[Slot]]:
        """The eligible words of each text with the candidates of the masked-language model."""
        analyses = self.analyser.analyse(texts)
        items = [
            Masked(analysis.ids, word.pieces, analysis.text[word.start : word.end])
            for analysis in analyses
            for word in analysis.words
            if self.rule_of(word) == "masked-lm"
        ]
        proposed = iter(self.proposer.propose(items) if self.proposer is not None else [])
        return [[self._slot(analysis.text, word, proposed) for word in analysis.words] for analysis in analyses]

    def _slot(self, text: str, word: Word, proposed: Iterator[list[str]]) -> Slot:
        rule = self.rule_of(word)
        if rule == "masked-lm":
            return Slot(word.start, word.end, finished(text[word.start : word.end], next(proposed)))
        return Slot(word.start, word.end, None if rule == "vectors" else ())

    def rule_of(self, word: Word) -> str:
        """Who proposes for a word: `masked-lm`, `vectors`, or nobody (`keep`)."""
        if len(word.pieces) == 1:
            return self.settings.single_rule()
        return "masked-lm" if word.pieces and self.settings.masked_lm is not None else self.settings.multi_piece

    def neighbours(self, words: Sequence[str]) -> dict[str, list[str]]:
        """The candidates of words that are looked up among word vectors."""
        if not words:
            return {}
        device = self.runtime.device or default_device()
        found = self.vectors.nearest(words, self.settings.candidates, self.settings.exclude_original, device)
        return {word: finished(word, candidates) for word, candidates in found.items()}


def check_rows(task: Task) -> None:
    """Refuse a task whose training rows cannot be augmented.

    Raises:
        RequestError: says why.
    """
    if "train" not in task.splits:
        raise RequestError(f"{task.name} has no training split to augment; it has {', '.join(task.splits)}.")
    if not task.columns:
        raise RequestError(f"{task.name} has no texts whose words could be replaced; name a task of texts.")
    if not task.augmentable:
        raise RequestError(
            f"The answers to {task.name} are in its texts, which other words would change; leave augmentation out, "
            "as the paper does for such tasks."
        )
    splits = cast("Mapping[str, Dataset]", task.splits)
    if clash := [name for name in ADDED if name in splits["train"].column_names]:
        raise RequestError(
            f"The column {clash[0]} is one that augmentation adds: give the rows before they were augmented, or rename "
            "it."
        )


def check_mask(settings: Augmentation, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a model to propose words whose tokenizer has no mask token."""
    if settings.masked_lm is not None and tokenizer.mask_token_id is None:
        raise RequestError(f"{settings.masked_lm} has no mask token, so it is no masked-language model; give one.")


def check_files(settings: Augmentation, tokenizer: PreTrainedTokenizerBase, trust_remote_code: bool) -> None:
    """Open what an augmentation needs, of word vectors the first rows, long before it begins.

    Args:
        tokenizer: splits words where no masked-language model is given.

    Raises:
        RequestError: a file or a model that cannot be used.
    """
    if settings.masked_lm is not None:
        tokenizer = load_tokenizer(settings.masked_lm, trust_remote_code)
        load_masked_lm(settings.masked_lm, trust_remote_code)
    check_mask(settings, tokenizer)
    Analyser.of(settings, tokenizer)
    if settings.vectors is not None:
        read_glove(settings.vectors, FIRST_ROWS)


def open_job(
    spec: TaskSpec, model: str, settings: Augmentation, limit: Mapping[str, int] | None, runtime: Runtime
) -> Job:
    """The job of a task and a fine-tuned model by their names."""
    teacher = source_of(model, runtime)
    # The length is of no account: texts are augmented whole, and cut where they are used.
    task = load_task(spec, teacher.tokenizer, teacher.tokenizer.model_max_length, limit)
    job = Job.of(task, settings, teacher, runtime)
    for note in task.notes:
        runtime.say(note)
    return job


def finished(word: str, candidates: Sequence[str]) -> list[str]:
    """The candidates in the word's case, without repetitions, sorted.

    Sorted because a copy draws a place in the list: two candidates whose probabilities differ by rounding only, which
    is all that another batch size changes, would otherwise change places and with it the copy.
    """
    return sorted({carry_case(word, candidate) for candidate in candidates})
