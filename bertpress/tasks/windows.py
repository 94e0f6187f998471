"""Records that a model reads through windows of tokens: one, or several where a text is longer than an input."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from abc import abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from torch import Tensor

from bertpress.errors import RequestError
from bertpress.files import content_digest
from bertpress.fingerprints import tokenizer_digest
from bertpress.tasks.encoding import pad
from bertpress.tasks.stored import stored_rows
from bertpress.tasks.task import OWN_TEXTS, Task

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from bertpress.costs.cost import HeadRows
    from bertpress.tasks.data import TextData

RECORDS_AT_ONCE = 500
FORMAT = 2
"""Goes up when the same records would give other windows."""


def cuts(length: int, size: int, step: int, whole: Sequence[tuple[int, int]] = ()) -> list[tuple[int, int]]:
    """Windows (start, stop) of at most `size` tokens that cover a text of `length`; an empty text has one, (0, 0).

    Args:
        length: tokens of the text.
        size: tokens of a window, at least 1.
        step: tokens from the start of a window to that of the next, at least 1; less than `size` lets them overlap.
        whole: spans (start, stop) that are not to be cut: a window ends before a span that does not fit into it, and
            the next begins with it. A span longer than a window is cut all the same.
    """
    if size < 1 or step < 1:
        raise ValueError(f"expected windows of at least 1 token at steps of at least 1, got {size} and {step}")

    by_first, by_last = sorted(whole), sorted(whole, key=lambda span: span[1])
    # The first span that reaches beyond a place, and the last that begins before one, by bisection: texts are long.
    reach = list(accumulate((last for _, last in by_first), max))
    begin = list(accumulate((first for first, _ in reversed(by_last)), min))[::-1]

    def before(place: int, start: int) -> int:
        """The last place up to this one, but after `start`, that lies inside of no span."""
        found = bisect_right(reach, place)
        moved = min(by_first[found][0], place) if found < len(by_first) else place
        return place if moved <= start else (moved if moved == place else before(moved, start))

    def after(place: int, stop: int) -> int:
        """The first place from this one up to `stop` that lies inside of no span."""
        found = bisect_left(begin, place) - 1
        moved = max(by_last[found][1], place) if found >= 0 else place
        return place if moved > stop else (moved if moved == place else after(moved, stop))

    windows = []
    start = 0
    while True:
        stop = min(start + size, length)
        stop = stop if stop == length else before(stop, start)
        windows.append((start, stop))
        if stop == length:
            return windows
        # A span that begins with this window leaves no place before it: it stands whole here, so go on behind it.
        start = after(before(min(start + step, stop), start), stop)


class Windowed(Task):
    """A task whose records are read through windows, of which each is a row of `encoded`.

    Rows hold `input_ids`, `token_type_ids` where the tokenizer knows segments, `length`, `row` (the number of the
    window in its split), `record` (the number of its record) and what `windows_of` adds. They are made when they are
    first asked for, a few records at a time, and kept on disk, so memory does not grow with the data.

    What a split is condensed to has one row for each window; `results`, `truths` and `decode` have one for each record.

    Args:
        data: the records; columns of texts are shown beside answers.
        tokenizer: encodes them.
        max_length: tokens of a window, special ones included.
    """

    splits: Mapping[str, Dataset]
    positive, by_token, augmentable = 1, True, False
    truth: str
    """the column of the records that holds what should be answered; a split without it has no labels"""
    types: Mapping[str, str]
    """columns that `windows_of` adds, with their Arrow types: int32, list<int32>, ..."""

    def __init__(self, data: TextData, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        self.data, self.tokenizer, self.max_length = data, tokenizer, max_length
        self.name, self.splits, self.made_splits = data.name, data.splits, data.made
        self.metrics, self.primary, self.columns = data.metrics, data.primary, data.columns
        self.inputs = tuple(tokenizer.model_input_names)
        self._encoded: dict[str, Dataset] = {}

    @abstractmethod
    def windows_of(self, records: Mapping[str, list[Any]], split: str) -> Iterator[list[dict[str, Any]]]:
        """The windows of each of some records, at least one each.

        Args:
            records: their columns.
            split: where they stand; of training records windows may be left out or placed by what is true of them,
                but at least one stays.
        """

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the windows depend on besides records, tokenizer and length, as plain values."""

    @property
    def data_notes(self) -> tuple[str, ...]:
        return self.data.notes

    @functools.cached_property
    def sources(self) -> dict[str, str]:
        return {str(path): content_digest(path) for path in self.data.sources}

    def encoded(self, split: str) -> Dataset:
        if split not in self.splits:
            raise RequestError(f"{self.name} has no split '{split}'; it has {', '.join(self.splits)}.")
        if split not in self._encoded:
            lists = {"input_ids": "list<int32>"}
            if "token_type_ids" in self.inputs:
                lists["token_type_ids"] = "list<int8>"
            types = {**lists, "length": "int32", "row": "int64", "record": "int64", **self.types}
            key = json.dumps([FORMAT, self.kind, self.settings, self.max_length, split == "train", types])
            parts = (key, tokenizer_digest(self.tokenizer), records_digest(self.splits[split]))
            self._encoded[split] = stored_rows("windows", parts, types, lambda: self._rows(split))
        return self._encoded[split]

    def _rows(self, split: str) -> Iterator[dict[str, Any]]:
        number = record = 0
        for records in self.splits[split].iter(RECORDS_AT_ONCE):
            for windows in self.windows_of(records, split):
                for window in windows:
                    yield {**window, "length": len(window["input_ids"]), "row": number, "record": record}
                    number += 1
                record += 1

    def by_record(self, condensed: np.ndarray, split: str) -> Iterator[tuple[dict[str, Any], np.ndarray, range]]:
        """Each record, what its windows are condensed to (windows, width), and their numbers in `encoded`."""
        numbers = np.asarray(self.encoded(split)["record"][:])
        starts = [*np.flatnonzero(np.diff(numbers, prepend=-1)).tolist(), len(numbers)]
        records: Iterator[dict[str, Any]] = iter(self.splits[split])
        for record, (start, stop) in zip(records, pairwise(starts), strict=True):
            yield record, condensed[start:stop], range(start, stop)

    def divided(self, splits: Mapping[str, Sequence[int]]) -> Self:
        train, encoded = self.splits["train"], self.encoded("train")
        result = copy.copy(self)
        result.splits = {**self.splits, **{name: train.select(records) for name, records in splits.items()}}
        # Only these keep the windows of training records, which may be placed by what is true of them.
        rows = np.flatnonzero(np.isin(np.asarray(encoded["record"][:]), splits["train"]))
        whole = {name: encoded for name, encoded in self._encoded.items() if name not in splits}
        result._encoded = {**whole, "train": encoded.select(rows)}
        return result

    def with_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> Self:
        result = copy.copy(self)
        result.tokenizer, result.inputs, result._encoded = tokenizer, tuple(tokenizer.model_input_names), {}
        return result

    def with_records(self, columns: Mapping[str, list[Any]]) -> Self:
        """This task with records of these columns as its only split, `OWN_TEXTS`."""
        from datasets import Dataset

        result = copy.copy(self)
        result.splits, result.made_splits, result._encoded = {OWN_TEXTS: Dataset.from_dict(dict(columns))}, None, {}
        return result

    def collate(self, rows: Sequence[Mapping[str, Any]], draw: tuple[int, ...] | None = None) -> dict[str, Tensor]:
        return pad(self.tokenizer, rows)

    def positions(self, tokens: int) -> HeadRows:
        return tokens

    def lengths(self, split: str) -> list[int]:
        encoded = self.encoded(split)
        total = np.bincount(encoded["record"][:], weights=encoded["length"][:], minlength=len(self.splits[split]))
        return [int(length) for length in total]

    def truths(self, condensed: np.ndarray, split: str) -> list[Any]:
        """What the results of each record should be: 1, where they say how good its answer is."""
        return [1.0 if self.has_labels(split) else None] * len(self.splits[split])

    def has_labels(self, split: str) -> bool:
        return self.truth in self.splits[split].column_names

    def require_labels(self, split: str) -> None:
        """Refuse to score a split whose answers are not known.

        Raises:
            RequestError: names it.
        """
        if not self.has_labels(split):
            raise RequestError(f"The {split} split of {self.name} has no labels to score against.")


def require_pairs(texts: Sequence[tuple[str, ...]]) -> None:
    """Refuse texts of one's own that are no pairs of a question and a text.

    Raises:
        RequestError: other than pairs.
    """
    if wrong := [text for text in texts if len(text) != 2]:
        raise RequestError(f"Expected pairs of a question and a text, got {len(wrong[0])} texts: give both.")


def records_digest(records: Dataset) -> str:
    """Equal for equal records in the same order."""
    total = hashlib.sha256(",".join(records.column_names).encode())
    for batch in records.with_format("arrow").iter(RECORDS_AT_ONCE):
        for column in batch.itercolumns():
            total.update(json.dumps(column.to_pylist(), ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return total.hexdigest()
