"""The words of a text that may be replaced, by character offsets, and the tokens that make each of them up.

Basic words are what BERT's first tokenizer makes: runs of characters between spaces and punctuation, every CJK
character a word of its own. Words are found in the original text, so any tokenizer with offsets will do.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from bertpress.errors import RequestError, beside

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertpress.augmentation import Augmentation

Span = tuple[int, int]
CJK = (
    "\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b73f"
    "\U0002b740-\U0002b81f\U0002b820-\U0002ceaf\U0002f800-\U0002fa1f"
)


@dataclass(frozen=True)
class Word:
    """An eligible word."""

    start: int
    end: int
    pieces: tuple[int, ...]
    """its tokens, if a masked-language model can replace it: one, or one per character of a segmented word"""


@dataclass(frozen=True)
class Analysis:
    """A text as tokens, and its eligible words."""

    text: str
    ids: list[int]  # without special tokens
    words: list[Word]


def basic_words(text: str) -> list[Span]:
    """The basic words of a text, punctuation left out."""
    return [match.span() for match in _basic_word().finditer(text)]


@functools.cache
def _basic_word() -> re.Pattern[str]:
    # BERT counts all ASCII symbols as punctuation, and of the others those that Unicode calls so.
    ascii_symbols = [chr(code) for code in range(33, 127) if not chr(code).isalnum()]
    others = [chr(code) for code in range(128, 0x20000) if unicodedata.category(chr(code)).startswith("P")]
    punctuation = "".join(map(re.escape, ascii_symbols + others))
    return re.compile(rf"[{CJK}]|[^\s{punctuation}{CJK}]+")


def stop_words(name: str) -> frozenset[str]:
    """The stop words that `en`, `none` or a file name, in lower case.

    Raises:
        RequestError: no such file.
    """
    if name == "none":
        return frozenset()
    if name == "en":
        text = (files("bertpress.augmentation") / "stopwords_en.txt").read_text(encoding="utf-8")
    else:
        text = _read(name, "stopwords: expected en, none or a file with a word per line")
    return frozenset(line.strip().lower() for line in text.splitlines() if line.strip())


def segments(file: str) -> dict[str, tuple[str, ...]]:
    """A text without its spaces to its words, from a file with a segmented text per line.

    Raises:
        RequestError: no such file, or an empty one.
    """
    text = _read(file, "word_segments: expected a file with a text per line and spaces between its words")
    found = {"".join(words): words for line in text.splitlines() if (words := tuple(line.split()))}
    if not found:
        raise RequestError(f"word_segments: expected texts in {file}, found none; write a segmented text per line.")
    return found


def _read(name: str, expected: str) -> str:
    path = Path(name)
    if not path.is_file():
        raise RequestError(f"{expected}, got '{name}', which is no file{beside(path)}.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise RequestError(f"{expected}, got {name}, which is not UTF-8; save it as UTF-8.") from None


def segmented_words(text: str, words: Iterable[str]) -> list[Span]:
    """Where the words of a segmentation stand in the text that it segments; spaces are passed over."""
    places = [index for index, character in enumerate(text) if not character.isspace()]
    spans, begin = [], 0
    for word in words:
        spans.append((places[begin], places[begin + len(word) - 1] + 1))
        begin += len(word)
    return spans


@dataclass(frozen=True)
class Analyser:
    """Finds eligible words and their tokens."""

    tokenizer: PreTrainedTokenizerBase
    pattern: re.Pattern[str]
    stopwords: frozenset[str]
    segments: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, settings: Augmentation, tokenizer: PreTrainedTokenizerBase) -> Analyser:
        """The analyser that `settings` describe.

        Raises:
            RequestError: a file that cannot be read, or a tokenizer that does not tell where tokens stand.
        """
        if not tokenizer.is_fast:
            raise RequestError(
                "The model's tokenizer does not tell where its tokens stand; give one with a tokenizer.json."
            )
        known = {} if settings.word_segments is None else segments(settings.word_segments)
        return cls(tokenizer, re.compile(settings.word_pattern), stop_words(settings.stopwords), known)

    def words_of(self, text: str) -> list[Span]:
        """All words of a text: those of its segmentation if there is one, else the basic words."""
        words = self.segments.get("".join(text.split())) if self.segments else None
        return basic_words(text) if words is None else segmented_words(text, words)

    def is_eligible(self, word: str) -> bool:
        """Whether a word may be replaced."""
        return self.pattern.fullmatch(word) is not None and word.lower() not in self.stopwords

    def analyse(self, texts: Sequence[str]) -> list[Analysis]:
        """The tokens and the eligible words of each text."""
        if not texts:
            return []
        encoded = self.tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
        offsets, ids = encoded["offset_mapping"], encoded["input_ids"]
        return [self._analyse(*item) for item in zip(texts, ids, offsets, strict=True)]

    def _analyse(self, text: str, ids: list[int], offsets: list[Span]) -> Analysis:
        tokens = [_without_space(text, start, end) for start, end in offsets]
        ends = [end for _, end in tokens]
        words = []
        for start, end in self.words_of(text):
            if self.is_eligible(text[start:end]):
                first = bisect_left(ends, start + 1)
                last = first
                while last < len(tokens) and tokens[last][0] < end:
                    last += 1
                words.append(Word(start, end, _replaceable(text, (start, end), tokens, range(first, last))))
        return Analysis(text, ids, words)


def _without_space(text: str, start: int, end: int) -> Span:
    """A token's place without the space that some tokenizers count to it."""
    while start < end and text[start].isspace():
        start += 1
    return start, end


def _replaceable(text: str, word: Span, tokens: Sequence[Span], covering: range) -> tuple[int, ...]:
    """The tokens of a word that a masked-language model can replace: one, or one CJK character each."""
    spans = [tokens[index] for index in covering]
    if spans == [word]:
        return tuple(covering)
    characters = [(place, place + 1) for place in range(*word)]
    if spans == characters and re.fullmatch(f"[{CJK}]+", text[slice(*word)]):
        return tuple(covering)
    return ()
