from __future__ import annotations

import numpy as np
import pytest
from test_draws import reference

from bertpress.augmentation.sampling import Copy, carry_case, copies, draws, rows_of, splice

TEXT = 'He said:  "walk,\tthen RUN"\nhome'
WORDS = [(11, 15, ("go", "march")), (22, 25, ("HIDE",)), (27, 31, ())]


def test_draws_depend_on_their_key_only() -> None:
    one = draws(42, 7, 1, 20, 5)
    np.testing.assert_array_equal(one, draws(42, 7, 1, 20, 5))
    np.testing.assert_array_equal(one[:3], draws(42, 7, 1, 3, 5))
    for other in (draws(43, 7, 1, 20, 5), draws(42, 8, 1, 20, 5), draws(42, 7, 0, 20, 5)):
        assert not np.isin(one, other).any()
    assert draws(0, 0, 0, 4, 0).shape == (4, 0, 2)


def test_draws_stay_as_they_are() -> None:
    # A change would change every augmented set that anybody made.
    expected = [0.3495747534636062, 0.10405594816762642]
    assert expected == [reference((42, 1), 3, place) for place in range(2)]
    np.testing.assert_allclose(draws(42, 3, 1, 1, 1)[0, 0], expected, atol=1e-12)


def test_draws_are_uniform() -> None:
    numbers = np.concatenate([draws(1, row, 0, 10, 10).ravel() for row in range(200)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    share = np.histogram(numbers, bins=10, range=(0, 1))[0] / numbers.size
    np.testing.assert_allclose(share, 0.1, atol=0.006)  # 4 standard deviations


@pytest.mark.parametrize(
    ("word", "candidate", "expected"),
    [
        ("paris", "London", "London"),
        ("Paris", "london", "London"),
        ("PARIS", "london", "LONDON"),
        ("I", "we", "We"),
        ("McDonald", "shop", "shop"),
        ("Paris", "new York", "New York"),
    ],
)
def test_case_is_carried_over(word: str, candidate: str, expected: str) -> None:
    assert carry_case(word, candidate) == expected


def test_splicing_leaves_the_rest_as_it_was() -> None:
    assert splice(TEXT, [(11, 15, "go"), (22, 25, "HIDE")]) == 'He said:  "go,\tthen HIDE"\nhome'
    assert splice(TEXT, []) == TEXT


def test_copies_follow_the_draws() -> None:
    numbers = np.array([[[0.39, 0.6], [0.41, 0.0], [0.0, 0.0]], [[0.4, 0.0], [0.0, 0.99], [0.0, 0.0]]])
    assert copies(TEXT, WORDS, numbers, 0.4) == [
        Copy('He said:  "march,\tthen RUN"\nhome', 1),
        Copy('He said:  "walk,\tthen HIDE"\nhome', 1),
    ]


def test_the_share_of_replaced_words_is_the_probability() -> None:
    text = "word " * 50
    words = [(5 * index, 5 * index + 4, ("a", "b")) for index in range(50)]
    made = copies(text, words, draws(42, 0, 0, 400, 50), 0.4)
    assert sum(copy.replaced for copy in made) / (400 * 50) == pytest.approx(0.4, abs=0.015)
    assert sum(copy.text.count("a") for copy in made) == pytest.approx(4000, abs=250)


def made(*texts: str) -> list[Copy]:
    return [Copy(text, 1) for text in texts]


def test_rows_of_a_text() -> None:
    rows = list(rows_of(("x",), ["text"], [made("y", "x", "y", "z")], "independent"))
    assert [(row.texts, row.fields, row.sample) for row in rows] == [
        (("x",), (), 0),
        (("y",), ("text",), 1),
        (("z",), ("text",), 4),
    ]


def test_rows_of_a_pair_keep_the_other_text() -> None:
    rows = list(rows_of(("a", "b"), ["one", "two"], [made("A1", "A2"), made("B1", "b")], "independent"))
    assert [(row.texts, row.fields, row.sample) for row in rows] == [
        (("a", "b"), (), 0),
        (("A1", "b"), ("one",), 1),
        (("A2", "b"), ("one",), 2),
        (("a", "B1"), ("two",), 1),
    ]


def test_rows_of_a_pair_together() -> None:
    rows = list(rows_of(("a", "b"), ["one", "two"], [made("A1", "a"), made("B1", "b")], "both"))
    assert [(row.texts, row.fields, row.sample) for row in rows] == [
        (("a", "b"), (), 0),
        (("A1", "B1"), ("one", "two"), 1),
    ]
