"""Intervals for "what did it cost" that assume no distribution: timings have long tails, so means mislead.

Medians with order-statistic intervals are what T. Hoefler and R. Belli recommend in "Scientific Benchmarking of
Parallel Computing Systems" (SC 2015); the interval itself is in G. Hahn and W. Meeker, "Statistical Intervals" (1991),
chapter 5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom


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
