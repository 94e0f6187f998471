"""What was found in sentences, in the words of people and of other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bertpress.tasks.queries.decoding import Entity, without_overlaps
from bertpress.tasks.tagging.schemes import tags_of
from bertpress.tasks.tagging.spans import Span


def named(entities: Sequence[Entity], types: Sequence[str]) -> list[Span]:
    """Entities with the names of their types."""
    return [(entity.start, entity.end, types[entity.type]) for entity in entities]


def surface(record: Mapping[str, Any], start: int, end: int) -> str:
    """The text of the words from `start` to before `end`."""
    text: str = record["text"][record["starts"][start] : record["ends"][end - 1]]
    return text


def described(record: Mapping[str, Any], entities: Sequence[Entity], types: Sequence[str]) -> list[dict[str, Any]]:
    """Entities with their texts and where these stand, in characters."""
    return [
        {
            "type": types[entity.type],
            "text": surface(record, entity.start, entity.end),
            "start": record["starts"][entity.start],
            "end": record["ends"][entity.end - 1],
            "probability": entity.probability,
        }
        for entity in entities
    ]


def json_line(record: Mapping[str, Any], entities: Sequence[Entity], types: Sequence[str]) -> str:
    """A sentence and its entities as a line of JSON."""
    found = {"id": record["id"], "text": record["text"], "entities": described(record, entities, types)}
    return json.dumps(found, ensure_ascii=False) + "\n"


def conll_lines(record: Mapping[str, Any], entities: Sequence[Entity], types: Sequence[str]) -> str:
    """A sentence as lines of a word and its tag (BIO), and an empty line; white space in them is `_`.

    Of entities that overlap the most probable one is tagged.
    """
    chosen = without_overlaps(entities, within_types=True)
    tags = tags_of(named(chosen, types), len(record["starts"]), "BIO")
    words = ("_".join(surface(record, word, word + 1).split()) or "_" for word in range(len(tags)))
    return "".join(f"{word} {tag.replace(' ', '_')}\n" for word, tag in zip(words, tags, strict=True)) + "\n"


def agreement(own: np.ndarray, other: np.ndarray, length: int, threshold: float) -> float:
    """F1 of the starts and ends that one model finds against those of another; 1 if both find none.

    Args:
        own: (windows, outputs * length), starts and ends first.
        other: the same of the other model.
    """
    first, second = own[:, : 2 * length] > threshold, other[:, : 2 * length] > threshold
    both = first.sum() + second.sum()
    return float(2 * (first & second).sum() / both) if both else 1.0
