"""Questions with options in files: the original's folders of passages, and tables with a question a row.

In a table options stand in one column as a list, in csv as a list in JSON, or in a column each. The answer is a letter,
a number from 0, or the text of an option.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpress.corpus.reading import suffix_of
from bertpress.errors import RequestError
from bertpress.tasks import tables
from bertpress.tasks.json_records import Row, line_rows, parquet_rows
from bertpress.tasks.json_values import as_list, as_text, identity_at, list_at, require_names, text_at, wrong_value
from bertpress.tasks.reading.text_files import opened

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LEVELS = ("high", "middle")
"""Folders of the original: questions for senior and for junior high schools."""


@dataclass(frozen=True)
class Names:
    """The columns of a table; `id`, or the text's name in `example_id`, is read where there is one."""

    context: str = "context"
    question: str = "question"
    options: tuple[str, ...] = ("options",)
    """one of lists, or one for each option"""
    answer: str = "answer"
    letters_only: bool = False
    """answers are letters, whatever the options say"""


@dataclass(frozen=True)
class Question:
    """A question as its file has it."""

    id: str | None
    passage: str | None
    """names the text where several questions are on one"""
    level: str
    context: str
    question: str
    options: tuple[str, ...]
    answer: int | None
    """number of the right option from 0; None where nobody says"""
    place: str
    """names it in messages"""


def read_questions(path: Path, names: Names) -> Iterator[Question]:
    """The questions of a file or of a folder of passages, in order.

    Raises:
        RequestError: not readable, another kind of file, or something missing; names the file and the place.
    """
    if path.is_dir():
        for file in passages_of(path):
            yield from _of_passage(file)
        return
    kind = suffix_of(path)
    if kind not in READERS:
        raise RequestError(
            f"Expected questions in {', '.join(READERS)} or a folder of passages, got {path}: convert it."
        )
    for row, place in READERS[kind](path):
        yield of_row(row, names, place)


def passages_of(folder: Path) -> list[Path]:
    """The files of passages in a folder of the original, in which each level may have one of its own."""
    return [file for place in (folder, *(folder / level for level in LEVELS)) for file in sorted(place.glob("*.txt"))]


def _of_passage(path: Path) -> Iterator[Question]:
    with opened(path) as file:
        try:
            content = json.loads(file.read())
        except (RecursionError, json.JSONDecodeError):
            content = None
    if not isinstance(content, dict):
        raise RequestError(f"Expected a JSON object in {path}, found none: copy the file anew.")
    lists = {name: list_at(content, name, str(path)) for name in ("questions", "options")}
    answers = as_list(content["answers"], "answers", str(path)) if content.get("answers") is not None else None
    counts = {name: len(values) for name, values in [*lists.items(), ("answers", answers)] if values is not None}
    if len(set(counts.values())) > 1:
        came = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise RequestError(f"Expected as many answers and lists of options as questions, but {path} has {came}.")
    for number, (question, options) in enumerate(zip(lists["questions"], lists["options"], strict=True)):
        place = f"question {number + 1} of {path}"
        found = _options(options, place)
        yield Question(
            id=None,
            passage=str(content.get("id") or path.name),
            level=path.parent.name if path.parent.name in LEVELS else "",
            context=text_at(content, "article", place),
            question=as_text(question, "a text as 'question'", place),
            options=found,
            answer=None if answers is None else answer_of(answers[number], found, place, letters_only=True),
            place=place,
        )


def _delimited(delimiter: str) -> Callable[[Path], Iterator[Row]]:
    def read(path: Path) -> Iterator[Row]:
        header, rows = tables.below_header(path, delimiter)
        for line, row in rows:
            yield {name: cell or None for name, cell in zip(header, row, strict=True)}, f"line {line} of {path}"

    return read


READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".parquet": parquet_rows,
    ".jsonl": line_rows,
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
}


def of_row(row: Mapping[str, Any], names: Names, place: str) -> Question:
    """The question of a row of a table.

    Raises:
        RequestError: a column is missing, or holds something else.
    """
    require_names(row, (names.context, names.question, *names.options), place)
    passage = str(row.get("example_id") or "")
    options = _options(row[names.options[0]] if len(names.options) == 1 else _cells(row, names, place), place)
    return Question(
        id=identity_at(row, ("id",), place),
        passage=passage or None,
        level=next((level for level in LEVELS if passage.startswith(level)), ""),
        context=text_at(row, names.context, place),
        question=as_text(row[names.question] or "", f"a text as '{names.question}'", place),
        options=options,
        answer=answer_of(row.get(names.answer), options, place, names.letters_only),
        place=place,
    )


def answer_of(value: Any, options: Sequence[str], place: str, letters_only: bool = False) -> int | None:
    """The number of the option that an answer names by letter, by number from 0 or by text; None for nothing.

    Raises:
        RequestError: it names none of them, or different ones in different readings.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    meant = _readings(value, options, letters_only) & set(range(len(options)))
    if not meant:
        shown = ", ".join(repr(option[:20]) for option in options[:6])
        how = "letter" if letters_only else "letter, number from 0 or text"
        raise RequestError(
            f"Expected an answer that names one of the options {shown} by {how}, but {place} has {str(value)[:40]!r}: "
            "correct it."
        )
    if len({options[number] for number in meant}) > 1:
        raise RequestError(f"The answer {value!r} of {place} may mean several of its options: give its letter.")
    return min(meant)


def _readings(value: Any, options: Sequence[str], letters_only: bool) -> set[int]:
    """The numbers that an answer may stand for; only those below the number of options are numbers of one."""
    text = value.strip() if isinstance(value, str) else ""
    letter = {LETTERS.index(text)} if len(text) == 1 and text in LETTERS else set()
    if letters_only:
        return letter
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {int(value)} if isinstance(value, int) or value.is_integer() else set()
    number = {int(text)} if text.isdecimal() else set()
    return letter | number | {place for place, option in enumerate(options) if text and option.strip() == text}


def _cells(row: Mapping[str, Any], names: Names, place: str) -> list[Any]:
    """Options that stand in a column each; trailing ones that are empty are none."""
    cells = [row[name] for name in names.options]
    while cells and cells[-1] in (None, ""):
        cells.pop()
    return ["" if cell is None else cell for cell in cells]


def _options(value: Any, place: str) -> tuple[str, ...]:
    if isinstance(value, str):  # a cell of a csv file
        try:
            value = json.loads(value)
        except (RecursionError, ValueError):
            raise wrong_value("a list of options", value, place) from None
    options = as_list(value, "options", place)
    if len(options) < 2:
        raise RequestError(f"Expected at least 2 options to choose from, but {place} has {len(options)}: add some.")
    if wrong := [option for option in options if isinstance(option, bool) or not isinstance(option, str | int | float)]:
        raise wrong_value("a text as option", wrong[0], place)
    return tuple(map(str, options))
