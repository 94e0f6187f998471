"""Which sentences are for training and which for validation.

Held-out text is the same for every seed and length, so that runs are scored on the same text and a second training at
another length never sees it.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Literal

from bertpress.corpus import Format
from bertpress.corpus.store import Store

Split = Literal["train", "validation"]
Stretch = tuple[int, int]
"""the first sentence and the one after the last"""

MOST_TOKENS = 200_000
"""Held out at most; with 128 tokens a row some 1,600 rows, more if rows are short."""
MOST_DOCUMENTS, MOST_LINES = 1000, 2000
RUN = 16
"""Lines that are held out side by side, so that packed rows of validation are as full as those of training."""
SEED = 1


class Part:
    """The sentences of a split, as stretches of the store and counted through from 0."""

    def __init__(self, stretches: Sequence[Stretch]) -> None:
        self.stretches = [stretch for stretch in stretches if stretch[0] < stretch[1]]
        self._before = list(accumulate((last - first for first, last in self.stretches), initial=0))

    def __len__(self) -> int:
        return self._before[-1]

    def stretch(self, number: int) -> tuple[int, Stretch]:
        """The sentence of the store that is `number` here, and the stretch around it."""
        index = bisect_right(self._before, number) - 1
        first, last = self.stretches[index]
        return first + number - self._before[index], (first, last)

    def number(self, sentence: int) -> int:
        """How many sentences of the split come before `sentence` of the store."""
        index = max(0, bisect_right(self.stretches, sentence, key=lambda stretch: stretch[0]) - 1)
        first, last = self.stretches[index]
        return self._before[index] + min(max(sentence - first, 0), last - first)


def part_of(store: Store, format: Format, validation: float | tuple[str, ...], split: Split) -> Part:
    """The sentences of a split; that of validation is empty if nothing is held out or nothing can be.

    Args:
        format: documents are held out whole; of lines, and where a document is more than the share, runs of lines.
        validation: the share to hold out, or the files that the store has as validation text.
    """
    end = store.train_sentences
    if isinstance(validation, tuple):
        return Part([(0, end)] if split == "train" else [(end, store.manifest["sentences"])])
    held_out = held_out_of(store, format, validation)
    return Part(held_out if split == "validation" else list(_between(held_out, end)))


def held_out_of(store: Store, format: Format, share: float) -> list[Stretch]:
    """Stretches that are held out, in the order of the store: about `share` of the tokens and at least one line."""
    sentences, documents = store.sentences(), store.documents()
    lines, count = store.train_sentences, int(store.manifest["train_documents"])
    if share == 0 or lines < 2:
        return []
    budget = min(share * sentences.before(lines), MOST_TOKENS)

    def document(index: int) -> Stretch:
        return documents.before(index), documents.before(index + 1)

    def run(index: int) -> Stretch:
        return index * length, min((index + 1) * length, lines)

    def tokens(stretch: Stretch) -> int:
        return sentences.before(stretch[1]) - sentences.before(stretch[0])

    if format == "documents" and share * count >= 1:
        taken = _take(document, count, tokens, budget, MOST_DOCUMENTS)
        if taken:
            return taken
    length = max(1, min(RUN, int(share * lines)))
    runs = -(-lines // length)
    return _take(run, runs, tokens, budget, MOST_LINES // length) or [run(random.Random(SEED).randrange(runs))]


def _take(
    unit: Callable[[int], Stretch], count: int, tokens: Callable[[Stretch], int], budget: float, most: int
) -> list[Stretch]:
    """At most `most` of `count` units, in random order, each if it still fits the budget of tokens."""
    taken: list[Stretch] = []
    for index in random.Random(SEED).sample(range(count), min(count, 4 * most)):
        stretch = unit(index)
        if len(taken) < most and (size := tokens(stretch)) <= budget:
            taken.append(stretch)
            budget -= size
    return sorted(taken)


def _between(held_out: Sequence[Stretch], end: int) -> Iterator[Stretch]:
    """The stretches of 0 to `end` that are not held out."""
    begin = 0
    for first, last in held_out:
        yield begin, first
        begin = last
    yield begin, end
