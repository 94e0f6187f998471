import pytest

from bertpress.errors import RequestError
from bertpress.tasks.json_values import (
    as_list,
    as_text,
    as_whole_number,
    identity_at,
    list_at,
    require_names,
    text_at,
    wrong_value,
)


def test_values_are_what_they_should_be():
    assert (as_text("a", "a title", "row 1"), text_at({"q": ""}, "q", "row 1")) == ("a", "")
    assert (as_list([1], "answers", "row 1"), list_at({"answers": []}, "answers", "row 1")) == ([1], [])
    assert (as_whole_number(3.0, "row 1"), as_whole_number(-2, "row 1")) == (3, -2)


@pytest.mark.parametrize(
    ("row", "name"), [({"id": 7}, "7"), ({"qid": "a", "id": ""}, "a"), ({"id": "\ud800"}, "\ufffd")]
)
def test_the_first_id_that_is_not_blank(row, name):
    assert identity_at(row, ("id", "qid"), "row 1") == name


def test_no_id():
    assert identity_at({"id": None}, ("id", "qid"), "row 1") is None


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda: as_text(3, "a title", "row 1"), "Expected a title, but row 1 has '3': correct it."),
        (lambda: text_at({}, "query", "row 1"), "Expected a text as 'query', but row 1 has 'None': correct it."),
        (lambda: list_at({"spans": "x"}, "spans", "row 1"), "Expected a list as 'spans', but row 1 has 'x'"),
        (lambda: as_whole_number(1.5, "row 1"), "Expected a whole number, but row 1 has '1.5'"),
        (lambda: as_whole_number(True, "row 1"), "Expected a whole number, but row 1 has 'True'"),
        (lambda: as_whole_number(float("nan"), "row 1", "an offset"), "Expected an offset, but row 1 has 'nan'"),
        (lambda: identity_at({"id": [1]}, ("id",), "row 1"), "Expected an id, but row 1 has '[1]'"),
        (
            lambda: require_names({"questions": "", "context": ""}, ("context", "question"), "row 1"),
            "Expected a column 'question' in row 1, found questions, context (did you mean 'questions'?): name one",
        ),
    ],
)
def test_others_are_refused_with_their_place(ask, expected):
    with pytest.raises(RequestError) as refused:
        ask()
    assert str(refused.value).startswith(expected)


def test_long_values_are_shortened():
    assert str(wrong_value("a text", "x" * 100, "row 1")) == f"Expected a text, but row 1 has '{'x' * 40}': correct it."
