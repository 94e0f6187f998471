"""A paragraph as one text, and where an answer stands in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

YES_NO = ("yes", "no")
"""Answers that are no span, in the order of the head's outputs behind that of a span."""


def kind_of_answer(answer: str) -> int:
    """0 for a span, 1 for yes, 2 for no."""
    word = answer.strip().lower()
    return YES_NO.index(word) + 1 if word in YES_NO else 0


def pieces_of(sentences: Sequence[str]) -> list[str]:
    """The sentences as they follow each other in the paragraph: with a space before, where there is none."""
    return [
        sentence if not number or not sentence or sentence[0].isspace() else f" {sentence}"
        for number, sentence in enumerate(sentences)
    ]


def places_of(text: str, spellings: Iterable[str]) -> list[tuple[int, int]]:
    """Where an answer stands: from which character to before which, in the order of the text.

    Any white space counts as equal. Occurrences in whole words come first; where there are none, whole words in
    another case; where there are none either, parts of words.

    Args:
        spellings: of the answer; blank ones stand nowhere.
    """
    words = [r"\s+".join(map(re.escape, spelling.split())) for spelling in spellings if spelling.strip()]
    if not words:
        return []
    either = "|".join(sorted(words, key=len, reverse=True))
    for flags, whole in ((0, True), (re.IGNORECASE, True), (0, False)):
        found = [match.span() for match in re.finditer(either, text, flags)]
        found = [span for span in found if not whole or _is_whole(text, *span)]
        if found:
            return found
    return []


def _is_whole(text: str, first: int, last: int) -> bool:
    """No letter or digit goes on before or behind."""
    before, behind = text[max(0, first - 1) : first], text[last : last + 1]
    return not (before.isalnum() and text[first].isalnum()) and not (behind.isalnum() and text[last - 1].isalnum())
