from __future__ import annotations

import csv
import json

import pyarrow
import pytest
from pyarrow import parquet

from bertpress.errors import RequestError
from bertpress.tasks.choices.formats import Names, answer_of, passages_of, read_questions
from bertpress.tasks.choices.records import find_files, load_choices

from .fixtures import OTHER, PASSAGE, RAGGED, row, write_race, write_rows


def test_the_original_folders_are_read_passage_by_passage(tmp_path):
    write_race(tmp_path)
    assert [path.name for path in passages_of(tmp_path / "dev")] == ["7.txt", "3.txt"]
    first, second, third = read_questions(tmp_path / "train", Names())
    assert (first.passage, first.level, first.question, first.answer) == ("high7.txt", "high", "the house is _ .", 0)
    assert (second.context, second.options, second.answer) == (PASSAGE["article"], tuple(PASSAGE["options"][1]), 2)
    assert (third.level, third.options, third.answer) == ("middle", tuple(OTHER["options"][0]), 1)
    assert "question 2 of" in second.place


def test_a_data_set_is_the_same_in_folders_and_with_the_hubs_columns(tmp_path):
    original = load_choices("race", write_race(tmp_path / "RACE").parent)
    rows = [
        {"example_id": passage["id"], "article": passage["article"], "question": question, "options": options}
        | {"answer": answer}
        for passage in (PASSAGE, OTHER)
        for question, options, answer in zip(passage["questions"], passage["options"], passage["answers"], strict=True)
    ]
    for split in ("train", "validation", "test"):
        (tmp_path / "hub").mkdir(exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "hub" / f"{split}.parquet")
    other = load_choices("race", tmp_path / "hub")
    assert list(original.splits) == list(other.splits) == ["train", "validation", "test"]
    for split, records in original.splits.items():
        assert records[:] == other.splits[split][:]
    assert original.splits["train"]["id"] == ["high7.txt-1", "high7.txt-2", "middle3.txt-1"]
    assert original.metrics == ("accuracy", "accuracy_high", "accuracy_middle")


def test_tables_of_every_kind_hold_the_same_questions(tmp_path):
    rows = [{"id": str(number), **each, "answer": "0"} for number, each in enumerate(RAGGED)]
    write_rows(tmp_path / "a.jsonl", *rows)
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        with (tmp_path / f"a{suffix}").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys(), delimiter=delimiter)
            writer.writeheader()
            writer.writerows({**each, "options": json.dumps(each["options"])} for each in rows)
    with (tmp_path / "cells.csv").open("w", newline="", encoding="utf-8") as file:
        names = [f"option_{number}" for number in range(5)]
        writer = csv.DictWriter(file, ["id", "context", "question", *names, "answer"])
        writer.writeheader()
        for each in rows:
            cells = dict(zip(names, each["options"], strict=False))
            writer.writerow({name: each[name] for name in ("id", "context", "question", "answer")} | cells)
    found = {}
    for path in sorted(tmp_path.iterdir()):
        names_of = Names(options=tuple(names)) if path.stem == "cells" else Names()
        questions = read_questions(path, names_of)
        found[path.name] = [(each.id, each.context, each.question, each.options, each.answer) for each in questions]
    assert len(found) == 5
    assert all(each == found["a.jsonl"] for each in found.values()), found
    assert [len(options) for *_, options, _ in found["a.jsonl"]] == [2, 5, 3]


@pytest.mark.parametrize(
    ("value", "number"),
    [("A", 0), (" C ", 2), (1, 1), (1.0, 1), ("2", 2), ("slow day", 1), (None, None), ("", None), ("same", 0)],
)
def test_an_answer_is_a_letter_a_number_or_a_text(value, number):
    options = ("same", "slow day", "same") if value == "same" else ("dull", "slow day", "green")
    assert answer_of(value, options, "row 1") == number


@pytest.mark.parametrize("value", ["D", 3, -1, 0.5, True, "grey", "3", ["A"], "a", *map(float, ("nan", "inf", "-inf"))])
def test_an_answer_that_names_no_option_is_refused(value):
    with pytest.raises(RequestError, match="names one of the options 'dull', 'slow', 'green' by letter"):
        answer_of(value, ("dull", "slow", "green"), "row 1")


def test_an_answer_that_may_mean_two_options_is_refused_unless_answers_are_letters():
    with pytest.raises(RequestError, match="'1' of row 1 may mean several"):
        answer_of("1", ("1", "2"), "row 1")
    assert answer_of("1", ("2", "1"), "row 1") == 1, "number and text mean the same"
    assert answer_of("B", ("B", "A"), "row 1", letters_only=True) == 1
    with pytest.raises(RequestError, match="by letter, but row 1 has '1'"):
        answer_of("1", ("1", "2"), "row 1", letters_only=True)


def test_json_that_writes_what_is_no_number_as_an_answer_is_refused(tmp_path):
    for text in ("NaN", "Infinity"):
        line = '{"context": "c", "question": "q", "options": ["dull", "slow"], "answer": ' + text + "}\n"
        (tmp_path / "train.jsonl").write_text(line, encoding="utf-8")
        with pytest.raises(
            RequestError, match=r"names one of the options .* but line 1 of .*train.jsonl has '(nan|inf)'"
        ):
            list(read_questions(tmp_path / "train.jsonl", Names()))


def test_two_sources_of_a_split_are_refused(tmp_path):
    write_race(tmp_path)
    write_rows(tmp_path / "dev.jsonl", row())
    with pytest.raises(RequestError, match="a file or a folder of validation"):
        find_files(tmp_path)
