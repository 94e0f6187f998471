"""Windows of a question and a piece of its text, with the characters that each token stands for.

Question and text are tokenised apart and put together as the tokenizer itself frames a pair, so a text is tokenised
once, whatever the number of its windows and of the questions on it. Answers become tokens, and tokens answers, by
offsets alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bertpress.corpus.framing import frame_of
from bertpress.fingerprints import plain_backend
from bertpress.tasks.encoding import count_longer
from bertpress.tasks.windows import cuts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertpress.tasks.reading.settings import ReadingSettings

Ints = NDArray[np.int32]
MARKERS = {"[PAR]": "[unused1]", "[TLE]": "[unused2]", "[DOC]": "[unused3]"}
"""What MRQA writes into texts (paragraph, title, document), and the tokens that stand for it where there are any."""
_MARKER = re.compile("|".join(map(re.escape, MARKERS)))
TYPES = {
    "text_at": "int32",
    "most_from": "int32",
    "most_to": "int32",
    "char_starts": "list<int32>",
    "char_ends": "list<int32>",
    "starts": "list<int32>",
    "ends": "list<int32>",
}
"""Columns of a window beside its ids: where its text begins; from where to where its tokens have more context than in
other windows; the characters of each token of the text; and the first and the last tokens of its answers, which are 0
where there is none, and null where answers are not known."""


@dataclass(frozen=True)
class Tokens:
    """A text as tokens: ids, and the first character and the one behind the last of each."""

    ids: list[int]
    starts: Ints
    ends: Ints

    def of(self, start: int, length: int) -> tuple[int, int] | None:
        """The fewest tokens (first, last) that cover some characters; None if no token stands for any of them."""
        first = int(np.searchsorted(self.ends, start, side="right"))
        last = int(np.searchsorted(self.starts, start + length, side="left")) - 1
        return (first, last) if first <= last else None


def most_context(windows: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of each window, from where to where its tokens have more context than in any other.

    A token's context is the smaller of the numbers of tokens to its left and right, plus a hundredth of the window's
    length; the first of equals counts (`_check_is_max_context` of BERT's run_squad.py). These tokens stand together,
    since along two overlapping windows the advantage of the earlier one never grows.

    Args:
        windows: (start, stop) in the text, which they cover, in order.
    """
    best = np.full(windows[-1][1], -1.0)
    owner = np.zeros(len(best), dtype=np.int64)
    for number, (start, stop) in enumerate(windows):
        places = np.arange(stop - start)
        context = np.minimum(places, places[::-1]) + 0.01 * (stop - start)
        better = context > best[start:stop]
        best[start:stop][better] = context[better]
        owner[start:stop][better] = number
    firsts = np.searchsorted(owner, np.arange(len(windows)), side="left")
    lasts = np.searchsorted(owner, np.arange(len(windows)), side="right")
    return [(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]


class Reader:
    """Makes windows of questions.

    Args:
        tokenizer: a fast one.
        max_length: tokens of a window, special ones included.

    Raises:
        RequestError: windows without room for a question and a text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int, settings: ReadingSettings) -> None:
        self.settings = settings
        self.frame, self.backend = frame_of(tokenizer), plain_backend(tokenizer)
        self.room = self.frame.room(max_length, True, 2, "A question and its text need")
        self.question_length = min(settings.question_length, self.room // 2)
        known = tokenizer.get_vocab()
        self.markers = {marker: known[token] for marker, token in MARKERS.items() if token in known}
        self._last: tuple[str, Tokens] | None = None

    def too_long(self, questions: Sequence[str]) -> int:
        """How many of some questions have more tokens than are read."""
        return count_longer(self.backend, questions, self.question_length)

    def tokens(self, context: str) -> Tokens:
        """A text as tokens; asked for again at once, the same ones."""
        if self._last is None or self._last[0] != context:
            encoded = self.backend.encode(context, add_special_tokens=False)
            offsets = np.array(encoded.offsets, dtype=np.int32).reshape(-1, 2)
            found = Tokens(encoded.ids, np.ascontiguousarray(offsets[:, 0]), np.ascontiguousarray(offsets[:, 1]))
            self._last = context, self._marked(context, found)
        return self._last[1]

    def _marked(self, context: str, tokens: Tokens) -> Tokens:
        """The tokens with one in place of each of MRQA's markers."""
        found = [match for match in _MARKER.finditer(context) if match[0] in self.markers] if self.markers else []
        if not found:
            return tokens
        ids, starts, ends = list(tokens.ids), tokens.starts.tolist(), tokens.ends.tolist()
        for match in reversed(found):
            if (place := tokens.of(match.start(), len(match[0]))) is not None:
                where = slice(place[0], place[1] + 1)
                ids[where], starts[where], ends[where] = [self.markers[match[0]]], [match.start()], [match.end()]
        return Tokens(ids, np.array(starts, dtype=np.int32), np.array(ends, dtype=np.int32))

    def windows_of(self, records: Mapping[str, list[Any]], training: bool) -> Iterator[list[dict[str, Any]]]:
        """The windows of each record, at least one.

        Args:
            records: columns of questions, texts and, where they are known, answers.
            training: windows without an answer may be left out.
        """
        questions = self.backend.encode_batch(records["question"], add_special_tokens=False)
        answers = zip(records["answer_texts"], records["answer_starts"], strict=True) if "accepted" in records else None
        for question, context in zip(questions, records["context"], strict=True):
            tokens = self.tokens(context)
            spans = None if answers is None else self._spans(tokens, *next(answers))
            windows = list(self._windows(question.ids[: self.question_length], tokens, spans))
            if training and spans and self.settings.drop_windows_without_answer:
                windows = [window for window in windows if window["ends"] != [0]] or windows[:1]
            yield windows

    def _spans(self, tokens: Tokens, texts: Sequence[str], starts: Sequence[int]) -> list[tuple[int, int]]:
        """The answers to learn as first and last tokens; those that no token stands for are none."""
        wanted = 1 if self.settings.answers == "first" else len(texts)
        spans = (tokens.of(start, len(text)) for text, start in zip(texts[:wanted], starts, strict=False))
        return list(dict.fromkeys(span for span in spans if span is not None))

    def _windows(
        self, question: list[int], tokens: Tokens, spans: list[tuple[int, int]] | None
    ) -> Iterator[dict[str, Any]]:
        windows = cuts(len(tokens.ids), self.room - len(question), self.settings.step)
        text_at = self.frame.before_second(len(question))
        for (start, stop), (first, last) in zip(windows, most_context(windows), strict=True):
            ids, segments = self.frame.fill(question, tokens.ids[start:stop])
            shift = text_at - start  # from a token's number in the text to its place in the window
            window: dict[str, Any] = {
                "input_ids": ids,
                "text_at": text_at,
                "most_from": first + shift,
                "most_to": last + shift,
                "char_starts": tokens.starts[start:stop],
                "char_ends": tokens.ends[start:stop],
            }
            if self.frame.has_segments:
                window["token_type_ids"] = segments
            if spans is not None:
                inside = [(a + shift, b + shift) for a, b in spans if start <= a and b < stop]
                inside = inside[: self.settings.max_answer_positions] or [(0, 0)]
                window["starts"], window["ends"] = ([span[side] for span in inside] for side in (0, 1))
            yield window
