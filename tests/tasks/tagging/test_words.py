import pytest

from bertpress.tasks.tagging.words import fit, joined, level_of, words_in


def shown(text, level):
    return [text[start:end] for start, end in words_in(text, level)]


def test_words_stand_between_space_and_punctuation():
    assert shown("Mr. O'Neil's e-mail, 3.5%!", "word") == [
        "Mr", ".", "O", "'", "Neil", "'", "s", "e", "-", "mail", ",", "3", ".", "5", "%", "!",
    ]  # fmt: skip
    assert shown(" a\u00a0b\u3000c\u2003d\n", "word") == ["a", "b", "c", "d"]
    assert shown("«Où?»", "word") == ["«", "Où", "?", "»"]
    assert shown("", "word") == shown("\u3000", "word") == []


def test_marks_over_letters_are_part_of_a_word():
    assert shown("cafe\u0301 हिन्दी", "word") == ["cafe\u0301", "हिन्दी"]


def test_characters_are_all_but_white_space():
    assert shown("我爱 NLP\u3000。", "character") == ["我", "爱", "N", "L", "P", "。"]


@pytest.mark.parametrize(
    ("texts", "level"),
    [
        (["北京欢迎你"], "character"),
        (["我在 Microsoft 工作，很好很好很好"], "character"),
        (["The word 北京 means Beijing"], "word"),
        (["東京タワー"], "character"),
        (["서울 시"], "word"),
        (["2008", "!"], "word"),
        ([], "word"),
        (["Hello", "北京北京北京"], "character"),
    ],
)
def test_the_level_is_that_of_most_letters(texts, level):
    assert level_of(texts) == level


def test_words_put_together_know_their_places():
    assert joined(["New", "York", "!"], "word") == ("New York !", [(0, 3), (4, 8), (9, 10)])
    assert joined(["北", "京", "", "2008"], "character") == ("北京2008", [(0, 1), (1, 2), (2, 2), (2, 6)])
    assert joined([], "word") == ("", [])


TEXT = "in New-York  today"
#       0  3   7    13


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 2, (0, 1, False, False)),
        (3, 11, (1, 4, False, False)),
        (2, 12, (1, 4, True, False)),
        (4, 11, (1, 4, False, True)),
        (3, 9, (1, 4, False, True)),
        (11, 18, (4, 5, True, False)),
        (5, 13, (1, 4, True, True)),
    ],
)
def test_spans_of_characters_become_spans_of_words(start, end, expected):
    (first, last, kind), trimmed, widened = fit(TEXT, words_in(TEXT, "word"), start, end, "LOC")
    assert (first, last, trimmed, widened) == expected
    assert kind == "LOC"


@pytest.mark.parametrize(
    ("start", "end", "fault"),
    [
        (3, 3, "is empty"),
        (7, 3, "ends before it starts"),
        (-1, 3, "is not inside"),
        (3, 19, "is not inside .the text has 18 characters"),
        (11, 13, "white space only"),
    ],
)
def test_spans_that_cannot_be_are_refused(start, end, fault):
    with pytest.raises(ValueError, match=fault):
        fit(TEXT, words_in(TEXT, "word"), start, end, "LOC")
