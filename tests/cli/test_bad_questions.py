"""Files of questions that are not as they should be: refused with the record's place, or mended and counted."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Outcome, lines_of, written
from .test_bad_input import refused

Ask = Callable[..., Outcome]
Notes = Callable[..., list[str]]
CONTEXT = "the house is bright day"


def question(name: Any = None, answer: str | None = "bright", start: Any = 13, **more: Any) -> dict[str, Any]:
    """A row as the Hub has it."""
    found: dict[str, Any] = {"text": [], "answer_start": []}
    if answer is not None:
        found = {"text": [answer], "answer_start": [start]}
    row = {"question": "the day", "context": CONTEXT, "answers": found, **more}
    return row if name is None else {"id": name, **row}


GOOD = lines_of(*(question(f"g{number}") for number in range(3)))


def squad(*questions: dict[str, Any], version: str = "v2.0") -> str:
    """A file of SQuAD with questions on one text."""
    qas = [{"question": "the day", **each} for each in questions]
    return json.dumps({"version": version, "data": [{"title": "T", "paragraphs": [{"context": CONTEXT, "qas": qas}]}]})


ANSWERS = [{"text": "bright", "answer_start": 13}]
SQUAD = squad({"id": "a", "answers": ANSWERS}, {"id": "b", "answers": ANSWERS}, version="1.1")


def mrqa(*spans: list[int], header: bool = True) -> bytes:
    """A gzipped file of MRQA with a question."""
    found = [{"text": "bright", "char_spans": list(spans)}]
    row = {
        "context": CONTEXT,
        "qas": [{"qid": "q", "question": "day", "answers": ["bright"], "detected_answers": found}],
    }
    return gzip.compress(lines_of(*[{"header": {"dataset": "x"}}] * header, row).encode())


def taken_out(name: str) -> dict[str, Any]:
    """A row without a column."""
    return {column: value for column, value in question("a").items() if column != name}


REFUSED_ROWS: dict[str, tuple[object, list[str]]] = {
    "offset with decimals": (question("a", start=13.5), ["a whole number as offset", "line 4 of", "13.5"]),
    "offset as text": (question("a", start="13"), ["a whole number as offset", "line 4 of"]),
    "offset missing": (question("a", answers={"text": ["day"], "answer_start": []}), ["line 4 of", "1 texts and 0"]),
    "id twice": (question("g1"), ["different ids", "line 4 of", "'g1' again"]),
    "id as number and as text": (lines_of(question(7), question("7")), ["different ids", "line 5 of", "'7' again"]),
    "id is a list": (question([1]), ["an id", "line 4 of"]),
    "no context": (question("a", context=None), ["a text as 'context'", "line 4 of"]),
    "question is a number": (question("a", question=7), ["a text as 'question'", "line 4 of"]),
    "answers are a number": (question("a", answers=7), ["a list as 'answers'", "line 4 of"]),
    "no answers here": (taken_out("answers"), ["answers to all questions or to none", "line 4 of", "add or remove"]),
    "no column": (taken_out("question"), ["a column 'question'", "line 4 of"]),
    "no object": ("[1]", ["a JSON object on line 4 of"]),
    "broken": ('{"id":', ["a JSON object on line 4 of"]),
    "nested": ('{"a":' * 100_000, ["a JSON object on line 4 of"]),
}


@pytest.mark.parametrize("case", REFUSED_ROWS)
def test_refused_rows(case: str, ask: Ask, tmp_path: Path) -> None:
    row, fragments = REFUSED_ROWS[case]
    data = written(tmp_path / "data", train_jsonl=GOOD + lines_of(row), validation_jsonl=GOOD)
    refused(ask("finetune", "qa", data=data), "train.jsonl", *fragments)


HIDDEN = squad({"id": "a", "is_impossible": True, "answers": ANSWERS})
GZ = mrqa([13, 18])
REFUSED_FILES: dict[str, tuple[str, str | bytes, list[str]]] = {
    "empty": ("train_jsonl", b"", ["holds none"]),
    "blank": ("train_jsonl", "\n\n", ["holds none"]),
    "other bytes": ("train_jsonl", GOOD.encode() + b'{"id": "\xe9"}\n', ["UTF-8", "line 4 holds other bytes"]),
    "other bytes in json": ("train_json", SQUAD.encode() + b"\n\xe9", ["UTF-8", "line 2 holds other bytes"]),
    "cut in the middle": ("train_json", SQUAD[: len(SQUAD) // 2], ["list 'data'", "cannot be read", "copy it anew"]),
    "cut at the end": ("train_json", SQUAD[:-1], ["list 'data'", "the end of the file", "copy it anew"]),
    "more behind": ("train_json", SQUAD + "x", ["list 'data'", "expected the end of the file, got 'x'"]),
    "nested": ("train_json", "[" * 100_000, ["nested too deeply"]),
    "no data": ("train_json", '{"version": 1}', ["no 'data'"]),
    "no articles": ("train_json", '{"data": []}', ["holds none"]),
    "an article without questions": (
        "train_json", '{"data": [{"paragraphs": [{"context": "a"}]}]}', ["paragraph 1 of item 1", "'qas'"]
    ),
    "impossible and answered": ("train_json", HIDDEN, ["is_impossible is true", "question 1 of paragraph 1"]),
    "gzip cut": ("train_jsonl_gz", GZ[:-12], ["whole gzip file", "copy it anew"]),
    "gzip broken": ("train_jsonl_gz", GZ[:30] + b"\0\0\0\0" + GZ[34:], ["whole gzip file"]),
    "gzip with more behind": ("train_jsonl_gz", GZ + b"more", ["whole gzip file"]),
    "no gzip": ("train_jsonl_gz", GOOD, ["whole gzip file"]),
    "only a header": ("train_jsonl_gz", gzip.compress(b'{"header": {}}\n'), ["holds none"]),
    "no parquet": ("train_parquet", "PAR1 no PAR1", ["a parquet file"]),
    "no answer in its text": ("train_jsonl", lines_of(question("a", "tree")), ["none does"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_FILES)
def test_refused_files(case: str, ask: Ask, tmp_path: Path) -> None:
    name, content, fragments = REFUSED_FILES[case]
    data = written(tmp_path / "data", **{name: content, "validation_jsonl": GOOD})
    refused(ask("finetune", "qa", data=data), name.replace("_", "."), *fragments)


MISSING = "train: 1 answers are not in their text and are not learned"
LEFT_OUT = "train: 1 questions are left out, as none of their answers can be pointed at in their text"
MOVED = "train: 1 answers are not at their offset and are taken from the nearest place"
UNSEEN = "train: 1 answers have control characters and marks only, which may be no token, and are not learned"
EMPTY = "train: {} questions have an empty text, which can only be left without an answer"
HALVES = "train: 3 texts hold halves of surrogate pairs, which are replaced"
UNNAMED = "train: 1 questions have no id and are named by their number"
LONG = "train: 1 questions have more than 14 tokens and are cut there"  # half of what is left of 32 tokens
MENDED_ROWS: dict[str, tuple[object, list[str]]] = {
    "as it should be": (question("a"), []),
    "answer missing": (question("a", "tree"), [MISSING, LEFT_OUT]),
    "offset too small": (question("a", start=10), [MOVED]),
    "offset below 0": (question("a", start=-5), [MOVED]),
    "offset outside": (question("a", start=999), [MOVED]),
    "no offset": (question("a", start=None), []),
    "spaces of other kinds in the text": (
        question("a", "house is", 4, context="the\u00a0house\u3000is bright"), []
    ),
    "spaces of other kinds in the answer": (question("a", "bright\u00a0day"), []),
    "white space around the answer": (
        question("a", " bright ", 12), ["train: 1 answers have white space around them, which is left out"]
    ),
    "empty texts": (
        lines_of(question("a", None, context=""), question("b", None, context="\u200b")), [EMPTY.format(2)]
    ),
    "answer in an empty text": (question("a", "x", 0, context=""), [EMPTY.format(1), MISSING, LEFT_OUT]),
    "answer that is no token": (question("a", "\u200b", 4, context="the \u200b day"), [UNSEEN, LEFT_OUT]),
    "empty questions": (
        lines_of(question("a", question=""), question("b", question=" \u200b")), ["train: 2 questions are empty"]
    ),
    "long question": (question("a", question="the house " * 100), [LONG]),
    "text of one token": (question("a", context="bright", start=0), []),
    "ids as numbers": (lines_of(question(7), question(8)), []),
    "no id": (taken_out("id"), [UNNAMED]),
    "halves of pairs": (question("a", title="\ud800", question="day \ud800", context=CONTEXT + " \udc00"), [HALVES]),
}  # fmt: skip


@pytest.mark.parametrize("case", MENDED_ROWS)
def test_mended_rows(case: str, notes: Notes, tmp_path: Path) -> None:
    row, expected = MENDED_ROWS[case]
    data = written(tmp_path / "data", train_jsonl=GOOD + lines_of(row), validation_jsonl=GOOD)
    assert notes("qa", data) == expected


CONTRADICTORY = "train: 1 questions have no answer though their is_impossible is false; they count as having none"
HEADLESS = "train: its lines do not begin with MRQA's header and are read all the same"
MENDED_FILES: dict[str, tuple[str, str | bytes, list[str]]] = {
    "version 2 without is_impossible": ("train_json", squad({"answers": ANSWERS}, {"answers": []}, version="v2.0"), [
        "train: 2 questions have no id and are named by their number"
    ]),
    "neither answered nor impossible": (
        "train_json",
        squad({"id": "a", "answers": ANSWERS}, {"id": "b", "answers": [], "is_impossible": False}),
        [CONTRADICTORY],
    ),
    "impossible": ("train_json", squad({"id": "b", "answers": [], "is_impossible": True}), []),
    "byte order mark and lines of Windows": (
        "train_jsonl", b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode(), []
    ),
    "mrqa": ("train_jsonl_gz", GZ, []),
    "mrqa without header": ("train_jsonl_gz", mrqa([13, 18], header=False), [HEADLESS]),
    "mrqa with a place outside": ("train_jsonl_gz", mrqa([50, 55]), [MOVED]),
    "mrqa with a place reversed": ("train_jsonl_gz", mrqa([18, 13]), [MOVED]),
}  # fmt: skip


@pytest.mark.parametrize("case", MENDED_FILES)
def test_mended_files(case: str, notes: Notes, tmp_path: Path) -> None:
    name, content, expected = MENDED_FILES[case]
    assert notes("qa", written(tmp_path / "data", **{name: content, "validation_jsonl": GOOD})) == expected


def test_answers_that_only_validation_cannot_point_at_count_all_the_same(notes: Notes, tmp_path: Path) -> None:
    data = written(tmp_path / "data", train_jsonl=GOOD, validation_jsonl=lines_of(question("a", "tree")))
    assert notes("qa", data) == ["validation: 1 answers are not in their text and are not learned"]
