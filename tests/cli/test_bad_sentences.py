"""Files of sentences that are not as they should be: refused with the record's place, or mended and counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import SENTENCES, Outcome, lines_of, written
from .test_bad_input import refused

Ask = Callable[..., Outcome]
Notes = Callable[..., list[str]]
GOOD = {"text": "the house is bright day", "spans": [[0, 3, "bad"], [13, 23, "good"]]}
TAGS = {"tokens": ["the", "is"], "ner_tags": ["B-bad", "O"]}
VALIDATION = lines_of(GOOD)


def span(*marks: Any, text: str = "the house is") -> str:
    """A line of JSON with a text and its spans."""
    return lines_of({"text": text, "spans": marks})


def swapped(text: str) -> str:
    """Lines with the tag first."""
    return "".join(" ".join(reversed(line.split())) + "\n" for line in text.split("\n"))


REFUSED_COLUMNS: dict[str, tuple[str | bytes, list[str]]] = {
    "tag of no scheme": (3 * SENTENCES + "the X-bad\n", ["line 22 of", "train.conll", "'X-bad'"]),
    "tag without hyphen": (3 * SENTENCES + "the Bbad\n", ["line 22 of", "'Bbad'"]),
    "tags of two schemes": (SENTENCES + "the E-bad\nis M-bad\n", ["sentence on line 8", "'M-bad'", "of BIOES"]),
    "empty": (b"", ["train.conll", "empty"]),
    "blank": ("\n \n\n", ["train.conll", "empty"]),
    "no sentence": ("-DOCSTART- -X- O\n\n", ["train.conll", "found none"]),
    "a column missing": (SENTENCES + "the DT B-bad\nis\n", ["line 9 of", "one field"]),
    "tags in the first column": (swapped(SENTENCES), ["word first and its tag", "line 1 is 'B-bad the'"]),
    "tags in a middle column": ("the B-bad DT\nhouse O NN\n", ["word first and its tag", "line 1 is 'the B-bad DT'"]),
    "tags in small letters": ("the b-bad\nhouse o\n", ["word first and its tag", "line 1 is 'the b-bad'"]),
    "other bytes": (SENTENCES.encode() + b"caf\xe9 B-bad\n", ["UTF-8", "line 8 holds other bytes"]),
    "utf-16": (SENTENCES.encode("utf-16"), ["UTF-8", "line 1 holds other bytes"]),
    "no tags": ("the\nhouse\n", ["sentence on line 1", "has none"]),
    "a type that is no text": ("the B-\x07\n", ["sentence on line 1", "printable characters", r"'\x07'"]),
}


@pytest.mark.parametrize("case", REFUSED_COLUMNS)
def test_refused_columns(case: str, ask: Ask, tmp_path: Path) -> None:
    text, fragments = REFUSED_COLUMNS[case]
    data = written(tmp_path / "data", train_conll=text, validation_conll=SENTENCES)
    refused(ask("finetune", "tagging", data=data), *fragments)


def test_columns_without_names_are_not_asked_for_by_name(ask: Ask) -> None:
    refused(ask("finetune", "tagging", "--columns", "word"), "train.conll", "--columns")
    refused(ask("finetune", "tagging", "--label", "tag"), "train.conll", "--label")


BROKEN = "entities are not tagged as BIO asks; they are read as conlleval reads them"
UNSEEN = "words are empty or have control characters and marks only; where a tokenizer drops these, they are unknown"
DROPPED = "\u200b B-bad\n\ufeff O\n\x01 B-good\n\u0301 B-bad\n😀 O\n"
MENDED_COLUMNS: dict[str, tuple[str | bytes, int, list[str]]] = {
    "as it should be": (SENTENCES, 2, []),
    "I without B": (SENTENCES + "the I-bad\nis O\n", 3, [f"train: 1 {BROKEN}"]),
    "another type inside": (SENTENCES + "the B-bad\nis I-good\n", 4, [f"train: 1 {BROKEN}"]),
    "words that are dropped": (SENTENCES + DROPPED, 5, [f"train: 4 {UNSEEN}"]),
    "words that are missing": (SENTENCES + "\tB-bad\nthe\tO\n", 3, [f"train: 1 {UNSEEN}"]),
    "blank lines at the end": (SENTENCES + "\n \n\t\n\n", 2, []),
    "more columns": (SENTENCES + "the DT NP B-bad\n", 3, []),
    "a tab at the end": (SENTENCES.replace(" ", "\t").replace("\n", "\t\n"), 2, []),
    "lines of Windows": (SENTENCES.replace("\n", "\r\n"), 2, []),
    "lines of an old Macintosh": (SENTENCES.replace("\n", "\r"), 2, []),
    "byte order mark": (b"\xef\xbb\xbf" + SENTENCES.encode(), 2, []),
}


@pytest.mark.parametrize("case", MENDED_COLUMNS)
def test_mended_columns(case: str, notes: Notes, tmp_path: Path) -> None:
    text, entities, expected = MENDED_COLUMNS[case]
    data = written(tmp_path / "data", train_conll=text, validation_conll=SENTENCES)
    assert notes("tagging", data) == [f"entities of 2 types: train {entities}, validation 2", *expected]


def test_a_type_that_training_never_sees(notes: Notes, ask: Ask, tmp_path: Path) -> None:
    data = written(tmp_path / "data", train_conll=SENTENCES, validation_conll="the B-odd\n")
    assert "no training sentence has an entity of the type odd" in notes("tagging", data)
    refused(ask("finetune", "mrc", data=data), "queries.json", "none for odd")


REFUSED_ROWS: dict[str, tuple[str, list[str]]] = {
    "outside": (span([0, 99, "bad"]), ["0 to 99 (bad) in line 2 of", "is not inside (the text has 12 characters)"]),
    "before the text": (span([-2, 3, "bad"]), ["-2 to 3", "is not inside"]),
    "reversed": (span([5, 3, "bad"]), ["line 2 of", "ends before it starts"]),
    "empty": (span([3, 3, "bad"]), ["line 2 of", "is empty"]),
    "white space only": (span([3, 4, "bad"]), ["line 2 of", "holds white space only"]),
    "numbers with decimals": (span([0.0, 3.0, "bad"]), ["line 2 of", "[0.0, 3.0"]),
    "not a number": (span().replace("[]", '[[0, NaN, "bad"]]'), ["line 2 of", "NaN"]),
    "no type": (span([0, 3]), ["spans of start, end and type", "line 2 of", "[0, 3]"]),
    "empty type": (span([0, 3, ""]), ["a type of printable characters", "line 2 of", "''"]),
    "type of two lines": (span([0, 3, "bad\nx"]), ["a type of printable characters", "line 2 of"]),
    "half a pair in a type": (span([0, 3, "b\ud800"]), ["a type of printable characters", "line 2 of"]),
    "no spans": (lines_of({"text": "the", "spans": None}), ["line 2 of", "has none"]),
    "a text in place of spans": (lines_of({"text": "the", "spans": "bad"}), ["line 2 of", '"bad"']),
    "no object": ('["the"]\n', ["JSON object on line 2 of", "train.jsonl"]),
    "broken": ('{"text": "the", \n', ["JSON object on line 2 of"]),
    "nested": ('{"text": ' + "[" * 100_000 + "\n", ["JSON object on line 2 of"]),
    "tags as numbers": (lines_of({"tokens": ["a"], "ner_tags": [1]}), ["words or a text in 'tokens'", "line 1 of"]),
}


@pytest.mark.parametrize("case", REFUSED_ROWS)
def test_refused_rows(case: str, ask: Ask, tmp_path: Path) -> None:
    row, fragments = REFUSED_ROWS[case]
    data = written(tmp_path / "data", train_jsonl=lines_of(GOOD) + row, validation_jsonl=VALIDATION)
    refused(ask("finetune", "tagging", data=data), *fragments)


@pytest.mark.parametrize(
    ("rows", "fragments"),
    [
        ([TAGS, {"tokens": ["a"], "ner_tags": ["O", "O"]}], ["2 tags for 1 words", "line 2 of"]),
        ([TAGS, {"tokens": None, "ner_tags": []}], ["words or a text in 'tokens'", "line 2 of"]),
        ([{"tokens": ["a"], "ner_tags": [1]}], ["numbers without names", "line 1 of"]),
        ([{"sentence": "a", "spans": []}], ["column named tokens, words, text", "sentence"]),
    ],
)
def test_refused_rows_of_words(rows: list[object], fragments: list[str], ask: Ask, tmp_path: Path) -> None:
    data = written(tmp_path / "data", train_jsonl=lines_of(*rows), validation_jsonl=VALIDATION)
    refused(ask("finetune", "tagging", data=data), *fragments)


def test_refused_files(ask: Ask, tmp_path: Path) -> None:
    for number, (name, content, *fragments) in enumerate(
        (
            ("train_json", "[" * 100_000, "a list of JSON objects", "train.json"),
            ("train_json", '[{"text": "the"', "a list of JSON objects", "train.json"),
            ("train_json", '["the"]', "JSON objects in", "item 1 is 'the'"),
            ("train_parquet", "PAR1 no PAR1", "a parquet file at", "train.parquet"),
        )
    ):
        files = {name: content, "validation_jsonl": VALIDATION}
        refused(ask("finetune", "tagging", data=written(tmp_path / f"data{number}", **files)), *fragments)


TRIMMED = "entities have white space at their borders, which is left out"
WIDENED = "entities begin or end inside of a word and are widened to it"
HALVES = "sentences hold halves of surrogate pairs, which are replaced"
OVERLAP = "entities overlap a longer one and are left out; mrc can find them"
NO_WORDS = lines_of({"text": "", "spans": []}, {"text": " \u3000", "spans": []})
MENDED_ROWS: dict[str, tuple[str, list[str]]] = {
    "space behind": (span([0, 4, "bad"]), [f"train: 1 {TRIMMED}"]),
    "space before": (span([3, 9, "bad"]), [f"train: 1 {TRIMMED}"]),
    "a space of another kind": (span([3, 9, "bad"], text="the\u00a0house\u3000is"), [f"train: 1 {TRIMMED}"]),
    "a word cut": (span([0, 2, "bad"], [5, 9, "bad"]), [f"train: 2 {WIDENED}"]),
    "twice": (span([0, 3, "bad"], [0, 3, "bad"]), []),
    "half a pair": (span([0, 3, "bad"], text="the \ud800"), [f"train: 1 {HALVES}"]),
    "no words": (NO_WORDS, ["train: 2 sentences have no words"]),
    "ids": (lines_of({**GOOD, "id": 7}, {**GOOD, "id": "7"}, {**GOOD, "id": "\ud800"}), []),
    "overlap": (span([0, 9, "bad"], [4, 9, "good"]), [f"train: 1 of 4 {OVERLAP}"]),
}


@pytest.mark.parametrize("case", MENDED_ROWS)
def test_mended_rows(case: str, notes: Notes, tmp_path: Path) -> None:
    row, expected = MENDED_ROWS[case]
    data = written(tmp_path / "data", train_jsonl=lines_of(GOOD) + row, validation_jsonl=VALIDATION)
    assert notes("tagging", data)[1:] == expected
    if case != "overlap":
        found = [note for note in notes("mrc", data)[1:] if "have no entity" not in note]
        assert found == expected
