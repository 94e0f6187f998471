"""Rows of a context and a question with one of its options.

The rows of a question begin alike: the context, cut to the same length in all of them, then the question, then the
option. Context, question and option are tokenised apart, so that the options change no token before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bertpress.corpus.framing import frame_of
from bertpress.fingerprints import plain_backend
from bertpress.tasks.encoding import ids_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertpress.tasks.choices.settings import ChoiceSettings

TYPES = {"option": "int32", "options": "int32", "is_right": "int8"}
"""Columns of a row beside its ids: the number of its option from 0, how many its question has, and whether it is the
right one, null where nobody says."""
BLANK = re.compile("_+")


def pieces_of(question: str, option: str, fill_blanks: bool) -> tuple[str, ...]:
    """What is read of a question with one of its options, in order.

    Args:
        fill_blanks: the option stands in place of the first blank, if there is one, and not behind the question.
    """
    blank = BLANK.search(question) if fill_blanks else None
    if blank is None:
        return question, f" {option}"  # some tokenizers tell words that follow a space from others
    before, after = question[: blank.start()], question[blank.end() :]
    return before.rstrip(), f" {option}", f" {after.lstrip()}" if after[:1].isspace() else after


class Reader:
    """Makes the rows of questions.

    Args:
        tokenizer: a fast one.
        max_length: tokens of a row, special ones included.

    Raises:
        RequestError: rows without room for a context and a question.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int, settings: ChoiceSettings) -> None:
        self.max_length, self.settings = max_length, settings
        self.frame, self.backend = frame_of(tokenizer), plain_backend(tokenizer)
        self.room = self.frame.room(max_length, True, 4, "A context and its question need")
        self.option_length = min(settings.option_length, self.room // 2)
        self._last: tuple[str, list[int]] | None = None

    def windows_of(self, records: Mapping[str, list[Any]]) -> Iterator[list[dict[str, Any]]]:
        """A row for each option of each record, in their order.

        Args:
            records: columns of contexts, questions, lists of options and, where they are known, answers.
        """
        answers = records.get("answer", [None] * len(records["context"]))
        columns = (records["context"], records["question"], records["options"], answers)
        for context, question, options, answer in zip(*columns, strict=True):
            asked = [self._asked(question, option) for option in options]
            longest = min(max(map(len, asked)), self.option_length)
            told = self._told(context)[: self.room - longest]
            yield [
                self._row(told, ids[:longest]) | {"option": number, "options": len(options)} | _truth(number, answer)
                for number, ids in enumerate(asked)
            ]

    def too_long(self, records: Mapping[str, Sequence[Any]]) -> int:
        """How many questions of some records lose tokens with one of their options."""
        found = 0
        for question, options in zip(records["question"], records["options"], strict=True):
            longest = max(options, key=len)
            if len(f"{question} {longest}".encode()) > self.option_length:  # a token has a byte at least
                found += max(len(self._asked(question, option)) for option in options) > self.option_length
        return found

    def _row(self, told: list[int], asked: list[int]) -> dict[str, Any]:
        ids, segments = self.frame.fill(told, asked)
        return {"input_ids": ids, **({"token_type_ids": segments} if self.frame.has_segments else {})}

    def _told(self, context: str) -> list[int]:
        """A context as tokens; asked for again at once, the same ones."""
        if self._last is None or self._last[0] != context:
            self._last = context, self._ids(context)
        return self._last[1]

    def _asked(self, question: str, option: str) -> list[int]:
        return [token for piece in pieces_of(question, option, self.settings.fill_blanks) for token in self._ids(piece)]

    def _ids(self, text: str) -> list[int]:
        return ids_of(self.backend, text, self.max_length)


def _truth(number: int, answer: int | None) -> dict[str, Any]:
    return {} if answer is None else {"is_right": int(number == answer)}
