"""Where an answer stands in its text, also if the offset that came with it is wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """An answer as the text has it."""

    start: int
    """its first character"""
    text: str
    """without white space around it"""
    moved: bool
    """it stands elsewhere than was said"""
    trimmed: bool
    """white space around it was left out"""


def place_of(context: str, text: str, start: int | None) -> Place | None:
    """Where `text` stands in `context`: at `start`, else where it occurs nearest to that; None if nowhere.

    Among other occurrences, those that are no part of a longer word come first. Any white space of the text counts as
    equal to any of the context.

    Args:
        start: the character where it should be; None if nobody said so, which is like the beginning.
    """
    words = text.strip()
    if not words:
        return None
    trimmed = words != text
    if start is not None and start >= 0 and context.startswith(text, start):
        return Place(start + len(text) - len(text.lstrip()), words, moved=False, trimmed=trimmed)
    pattern = r"\s+".join(re.escape(word) for word in words.split())
    found = [match.span() for match in re.finditer(pattern, context)]
    found = [span for span in found if _is_whole(context, *span)] or found
    if not found:
        return None
    first, last = min(found, key=lambda span: abs(span[0] - (start or 0)))
    return Place(first, context[first:last], moved=start is not None and first != start, trimmed=trimmed)


def _is_whole(context: str, first: int, last: int) -> bool:
    """No letter or digit goes on before or behind."""
    before, behind = context[max(0, first - 1) : first], context[last : last + 1]
    return not (before.isalnum() and context[first].isalnum()) and not (
        behind.isalnum() and context[last - 1].isalnum()
    )
