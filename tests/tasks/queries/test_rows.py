from __future__ import annotations

import dataclasses
import itertools
import random
from typing import Any

import pytest
from conftest import make_tokenizer
from transformers import PreTrainedTokenizerFast

from bertpress.errors import RequestError
from bertpress.tasks.queries.rows import FIRST, LAST, OUTSIDE, Question, questions_of, rows_of
from bertpress.tasks.tagging.pieces import Pieces, pieces_of
from queries.making import QUERIES, random_sentences, record_of


def roberta() -> Any:
    """A tokenizer without segments that puts two tokens between the texts of a pair."""
    from tokenizers import Tokenizer, processors

    backend = Tokenizer.from_str(make_tokenizer().backend_tokenizer.to_str())
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", model_input_names=names
    )


def first_question(tokenizer: Any = None, max_length: int = 32) -> Question:
    return questions_of(QUERIES, tokenizer or make_tokenizer(), max_length)[0]


def pieces(text: str, tokenizer: Any = None) -> Pieces:
    record = record_of(text, None)
    return pieces_of(tokenizer or make_tokenizer(), text, record["starts"], record["ends"])


@pytest.mark.parametrize("make", [make_tokenizer, roberta])
@pytest.mark.parametrize("text", ["the zed was green", "house", "abc def ghi"])
def test_a_row_is_what_the_tokenizer_makes_of_the_pair(make: Any, text: str) -> None:
    tokenizer = make()
    for question, query in zip(questions_of(QUERIES, tokenizer, 32), QUERIES.values(), strict=True):
        (row,) = rows_of(question, pieces(text, tokenizer), (), 0.25, keep_whole=True)
        expected = tokenizer(query, text)
        assert row["input_ids"] == expected["input_ids"]
        assert row.get("token_type_ids") == expected.get("token_type_ids")
        sources = expected.sequence_ids(0)
        assert row["begin"] == sources.index(1), "by the frame, whatever the segments are"
        assert len(row["words"]) == len(row["marks"]) == sources.count(1)


def test_labels_by_hand() -> None:
    # pieces: the | a ##b ##c | on is o ##n | river
    (row,) = rows_of(first_question(), pieces("the abc on river"), [(0, 1), (1, 3), (1, 2), (3, 4)], 0.25, True)
    assert row["words"] == [0, 1, 1, 1, 2, 2, 3]
    assert row["marks"] == [FIRST | LAST, FIRST, 0, LAST, FIRST, LAST, FIRST | LAST]
    assert row["labels"] == [[0, 0], [1, 5], [1, 3], [6, 6]], "the last piece of the last word, inclusive"
    assert row["begin"] == 4
    assert row["cut"] == 0


def test_nobody_knows() -> None:
    (row,) = rows_of(first_question(), pieces("the house"), None, 0.25, keep_whole=True)
    assert row["labels"] is None
    (row,) = rows_of(first_question(), pieces("the house"), [], 0.25, keep_whole=True)
    assert row["labels"] == []


def test_a_sentence_without_words_has_a_row() -> None:
    (row,) = rows_of(first_question(), Pieces([], []), [], 0.25, keep_whole=True)
    assert row["words"] == row["marks"] == row["labels"] == []
    assert row["input_ids"] == make_tokenizer()("the book")["input_ids"]


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
@pytest.mark.parametrize("max_length", [7, 8, 9, 12, 20])
def test_training_windows_cut_no_entity_that_fits(max_length: int, overlap: float) -> None:
    question = first_question(max_length=max_length)
    over = 0
    for text, made in random_sentences(60, seed=max_length):
        spans = [(start, stop) for start, stop, kind in made if kind == "THING"]
        own = pieces(text)
        rows = rows_of(question, own, spans, overlap, keep_whole=True)
        covered, too_long = set(), 0
        for start, stop in spans:
            length = sum(start <= word < stop for word in own.words)
            too_long += length > question.room
        for row in rows:
            assert len(row["words"]) <= question.room
            assert len(row["input_ids"]) == len(row["words"]) + 5
            covered |= set(row["words"])
            cut = [pair for pair in row["labels"] if OUTSIDE in pair]
            assert not cut or too_long
        assert covered == set(own.words)
        assert sum(row["cut"] for row in rows) == rows[0]["cut"] == too_long
        over += too_long
    assert (over > 0) == (max_length < 20), "the test reaches both"


def test_other_windows_are_placed_by_length_alone() -> None:
    question = dataclasses.replace(first_question(), room=4)
    own = pieces("a b c d e f g h")  # a is a word of the vocabulary, like the letters
    rows = rows_of(question, own, [(3, 5)], 0.25, keep_whole=False)
    assert [row["words"] for row in rows] == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7]]
    assert [row["labels"] for row in rows] == [[[3, OUTSIDE]], [[0, 1]], []]
    assert [row["cut"] for row in rows] == [0, 0, 0], "it stands whole in the second"
    rows = rows_of(question, own, [(2, 6)], 0.25, keep_whole=False)
    assert [row["labels"] for row in rows] == [[[2, OUTSIDE]], [[OUTSIDE, 2]], []]
    assert [row["cut"] for row in rows] == [1, 0, 0]
    whole = rows_of(question, own, [(3, 5)], 0.25, keep_whole=True)
    assert [row["words"] for row in whole] == [[0, 1, 2], [3, 4, 5, 6], [6, 7]]


def test_the_overlap_of_windows() -> None:
    question = dataclasses.replace(first_question(), room=4)
    own = pieces(" ".join("abcdefghij"))
    for overlap, shared in ((0.0, 0), (0.25, 1), (0.5, 2), (0.9, 3)):
        rows = rows_of(question, own, None, overlap, keep_whole=False)
        for one, other in itertools.pairwise(rows):
            assert len(set(one["words"]) & set(other["words"])) == shared


def test_an_inner_entity_of_one_that_fits_nowhere_is_not_cut() -> None:
    question = dataclasses.replace(first_question(), room=4)
    rows = rows_of(question, pieces(" ".join("abcdefgh")), [(0, 8), (3, 5)], 0, keep_whole=True)
    assert [row["words"] for row in rows] == [[0, 1, 2], [3, 4, 5, 6], [7]]
    assert [row["labels"] for row in rows] == [[[0, OUTSIDE]], [[0, 1]], [[OUTSIDE, 0]]]
    assert rows[0]["cut"] == 1


def test_a_query_that_leaves_no_room() -> None:
    with pytest.raises(RequestError, match="The query of PLACE has 3 tokens, which leaves no room for a sentence in 6"):
        questions_of(QUERIES, make_tokenizer(), 6)
    assert [question.room for question in questions_of(QUERIES, make_tokenizer(), 7)] == [2, 1, 3]


def test_no_window_cuts_a_word_that_fits() -> None:
    for room in (4, 5, 9):
        question = dataclasses.replace(first_question(), room=room)
        for text, _ in random_sentences(40, seed=room):
            rows = rows_of(question, pieces(text), None, 0.25, keep_whole=False)
            for row in rows:
                if row["words"]:
                    assert row["marks"][0] & FIRST
                    assert row["marks"][-1] & LAST


def test_a_word_that_is_longer_than_a_window() -> None:
    question = dataclasses.replace(first_question(), room=2)
    rows = rows_of(question, pieces("abcde"), [(0, 1)], 0, keep_whole=True)
    assert [row["marks"] for row in rows] == [[FIRST, 0], [0, 0], [LAST]]
    assert [row["labels"] for row in rows] == [[[0, OUTSIDE]], [], [[OUTSIDE, 0]]]
    assert [row["cut"] for row in rows] == [1, 0, 0]


@pytest.mark.parametrize("keep_whole", [True, False])
def test_each_window_has_the_borders_of_entities_that_lie_in_it(keep_whole: bool) -> None:
    generator = random.Random(3)
    own = pieces(" ".join("bcdefghijklmnopqrstuvwxyz"))  # one piece each
    for _ in range(300):
        question = dataclasses.replace(first_question(), room=generator.randint(1, 9))
        borders = (sorted(generator.sample(range(26), 2)) for _ in range(generator.randint(0, 6)))
        spans = sorted({(start, stop) for start, stop in borders})
        rows = rows_of(question, own, spans, generator.choice([0, 0.25, 0.9]), keep_whole)
        held = set()
        for row in rows:
            words = row["words"]
            wanted = [
                [
                    words.index(start) if start in words else OUTSIDE,
                    words.index(end - 1) if end - 1 in words else OUTSIDE,
                ]
                for start, end in spans
            ]
            assert row["labels"] == [pair for pair in wanted if pair != [OUTSIDE, OUTSIDE]]
            held |= {span for span in spans if set(range(*span)) <= set(words)}
        assert [row["cut"] for row in rows] == [len(spans) - len(held), *[0] * (len(rows) - 1)]
