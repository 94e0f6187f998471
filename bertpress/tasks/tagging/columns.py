"""Sentences in text files: a word and its tag a line, or a line of characters and a line of their tags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bertpress.errors import RequestError
from bertpress.tasks import tables
from bertpress.tasks.tagging.schemes import looks_like_tag
from bertpress.tasks.tagging.sentences import Words

DOCUMENT = "-DOCSTART-"
LOOKED_AT = 20
"""lines that decide which of the two formats a file has"""
Line = tuple[int, list[str]]
"""number and fields of a line"""


def read_text_file(path: Path) -> list[Words]:
    """The sentences of a file of either kind.

    Lines of words have the word first and the tag last, and any columns between; with the word alone, nothing is
    tagged. Fields stand apart by tabs or by spaces. Blank lines end sentences; lines that begin documents are left out.
    Lines may end as on any system.

    Raises:
        RequestError: a line that does not fit; names it.
    """
    text = tables.read_text(path)
    split = text.split("\n" if "\n" in text else "\r")
    lines = [(number, _fields(line)) for number, line in enumerate(split, start=1)]
    content = [fields for _, fields in lines if fields and not fields[0].startswith(DOCUMENT)]
    if all(len(fields) == 1 for fields in content):
        return _of_columns(lines, path, tagged=False)
    first = content[:LOOKED_AT]
    end_in_tags = sum(len(fields) > 1 and looks_like_tag(fields[-1]) for fields in first)
    are_tags = sum(all(map(looks_like_tag, fields)) for fields in first)
    if not end_in_tags and not are_tags:
        number, fields = next(line for line in lines if line[1] == first[0])
        raise RequestError(
            f"Expected a word first and its tag (O, B-PER) last on each line of {path}, or lines of words above lines "
            f"of their tags, but line {number} is {' '.join(fields)[:40]!r}: write it so."
        )
    # Of pairs of lines those that end in a tag are nearly all tags; of columns nearly none is.
    return _of_columns(lines, path, tagged=True) if end_in_tags > 2 * are_tags else _of_line_pairs(lines, path)


def without_numbers(sentences: Sequence[Words]) -> list[Words]:
    """The sentences without the digit at the end of each word, the place of a character in its word, if all have it."""
    if not all(re.fullmatch(r".+\d", word, re.DOTALL) for sentence in sentences for word in sentence.words):
        return list(sentences)
    return [
        Words(sentence.place, [word[:-1] for word in sentence.words], sentence.tags, sentence.spans, sentence.id)
        for sentence in sentences
    ]


def _fields(line: str) -> list[str]:
    """Other white space than tab and space may be a word."""
    if not line.strip():
        return []
    line = line.strip("\r").rstrip(" \t")
    return [field.strip(" ") for field in line.split("\t")] if "\t" in line else re.split(" +", line)


def _of_columns(lines: Sequence[Line], path: Path, tagged: bool) -> list[Words]:
    sentences: list[Words] = []
    current: list[Line] = []

    def finish() -> None:
        if current:
            words, tags = [fields[0] for _, fields in current], [fields[-1] for _, fields in current]
            place = f"the sentence on line {current[0][0]} of {path}"
            sentences.append(Words(place, words, tags if tagged else None))
            current.clear()

    for number, fields in lines:
        if not fields:
            finish()
        elif not fields[0].startswith(DOCUMENT):
            if tagged and (len(fields) < 2 or not looks_like_tag(fields[-1])):
                came = repr(fields[-1]) if len(fields) > 1 else "one field"
                raise RequestError(f"Expected a word and a tag, but line {number} of {path} has {came}: correct it.")
            current.append((number, fields))
    finish()
    return sentences


def _of_line_pairs(lines: Sequence[Line], path: Path) -> list[Words]:
    content = [(number, fields) for number, fields in lines if fields]
    sentences = []
    for (number, words), (below, tags) in zip(content[::2], [*content[1::2], (0, [])], strict=False):
        wrong = next((tag for tag in tags if not looks_like_tag(tag)), None)
        if wrong is not None or len(words) != len(tags):
            came = f"line {below} has {wrong!r}" if wrong is not None else f"line {below} has {len(tags)}"
            came = came if below else "there is no line below"
            expected = f"Expected a tag for each of the {len(words)} words on line {number} of {path}"
            raise RequestError(f"{expected}, but {came}: write words with tags a line each, or a line of each.")
        sentences.append(Words(f"the sentence on line {number} of {path}", words, tags))
    return sentences
