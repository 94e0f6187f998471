"""Draws per example: uniform, and a function of key, row and place alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bertpress.draws import uniform

WHOLE, STRIDE = 2**64 - 1, 0x9E3779B97F4A7C15


def mixed(bits: int) -> int:
    """SplitMix64's output function in plain integers."""
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & WHOLE
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & WHOLE
    return bits ^ (bits >> 31)


def reference(key: tuple[int, ...], row: int, place: int) -> float:
    state = 0
    for number in (*key, row):
        state = mixed(((state ^ number) + STRIDE) & WHOLE)
    return (mixed((state + (place + 1) * STRIDE) & WHOLE) >> 11) / 2**53


def test_numbers_are_those_of_plain_integers() -> None:
    assert mixed(1234567 + STRIDE) == 6457827717110365317, "the generator's published first number for that seed"
    for key in ((), (0,), (1, 2, 3), (2**64 - 1, 0)):
        expected = [[reference(key, row, place) for place in range(5)] for row in (0, 7, 123_456_789)]
        assert uniform(key, [0, 7, 123_456_789], 5).tolist() == expected


def test_a_row_draws_the_same_in_any_company() -> None:
    together = uniform((1, 5), np.arange(50), 40)
    assert np.array_equal(uniform((1, 5), [31, 3], 40), together[[31, 3]])
    assert np.array_equal(uniform((1, 5), np.arange(50), 11), together[:, :11])


def test_other_keys_and_rows_draw_otherwise() -> None:
    keys = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1)]
    draws = [uniform(key, [0, 1], 3000).ravel() for key in keys]
    correlations = np.corrcoef(np.concatenate([draw.reshape(2, -1) for draw in draws]))
    assert np.abs(correlations - np.eye(2 * len(keys))).max() < 0.08  # 4 standard deviations of 1 / sqrt(3000)


@pytest.mark.parametrize("axis", [0, 1])
def test_numbers_are_uniform_along_rows_and_places(axis: int) -> None:
    numbers = uniform((4, 2), np.arange(2000), 20) if axis == 0 else uniform((4, 2), np.arange(20), 2000)
    assert ((numbers >= 0) & (numbers < 1)).all()
    for line in np.moveaxis(numbers, axis, 0).T:
        assert stats.kstest(line, "uniform").pvalue > 1e-4
    assert len(np.unique(numbers)) == numbers.size
