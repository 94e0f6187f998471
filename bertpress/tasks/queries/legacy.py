"""The lenient score that was published for Chinese entities pressed by Theseus. To compare with it, not to use.

Per sentence the distinct strings that were found are compared with those that are true; types and places do not count,
so what is found at the wrong place or under the wrong type is right, and repeated mentions count once. Where nothing is
found the score is 0; the original divides by it.
"""

from __future__ import annotations

from collections.abc import Iterable


def surface_f1(sentences: Iterable[tuple[Iterable[str], Iterable[str]]]) -> float:
    """F1 of the distinct strings of all sentences together.

    Args:
        sentences: of each, the strings of its true entities and of those found.
    """
    known = found = both = 0
    for true, predicted in sentences:
        strings, guesses = set(true), set(predicted)
        known, found, both = known + len(strings), found + len(guesses), both + len(strings & guesses)
    return 2 * both / (known + found) if both else 0.0
