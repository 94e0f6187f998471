"""How good vectors are, by loops and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bertpress.errors import RequestError
from bertpress.tasks.embedding import scoring
from bertpress.tasks.embedding.scoring import partners_found, score_range, similarities


def test_similarities_are_cosines_and_none_where_there_is_no_direction() -> None:
    first, second = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]]), np.array([[4.0, 3.0], [-2.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(similarities(first, second), [24 / 25, -1, 0])


@pytest.mark.parametrize("at_once", [2, 1024])
def test_partners_by_a_loop(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "AT_ONCE", at_once)
    generator = np.random.default_rng(0)
    first = generator.normal(size=(9, 3))
    second = first + 0.6 * generator.normal(size=(9, 3))
    texts = [f"text {number}" for number in range(9)]
    expected = []
    for row in range(9):
        alike = [float(similarities(first[row : row + 1], second[other : other + 1])[0]) for other in range(9)]
        expected.append(max(range(9), key=alike.__getitem__) == row)
    assert partners_found(first, second, texts).tolist() == expected
    assert 0 < sum(expected) < 9


def test_the_same_text_is_no_rival_and_vectors_that_are_all_alike_find_nothing() -> None:
    first = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    second = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert partners_found(first, second, ["same", "same", "other"]).tolist() == [True, True, True]
    assert partners_found(first, second, ["one", "two", "other"]).tolist() == [False, False, True]
    assert not partners_found(np.ones((3, 2)), np.ones((3, 2)), ["a", "b", "c"]).any()


def test_the_range_of_scores() -> None:
    assert score_range({}, None, "data") == (0, 1)
    assert score_range({"train": [2.0, 5.0, 3.0], "test": [9.0]}, None, "data") == (2, 5)
    assert score_range({"train": [2.0, 5.0]}, (0.0, 10.0), "data") == (0, 10)
    with pytest.raises(RequestError, match="but 1 of the test split lie outside, such as 9"):
        score_range({"train": [2.0], "test": [1.0, 9.0]}, (0.0, 5.0), "data")
    with pytest.raises(RequestError, match="All scores of data are 2"):
        score_range({"train": [2.0, 2.0]}, None, "data")
