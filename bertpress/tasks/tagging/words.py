"""Words of a text and spans of its characters: what people annotate, in terms of what is tagged."""

from __future__ import annotations

import itertools
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from bertpress.tasks.tagging.spans import Span

Level = Literal["word", "character"]
"""A word is what stands between white space and punctuation, of which every character is a word too; or it is every
character but white space."""
UNSPACED = (
    (0x3040, 0x30FF),  # kana
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
"""Characters of Chinese and Japanese, which put no space between words: first and last code point."""


def level_of(texts: Iterable[str]) -> Level:
    """`character` where most letters of the texts are Chinese or Japanese."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    letters = {character: number for character, number in counts.items() if character.isalpha()}
    unspaced = sum(number for character, number in letters.items() if _is_unspaced(character))
    return "character" if 2 * unspaced > sum(letters.values()) else "word"


def _is_unspaced(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in UNSPACED)


def words_in(text: str, level: Level) -> list[tuple[int, int]]:
    """The words of a text: first character, last character + 1."""
    if level == "character":
        return [(place, place + 1) for place, character in enumerate(text) if not character.isspace()]
    words: list[tuple[int, int]] = []
    place = 0
    for kind, group in itertools.groupby(text, key=_kind):
        length = len(list(group))
        if kind == "word":
            words.append((place, place + length))
        elif kind == "punctuation":
            words += [(one, one + 1) for one in range(place, place + length)]
        place += length
    return words


def _kind(character: str) -> str:
    if character.isspace():
        return "space"
    # Marks that are written over letters are neither, and must not tear words apart.
    return "punctuation" if unicodedata.category(character)[0] in "PS" else "word"


def joined(words: Sequence[str], level: Level) -> tuple[str, list[tuple[int, int]]]:
    """The text of some words, with spaces between them unless they are characters, and where each of them stands."""
    space = " " if level == "word" else ""
    places = []
    start = 0
    for word in words:
        places.append((start, start + len(word)))
        start += len(word) + len(space)
    return space.join(words), places


class Fitted(NamedTuple):
    """A span of words that covers a span of characters."""

    span: Span
    trimmed: bool
    """white space at its borders was left out"""
    widened: bool
    """it began or ended inside of a word"""


def fit(text: str, words: Sequence[tuple[int, int]], start: int, end: int, kind: str) -> Fitted:
    """The words that a span of characters touches.

    Args:
        words: all of the text, as `words_in` gives them.
        start: its first character.
        end: its last character + 1.

    Raises:
        ValueError: it lies outside of the text, ends before it starts, or holds no word; says so.
    """
    if not 0 <= start < end <= len(text):
        fault = "is empty" if start == end else "ends before it starts" if end < start else "is not inside"
        raise ValueError(f"{fault} (the text has {len(text)} characters)")
    inside = text[start:end]
    first, last = start + len(inside) - len(inside.lstrip()), end - len(inside) + len(inside.rstrip())
    begin, stop = (
        bisect_right(words, first, key=lambda word: word[1]),
        bisect_left(words, last, key=lambda word: word[0]),
    )
    if first >= last or begin >= stop:
        raise ValueError("holds white space only")
    widened = words[begin][0] < first or words[stop - 1][1] > last
    return Fitted((begin, stop, kind), (first, last) != (start, end), widened)
