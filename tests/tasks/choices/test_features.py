from __future__ import annotations

import pytest
from conftest import make_tokenizer

from bertpress.errors import RequestError
from bertpress.tasks.choices.features import Reader, pieces_of
from bertpress.tasks.choices.settings import ChoiceSettings

RECORDS = {
    "context": ["the house was very warm and the road was grey", "a day"],
    "question": ["the house is", "the _ was"],
    "options": [["warm", "dull green slow"], ["a", "book", "tree river"]],
    "answer": [0, 2],
}


def rows_of(max_length=32, records=RECORDS, **settings):
    return list(Reader(make_tokenizer(), max_length, ChoiceSettings(**settings)).windows_of(records))


def words(row):
    return make_tokenizer().decode(row["input_ids"])


def test_a_row_for_each_option_in_the_frame_of_a_pair():
    first, second = rows_of()
    assert [words(row) for row in first] == [
        "[CLS] the house was very warm and the road was grey [SEP] the house is warm [SEP]",
        "[CLS] the house was very warm and the road was grey [SEP] the house is dull green slow [SEP]",
    ]
    assert first[0]["token_type_ids"] == [0] * 12 + [1] * 5
    assert [(row["option"], row["options"], row["is_right"]) for row in second] == [(0, 3, 0), (1, 3, 0), (2, 3, 1)]
    assert len({tuple(row["input_ids"][:14]) for row in first}) == 1, "rows of a question begin alike"


def test_the_longest_option_decides_what_is_left_for_the_context():
    first, _ = rows_of(max_length=12)  # 9 tokens: at most 4 of the question with its option, 5 of the context
    assert [words(row) for row in first] == [
        "[CLS] the house was very warm [SEP] the house is warm [SEP]",
        "[CLS] the house was very warm [SEP] the house is dull [SEP]",
    ]
    first, _ = rows_of(max_length=14, option_length=2)
    assert [words(row) for row in first] == ["[CLS] the house was very warm and the road was [SEP] the house [SEP]"] * 2


def test_blanks_are_filled_if_asked():
    _, second = rows_of(fill_blanks=True)
    assert [words(row) for row in second] == [
        "[CLS] a day [SEP] the a was [SEP]",
        "[CLS] a day [SEP] the book was [SEP]",
        "[CLS] a day [SEP] the tree river was [SEP]",
    ]
    assert pieces_of("it is ____ , not _", "warm", True) == ("it is", " warm", " , not _")
    assert pieces_of("it is _.", "warm", True) == ("it is", " warm", ".")
    assert pieces_of("is it _", "warm", False) == ("is it _", " warm")
    assert pieces_of("is it", "warm", True) == ("is it", " warm")


def test_questions_that_are_cut_are_counted():
    reader = Reader(make_tokenizer(), 32, ChoiceSettings(option_length=5))
    assert reader.too_long(RECORDS) == 1


def test_no_answers_and_no_room():
    unknown = {name: values for name, values in RECORDS.items() if name != "answer"}
    assert all("is_right" not in row for rows in rows_of(records=unknown) for row in rows)
    with pytest.raises(RequestError, match="need at least 7 tokens, got max_length 6"):
        rows_of(max_length=6)
