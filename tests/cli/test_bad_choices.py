"""Questions with options that are not as they should be: refused with the record's place, or counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Outcome, lines_of, written
from .test_bad_input import refused

Ask = Callable[..., Outcome]
Notes = Callable[..., list[str]]


def question(name: Any = None, **more: Any) -> dict[str, Any]:
    """A row of a table."""
    row = {
        "context": "the house is bright",
        "question": "the day",
        "options": ["bright", "dull"],
        "answer": "A",
        **more,
    }
    return row if name is None else {"id": name, **row}


GOOD = lines_of(*(question(f"g{number}") for number in range(3)))


def without(name: str) -> dict[str, Any]:
    """A row without a column."""
    return {column: value for column, value in question("a").items() if column != name}


REFUSED_ROWS: dict[str, tuple[object, list[str]]] = {
    "an answer that is none of the options": (
        question("a", answer="grey"),
        ["one of the options", "line 4 of", "grey"],
    ),
    "a letter too far": (question("a", answer="C"), ["one of the options", "line 4 of", "'C'"]),
    "a number too far": (question("a", answer=2), ["one of the options", "line 4 of", "'2'"]),
    "an answer that is a list": (question("a", answer=["A"]), ["one of the options", "line 4 of"]),
    "one option": (question("a", options=["bright"]), ["at least 2 options", "line 4 of", "has 1"]),
    "no options": (question("a", options=[]), ["at least 2 options", "line 4 of", "has 0"]),
    "options that are a text": (question("a", options="bright"), ["a list of options", "line 4 of"]),
    "options that are a number": (question("a", options=7), ["a list as 'options'", "line 4 of"]),
    "an option that is an object": (question("a", options=[{}, "dull"]), ["a text as option", "line 4 of"]),
    "no context": (without("context"), ["a column 'context'", "line 4 of"]),
    "no question": (without("question"), ["a column 'question'", "line 4 of"]),
    "no column of options": (without("options"), ["a column 'options'", "line 4 of"]),
    "no answer here": (without("answer"), ["answers to all questions or to none", "line 4 of"]),
    "an empty context": (question("a", context=" \t"), ["a text to choose by", "line 4 of"]),
    "a context of control characters": (question("a", context="\u200b\u0007"), ["a text to choose by", "line 4 of"]),
    "a context that is a number": (question("a", context=7), ["a text as 'context'", "line 4 of"]),
    "id twice": (question("g1"), ["different ids", "line 4 of", "'g1' again"]),
    "id is a list": (question([1]), ["an id", "line 4 of"]),
    "no object": ("[1]", ["a JSON object on line 4 of"]),
    "nested": ('{"a":' * 100_000, ["a JSON object on line 4 of"]),
}


@pytest.mark.parametrize("case", REFUSED_ROWS)
def test_refused_rows(case: str, ask: Ask, tmp_path: Path) -> None:
    row, fragments = REFUSED_ROWS[case]
    data = written(tmp_path / "data", train_jsonl=GOOD + lines_of(row), validation_jsonl=GOOD)
    refused(ask("finetune", "choice", data=data), "train.jsonl", *fragments)


PASSAGE: dict[str, Any] = {"id": "p", "article": "the house is bright", "questions": ["the day"], "answers": ["A"]}
PASSAGE["options"] = [["bright", "dull"]]
REFUSED_PASSAGES: dict[str, tuple[object, list[str]]] = {
    "no JSON": ("the house", ["a JSON object in"]),
    "a list": ([PASSAGE], ["a JSON object in"]),
    "no article": ({**PASSAGE, "article": None}, ["a text as 'article'", "question 1 of"]),
    "more answers": ({**PASSAGE, "answers": ["A", "B"]}, ["1 questions, 1 options, 2 answers"]),
    "a number as answer": ({**PASSAGE, "answers": [0]}, ["by letter", "question 1 of"]),
    "a text as answer": ({**PASSAGE, "answers": ["dull"]}, ["by letter", "question 1 of"]),
    "no questions": ({**PASSAGE, "questions": None}, ["a list as 'questions'"]),
}


@pytest.mark.parametrize("case", REFUSED_PASSAGES)
def test_refused_passages(case: str, ask: Ask, tmp_path: Path) -> None:
    content, fragments = REFUSED_PASSAGES[case]
    for split, value in (("train", PASSAGE), ("dev", content)):
        (tmp_path / "data" / split / "high").mkdir(parents=True)
        text = value if isinstance(value, str) else json.dumps(value)
        (tmp_path / "data" / split / "high" / "1.txt").write_text(text, encoding="utf-8")
    refused(ask("finetune", "choice", data=tmp_path / "data"), "1.txt", *fragments)


def test_refused_files(ask: Ask, tmp_path: Path) -> None:
    refused(ask("finetune", "choice", data=written(tmp_path / "a", train_txt=GOOD)), "as folders of passages")
    refused(ask("finetune", "choice", data=written(tmp_path / "b", train_jsonl="\n")), "holds none")
    refused(ask("finetune", "choice", data=written(tmp_path / "c", train_jsonl=b"\xff\xfe")), "UTF-8")
    unknown = lines_of(without("answer"))
    refused(ask("finetune", "choice", data=written(tmp_path / "d", train_jsonl=unknown)), "answers to the training")
    refused(ask("finetune", "choice", "--label", "right", data=written(tmp_path / "e", test_jsonl=GOOD)), "'right'")


def test_what_is_counted(notes: Notes, tmp_path: Path) -> None:
    rows = lines_of(question(), question(question="", options=["dull", "dull", ""], answer=0))
    assert notes("choice", written(tmp_path / "data", train_jsonl=rows, validation_jsonl=GOOD))[:4] == [
        "train: 2 questions have no id and are named by their number",
        "train: 1 questions are empty, so that only their options are told apart",
        "train: 1 options are empty",
        "train: 1 questions have the same option twice",
    ]


def test_a_folder_of_questions_without_answers_is_answered(ask: Ask, tmp_path: Path) -> None:
    data = written(tmp_path / "data", test_jsonl=lines_of(without("answer"), {**without("answer"), "id": "b"}))
    outcome = ask("predict", "choice", "--split", "test", data=data)
    assert outcome.code == 0, outcome.err
    rows = [json.loads(line) for line in (tmp_path / "out" / "test.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["a", "b"]
    assert all(row["prediction"] in "AB" and row["text"] in ("bright", "dull") for row in rows)


def test_texts_of_ones_own_have_no_options(
    bertpress: Callable[..., Outcome], folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    model = folder_of("bert", "multiple-choice", "choice")
    for given in (["--text", "the house", "--text-pair", "the day"], ["--text", "the house"]):
        outcome = bertpress("predict", model, "--device", "cpu", *given)
        refused(outcome, "--text and --input cannot give", "test.jsonl", "--kind choice --data-dir")


def test_augmentation_is_refused(ask: Ask, tmp_path: Path) -> None:
    outcome = ask("tinybert", "choice", "--set", "augmentation={}")
    refused(outcome, "augmentation", "other words would change")


def test_a_batch_of_one_option_is_refused(ask: Ask) -> None:
    refused(ask("finetune", "choice", "--batch-size", 1), "training.batch_size", "at least 2, got 1")
    separately = ask("finetune", "choice", "--batch-size", 1, "--set", "task.choice.scoring=separately", "--dry-run")
    assert separately.code == 0, separately.err
