"""Words of a sentence through windows of tokens, and the answers of the windows put together again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bertpress.tasks.tagging.pieces import Pieces
from bertpress.tasks.windows import cuts


@dataclass(frozen=True)
class Window:
    """A stretch of the tokens of a sentence."""

    ids: list[int]
    words: list[int]
    """the word that begins with each token, -1 where none does"""


def windows_of_words(
    pieces: Pieces, size: int, overlap: float, whole: Sequence[tuple[int, int]] = ()
) -> Iterator[Window]:
    """The windows of a sentence, at least one; a word is cut only if it is longer than a window.

    Args:
        size: tokens of a window.
        overlap: share of a window that the next one repeats.
        whole: stretches of words (first, last + 1) that are not to be cut either.
    """
    begins = [word if place == 0 or word != pieces.words[place - 1] else -1 for place, word in enumerate(pieces.words)]
    if len(begins) <= size:
        yield Window(pieces.ids, begins)
        return
    borders = [*(place for place, word in enumerate(begins) if word >= 0), len(begins)]
    together = [(start, stop) for start, stop in pairwise(borders) if stop - start > 1]
    stretches = [(borders[first], borders[last]) for first, last in whole]
    together += [(start, stop) for start, stop in stretches if stop - start <= size]
    for start, stop in cuts(len(begins), size, max(1, size - int(overlap * size)), together):
        if any(word >= 0 for word in begins[start:stop]):  # the rest of a long word asks nothing
            yield Window(pieces.ids[start:stop], begins[start:stop])


def merged(windows: Sequence[tuple[Sequence[int], Any, Any]], words: int) -> tuple[list[int], list[float]]:
    """The tag of each word and its probability, from the window in which it stands furthest from the border.

    The border of the sentence is none: nothing is missing there. Of windows that are as good the first counts.

    Args:
        windows: of each, the word that begins with each token (-1 where none does), and the tag and the probability
            of each token, which may be more.
        words: of the sentence.
    """
    tags, shares, margins = [0] * words, [0.0] * words, [-1] * words
    for begins, found, probabilities in windows:
        asked = [(place, word) for place, word in enumerate(begins) if word >= 0]
        if not asked:
            continue
        first, last = asked[0][1], asked[-1][1]
        for place, word in asked:
            left, right = word - first if first else words, last - word if last < words - 1 else words
            if min(left, right) > margins[word]:
                margins[word] = min(left, right)
                tags[word], shares[word] = int(found[place]), float(probabilities[place])
    return tags, shares
