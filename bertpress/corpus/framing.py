"""Special tokens around one or two pieces of text, as the tokenizer itself puts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from bertpress.errors import RequestError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FIRST, SECOND = -1, -2
"""In a frame, where the text goes that other entries stand around."""


@dataclass(frozen=True)
class Frame:
    """What a tokenizer puts around text: (token id, or FIRST or SECOND for text; segment) in order."""

    single: tuple[tuple[int, int], ...]
    pair: tuple[tuple[int, int], ...]
    has_segments: bool
    """the tokenizer gives token_type_ids"""

    def special(self, pair: bool) -> int:
        """How many special tokens there are."""
        return len(self.pair) - 2 if pair else len(self.single) - 1

    def begin(self, pair: bool) -> int:
        """How many special tokens stand before the first text."""
        return [entry for entry, _ in (self.pair if pair else self.single)].index(FIRST)

    def before_second(self, first_length: int) -> int:
        """How many tokens of a row stand before the second text, of which the first text has so many."""
        return [entry for entry, _ in self.pair].index(SECOND) - 1 + first_length

    def room(self, max_length: int, pair: bool, least: int, what: str) -> int:
        """Tokens of a row that are left for text.

        Args:
            least: fewer make no sense.
            what: begins the sentence on what does not fit otherwise.

        Raises:
            RequestError: there are fewer.
        """
        room = max_length - self.special(pair)
        if room < least:
            raise RequestError(f"{what} at least {self.special(pair) + least} tokens, got max_length {max_length}.")
        return room

    def fill(self, first: Sequence[int], second: Sequence[int] = ()) -> tuple[list[int], list[int]]:
        """Token ids and segments of a row of one piece of text, or of two."""
        texts = {FIRST: first, SECOND: second}
        ids: list[int] = []
        segments: list[int] = []
        for entry, segment in self.pair if len(second) else self.single:
            piece = texts.get(entry, (entry,))
            ids.extend(piece)
            segments.extend([segment] * len(piece))
        return ids, segments


def frame_of(tokenizer: PreTrainedTokenizerBase) -> Frame:
    """The frame that shows when the tokenizer encodes a short text, and two of them."""
    for probe in ("a", "1", ".", "的"):
        if tokenizer(probe, add_special_tokens=False)["input_ids"]:
            return Frame(_layout(tokenizer, (probe,)), _layout(tokenizer, (probe, probe)), _has_segments(tokenizer))
    raise RequestError("Expected a tokenizer that knows letters, digits or Chinese; it gives no token for any.")


def _has_segments(tokenizer: PreTrainedTokenizerBase) -> bool:
    return "token_type_ids" in tokenizer.model_input_names


def _layout(tokenizer: PreTrainedTokenizerBase, texts: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    encoded = tokenizer(*texts, return_token_type_ids=True)
    sources = encoded.sequence_ids(0)
    entries = [
        (token if source is None else (FIRST, SECOND)[source], segment)
        for token, source, segment in zip(encoded["input_ids"], sources, encoded["token_type_ids"], strict=True)
    ]
    kept = []
    for entry, repeated in groupby(entries):
        kept.extend([entry] if entry[0] in (FIRST, SECOND) else list(repeated))
    return tuple(kept)
