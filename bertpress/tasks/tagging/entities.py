"""What finding entities has in common, however they are asked for: sentences, and spans found in them."""

from __future__ import annotations

import dataclasses
import itertools
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bertpress.errors import RequestError
from bertpress.tasks.data import TextData
from bertpress.tasks.heads import keep_settings, kept_settings
from bertpress.tasks.tagging.sentences import TRUTH, dataset_of, record, spans_in
from bertpress.tasks.tagging.spans import Span, count
from bertpress.tasks.tagging.words import level_of, words_in
from bertpress.tasks.task import OWN_TEXTS
from bertpress.tasks.windows import Windowed

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class Entities(Windowed):
    """Sentences whose entities are to be found; see `sentences` for the records."""

    head = "token-classification"
    truth = TRUTH
    primary = "span_f1"

    @property
    def data_notes(self) -> tuple[str, ...]:
        return (*self._counted(), *self.data.notes)

    def _counted(self) -> list[str]:
        """How many entities each split has, and which types training never sees."""
        known = {split: rows[TRUTH][:] for split, rows in self.splits.items() if TRUTH in rows.column_names}
        if not known:
            return []
        types = self.data.labels or ()
        sizes = ", ".join(f"{split} {sum(map(len, kinds))}" for split, kinds in known.items())
        told = [f"entities of {len(types)} types: {sizes}"]
        seen = set(itertools.chain.from_iterable(known.get("train", ())))
        if "train" in known and (missing := [kind for kind in types if kind not in seen]):
            told.append(f"no training sentence has an entity of the type {', '.join(missing)}")
        return told

    @abstractmethod
    def found(self, condensed: np.ndarray, split: str) -> Iterator[tuple[dict[str, Any], list[Span]]]:
        """Each sentence, and the entities that were found in it."""

    @abstractmethod
    def about(self, data: TextData) -> Self:
        """The same questions about other sentences."""

    def noted(self, config: PretrainedConfig) -> PretrainedConfig:
        """`config`, which says what a word is: a character in most Chinese texts, but not in each of them."""
        if self.data.level is not None:
            keep_settings(config, self.kind, {**kept_settings(config, self.kind), "level": self.data.level})
        return config

    def with_texts(self, texts: Sequence[tuple[str, ...]]) -> Self:
        rows = []
        for number, parts in enumerate(texts):
            if len(parts) != 1:
                raise RequestError(f"Expected one text at a time to find entities in, got {len(parts)}: give one.")
            rows.append(record(str(number), parts[0], words_in(parts[0], self.data.level or level_of(parts)), None))
        splits = {OWN_TEXTS: dataset_of(rows, labelled=False)}
        return self.about(dataclasses.replace(self.data, splits=splits, notes=(), sources=(), made=None))

    def results(self, condensed: np.ndarray, split: str) -> np.ndarray:
        """Of each sentence: entities found that are right, entities found; shape (records, 2)."""
        self.require_labels(split)
        counts = [count(spans_in(row), spans) for row, spans in self.found(condensed, split)]
        return np.array([(each.correct, each.predicted) for each in counts], dtype=np.float64).reshape(-1, 2)

    def parts(self, condensed: np.ndarray, split: str) -> dict[str, np.ndarray]:
        """Of each type of entity and sentence: true ones, found ones that are right, found ones."""
        sides = [(set(spans_in(row)), set(spans)) for row, spans in self.found(condensed, split)]
        types = sorted({span[-1] for side in sides for spans in side for span in spans})
        counted = np.zeros((len(types), len(sides), 3))
        for number, (true, found) in enumerate(sides):
            for column, spans in enumerate((true, true & found, found)):
                for span in spans:
                    counted[types.index(span[-1]), number, column] += 1
        return dict(zip(types, counted, strict=True))

    def truths(self, condensed: np.ndarray, split: str) -> list[Any]:
        """Number of true entities of each sentence; None where nobody knows."""
        rows = self.splits[split]
        return [len(kinds) for kinds in rows[self.truth][:]] if self.has_labels(split) else [None] * len(rows)

    def chance_score(self, split: str) -> float:
        return 0.0  # most words are in no entity, and who finds none has found none rightly
