"""Intervals and tests for "what did it cost" that assume no distribution.

Timings have long tails, so means mislead, and the scores of two models on the same rows are not independent.

Medians with order-statistic intervals are what T. Hoefler and R. Belli recommend in "Scientific Benchmarking of
Parallel Computing Systems" (SC 2015); the interval itself is in G. Hahn and W. Meeker, "Statistical Intervals" (1991),
chapter 5.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, binom

Floats = NDArray[np.float64]


def median_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """Median of independent draws from one distribution, and the interval that holds its true median.

    With the n values in ascending order, the interval is ``[x_k, x_(n+1-k)]``. It misses the true median only if fewer
    than k values fall on one side of it, so for a continuous distribution its coverage is
    ``1 - 2 P(B <= k - 1), B ~ Binomial(n, 1/2)``. k is the largest rank whose coverage is at least `confidence`.

    Few values: even the whole range covers only ``1 - 2^(1-n)``. Up to 5 values that is below 0.95, and the range, the
    widest interval the data can give, is returned although it covers less than `confidence`.

    Returns:
        Median, low, high, in the unit of `values`.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"expected a flat list of at least one value, got shape {array.shape}")
    ordered = np.sort(array)
    ranks = np.arange(1, ordered.size // 2 + 1)
    coverage = 1 - 2 * binom.cdf(ranks - 1, ordered.size, 0.5)
    rank = max(1, int(np.count_nonzero(coverage >= confidence)))
    return float(np.median(ordered)), float(ordered[rank - 1]), float(ordered[-rank])


def ratio_interval(slow: ArrayLike, fast: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """Median of the ratios ``slow_i / fast_i`` of paired timings, and its interval (see `median_interval`).

    Pair i must have been timed back to back, on the same input: load on the machine then slows both and cancels in the
    ratio, where a ratio of two separate medians would keep it.

    Returns:
        Median, low, high; above 1 the fast side is faster. An interval that covers 1 shows no difference.
    """
    above, below = np.asarray(slow, dtype=np.float64), np.asarray(fast, dtype=np.float64)
    if above.shape != below.shape:
        raise ValueError(f"expected one fast timing for each slow one, got shapes {above.shape} and {below.shape}")
    return median_interval(above / below, confidence)


def bootstrap_interval(
    statistic: Callable[[Floats], Floats],
    repeats: ArrayLike,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """A statistic of rows, and its percentile interval over resamples of the rows with replacement.

    B. Efron and R. Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13. Rows that are alike are given
    once, with their number: drawing n rows with replacement then is one multinomial draw of how often each kind comes,
    the same distribution at a fraction of the work. For the paired bootstrap of two models a row holds what both said.

    Args:
        statistic: from counts of every kind, shape (draws, kinds), to values, shape (draws,).
        repeats: how many rows there are of each kind; ones where no two are alike.

    Returns:
        The statistic of the rows as they are, low, high. An interval that covers 0 shows no difference.
    """
    return bootstrap_intervals(lambda counts: statistic(counts)[:, None], repeats, resamples, seed, confidence)[0]


def bootstrap_intervals(
    statistic: Callable[[Floats], Floats],
    repeats: ArrayLike,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[tuple[float, float, float]]:
    """The same of several statistics on the same draws; `statistic` gives values of shape (draws, statistics)."""
    kinds = np.asarray(repeats, dtype=np.int64)
    if kinds.ndim != 1 or kinds.size == 0 or kinds.min() < 1:
        raise ValueError(f"expected how often each kind of row comes, at least once, got {kinds!r}")
    generator = np.random.default_rng(seed)
    block = max(1, 2_000_000 // kinds.size)  # draws at a time, so that memory stays small
    sizes = [min(block, resamples - done) for done in range(0, resamples, block)]
    shares = kinds / kinds.sum()
    draws = (generator.multinomial(kinds.sum(), shares, size).astype(np.float64) for size in sizes)
    values = np.concatenate([statistic(counts) for counts in draws])
    tail = 50 * (1 - confidence)
    own = statistic(kinds[None].astype(np.float64))
    ends = np.percentile(values, [tail, 100 - tail], axis=0)  # (2, statistics)
    return [(float(value), float(low), float(high)) for value, low, high in zip(own[0], *ends, strict=True)]


def mcnemar(first_only: int, second_only: int) -> float:
    """Exact two-sided p-value that two classifiers are right equally often, from the rows that only one got right.

    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages" (1947).
    Under no difference each such row is a fair coin: ``p = min(1, 2 P(B <= the fewer)), B ~ Binomial(their sum, 1/2)``.
    """
    return min(1.0, 2 * float(binom.cdf(min(first_only, second_only), first_only + second_only, 0.5)))


def share_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The ends of the exact interval of a share: C. Clopper and E. Pearson, "The use of confidence ..." (1934)."""
    if not 0 <= count <= total or not total:
        raise ValueError(f"expected a count out of a total of at least 1, got {count} of {total}")
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, count, total - count + 1)) if count else 0.0
    high = float(beta.ppf(1 - tail, count + 1, total - count)) if count < total else 1.0
    return low, high
