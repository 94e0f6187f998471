"""Sentences as they were found in files, and the records that tasks on entities read.

A record has `id`, `text`, `starts` and `ends` (characters of each word) and, where entities are known, `span_starts`,
`span_ends` (first word, last word + 1) and `span_types`, by start, end and type. Entities may lie in each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError, nearest
from bertpress.tasks.data import is_invisible, without_halves
from bertpress.tasks.stored import arrow_type
from bertpress.tasks.tagging.schemes import Scheme, is_tag, spans_of
from bertpress.tasks.tagging.spans import Span
from bertpress.tasks.tagging.words import Level, fit, joined, words_in

if TYPE_CHECKING:
    from datasets import Dataset

COLUMNS = {"id": "string", "text": "string", "starts": "list<int32>", "ends": "list<int32>"}
SPAN_COLUMNS = {"span_starts": "list<int32>", "span_ends": "list<int32>", "span_types": "list<string>"}
TRUTH = "span_types"
UNSEEN = "words are empty or have control characters and marks only; where a tokenizer drops these, they are unknown"


@dataclass(frozen=True)
class Words:
    """A sentence that comes as words, with a tag for each or with spans of words, or with neither."""

    place: str
    """where it was found, for messages"""
    words: Sequence[str]
    tags: Sequence[str] | None = None
    spans: Sequence[Span] | None = None
    id: str | None = None


@dataclass(frozen=True)
class Text:
    """A sentence that comes as text, with spans of its characters (first, last + 1) where they are known."""

    place: str
    text: str
    spans: Sequence[Span] | None = None
    id: str | None = None


Sentence = Words | Text


@dataclass(frozen=True)
class Reading:
    """How sentences become records."""

    scheme: Scheme
    """of tags"""
    level: Level
    """what a word is in a text; characters are put together without spaces"""
    types: tuple[str, ...] | None = None
    """those that there are; None takes any"""
    spellings: Mapping[str, str] | None = None
    """other names of types"""
    strict: bool = False
    """tags that break the scheme are no entities, but in training sentences"""


def records_of(sentences: Sequence[Sentence], split: str, reading: Reading, notes: list[str]) -> Dataset:
    """The records of a split.

    Halves of surrogate pairs are replaced, and of ids and texts nothing else is changed.

    Args:
        split: named in remarks; only one named test may come without entities.
        notes: gets remarks on what had to be mended.

    Raises:
        RequestError: a tag, a type or a span that cannot be, or a sentence without entities; says where.
    """
    mended: Counter[str] = Counter()
    reading = replace(reading, strict=reading.strict and split != "train")
    rows = [_record(sentence, number, reading, mended) for number, sentence in enumerate(sentences)]
    unknown = [sentence.place for sentence, row in zip(sentences, rows, strict=True) if TRUTH not in row]
    if unknown and (len(unknown) < len(rows) or not split.startswith("test")):
        raise RequestError(f"Expected tags or spans with every sentence, but {unknown[0]} has none: add them.")
    notes += [f"{split}: {mended[what]} {what}" for what in sorted(mended) if mended[what]]
    return dataset_of(rows, labelled=not unknown)


def dataset_of(rows: Sequence[Mapping[str, Any]], labelled: bool) -> Dataset:
    """Rows as a data set with the columns of records."""
    import pyarrow
    from datasets import Dataset

    types = {**COLUMNS, **(SPAN_COLUMNS if labelled else {})}
    schema = pyarrow.schema([(name, arrow_type(kind)) for name, kind in types.items()])
    return Dataset(pyarrow.table({name: [row[name] for row in rows] for name in types}, schema=schema))


def record(number: str, text: str, words: Sequence[tuple[int, int]], spans: Sequence[Span] | None) -> dict[str, Any]:
    """A record of a text.

    Args:
        number: its `id`.
        words: first character and last + 1 of each.
        spans: its entities, None where nobody knows.
    """
    starts, ends = [start for start, _ in words], [end for _, end in words]
    row: dict[str, Any] = {"id": number, "text": text, "starts": starts, "ends": ends}
    if spans is None:
        return row
    columns = zip(*sorted(set(spans)), strict=True) if spans else ((), (), ())
    return row | {name: list(values) for name, values in zip(SPAN_COLUMNS, columns, strict=True)}


def spans_in(row: Mapping[str, Any]) -> list[Span]:
    """The entities of a record."""
    return list(zip(*(row[name] for name in SPAN_COLUMNS), strict=True))


def _record(sentence: Sentence, number: int, reading: Reading, mended: Counter[str]) -> dict[str, Any]:
    if isinstance(sentence, Words):
        text, words = joined(sentence.words, reading.level)
        spans = _of_words(sentence, reading, mended)
    else:
        text, words = sentence.text, words_in(sentence.text, reading.level)
        spans = _of_text(sentence, words, mended)
    text, halved = without_halves(text)
    mended["sentences hold halves of surrogate pairs, which are replaced"] += halved
    mended["sentences have no words"] += not words
    mended[UNSEEN] += sum(is_invisible(text[start:end]) for start, end in words)
    if spans is not None:
        spans = [(start, end, _type(kind, sentence.place, reading)) for start, end, kind in spans]
    return record(str(number) if sentence.id is None else without_halves(sentence.id)[0], text, words, spans)


def _of_words(sentence: Words, reading: Reading, mended: Counter[str]) -> Sequence[Span] | None:
    if sentence.tags is None:
        return sentence.spans
    if len(sentence.tags) != len(sentence.words):
        came = f"{len(sentence.tags)} tags for {len(sentence.words)} words"
        raise RequestError(f"Expected a tag for each word, but {sentence.place} has {came}: correct it.")
    for tag in sentence.tags:
        if not is_tag(tag, reading.scheme):
            expected = f"Expected tags of the scheme {reading.scheme}"
            raise RequestError(f"{expected}, but {sentence.place} has {tag!r}: correct it or name another scheme.")
    spans, broken = spans_of(sentence.tags, reading.scheme, reading.strict)
    if broken:
        how = "they count as none" if reading.strict else "they are read as conlleval reads them"
        mended[f"entities are not tagged as {reading.scheme} asks; {how}"] += broken
    return spans


def _of_text(sentence: Text, words: Sequence[tuple[int, int]], mended: Counter[str]) -> list[Span] | None:
    if sentence.spans is None:
        return None
    spans = []
    for start, end, kind in sentence.spans:
        try:
            fitted = fit(sentence.text, words, start, end, kind)
        except ValueError as error:
            span = f"the span {start} to {end} ({kind}) in {sentence.place}"
            raise RequestError(f"Expected spans of the text's characters, but {span} {error}: correct it.") from None
        if fitted.trimmed:
            mended["entities have white space at their borders, which is left out"] += 1
        if fitted.widened:
            mended["entities begin or end inside of a word and are widened to it"] += 1
        spans.append(fitted.span)
    return spans


def _type(kind: str, place: str, reading: Reading) -> str:
    if not kind.isprintable() or not kind.strip() or kind != kind.strip():
        raise RequestError(
            f"Expected a type of printable characters, no white space around it, but {place} has {kind!r}: correct it."
        )
    kind = (reading.spellings or {}).get(kind, kind)
    if reading.types is not None and kind not in reading.types:
        hint = nearest(kind, list(reading.types))
        raise RequestError(f"Expected a type of the data set, but {place} has '{kind}'{hint}: correct it.")
    return kind
