"""Inputs of questions and paragraphs: what stands where, which paragraphs are read, and what is cut."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
from conftest import make_tokenizer

from bertpress.errors import RequestError
from bertpress.tasks.hops.features import NO_TEXT, Reader
from bertpress.tasks.hops.paragraphs import pieces_of
from bertpress.tasks.hops.settings import HopSettings

RECORD: dict[str, Any] = {
    "id": "h1",
    "question": "was the house old",
    "titles": ["a road", "the house", "the tree", "the house"],
    "sentences": [
        ["it is grey", " the road was slow"],
        ["the house is warm", "there is the green  tree"],
        ["The green tree is very full", "quite", ""],
        ["the green tree"],
    ],
    "answer": "the green tree",
    "spellings": ["the green tree"],
    "fact_titles": ["the house", "the tree", "nowhere"],
    "fact_sentences": [1, 0, 0],
}
LENGTH = 64


@functools.cache
def marked(family: str = "bert") -> Any:
    """The tokenizer with the tokens that stand before titles and texts."""
    tokenizer = copy.deepcopy(make_tokenizer(family))
    tokenizer.add_tokens(["[unused1]", "[unused2]"], special_tokens=True)
    return tokenizer


def row_of(record: dict[str, Any] = RECORD, training: bool = False, tokenizer: Any = None, **options: Any) -> Any:
    length = options.pop("max_length", LENGTH)
    reader = Reader(tokenizer or marked(), length, HopSettings(**options))
    (row,) = reader.inputs_of({name: [value] for name, value in record.items()}, training)
    return row


def tokens_of(row: Any, tokenizer: Any = None) -> list[str]:
    found: list[str] = (tokenizer or marked()).convert_ids_to_tokens(row["input_ids"])
    return found


def naive(record: dict[str, Any], order: list[int]) -> list[str]:
    """The tokens of an input with all of these paragraphs, put together word by word."""
    tokenizer = marked()
    tokens = ["[CLS]", *tokenizer.tokenize(record["question"]), "[SEP]"]
    for number in order:
        tokens += ["[unused1]", *tokenizer.tokenize(record["titles"][number]), "[unused2]"]
        for sentence in record["sentences"][number]:
            tokens += tokenizer.tokenize(sentence)
    return [*tokens, "[SEP]"]


def order_of(row: Any) -> list[int]:
    """The paragraphs whose text is read, in their order."""
    return list(dict.fromkeys(int(number) for number in row["paragraphs"] if number != NO_TEXT))


def test_an_input_is_the_question_and_the_paragraphs_between_their_markers() -> None:
    row = row_of()
    assert tokens_of(row) == naive(RECORD, [0, 1, 2, 3])
    second = tokens_of(row).index("[SEP]") + 1
    assert list(row["token_type_ids"]) == [0] * second + [1] * (len(row["input_ids"]) - second)


def test_each_token_of_a_text_knows_its_paragraph_and_its_characters() -> None:
    row = row_of()
    texts = ["".join(pieces_of(sentences)) for sentences in RECORD["sentences"]]
    read = []
    for token, *place in zip(tokens_of(row), row["paragraphs"], row["char_starts"], row["char_ends"], strict=True):
        number, start, end = map(int, place)
        if number == NO_TEXT:
            assert token not in ("grey", "warm", "green", "full")
        else:
            assert texts[number][start:end].lower() == token.replace("##", "")
            read.append(token)
    assert read == [token for text in texts for token in marked().tokenize(text)]


def test_sentences_have_their_first_and_last_token_and_facts_their_marks() -> None:
    row, tokens = row_of(), tokens_of(row_of())
    found = {
        (paragraph, number): " ".join(tokens[first : last + 1])
        for first, last, paragraph, number in zip(
            row["firsts"], row["lasts"], row["sentence_paragraphs"], row["sentence_numbers"], strict=True
        )
    }
    assert found[0, 1] == "the road was slow"
    assert found[1, 1].endswith("green tree")
    assert (2, 2) not in found, "an empty sentence has no token"
    assert len(found) == 7
    marks = dict(zip(found, row["supporting"], strict=True))
    assert [place for place, mark in marks.items() if mark] == [(1, 1), (2, 0)]


def test_the_answer_is_learned_where_it_stands_in_supporting_paragraphs() -> None:
    row, tokens = row_of(), tokens_of(row_of())
    assert row["answer_kind"] == 0
    spans = [tokens[first : last + 1] for first, last in zip(row["starts"], row["ends"], strict=True)]
    assert spans == [["the", "green", "tree"]] * 2
    assert [int(row["paragraphs"][first]) for first in row["starts"]] == [1, 2], "the fourth paragraph supports nothing"
    assert len(row_of(max_answer_spans=1)["starts"]) == 1
    elsewhere = {**RECORD, "spellings": ["slow"]}
    (first,) = row_of(elsewhere)["starts"]
    assert tokens[first] == "slow", "where no supporting paragraph has it, any place counts"


@pytest.mark.parametrize(("answer", "kind"), [("yes", 1), ("NO", 2), ("river", 0)])
def test_what_stands_nowhere_points_at_the_first_token(answer: str, kind: int) -> None:
    row = row_of({**RECORD, "answer": answer, "spellings": [answer]})
    assert (row["answer_kind"], list(row["starts"]), list(row["ends"])) == (kind, [0], [0])


def test_in_evaluation_paragraphs_are_cut_in_the_given_order() -> None:
    whole = naive(RECORD, [0, 1, 2, 3])
    for length in range(24, len(whole) + 3):
        row = row_of(max_length=length)
        cut = whole if length >= len(whole) else [*whole[: length - 1], "[SEP]"]
        assert tokens_of(row) == cut
        assert len(row["paragraphs"]) == len(cut)
        assert all(last < len(cut) - 1 for last in row["lasts"])
        inside = [last for last in row_of()["lasts"] if last < len(cut) - 1]
        assert list(row["lasts"]) == inside, "a sentence counts if it is whole"


def test_in_training_supporting_paragraphs_come_first_and_the_overflowing_one_last() -> None:
    orders = set()
    for number in range(40):
        record = {**RECORD, "id": f"h{number}"}
        row = row_of(record, training=True, max_length=48)
        order = order_of(row)
        whole = naive(record, order)[:-1][:47]
        assert tokens_of(row)[: len(whole)] == whole
        assert sum(row["supporting"]) == 2, "there is room for both"
        assert list(row["input_ids"]) == list(row_of(record, training=True, max_length=48)["input_ids"])
        orders.add(tuple(order))
    assert {order[3] for order in orders if len(order) == 4} <= {0, 3}, "one that was added stands last"
    assert len(orders) > 3, "the order is drawn"


def test_all_paragraphs_are_read_in_training_if_they_fit() -> None:
    row = row_of(training=True)
    assert sorted(order_of(row)) == [0, 1, 2, 3]
    assert sum(row["supporting"]) == 2


def test_none_is_moved_to_the_end_in_training_where_none_overflows() -> None:
    fits = len(naive(RECORD, [0, 1, 2, 3]))
    for length in (fits, LENGTH):
        orders = [order_of(row_of({**RECORD, "id": f"h{n}"}, training=True, max_length=length)) for n in range(40)]
        assert {order[-1] for order in orders} == {0, 1, 2, 3}, "also those with supporting facts"
    orders = [order_of(row_of({**RECORD, "id": f"h{n}"}, training=True, max_length=fits - 1)) for n in range(40)]
    assert {order[-1] for order in orders} == {0, 3}, "one token less, and one overflows"


def test_training_rows_without_room_keep_supporting_paragraphs_only() -> None:
    row = row_of(training=True, max_length=20)
    assert set(order_of(row)) <= {1, 2}


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra"])
def test_the_separator_stands_in_for_markers_that_there_are_not(family: str) -> None:
    tokenizer = make_tokenizer(family)
    reader = Reader(tokenizer, LENGTH, HopSettings())
    assert reader.notes == ("the vocabulary lacks [unused1] and [unused2]; the separator stands in their place",)
    tokens = tokens_of(row_of(tokenizer=tokenizer), tokenizer)
    whole = naive(RECORD, [0, 1, 2, 3])
    assert tokens == ["[SEP]" if token.startswith("[unused") else token for token in whole]
    assert ("token_type_ids" in row_of(tokenizer=tokenizer)) == (family in ("bert", "electra"))
    own = row_of(tokenizer=tokenizer, title_marker="river", text_marker="book")
    assert tokens_of(own, tokenizer).count("river") == 4


def test_questions_and_sentences_have_a_limit() -> None:
    row = row_of(question_length=2)
    assert tokens_of(row)[:4] == ["[CLS]", "was", "the", "[SEP]"]
    assert len(row_of(max_sentences=3)["firsts"]) == 3
    long = row_of({**RECORD, "question": "house " * 100}, max_length=23)
    assert tokens_of(long).index("[SEP]") == 11, "at most half of the room"


def test_a_document_of_any_length_is_cut_without_reading_all_of_it() -> None:
    words = "the tree was green " * 25_000
    record = {**RECORD, "sentences": [[words], [words, words], [words], ["a day"]]}
    for training in (False, True):
        row = row_of(record, training)
        assert len(row["input_ids"]) == LENGTH
    assert list(row_of(record)["lasts"]) == []


def test_rows_without_answers_have_no_labels() -> None:
    record = {name: RECORD[name] for name in ("id", "question", "titles", "sentences")}
    row = row_of(record)
    assert not {"answer_kind", "starts", "ends", "supporting"} & set(row)
    assert list(row["input_ids"]) == list(row_of()["input_ids"])


def test_inputs_that_hold_nothing_are_refused() -> None:
    with pytest.raises(RequestError, match="at least 7 tokens, got max_length 6"):
        Reader(marked(), 6, HopSettings())
