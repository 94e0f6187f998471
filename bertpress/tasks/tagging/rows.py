"""Sentences in rows: words with tags as on the Hub, texts with spans of characters, and questions about entities.

A row says by its columns which of them it is. Rows are lines of JSON, a list in a JSON file, or those of a table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.corpus.reading import json_row
from bertpress.errors import RequestError, nearest
from bertpress.tasks import tables
from bertpress.tasks.tagging.sentences import Sentence, Text, Words
from bertpress.tasks.tagging.spans import Span

if TYPE_CHECKING:
    from datasets import Dataset

TEXTS = ("tokens", "words", "text")
"""Columns that words or text may stand in, the first that there is"""
LABELS = ("ner_tags", "tags", "spans", "entities", "label", "labels")
"""Columns that tags or spans may stand in"""
STARTS, ENDS, TYPES = ("start", "start_offset"), ("end", "end_offset"), ("label", "type")
"""Names that the fields of a span may have; its end is the character after its last one"""
Row = tuple[str, Mapping[str, Any]]
"""Where it was found, and its columns"""


@dataclass
class Found:
    """What stands in a file."""

    sentences: Sequence[Sentence]
    tags: tuple[str, ...] = ()
    """names of all tags in their order, where the file declares them"""
    queries: Mapping[str, str] = field(default_factory=dict)
    """the question about each type of entity, where the file asks some"""


def json_rows(path: Path) -> Iterator[Row]:
    """The rows of a file with a JSON object a line, or with a list of them.

    Raises:
        RequestError: it holds something else.
    """
    text = tables.read_text(path)
    if not text.lstrip().startswith("["):
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield f"line {number} of {path}", json_row(line, number, path)
        return
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"Expected a list of JSON objects in {path}, got '{error}': correct it.") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise RequestError(f"Expected JSON objects in {path}, but item {number} is {str(row)[:40]!r}: correct it.")
        yield f"item {number} of {path}", row


def table_rows(table: Dataset, where: str) -> Iterator[Row]:
    """The rows of a table, with class labels as their names."""
    names = {column: found for column, feature in table.features.items() if (found := _names(feature))}
    for number, row in enumerate(table, start=1):
        named = {
            column: [known[value] if _is_place(value) and 0 <= value < len(known) else value for value in row[column]]
            for column, known in names.items()
            if row[column] is not None
        }
        yield f"row {number} of {where}", {**row, **named}


def declared(table: Dataset, label: str | None) -> tuple[str, ...]:
    """The names of tags that the schema of a table declares, in their order."""
    return _names(table.features.get(_chosen(table.column_names, label, LABELS, required=False))) or ()


def _names(feature: Any) -> tuple[str, ...] | None:
    """The class labels of a column of lists of them."""
    names = getattr(getattr(feature, "feature", None), "names", None)
    return None if names is None else tuple(names)


def sentences_of(rows: Iterable[Row], text: str | None = None, label: str | None = None) -> Found:
    """The sentences that rows hold.

    Args:
        text: the column of words or text; None takes the first of `TEXTS`.
        label: that of tags or spans; None takes the first of `LABELS`.

    Raises:
        RequestError: a column is missing, or a row does not fit; says which.
    """
    rows = list(rows)
    if not rows:
        return Found([])
    columns = dict.fromkeys(name for _, row in rows for name in row)
    if text is None and {"context", "query"} <= set(columns):
        return _of_questions(rows)
    text = _chosen(columns, text, TEXTS)
    label = _chosen(columns, label, LABELS, required=False)
    return Found([_of_row(place, row, text, label) for place, row in rows])


def _chosen(columns: Iterable[str], asked: str | None, known: Sequence[str], required: bool = True) -> str:
    """The column that is asked for, or the first known one that there is; an empty name where it may be missing."""
    columns = list(columns)
    found = next((name for name in ([asked] if asked else known) if name in columns), "")
    if not found and (required or asked):
        expected = f"'{asked}'" if asked else f"named {', '.join(known)}"
        hint = nearest(asked or known[0], columns)
        raise RequestError(f"Expected a column {expected}, found {', '.join(columns)}{hint}: name one of these.")
    return found


def _of_row(place: str, row: Mapping[str, Any], text: str, label: str) -> Sentence:
    content, value = row.get(text), row.get(label) if label else None
    number = None if row.get("id") is None else str(row["id"])
    if isinstance(content, str):
        return Text(place, content, None if value is None else list(_marks(value, content, place)), number)
    if not isinstance(content, list) or not all(isinstance(word, str) for word in content):
        raise RequestError(f"Expected words or a text in '{text}', but {place} has {str(content)[:40]!r}: correct it.")
    if value is not None and not (isinstance(value, list) and all(isinstance(tag, str) for tag in value)):
        came = "numbers without names" if isinstance(value, list) else repr(value)[:40]
        raise RequestError(f"Expected a list of tags in '{label}', but {place} has {came}: write tags as B-PER.")
    return Words(place, content, value, id=number)


def _marks(value: Any, text: str, place: str) -> Iterator[Span]:
    """Spans of characters: objects with start, end and type; lists of these; or places by type and by surface."""
    if isinstance(value, dict):
        yield from _by_surface(value, text, place)
        return
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, dict):
            found: list[Any] = [
                next((entry[name] for name in names if name in entry), None) for names in (STARTS, ENDS, TYPES)
            ]
        else:
            found = list(entry) if isinstance(entry, list) else [entry]
        if len(found) != 3 or not _is_place(found[0]) or not _is_place(found[1]) or not isinstance(found[2], str):
            shown = json.dumps(entry, ensure_ascii=False)[:80]
            raise RequestError(f"Expected spans of start, end and type, but {place} has {shown}: correct it.")
        yield found[0], found[1], found[2]


def _by_surface(value: Mapping[str, Any], text: str, place: str) -> Iterator[Span]:
    """Spans as CLUENER has them: ``{type: {surface: [[first character, last character]]}}``."""
    try:
        found = [
            (first, last, kind, surface)
            for kind, surfaces in value.items()
            for surface, places in surfaces.items()
            for first, last in places
        ]
    except (AttributeError, TypeError, ValueError):
        shown = json.dumps(value, ensure_ascii=False)[:80]
        raise RequestError(f"Expected places by type and surface, but {place} has {shown}: correct it.") from None
    for first, last, kind, surface in found:
        if not _is_place(first) or not _is_place(last) or text[first : last + 1] != surface:
            came = f"'{surface}' at {first} to {last}"
            raise RequestError(f"Expected the text of each entity at its place, but {place} has {came}: correct it.")
        yield first, last + 1, kind


def _is_place(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _of_questions(rows: Sequence[Row]) -> Found:
    """Sentences of the data of arXiv 1910.11476: a row asks for the entities of one type; places count words.

    Rows of one sentence share what stands before the point in `qas_id`; without one, they follow each other.
    """
    groups: dict[Any, tuple[str, list[str], list[Span]]] = {}
    queries: dict[str, str] = {}
    key: Any = None
    before = None
    for place, row in rows:
        context, kind, starts, ends = (row.get(name) for name in ("context", "entity_label", *_PLACES))
        if not isinstance(context, str) or not isinstance(kind, str):
            raise RequestError(f"Expected a context and an entity_label in each row, but {place} has none: add them.")
        if row.get("qas_id") is not None:
            key = str(row["qas_id"]).partition(".")[0]
        elif context != before:
            key = len(groups)
        before = context
        words = context.split()
        _, known, spans = groups.setdefault(key, (place, words, []))
        if known != words:
            raise RequestError(
                f"Expected one context for the rows of sentence {key}, but {place} has another: correct it."
            )
        spans += _answers(starts, ends, kind, len(words), place)
        if isinstance(row.get("query"), str):
            queries.setdefault(kind, row["query"])
    sentences = [Words(place, words, spans=spans, id=str(key)) for key, (place, words, spans) in groups.items()]
    return Found(sentences, queries=queries)


_PLACES = ("start_position", "end_position")


def _answers(starts: Any, ends: Any, kind: str, length: int, place: str) -> Iterator[Span]:
    """The spans between first and last words."""
    paired = isinstance(starts, list) and isinstance(ends, list) and len(starts) == len(ends)
    pairs: list[tuple[Any, Any]] = list(zip(starts, ends, strict=True)) if paired else []
    fits = all(_is_place(first) and _is_place(last) and 0 <= first <= last < length for first, last in pairs)
    if not paired or not fits:
        came = f"{starts} and {ends}"[:80]
        expected = f"Expected as many start_position as end_position, all of {length} words"
        raise RequestError(f"{expected}, but {place} has {came}: correct it.")
    return ((first, last + 1, kind) for first, last in pairs)
