"""A sentence and a question as rows of token ids: the question first, then as much of the sentence as fits."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertpress.corpus.framing import Frame, frame_of
from bertpress.errors import RequestError
from bertpress.tasks.windows import cuts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertpress.tasks.tagging.pieces import Pieces

FIRST, LAST = 1, 2
"""Bits of a mark: the piece is the first of its word, where entities may start; the last, where they may end."""
BITS = (FIRST, LAST, FIRST, LAST)
"""What each output of the head speaks of: start, end, match_start, match_end."""
OUTSIDE = -1
"""Place of a start or an end that stands outside of the window."""

TYPES = {
    "query": "int32",
    "begin": "int32",
    "words": "list<int32>",
    "marks": "list<int8>",
    "labels": "list<list<int32>>",
    "cut": "int32",
}
"""Columns of a row: number of the type that is asked for; place of the first piece of the sentence; the word and the
mark of each such piece; places of start and end of each true entity, counted from there; on the first row of a sentence
and a question, how many of these entities stand whole in no window."""


@dataclass(frozen=True)
class Question:
    """A question in a tokenizer's frame."""

    frame: Frame
    ids: tuple[int, ...]
    room: int
    """pieces of a sentence that fit into a row beside it"""

    @property
    def begin(self) -> int:
        """Place of the first piece of the sentence in a row."""
        return self.frame.before_second(len(self.ids))


def questions_of(
    queries: Mapping[str, str], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[Question, ...]:
    """The questions of all types, in their order.

    Raises:
        RequestError: one leaves no room for a sentence.
    """
    frame = frame_of(tokenizer)
    questions = []
    for kind, query in queries.items():
        ids = tuple(tokenizer(query, add_special_tokens=False)["input_ids"])
        room = max_length - frame.special(pair=True) - len(ids)
        if room < 1:
            raise RequestError(
                f"The query of {kind} has {len(ids)} tokens, which leaves no room for a sentence in {max_length}: "
                "shorten it or raise --max-length."
            )
        questions.append(Question(frame, ids, room))
    return tuple(questions)


def borders_of(words: Sequence[int]) -> tuple[dict[int, int], dict[int, int]]:
    """The first and the last piece of each word, given the word of each piece."""
    last = {word: piece for piece, word in enumerate(words)}
    first = {word: piece for piece, word in reversed(list(enumerate(words)))}
    return first, last


def rows_of(
    question: Question,
    pieces: Pieces,
    spans: Sequence[tuple[int, int]] | None,
    overlap: float,
    keep_whole: bool,
) -> list[dict[str, Any]]:
    """The windows of a sentence and a question, at least one, without the number of the type.

    Args:
        question: what is asked.
        pieces: of the sentence.
        spans: true entities as (first word, last word + 1); None if nobody knows.
        overlap: share of a window that the next one reads again.
        keep_whole: place windows so that they cut no entity that fits into one; they never cut such a word.
    """
    first, last = borders_of(pieces.words)
    places = [(first[start], last[stop - 1] + 1) for start, stop in spans or ()]
    together = [*((first[word], last[word] + 1) for word in first), *(places if keep_whole else ())]
    fitting = [(start, stop) for start, stop in together if 1 < stop - start <= question.room]
    step = max(1, question.room - int(overlap * question.room))
    windows = cuts(len(pieces.ids), question.room, step, fitting)
    labels, cut = _labels(places, windows)
    marks = [FIRST * (first[word] == piece) + LAST * (last[word] == piece) for piece, word in enumerate(pieces.words)]
    rows: list[dict[str, Any]] = []
    for number, (start, stop) in enumerate(windows):
        ids, segments = question.frame.fill(question.ids, pieces.ids[start:stop])
        row = {
            "input_ids": ids,
            "begin": question.begin,
            "words": list(pieces.words[start:stop]),
            "marks": marks[start:stop],
            "labels": None if spans is None else labels[number],
            "cut": 0 if rows else cut,
        }
        rows.append({**row, "token_type_ids": segments} if question.frame.has_segments else row)
    return rows


def _labels(places: Sequence[tuple[int, int]], windows: Sequence[tuple[int, int]]) -> tuple[list[list[list[int]]], int]:
    """Of each window, start and end of the entities that it holds or cuts; how many stand whole in none.

    Args:
        places: the entities, as (first piece, last piece + 1).
        windows: likewise, in order.
    """
    starts, stops = zip(*windows, strict=True)
    labels: list[list[list[int]]] = [[] for _ in windows]
    cut = 0
    for one, other in places:
        first, last = (set(range(bisect_right(stops, at), bisect_right(starts, at))) for at in (one, other - 1))
        for number in sorted(first | last):
            start = starts[number]
            labels[number].append(
                [one - start if number in first else OUTSIDE, other - 1 - start if number in last else OUTSIDE]
            )
        cut += first.isdisjoint(last)
    return labels, cut
