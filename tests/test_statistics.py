"""Intervals and tests against numbers computed by hand, and against the naive loop."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from bertpress.statistics import bootstrap_interval, mcnemar, median_interval, ratio_interval, share_interval


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


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [  # 2 * sum over i <= the fewer of C(n, i) / 2^n, at most 1
        (0, 0, 1.0),
        (3, 3, 1.0),
        (1, 5, 14 / 64),  # 2 * (1 + 6) / 2^6
        (5, 1, 14 / 64),
        (0, 6, 2 / 64),
        (2, 8, 112 / 1024),  # 2 * (1 + 10 + 45) / 2^10
    ],
)
def test_mcnemar_by_hand(one: int, other: int, p: float) -> None:
    assert mcnemar(one, other) == pytest.approx(p, rel=1e-12)


def mean_of(values: list[float]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda counts: counts @ np.array(values) / counts.sum(axis=1)


def test_the_bootstrap_of_a_mean_is_its_standard_error() -> None:
    # A share of 0.2 of 400 rows has a standard error of sqrt(0.2 * 0.8 / 400) = 0.02.
    value, low, high = bootstrap_interval(mean_of([1, 0]), [80, 320], resamples=20_000)
    assert value == 0.2
    assert (low, high) == pytest.approx((0.2 - 1.96 * 0.02, 0.2 + 1.96 * 0.02), abs=0.003)


def test_kinds_of_rows_resample_as_the_rows_do() -> None:
    rows = np.repeat([3.0, 1.0, -2.0], [40, 30, 30])
    generator = np.random.default_rng(1)
    naive = [generator.choice(rows, rows.size).mean() for _ in range(20_000)]
    value, low, high = bootstrap_interval(mean_of([3, 1, -2]), [40, 30, 30], resamples=20_000)
    assert value == pytest.approx(rows.mean())
    assert (low, high) == pytest.approx(np.percentile(naive, [2.5, 97.5]), abs=0.03)
    assert bootstrap_interval(mean_of(list(rows)), np.ones(100, int), 20_000)[1:] == pytest.approx(
        (low, high), abs=0.03
    )


def test_the_bootstrap_is_seeded_and_resamples_in_blocks_of_any_size() -> None:
    many = np.random.default_rng(0).normal(size=3000)  # 666 draws at a time
    first, again = (bootstrap_interval(mean_of(list(many)), np.ones(3000, int), 700) for _ in range(2))
    assert first == again
    assert bootstrap_interval(mean_of(list(many)), np.ones(3000, int), 700, seed=1)[1:] != first[1:]
    assert bootstrap_interval(mean_of([5.0]), [7]) == (5.0, 5.0, 5.0)
    assert (
        bootstrap_interval(mean_of([1, 0]), [50, 50], confidence=0.5)[1]
        > bootstrap_interval(mean_of([1, 0]), [50, 50])[1]
    )


@pytest.mark.parametrize("repeats", [[], [1, 0], [[1, 2]]])
def test_kinds_that_never_come_are_refused(repeats: list[int]) -> None:
    with pytest.raises(ValueError, match="at least once"):
        bootstrap_interval(mean_of([1, 2]), repeats)


@pytest.mark.parametrize(("count", "total"), [(0, 10), (10, 10), (3, 20), (1, 1000)])
def test_the_ends_of_a_share_s_interval_leave_two_and_a_half_percent_each(count: int, total: int) -> None:
    low, high = share_interval(count, total)
    assert low <= count / total <= high
    assert low == 0 if count == 0 else binom.sf(count - 1, total, low) == pytest.approx(0.025)
    assert high == 1 if count == total else binom.cdf(count, total, high) == pytest.approx(0.025)


@pytest.mark.parametrize(("count", "total"), [(-1, 5), (6, 5), (0, 0)])
def test_a_share_of_nothing_is_refused(count: int, total: int) -> None:
    with pytest.raises(ValueError, match="expected a count"):
        share_interval(count, total)
