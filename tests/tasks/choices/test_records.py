from __future__ import annotations

import numpy as np
import pytest

from bertpress.errors import RequestError
from bertpress.recipe import TaskSpec
from bertpress.tasks import load_task
from bertpress.tasks.choices.records import load_choices

from .fixtures import RAGGED, row, write_rows


def load(folder, *rows, **given):
    write_rows(folder / "train.jsonl", *rows)
    return load_choices("files", folder, **given)


def test_ragged_options_and_numbered_ids(tmp_path):
    data = load(tmp_path, *RAGGED)
    train = data.splits["train"]
    assert [len(options) for options in train["options"]] == [2, 5, 3]
    assert train["answer"] == [1, 3, 0]
    assert train["id"] == ["row-1", "row-2", "row-3"]
    assert data.metrics == ("accuracy",)
    assert data.notes == ("train: 3 questions have no id and are named by their number",)
    assert data.sources == (tmp_path / "train.jsonl",)


def test_what_is_strange_is_counted(tmp_path):
    half = row(id="a", context="the \ud800 house", question="", options=["warm", "warm", " "])
    assert load(tmp_path, half).notes == (
        "train: 1 questions are empty, so that only their options are told apart",
        "train: 1 options are empty",
        "train: 1 questions have the same option twice",
        "train: 1 texts hold halves of surrogate pairs, which are replaced",
    )


def test_remarks_stay_when_the_records_are_read_from_the_cache(tmp_path):
    notes = [load(tmp_path, *RAGGED).notes for _ in range(2)]
    assert notes[0] == notes[1] != ()


def test_other_columns(tmp_path):
    renamed = {"text": "the house", "ask": "is", "a": "dull", "b": "warm", "c": None, "right": "warm"}
    data = load(tmp_path, renamed, columns=("text", "ask", "a", "b", "c"), label="right")
    assert data.splits["train"][0]["options"] == ["dull", "warm"]
    assert data.splits["train"][0]["answer"] == 1


def test_a_test_split_without_answers_has_no_labels(tmp_path):
    write_rows(tmp_path / "test.jsonl", {name: value for name, value in row().items() if name != "answer"})
    data = load(tmp_path, *RAGGED)
    assert "answer" not in data.splits["test"].column_names


REFUSED = {
    "one option": (row(options=["warm"]), "at least 2 options to choose from, but line 1 of .* has 1"),
    "no list": (row(options=7), "a list as 'options', but line 1 of .* has '7'"),
    "text that is no list": (row(options="warm, dull"), "a list of options, but line 1"),
    "an option that is a list": (row(options=[["warm"], "dull"]), "a text as option, but line 1"),
    "no context": (row(context=" "), "a text to choose by, but that of line 1"),
    "null context": (row(context=None), "a text as 'context', but line 1"),
    "answer": (row(answer="grey"), "names one of the options 'warm', 'dull', 'green'"),
    "no training answer": (row(answer=None), "answers to the training questions, but line 1 .*column by --label"),
    "no column": ({"context": "a"}, "a column 'question' in line 1 of .*train.jsonl, found context"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_with_its_place(case, tmp_path):
    wrong, message = REFUSED[case]
    with pytest.raises(RequestError, match=message):
        load(tmp_path, wrong)


def test_ids_and_answers_of_all(tmp_path):
    with pytest.raises(RequestError, match=r"different ids, but line 2 of .* has 'a' again"):
        load(tmp_path, row(id="a"), row(id="a"))
    with pytest.raises(RequestError, match=r"answers to all questions or to none, but line 2 of .* has none"):
        load(tmp_path, row(id="a"), row(id="b", answer=None))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "race", "kind": "qa"}, "its kinds are choice"),
        ({"name": "race", "columns": ("a", "b", "c")}, "describe your own data"),
        ({"name": "squad", "choice": {}}, "task.choice describes tasks of the kind choice"),
        ({"name": "files", "kind": "choice", "unlabelled": True}, "not the kind choice"),
        ({"name": "files", "kind": "choice", "data_dir": ".", "columns": ("a", "b")}, "and of options, got a, b"),
    ],
)
def test_what_does_not_go_together_is_refused(fields, message, tokenizer):
    with pytest.raises(RequestError, match=message):
        load_task(TaskSpec(**fields), tokenizer, 32)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.data
def test_the_real_data():
    data = load_choices("race")
    assert [len(data.splits[split]) for split in ("train", "validation", "test")] == [6973, 1440, 1388]
    assert np.bincount(data.splits["validation"]["answer"]).tolist() == [321, 386, 374, 359]
    assert data.metrics == ("accuracy", "accuracy_high", "accuracy_middle")
