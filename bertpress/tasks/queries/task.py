"""Named entities by reading comprehension, as a task like any other."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from torch import Tensor

from bertpress.config import build
from bertpress.errors import RequestError
from bertpress.tasks.data import TextData
from bertpress.tasks.heads import keep_settings, kept_settings, name_outputs
from bertpress.tasks.queries import places
from bertpress.tasks.queries.answers import agreement, conll_lines, described, json_line, named, surface
from bertpress.tasks.queries.decoding import Entity, entities_of, merged
from bertpress.tasks.queries.legacy import surface_f1
from bertpress.tasks.queries.rows import TYPES, questions_of, rows_of
from bertpress.tasks.queries.settings import QuerySettings
from bertpress.tasks.queries.shipped import queries_for
from bertpress.tasks.tagging.entities import Entities
from bertpress.tasks.tagging.pieces import pieces_of
from bertpress.tasks.tagging.sentences import spans_in
from bertpress.tasks.tagging.spans import Span, span_scores

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

LABELS = ("start", "end", "match_start", "match_end")
KEPT = {"threshold", "unpaired", "nested", "overlaps", "overlap"}
"""settings that answers depend on"""


def of_head(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, max_length: int) -> EntityReading:
    """The task of a trained head, without rows: its questions and settings stand in its configuration.

    Raises:
        RequestError: no such head.
    """
    known = kept_settings(config, EntityReading.kind)
    if not known:
        raise RequestError(
            "Expected a model whose configuration holds the questions it was trained with (task_specific_params.mrc), "
            "found none; name the task and its data."
        )
    own = {name: value for name, value in known.items() if name in KEPT}
    options = build(QuerySettings, own, where=EntityReading.kind)
    queries = dict(known["queries"])
    data = TextData("your texts", {}, ("text",), tuple(queries), (), "span_f1", level=known.get("level"))
    return EntityReading(data, tokenizer, max_length, options, queries).aligned(config)


def marks_places(config: PretrainedConfig) -> bool:
    """Whether the outputs of a token classification head are starts and ends."""
    names = set(config.id2label.values())
    return set(LABELS[:2]) <= names <= set(LABELS)


class EntityReading(Entities):
    """Sentences that are read once for each type of entity.

    Args:
        data: sentences with entities; see `tagging.sentences`.
        tokenizer: encodes them.
        max_length: tokens of a row, question and special tokens included.
        options: the file of questions, and how starts and ends are learned and read off.
        queries: entity type to question, in the order of the types; where `options` name no file, and in place of what
            is shipped for the data set.

    Raises:
        RequestError: no question for a type, or one that leaves no room for a sentence.
    """

    kind = "mrc"
    types = TYPES

    def __init__(
        self,
        data: TextData,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        options: QuerySettings | None = None,
        queries: Mapping[str, str] | None = None,
    ) -> None:
        options = options or QuerySettings()
        if options.queries is not None:
            data = dataclasses.replace(data, sources=(*data.sources, Path(options.queries)))
        super().__init__(data, tokenizer, max_length)
        self.options = options
        self.labels: tuple[str, ...] = LABELS if options.nested else LABELS[:2]
        unasked = None
        if options.queries is not None or queries is None:
            try:
                queries = queries_for(data.name, data.labels or (), options.queries, data.queries)
            except RequestError as error:
                if options.queries is not None:
                    raise
                queries, unasked = {}, error  # a trained head may have its own
        self._ask(queries)
        self._unasked: RequestError | None = unasked

    def about(self, data: TextData) -> Self:
        options = self.options.model_copy(update={"queries": None})
        return type(self)(data, self.tokenizer, self.max_length, options, self.queries)

    def _ask(self, queries: Mapping[str, str]) -> None:
        questions_of(queries, self.tokenizer, self.max_length)  # refuses those that are too long
        self.queries, self._unasked = dict(queries), None
        each = (f"span_f1.{kind}" for kind in self.queries)
        self.metrics, self._encoded = ("span_f1", "span_precision", "span_recall", *each, "surface_f1"), {}

    def _require_questions(self) -> None:
        if self._unasked is not None:
            raise self._unasked

    @property
    def data_notes(self) -> tuple[str, ...]:
        unseen = [kind for kind in self.queries if self.data.labels and kind not in self.data.labels]
        remark = f"no entity is of type {', '.join(unseen)}, which is asked for all the same"
        return (*super().data_notes, *([remark] if unseen else ()))

    @property
    def settings(self) -> dict[str, Any]:
        return {"queries": list(self.queries.items()), "overlap": self.options.overlap}

    def notes_on(self, split: str) -> Iterator[str]:
        if not self.has_labels(split):
            return
        sentences = [len(kinds) for kinds in self.splits[split][self.truth][:]]
        if empty := sentences.count(0):
            yield f"{split}: {empty} of {len(sentences)} sentences have no entity"
        if cut := int(np.sum(self.encoded(split)["cut"][:])):
            yield f"{split}: {cut} of {sum(sentences)} entities stand whole in no window; try a longer --max-length"

    def configure(self, config: PretrainedConfig) -> PretrainedConfig:
        self._require_questions()
        name_outputs(config, self.labels)
        return self.noted(config)

    def noted(self, config: PretrainedConfig) -> PretrainedConfig:
        known = self.options.model_dump(mode="json", include=KEPT, exclude_none=True)
        # pairs, because a saved configuration sorts mappings by name
        own = {"queries": [list(pair) for pair in self.queries.items()], **known}
        keep_settings(config, self.kind, own)
        return super().noted(config)

    def completed(self, config: PretrainedConfig) -> Self:
        known = kept_settings(config, self.kind).get("queries")
        return self.aligned(config) if known and self._unasked is not None else self

    def aligned(self, config: PretrainedConfig) -> Self:
        """This task for a trained head, with the questions it was trained with where the user's file names no others.

        Data without a training split are asked all of them, as what is found of other types is wrong.

        Raises:
            RequestError: the head has other outputs.
        """
        head = tuple(config.id2label[index] for index in sorted(config.id2label))
        if head != self.labels:
            raise RequestError(
                f"The model's head has {len(head)} labels ({', '.join(head[:8])}), but {self.name} needs "
                f"{', '.join(self.labels)} ({'' if self.options.nested else 'not '}nested); fine-tune the model on "
                "this task first, or leave out --kind mrc if its labels are tags."
            )
        known = dict(kept_settings(config, self.kind).get("queries", ()))
        if self._unasked is not None:
            if not set(self.data.labels or ()) <= set(known):
                raise self._unasked
        elif self.options.queries is not None or not set(self.queries) <= set(known) or known == self.queries:
            return self
        if "train" in self.splits:  # else the types are those of what is scored, not of what was learned
            known = {kind: known[kind] for kind in known if kind in (self.queries or self.data.labels or known)}
        result = copy.copy(self)
        result._ask(known)
        return result

    def windows_of(self, records: Mapping[str, list[Any]], split: str) -> Iterator[list[dict[str, Any]]]:
        self._require_questions()
        questions = questions_of(self.queries, self.tokenizer, self.max_length)
        for values in zip(*records.values(), strict=True):
            row = dict(zip(records, values, strict=True))
            pieces = pieces_of(self.tokenizer, row["text"], row["starts"], row["ends"])
            true = spans_in(row) if self.truth in row else None
            windows: list[dict[str, Any]] = []
            for query, (kind, question) in enumerate(zip(self.queries, questions, strict=True)):
                spans = None if true is None else [(start, end) for start, end, other in true if other == kind]
                rows = rows_of(question, pieces, spans, self.options.overlap, keep_whole=split == "train")
                windows += ({**row, "query": query} for row in rows)
            yield windows

    def collate(self, rows: Sequence[Mapping[str, Any]], draw: tuple[int, ...] | None = None) -> dict[str, Tensor]:
        """A batch with `marks` and, where they are known, `labels` and, of nested entities, `pairs`; see `places`."""
        batch = super().collate(rows, draw)
        batch["marks"] = places.marks_of(rows, batch["input_ids"])
        if rows[0]["labels"] is not None:
            batch["labels"], pairs = places.labels_of(rows, batch["marks"])
            if self.options.nested:
                batch["pairs"] = pairs
        return batch

    def example_losses(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        return places.window_losses(outputs.logits, batch["labels"], batch.get("pairs"), self.options)

    def distillation_losses(
        self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        return places.distances(student, teacher, batch["marks"], loss)

    def condense(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        return places.kept(outputs.logits, batch["marks"], self.max_length)

    def _answers(self, condensed: np.ndarray, split: str) -> Iterator[tuple[dict[str, Any], list[Entity]]]:
        """Each sentence and what was found in it."""
        columns = self.encoded(split).select_columns(["query", "begin", "words", "marks"])
        for row, windows, numbers in self.by_record(condensed, split):
            by_output = windows.reshape(len(windows), len(self.labels), self.max_length)
            found = merged(by_output, columns[numbers.start : numbers.stop], len(self.queries), len(row["starts"]))
            yield row, entities_of(found, self.options)

    def found(self, condensed: np.ndarray, split: str) -> Iterator[tuple[dict[str, Any], list[Span]]]:
        types = list(self.queries)
        return ((row, named(found, types)) for row, found in self._answers(condensed, split))

    def score(self, condensed: np.ndarray, split: str) -> dict[str, float]:
        self.require_labels(split)
        truths, predictions, texts = [], [], []
        for row, found in self.found(condensed, split):
            truths.append(spans_in(row))
            predictions.append(found)
            true, given = ([surface(row, *span[:2]) for span in spans] for spans in (truths[-1], found))
            texts.append((true, given))
        return {**span_scores(truths, predictions, self.queries), "surface_f1": surface_f1(texts)}

    def decode(self, condensed: np.ndarray, split: str) -> list[dict[str, Any]]:
        types = list(self.queries)
        read = self._answers(condensed, split)
        return [{"entities": described(row, found, types)} for row, found in read]

    def answer_files(self, condensed: np.ndarray, split: str) -> dict[str, str]:
        """Sentences with their entities as JSON lines and, unless they nest, as CoNLL columns."""
        types, read = list(self.queries), list(self._answers(condensed, split))
        files = {f"{split}_entities.jsonl": "".join(json_line(row, found, types) for row, found in read)}
        if not self.options.nested:
            files[f"{split}.conll"] = "".join(conll_lines(row, found, types) for row, found in read)
        return files

    def agreement(self, own: np.ndarray, other: np.ndarray) -> float:
        """F1 of one model's starts and ends against the other's."""
        return agreement(own, other, self.max_length, self.options.threshold)
