"""Questions in files: SQuAD's articles, the lines of MRQA and TriviaQA, and tables with the Hub's columns.

All are read one after the other. What a paragraph holds is the same everywhere, so one function reads it: an article
of SQuAD has several, a line of MRQA is one; answers are objects with an offset, or spans that were found in the text
beside the texts that count as right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpress.corpus.reading import suffix_of
from bertpress.errors import RequestError
from bertpress.tasks.json_records import line_rows, parquet_rows
from bertpress.tasks.json_values import (
    as_list,
    as_whole_number,
    identity_at,
    list_at,
    require_names,
    text_at,
    wrong_value,
)
from bertpress.tasks.reading.json_stream import JsonStream
from bertpress.tasks.reading.text_files import opened

Answer = tuple[str, int | None]
"""a text and the character of the context where it should stand, None where nobody says so"""

IDS = ("id", "qid")


@dataclass(frozen=True)
class Names:
    """The columns of a table; `id` and `title` are read where there are any."""

    question: str = "question"
    context: str = "context"
    answers: str = "answers"


@dataclass(frozen=True)
class Question:
    """A question as its file has it."""

    id: str | None
    question: str
    context: str
    title: str
    answers: tuple[Answer, ...] | None
    """spans to learn; none if the text does not answer it, None where answers are not known"""
    accepted: tuple[str, ...]
    """texts that count as right"""
    place: str
    """names it in messages"""
    headless: bool = False
    """it comes from lines of MRQA without the header that should be the first"""
    contradictory: bool = False
    """it has no answer and says that it is not impossible to answer"""


def read_questions(path: Path, names: Names) -> Iterator[Question]:
    """The questions of a file in order.

    Raises:
        RequestError: not readable, another kind of file, or something missing; names the file and the place.
    """
    readers = {".parquet": _from_parquet, ".jsonl": _from_lines, ".json": _from_json}
    if (kind := suffix_of(path)) not in readers:
        raise RequestError(f"Expected questions in .json, .jsonl or .parquet, got {path}: convert it.")
    return readers[kind](path, names)


def _from_parquet(path: Path, names: Names) -> Iterator[Question]:
    for row, place in parquet_rows(path):
        yield of_row(row, names, place)


def _from_lines(path: Path, names: Names) -> Iterator[Question]:
    """Lines of MRQA, of which the first is a header, or rows of a table."""
    header = False
    for row, place in line_rows(path):
        if "header" in row and "context" not in row:
            header = True
        elif "qas" in row:
            yield from _of_paragraph(row, "", place, headless=not header)
        else:
            yield of_row(row, names, place)


def _from_json(path: Path, names: Names) -> Iterator[Question]:
    """Articles of SQuAD, in a list `data`; its items may also be paragraphs, as in the linked files of TriviaQA."""
    with opened(path) as file:
        try:
            for number, item in enumerate(_items(JsonStream(file)), start=1):
                place = f"item {number} of {path}"
                if not isinstance(item, dict):
                    raise wrong_value("an article", item, place)
                if "paragraphs" not in item:
                    yield from _of_paragraph(item, "", place)
                    continue
                title = item.get("title") or ""
                for index, paragraph in enumerate(list_at(item, "paragraphs", place), start=1):
                    yield from _of_paragraph(paragraph, str(title), f"paragraph {index} of {place}")
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            reason = f"it cannot be read ({error})"
            raise RequestError(
                f"Expected JSON with a list 'data' in {path}, but {reason}: correct it, or copy it anew."
            ) from None


def _items(stream: JsonStream) -> Iterator[Any]:
    found = stream.peek() == "["
    if found:
        yield from stream.elements()
    else:
        for key in stream.members():
            if key.lower() == "data":
                found = True
                yield from stream.elements()
            else:
                stream.value()
    if not found:
        raise ValueError("no 'data'")
    stream.end()


def of_row(row: Mapping[str, Any], names: Names, place: str) -> Question:
    """The question of a row of a table.

    Raises:
        RequestError: a column is missing, or holds something else.
    """
    require_names(row, (names.question, names.context), place)
    answers = _answers(row.get(names.answers), place)
    return Question(
        id=identity_at(row, IDS, place),
        question=text_at(row, names.question, place),
        context=text_at(row, names.context, place),
        title=str(row.get("title") or ""),
        answers=answers,
        accepted=tuple(dict.fromkeys(text for text, _ in answers or ())),
        place=place,
    )


def _of_paragraph(paragraph: Any, title: str, place: str, headless: bool = False) -> Iterator[Question]:
    """The questions on one text."""
    if not isinstance(paragraph, dict):
        raise wrong_value("a paragraph", paragraph, place)
    context = text_at(paragraph, "context", place)
    for number, entry in enumerate(list_at(paragraph, "qas", place), start=1):
        where = f"question {number} of {place}"
        if not isinstance(entry, dict):
            raise wrong_value("a question", entry, where)
        detected = entry.get("detected_answers")
        if detected is None:
            given = [] if entry.get("is_impossible") and entry.get("answers") is None else entry.get("answers")
            answers = _answers(None if isinstance(given, dict) else given, where)
        else:
            answers = tuple(_spans(context, detected, where))
        if entry.get("is_impossible") and answers:
            raise RequestError(f"Expected no answers where is_impossible is true, but {where} has some: correct it.")
        yield Question(
            id=identity_at(entry, IDS, where),
            question=text_at(entry, "question", where),
            context=context,
            title=title,
            answers=answers,
            accepted=_accepted(entry.get("answers"), answers or (), where),
            place=where,
            headless=headless,
            contradictory=answers == () and entry.get("is_impossible") is False,
        )


def _spans(context: str, detected: Any, place: str) -> Iterator[Answer]:
    """Each place of each answer that was found in a text, as the text has it; a span ends with its last character."""
    for answer in as_list(detected, "detected_answers", place):
        if not isinstance(answer, dict):
            raise wrong_value("an answer", answer, place)
        text = text_at(answer, "text", place)
        for span in list_at(answer, "char_spans", place):
            if not isinstance(span, list) or len(span) != 2:
                raise wrong_value("a first and a last character", span, place)
            first, last = (_offset(number, place) for number in span)
            inside = first is not None and last is not None and 0 <= first <= last < len(context)
            found = context[first : (last or 0) + 1] if inside else ""
            # The span counts, as its text may be spelled otherwise; the text is looked for where there is no such span.
            yield (found if found.strip() else text), first


def _accepted(answers: Any, learned: Iterable[Answer], place: str) -> tuple[str, ...]:
    """The texts that count as right: aliases of TriviaQA, the answers of MRQA, or what is to be learned."""
    if isinstance(answers, dict):
        aliases = answers.get("NormalizedAliases") or answers.get("Aliases") or [answers.get("Value", "")]
        texts = [*as_list(aliases, "aliases", place), *(answers.get("HumanAnswers") or [])]
    else:
        texts = [text for text, _ in _answers(answers, place) or ()] or [text for text, _ in learned]
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise wrong_value("a text as answer", wrong[0], place)
    return tuple(dict.fromkeys(texts))


def _answers(value: Any, place: str) -> tuple[Answer, ...] | None:
    """Answers as lists of texts and offsets side by side, as objects of both, or as texts alone; None for nothing.

    Blank texts are no answers: some files say so that there is none.
    """
    if value is None:
        return None
    if isinstance(value, str):
        value = [value]
    if isinstance(value, dict):
        texts = list_at(value, "text", place)
        starts = value.get("answer_start")
        starts = [None] * len(texts) if starts is None else as_list(starts, "answer_start", place)
        if len(texts) != len(starts):
            raise RequestError(
                f"Expected an offset for each answer, but {place} has {len(texts)} texts and {len(starts)} offsets: "
                "correct it."
            )
        value = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    found = []
    for answer in as_list(value, "answers", place):
        answer = {"text": answer} if isinstance(answer, str) else answer
        if not isinstance(answer, dict):
            raise wrong_value("an answer", answer, place)
        found.append((text_at(answer, "text", place), _offset(answer.get("answer_start"), place)))
    return tuple(dict.fromkeys(answer for answer in found if answer[0].strip()))


def _offset(value: Any, place: str) -> int | None:
    return None if value is None else as_whole_number(value, place, "a whole number as offset")
