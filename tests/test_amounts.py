"""Amounts as people write them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest

from bertpress.amounts import Amount, parse_amount

COUNTS: dict[Any, int] = {
    "15M": 15_000_000,
    "66.5m": 66_500_000,
    "66.955008M": 66_955_008,  # as a float times a million it would be another number
    "5.6G": 5_600_000_000,
    "400k": 400_000,
    " 1.5 k ": 1500,
    "66955008": 66_955_008,
    66_955_008: 66_955_008,
    1: 1,
    15e6: 15_000_000,
    "2e9": 2_000_000_000,
}
SHARES: dict[Any, Fraction] = {
    "40%": Fraction(2, 5),
    "40 %": Fraction(2, 5),
    "0.5%": Fraction(1, 200),
    "100%": Fraction(1),
    "0.4": Fraction(2, 5),
    0.4: Fraction(2, 5),
    1.0: Fraction(1),
    "2/5": Fraction(2, 5),
    "1 / 3": Fraction(1, 3),
    "5e-2": Fraction(1, 20),
}
NONSENSE: list[Any] = [
    0, 0.0, "0", "0%", "0/3", "0M", "0.0", -5, -0.4, "-15M", "-40%", math.nan, math.inf, -math.inf, "nan", "inf", "",
    "M", "%", "many", "1.2.3", "1/0", "2/5%", "2/5M", "15 MB", "15B", "1e999999999", "15M parameters", True, False,
    [15], {"share": 0.4},
]  # fmt: skip


@pytest.mark.parametrize(("written", "expected"), COUNTS.items())
def test_counts(written: Any, expected: int) -> None:
    assert parse_amount(written, "count") == Amount(Fraction(expected), "count")


@pytest.mark.parametrize("unit", ["count", "ms"])
@pytest.mark.parametrize(("written", "expected"), SHARES.items())
def test_shares(written: Any, expected: Fraction, unit: Any) -> None:
    assert parse_amount(written, unit) == Amount(expected, "share")


@pytest.mark.parametrize(
    ("written", "expected"),
    [("7.8", "39/5"), (7.8, "39/5"), ("7.8ms", "39/5"), ("7.8 MS", "39/5"), (12, "12"), ("0.5ms", "1/2"), ("1ms", "1")],
)
def test_times(written: Any, expected: str) -> None:
    assert parse_amount(written, "ms") == Amount(Fraction(expected), "ms")


@pytest.mark.parametrize("unit", ["count", "ms"])
@pytest.mark.parametrize("written", NONSENSE, ids=repr)
def test_nonsense_is_refused_with_what_was_expected(written: Any, unit: Any) -> None:
    with pytest.raises(ValueError, match=r"expected a (number such as 15M|time such as 7.8).* such as 40%, 0.4 or 2/5"):
        parse_amount(written, unit)


def test_units_of_the_other_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a number such as 15M"):
        parse_amount("15ms", "count")
    with pytest.raises(ValueError, match=r"expected a time such as 7.8"):
        parse_amount("15M", "ms")


@pytest.mark.parametrize("written", ["101%", "5/2", "150 %"])
def test_more_than_all_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="at most 100%"):
        parse_amount(written, "count")


@pytest.mark.parametrize("written", [1.5, "1.5", "1.2345k", "0.1234k"])
def test_no_part_of_a_parameter(written: Any) -> None:
    with pytest.raises(ValueError, match="a number above 1 must be whole"):
        parse_amount(written, "count")


def test_amounts_in_words() -> None:
    assert [str(parse_amount(written, "count")) for written in ("40%", "1/8", "66955008")] == [
        "40%",
        "12.5%",
        "66,955,008",
    ]
    assert [str(parse_amount(written, "ms")) for written in ("0.4", "0.4ms", 1200)] == ["40%", "0.4", "1,200"]


def test_shares_are_exact() -> None:
    assert parse_amount("70%", "count").of(10) == 7  # 0.7 * 10 is more than 7, other such products are less
    assert parse_amount("1/3", "count").of(3 * 10**15) == 10**15
    assert parse_amount("15M", "count").of(7) == 15_000_000
