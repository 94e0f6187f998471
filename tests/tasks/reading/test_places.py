import pytest

from bertpress.tasks.reading.places import Place, place_of

CONTEXT = "In 1066 the Normans won; the 1066 battle, at Hastings\u00a0hill, ended it. he"


@pytest.mark.parametrize(
    ("text", "start", "place"),
    [
        ("1066", 3, Place(3, "1066", moved=False, trimmed=False)),
        ("1066", 29, Place(29, "1066", moved=False, trimmed=False)),
        ("1066", 5, Place(3, "1066", moved=True, trimmed=False)),
        ("1066", 20, Place(29, "1066", moved=True, trimmed=False)),
        ("1066", 16, Place(3, "1066", moved=True, trimmed=False)),  # as far from both: the earlier one
        ("1066", -1, Place(3, "1066", moved=True, trimmed=False)),
        ("1066", 9999, Place(29, "1066", moved=True, trimmed=False)),
        ("1066", None, Place(3, "1066", moved=False, trimmed=False)),
        (" 1066 ", 2, Place(3, "1066", moved=False, trimmed=True)),
        ("\u30001066\t", 3, Place(3, "1066", moved=False, trimmed=True)),
        ("Hastings hill", 45, Place(45, "Hastings\u00a0hill", moved=False, trimmed=False)),
        ("he", 8, Place(70, "he", moved=True, trimmed=False)),  # not in "the", which is nearer
        ("orman", 0, Place(13, "orman", moved=True, trimmed=False)),  # part of a word, as it is nowhere else
        ("106", 3, Place(3, "106", moved=False, trimmed=False)),
        ("1067", 3, None),
        ("", 3, None),
        ("  ", 2, None),
        ("(", 3, None),
    ],
)
def test_answers_are_found(text, start, place):
    assert place_of(CONTEXT, text, start) == place


def test_nothing_is_found_in_an_empty_text():
    assert place_of("", "a", 0) is None
