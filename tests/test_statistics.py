"""Intervals of the median against numbers computed by hand."""

import numpy as np
import pytest

from bertpress.statistics import median_interval, ratio_interval


@pytest.mark.parametrize(
    ("count", "rank"),
    [  # coverage of [x_k, x_(n+1-k)] is 1 - 2 * sum over i < k of C(n, i) / 2^n
        (6, 1),  # 1 - 2/64 = 0.969; k = 2: 1 - 2 * 7/64 = 0.781
        (8, 1),  # 1 - 2/256 = 0.992; k = 2: 1 - 2 * 9/256 = 0.930
        (9, 2),  # 1 - 2 * 10/512 = 0.961; k = 3: 1 - 2 * 46/512 = 0.820
        (10, 2),  # 1 - 2 * 11/1024 = 0.979; k = 3: 1 - 2 * 56/1024 = 0.891
        (15, 4),  # 1 - 2 * 576/32768 = 0.965; k = 5: 1 - 2 * 1941/32768 = 0.882
        (20, 6),  # 0.959; k = 7: 0.885
    ],
)
def test_ranks_by_hand(count: int, rank: int) -> None:
    values = np.random.default_rng(count).permutation(np.arange(1, count + 1))
    assert median_interval(values) == ((count + 1) / 2, rank, count + 1 - rank)


def test_lower_confidence_gives_a_narrower_interval() -> None:
    values = list(range(1, 11))
    assert median_interval(values, confidence=0.99)[1:] == (1, 10)  # k = 1: 0.998
    assert median_interval(values, confidence=0.80)[1:] == (3, 8)  # k = 3: 0.891, k = 4: 0.656


def test_few_values_give_their_range() -> None:
    assert median_interval([4.0]) == (4.0, 4.0, 4.0)
    assert median_interval([3.0, 1.0]) == (2.0, 1.0, 3.0)
    assert median_interval([5, 1, 2, 4, 3]) == (3.0, 1.0, 5.0)


def test_one_wild_value_moves_nothing() -> None:
    values = np.arange(1.0, 16.0)
    wild = values.copy()
    wild[-1] = 1e9
    assert median_interval(wild) == median_interval(values) == (8.0, 4.0, 12.0)


def test_the_interval_holds_the_median_as_often_as_promised() -> None:
    draws = np.random.default_rng(0).lognormal(size=(2000, 15))  # true median 1
    held = np.mean([low <= 1 <= high for _, low, high in map(median_interval, draws)])
    assert abs(held - 0.965) < 0.02  # 15 values promise 0.965; four standard deviations of a share of 2000 are 0.016


def test_ratios_are_taken_within_pairs() -> None:
    load = np.array([1, 100, 3, 50, 2, 7, 9])  # slows both sides of a pair alike
    assert ratio_interval(2 * load, load) == (2.0, 2.0, 2.0)
    assert ratio_interval([2, 9, 8, 10, 12, 7], [2, 3, 2, 2, 2, 1]) == (4.5, 1.0, 7.0)


def test_what_is_no_list_of_values_is_refused() -> None:
    for values in ([], [[1.0, 2.0]], 3.0):
        with pytest.raises(ValueError, match="at least one value"):
            median_interval(values)
    with pytest.raises(ValueError, match="one fast timing for each slow one"):
        ratio_interval([1.0, 2.0], [1.0])
