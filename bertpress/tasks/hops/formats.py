"""Questions on several paragraphs as files have them: HotpotQA's objects, the Hub's columns, Transformer-XH's lines.

HotpotQA and 2WikiMultihopQA publish objects with pairs (``"context": [[title, [sentence, ...]], ...]``); on the Hub
the same are columns of lists, or JSON in a string. A line of Transformer-XH, which TR-BERT's program reads, has
paragraphs as nodes: `name` with underscores, `context` in word pieces, the places of its sentences and of the answer in
these, `supp_label` for each sentence; for development also the words (`doc_tokens`) and the word of each piece. Its
paragraphs were retrieved, so they need not hold all that an answer rests on: `supporting_facts` tell, where a line has
them. Its graph (`edge`) is not read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertpress.errors import RequestError
from bertpress.tasks.json_values import as_text, as_whole_number, identity_at, list_at, text_at, wrong_value

IDS = ("_id", "id", "qid")


@dataclass(frozen=True)
class Paragraph:
    """A text as its file has it."""

    title: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Hops:
    """A question on several paragraphs as its file has it."""

    id: str | None
    question: str
    paragraphs: tuple[Paragraph, ...]
    answer: str | None
    """None where it is not known"""
    facts: tuple[tuple[str, int], ...] | None
    """title of a paragraph and number of its sentence, from 0; None where they are not known"""
    place: str
    """names the record in messages"""
    spellings: tuple[str, ...] = ()
    """the answer as the paragraphs have it, where that is told"""
    type: str = ""
    level: str = ""
    retrieved: bool = False
    """its paragraphs were retrieved, so facts may be in others"""
    marked_only: bool = False
    """its facts are those that these paragraphs have marks for"""


def hops_of(row: Mapping[str, Any], place: str) -> Hops:
    """The question of an object or of a row of a table.

    Raises:
        RequestError: something is missing, or is something else.
    """
    return _of_nodes(row, place) if "node" in row else _of_columns(row, place)


def _of_columns(row: Mapping[str, Any], place: str) -> Hops:
    identity = identity_at(row, IDS, place)
    place = f"{place} ({identity})" if identity else place
    context = _pairs(row, "context", ("title", "sentences"), place)
    paragraphs = []
    for title, sentences in context or ():
        if not isinstance(sentences, list) or not all(isinstance(sentence, str) for sentence in sentences):
            raise wrong_value("a list of sentences for each title of 'context'", sentences, place)
        paragraphs.append(Paragraph(as_text(title, "a title in 'context'", place), tuple(sentences)))
    if not paragraphs:
        raise RequestError(f"Expected paragraphs as 'context', but {place} has none: add them.")
    answer = row.get("answer")
    return Hops(
        id=identity,
        question=text_at(row, "question", place),
        paragraphs=tuple(paragraphs),
        answer=None if answer is None else as_text(answer, "a text as 'answer'", place),
        facts=_facts(row, place),
        place=place,
        type=str(row.get("type") or ""),
        level=str(row.get("level") or ""),
    )


def _facts(row: Mapping[str, Any], place: str) -> tuple[tuple[str, int], ...] | None:
    facts = _pairs(row, "supporting_facts", ("title", "sent_id"), place)
    if facts is None:
        return None
    return tuple(
        (as_text(title, "a title", place), as_whole_number(number, place, "the number of a sentence"))
        for title, number in facts
    )


def _pairs(row: Mapping[str, Any], name: str, fields: tuple[str, str], place: str) -> list[tuple[Any, Any]] | None:
    """Pairs from a list of them, from two lists under names, or from either as JSON in a string; None for nothing."""
    value = row.get(name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise wrong_value(f"JSON as '{name}'", value, place) from None
    if value is None:
        return None
    if isinstance(value, Mapping):
        first, second = (value.get(field) for field in fields)
        if not isinstance(first, list) or not isinstance(second, list) or len(first) != len(second):
            raise wrong_value(f"lists '{fields[0]}' and '{fields[1]}' of one length in '{name}'", value, place)
        return list(zip(first, second, strict=True))
    if not isinstance(value, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value):
        raise wrong_value(f"a list of pairs as '{name}'", value, place)
    return [tuple(pair) for pair in value]


def _of_nodes(row: Mapping[str, Any], place: str) -> Hops:
    identity = identity_at(row, IDS, place)
    place = f"{place} ({identity})" if identity else place
    if not isinstance(nodes := row["node"], list) or not nodes:
        raise wrong_value("a list of paragraphs as 'node'", nodes, place)
    paragraphs, marked, spellings = [], [], []
    for node in nodes:
        if not isinstance(node, dict):
            raise wrong_value("an object as paragraph", node, place)
        title = text_at(node, "name", place).replace("_", " ")
        places = [_place(pair, place) for pair in list_at(node, "sent_pos", place)]
        labels = list_at(node, "supp_label", place)
        if len(labels) != len(places):
            raise wrong_value("a label in 'supp_label' for each of 'sent_pos'", labels, place)
        paragraphs.append(Paragraph(title, tuple(_words(node, start, stop, place) for start, stop in places)))
        marked += [(title, number) for number, label in enumerate(labels) if label == 1]
        spans = [_place(pair, place) for pair in node.get("spans") or ()]
        spellings += [_words(node, first, last + 1, place) for first, last in spans]
    told = _facts(row, place)
    return Hops(
        id=identity,
        question=text_at(row, "question", place),
        paragraphs=tuple(paragraphs),
        answer=text_at(row, "answer", place),
        facts=tuple(marked if told is None else ((title.replace("_", " "), number) for title, number in told)),
        place=place,
        spellings=tuple(dict.fromkeys(spellings)),
        retrieved=True,
        marked_only=told is None,
    )


def _words(node: Mapping[str, Any], start: int, stop: int, place: str) -> str:
    """The text of some word pieces: of the words that they belong to, where these are told."""
    pieces: Sequence[Any] = list_at(node, "context", place)
    if not 0 <= start <= stop <= len(pieces):
        raise wrong_value(f"places among the {len(pieces)} pieces of '{node.get('name')}'", (start, stop), place)
    if start < stop and node.get("doc_tokens") and node.get("tok_to_orig_index"):
        owners = list_at(node, "tok_to_orig_index", place)[start:stop]
        return " ".join(map(str, list_at(node, "doc_tokens", place)[min(owners) : max(owners) + 1]))
    return " ".join(map(str, pieces[start:stop])).replace(" ##", "")


def _place(pair: Any, place: str) -> tuple[int, int]:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise wrong_value("a first and a last place", pair, place)
    return as_whole_number(pair[0], place), as_whole_number(pair[1], place)
