"""What the tokens of a tokenizer stand for: which of them are words of their own, and how these are spelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bertpress.augmentation.words import basic_words
from bertpress.tasks.pieces import continuing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by number."""

    spelling: list[str]
    is_word: NDArray[np.bool_]
    """one whole word with a letter in it: no special token, no continuation, no punctuation"""
    variants: Mapping[str, list[int]]
    """spelling in lower case to all tokens that have it"""

    def spelled_like(self, token: int, word: str) -> list[int]:
        """Tokens that are `word`, or spelled like `token`, whatever their case."""
        spellings = {word.lower(), self.spelling[token].lower()}
        return [variant for spelling in spellings for variant in self.variants.get(spelling, [])]


def vocabulary_of(tokenizer: PreTrainedTokenizerBase) -> Vocabulary:
    """The vocabulary of a fast tokenizer."""
    numbers = tokenizer.get_vocab()
    tokens = [""] * (max(numbers.values()) + 1)
    for token, number in numbers.items():
        tokens[number] = token
    special = set(tokenizer.all_special_tokens)
    begins = ~continuing(tokenizer, tokens)
    spelling = [tokenizer.convert_tokens_to_string([token]).strip() for token in tokens]
    is_word = np.array(
        [
            begins[number] and tokens[number] not in special and _is_word(spelled)
            for number, spelled in enumerate(spelling)
        ],
        dtype=bool,
    )
    variants: dict[str, list[int]] = {}
    for number, spelled in enumerate(spelling):
        variants.setdefault(spelled.lower(), []).append(number)
    return Vocabulary(spelling, is_word, variants)


def _is_word(spelled: str) -> bool:
    return basic_words(spelled) == [(0, len(spelled))] and any(map(str.isalpha, spelled)) and "\ufffd" not in spelled
