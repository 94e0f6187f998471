"""Entities by a tag for each word, as a task like any other.

The first token of a word carries its tag; what follows of the word, special tokens and padding are asked nothing. A
sentence that is longer than an input is read through windows that overlap. In training none of them cuts an entity. In
evaluation a word has the tag of the window in which it stands furthest from the border, so every word is judged, and so
is every true entity, whatever the length of an input.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bertpress.corpus.framing import Frame, frame_of
from bertpress.errors import RequestError
from bertpress.tasks.data import TextData
from bertpress.tasks.heads import kept_settings, name_outputs
from bertpress.tasks.tagging.entities import Entities
from bertpress.tasks.tagging.heads import Tags, head_names, read_head
from bertpress.tasks.tagging.pieces import pieces_of
from bertpress.tasks.tagging.schemes import spans_of, tag_names, tags_of
from bertpress.tasks.tagging.sentences import SPAN_COLUMNS, TRUTH, dataset_of, spans_in
from bertpress.tasks.tagging.settings import TaggingSettings
from bertpress.tasks.tagging.spans import Span, flat, span_scores
from bertpress.tasks.tagging.windows import Window, merged, windows_of_words

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

IGNORED = -100
"""label of a token that is asked nothing, as PyTorch's cross-entropy knows it"""
TYPES = {"words": "list<int32>", "labels": "list<int32>"}
"""of a row's tokens: the word that begins with each, -1 where none does, and the tag it should get"""
Answer = tuple[dict[str, Any], list[int], list[float]]
"""A record, the number of the tag that each of its words got, and how probable it is"""


def of_head(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Tagging:
    """The task of a trained head, without rows: to predict texts that belong to no data set.

    Raises:
        RequestError: the head's labels are no tags.
    """
    tags = read_head(head_names(config.id2label))
    level = kept_settings(config, Tagging.kind).get("level")
    data = TextData("your texts", {}, ("text",), tags.types, (), "span_f1", level=level)
    return Tagging(data, tokenizer, max_length).tagged(tags)


class Tagging(Entities):
    """Sentences whose words get a tag each.

    Args:
        data: sentences with entities; see `sentences`. Where entities overlap, the longest stays.
        tokenizer: encodes them.
        max_length: tokens of an input, special ones included.
        options: how entities become tags.
    """

    kind = "tagging"
    types = TYPES

    def __init__(
        self,
        data: TextData,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        options: TaggingSettings | None = None,
    ) -> None:
        options = options or TaggingSettings()
        super().__init__(without_overlaps(data), tokenizer, max_length)
        self.options = options
        self.entities = data.labels or ()
        self.tags = Tags(tag_names(self.entities, options.scheme), options.scheme)
        self.labels: tuple[str, ...] = self.tags.names
        self.metrics = metrics_of(self.entities)

    def about(self, data: TextData) -> Self:
        return type(self)(data, self.tokenizer, self.max_length, self.options).tagged(self.tags)

    def tagged(self, tags: Tags) -> Self:
        """This task with other tags of the same types, with the same in another order, or with those of more types."""
        result = copy.copy(self)
        result.tags, result.labels, result._encoded = tags, tags.names, {}
        if more := [kind for kind in tags.types if kind not in self.entities]:
            result.entities = (*self.entities, *more)
            result.metrics = metrics_of(result.entities)
        return result

    @property
    def settings(self) -> dict[str, Any]:
        return {"overlap": self.options.overlap, "scheme": self.tags.scheme, "labels": list(self.tags.names)}

    def configure(self, config: PretrainedConfig) -> PretrainedConfig:
        name_outputs(config, self.labels)
        return self.noted(config)

    def aligned(self, config: PretrainedConfig) -> Self:
        """This task with the tags of a trained head, in its scheme and order.

        Data without a training split may lack some of its types, which are then wrong wherever they are found.

        Raises:
            RequestError: the head has other types of entities.
        """
        head = head_names(config.id2label)
        if head == self.labels:
            return self
        tags = read_head(head).named(self.entities, more="train" not in self.splits)
        if tags is None:
            came, own = ", ".join(read_head(head).types), ", ".join(self.entities)
            raise RequestError(
                f"The model's head finds {came}, but {self.name} has {own}; fine-tune the model on this task first."
            )
        return self.tagged(tags)

    def windows_of(self, records: Mapping[str, list[Any]], split: str) -> Iterator[list[dict[str, Any]]]:
        frame, numbers = frame_of(self.tokenizer), self.tags.numbers()
        size = self.max_length - frame.special(pair=False)
        if size < 1:
            raise RequestError(f"Expected room for words besides special tokens, got max_length {self.max_length}.")
        for values in zip(*records.values(), strict=True):
            row = dict(zip(records, values, strict=True))
            pieces = pieces_of(self.tokenizer, row["text"], row["starts"], row["ends"])
            spans = spans_in(row) if self.truth in row else None
            whole = spans if spans and split == "train" else ()
            tags = None if spans is None else tags_of(spans, len(row["starts"]), self.tags.scheme)
            labels = None if tags is None else [numbers[tag] for tag in tags]
            yield [
                _framed(frame, window, labels)
                for window in windows_of_words(pieces, size, self.options.overlap, [span[:2] for span in whole])
            ]

    def collate(self, rows: Sequence[Mapping[str, Any]], draw: tuple[int, ...] | None = None) -> dict[str, Tensor]:
        """A batch with `asked`, the first tokens of words, and `labels`, their tags, where these are known."""
        batch = super().collate(rows, draw)
        length = batch["input_ids"].shape[1]
        batch["asked"] = _padded([row["words"] for row in rows], length, -1) >= 0
        if rows[0]["labels"] is not None:
            batch["labels"] = _padded([row["labels"] for row in rows], length, IGNORED)
        return batch

    def example_losses(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """Mean over the words of a window, (batch,)."""
        labels = batch["labels"]
        losses = functional.cross_entropy(
            outputs.logits.float().transpose(1, 2), labels, reduction="none", ignore_index=IGNORED
        )  # (batch, length)
        return losses.sum(1) / (labels != IGNORED).sum(1).clamp(min=1)

    def distillation_losses(
        self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Mean over the words of a window, (batch,)."""
        asked = batch["asked"]
        losses = loss(student[asked], teacher[asked])  # (words,)
        spread = torch.zeros_like(asked, dtype=losses.dtype).masked_scatter(asked, losses)
        return spread.sum(1) / asked.sum(1).clamp(min=1)

    def condense(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """The number of the likeliest tag of each token, then its probability, (batch, 2 * max_length).

        Tokens that are asked nothing and those that a window has not have -1 and 0.
        """
        asked = batch["asked"]
        best = outputs.logits.float().softmax(-1).max(-1)  # (batch, length)
        missing = self.max_length - asked.shape[1]
        found = (best.indices.float().masked_fill(~asked, -1), best.values.masked_fill(~asked, 0))
        return torch.cat([functional.pad(found[0], (0, missing), value=-1), functional.pad(found[1], (0, missing))], 1)

    def _answers(self, condensed: np.ndarray, split: str) -> Iterator[Answer]:
        places = self.encoded(split)["words"][:]
        for row, found, numbers in self.by_record(condensed, split):
            windows = [(places[number], *np.split(found[index], 2)) for index, number in enumerate(numbers)]
            yield row, *merged(windows, len(row["starts"]))

    def found(self, condensed: np.ndarray, split: str) -> Iterator[tuple[dict[str, Any], list[Span]]]:
        return ((row, self._found(tags)) for row, tags, _ in self._answers(condensed, split))

    def _found(self, tags: Sequence[int]) -> list[Span]:
        """The entities that the tags of a sentence stand for."""
        return spans_of([self.tags.names[tag] for tag in tags], self.tags.scheme, self.options.strict)[0]

    def score(self, condensed: np.ndarray, split: str) -> dict[str, float]:
        self.require_labels(split)
        numbers = self.tags.numbers()
        truths, predictions = [], []
        right = words = 0
        for row, tags, _ in self._answers(condensed, split):
            truths.append(spans_in(row))
            predictions.append(self._found(tags))
            true = tags_of(truths[-1], len(tags), self.tags.scheme)
            right += sum(numbers[wanted] == tag for wanted, tag in zip(true, tags, strict=True))
            words += len(tags)
        scores = span_scores(truths, predictions, self.entities)
        return {**scores, "tag_accuracy": right / words if words else 0.0}

    def decode(self, condensed: np.ndarray, split: str) -> list[dict[str, Any]]:
        """Entities with type, text, first character, last character + 1 and probability; and the tag of each word."""
        return [self._described(*answer) for answer in self._answers(condensed, split)]

    def _described(self, row: Mapping[str, Any], tags: Sequence[int], shares: Sequence[float]) -> dict[str, Any]:
        entities = []
        for first, last, kind in self._found(tags):
            start, end = row["starts"][first], row["ends"][last - 1]
            # of all its tags together: the head decides on each by itself
            probability = math.prod(shares[first:last])
            where = {"start": start, "end": end, "probability": probability}
            entities.append({"type": kind, "text": row["text"][start:end], **where})
        return {"entities": entities, "tags": [self.tags.names[tag] for tag in tags]}

    def answer_files(self, condensed: np.ndarray, split: str) -> dict[str, str]:
        """A file with a word and its tag a line and a blank line after each sentence; white space in them is `_`."""
        lines: list[str] = []
        for row, tags, _ in self._answers(condensed, split):
            for start, end, tag in zip(row["starts"], row["ends"], tags, strict=True):
                word = "".join("_" if character.isspace() else character for character in row["text"][start:end])
                lines.append(f"{word or '_'} {self.tags.names[tag].replace(' ', '_')}\n")
            lines.append("\n")
        return {f"{split}.conll": "".join(lines)}

    def agreement(self, own: np.ndarray, other: np.ndarray) -> float:
        """Share of words that two models give the same tag."""
        mine, theirs = (np.split(condensed, 2, axis=1)[0] for condensed in (own, other))
        asked = mine >= 0
        return float((mine == theirs)[asked].mean()) if asked.any() else 1.0


def metrics_of(types: Sequence[str]) -> tuple[str, ...]:
    """Names of what is scored."""
    return ("span_f1", "span_precision", "span_recall", "tag_accuracy", *(f"span_f1.{kind}" for kind in types))


def without_overlaps(data: TextData) -> TextData:
    """The data without entities that overlap a longer one, since a word has one tag; remarks say how many there are."""
    splits, notes = dict(data.splits), list(data.notes)
    for name, rows in data.splits.items():
        if TRUTH not in rows.column_names:
            continue
        columns = [rows[column][:] for column in SPAN_COLUMNS]
        before = [list(zip(*spans, strict=True)) for spans in zip(*columns, strict=True)]
        kept = [flat(spans) for spans in before]
        if lost := sum(map(len, before)) - sum(map(len, kept)):
            total = sum(map(len, before))
            notes.append(f"{name}: {lost} of {total} entities overlap a longer one and are left out; mrc can find them")
            splits[name] = dataset_of([{**row, **_columns(spans)} for row, spans in zip(rows, kept, strict=True)], True)
    return dataclasses.replace(data, splits=splits, notes=tuple(notes))


def _columns(spans: Sequence[Span]) -> dict[str, list[Any]]:
    return {name: [span[part] for span in spans] for part, name in enumerate(SPAN_COLUMNS)}


def _framed(frame: Frame, window: Window, labels: Sequence[int] | None) -> dict[str, Any]:
    """A row of a window between special tokens.

    Args:
        labels: the output for the tag of each word of the sentence.
    """
    ids, segments = frame.fill(window.ids)
    begin = frame.begin(pair=False)
    words = [-1] * begin + window.words + [-1] * (len(ids) - begin - len(window.words))
    tags = None if labels is None else [IGNORED if word < 0 else labels[word] for word in words]
    return {"input_ids": ids, "token_type_ids": segments, "words": words, "labels": tags}


def _padded(rows: Sequence[Sequence[int]], length: int, padding: int) -> Tensor:
    return torch.tensor([[*row, *[padding] * (length - len(row))] for row in rows])
