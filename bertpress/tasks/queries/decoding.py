"""From probabilities of words to entities. A span is (first word, last word + 1).

Flat decoding pairs each start with the nearest end and gives no two overlapping spans of a type; nested decoding takes
every start with every end that a third score says it belongs to (arXiv 1910.11476, section 3.2).
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertpress.tasks.queries.rows import BITS
from bertpress.tasks.queries.settings import QuerySettings, Unpaired

START, END, MATCH_START, MATCH_END = range(4)
"""The head's outputs; the last two only for nested entities."""
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Entity:
    """An entity that was found."""

    start: int
    """its first word"""
    end: int
    """its last word + 1"""
    type: int
    """number of its type"""
    probability: float
    """of its start and its end (and their match) being right, as if these did not depend on each other"""


def flat_spans(starts: Sequence[int], ends: Sequence[int], unpaired: Unpaired = "drop") -> list[tuple[int, int]]:
    """For each start the span up to the nearest end, unless another start comes first.

    Args:
        starts: words, ascending.
        ends: words, ascending; an entity of one word ends where it starts.
        unpaired: what becomes of a start without an end: nothing, or an entity of one word.
    """
    spans = []
    for number, start in enumerate(starts):
        place = bisect.bisect_left(ends, start)
        paired = place < len(ends) and (number + 1 == len(starts) or ends[place] < starts[number + 1])
        if paired or unpaired == "single":
            spans.append((start, (ends[place] if paired else start) + 1))
    return spans


def nested_spans(
    starts: Sequence[int], ends: Sequence[int], matches: Floats, threshold: float
) -> list[tuple[int, int, float]]:
    """Every start with every end that is not before it, where they match; and how probably they do.

    Args:
        starts: words.
        ends: words.
        matches: (starts, ends), the probability of each pair.
    """
    return [
        (start, end + 1, float(match))
        for row, start in zip(matches, starts, strict=True)
        for match, end in zip(row, ends, strict=True)
        if start <= end and match > threshold
    ]


def entities_of(places: Floats, options: QuerySettings) -> list[Entity]:
    """The entities of a sentence, by first word, last word and type.

    Args:
        places: (outputs, types, words): probabilities of starts and ends and, if nested, logits of their matching.
    """
    read = _nested if options.nested else _flat
    found = [
        Entity(i, j, kind, chance) for kind in range(places.shape[1]) for i, j, chance in read(places[:, kind], options)
    ]
    if options.overlaps == "best":
        found = without_overlaps(found)
    return sorted(found, key=lambda entity: (entity.start, entity.end, entity.type))


def _flat(places: Floats, options: QuerySettings) -> Iterator[tuple[int, int, float]]:
    """Spans of one type, of probabilities (outputs, words), and how probable each is."""
    starts, ends = _above(places[START], options), _above(places[END], options)
    for start, stop in flat_spans(starts, ends, options.unpaired or "drop"):
        ended = places[END, stop - 1] > options.threshold  # else it has no end that could be right
        yield start, stop, float(places[START, start] * (places[END, stop - 1] if ended else 1.0))


def _nested(places: Floats, options: QuerySettings) -> Iterator[tuple[int, int, float]]:
    starts, ends = _above(places[START], options), _above(places[END], options)
    logits = places[MATCH_START, starts][:, None] + places[MATCH_END, ends]
    matches = 0.5 + 0.5 * np.tanh(0.5 * logits)  # their sigmoid, in the form that does not overflow
    for start, stop, match in nested_spans(starts, ends, matches, options.threshold):
        yield start, stop, float(places[START, start] * places[END, stop - 1]) * match


def _above(probabilities: Floats, options: QuerySettings) -> list[int]:
    words: list[int] = np.flatnonzero(probabilities > options.threshold).tolist()
    return words


def without_overlaps(entities: Iterable[Entity], within_types: bool = False) -> list[Entity]:
    """The entities that share no word with a more probable one of another type, the most probable first.

    Of equally probable ones the earlier, then the longer one goes first. One that was left out hides no others.

    Args:
        within_types: those of the same type may share no word either.
    """
    order = sorted(entities, key=lambda each: (-each.probability, each.start, -each.end, each.type))
    kept: list[Entity] = []
    for entity in order:
        rivals = (other for other in kept if within_types or other.type != entity.type)
        if not any(other.start < entity.end and entity.start < other.end for other in rivals):
            kept.append(entity)
    return kept


def merged(windows: Floats, columns: Mapping[str, Sequence[Any]], types: int, words: int) -> Floats:
    """What the windows of a sentence say of each word: the largest number of all that hold it; (outputs, types, words).

    Args:
        windows: (windows, outputs, length), by place in the row.
        columns: of the rows: `query`, `begin`, `words` and `marks`, as in `rows.TYPES`.
    """
    places = np.zeros((windows.shape[1], types, words), dtype=np.float64)
    places[MATCH_START:] = -np.inf
    rows = zip(windows, *(columns[name] for name in ("query", "begin", "words", "marks")), strict=True)
    for values, query, begin, own, marks in rows:
        bits, numbers = np.asarray(marks, dtype=np.int64), np.asarray(own, dtype=np.int64)
        for output, row in enumerate(values[:, begin : begin + len(numbers)]):
            asked = bits & BITS[output] > 0
            where = numbers[asked]
            places[output, query, where] = np.maximum(places[output, query, where], row[asked])
    return places
