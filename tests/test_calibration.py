"""The search on functions made by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from bertpress.calibration import CLOSE, calibrated


def counting(function: Callable[[float], float]) -> tuple[Callable[[float], float], list[float]]:
    asked: list[float] = []

    def counted(value: float) -> float:
        asked.append(value)
        return function(value)

    return counted, asked


def test_a_straight_line_is_solved() -> None:
    found = calibrated(lambda threshold: 1 - threshold, 0.3, generous=0, strict=1, close=1e-9)
    assert found.value == pytest.approx(0.7, abs=1e-8)
    assert found.cost == pytest.approx(0.3, abs=1e-8)
    assert found.is_met


def test_numbers_that_make_it_dearer_work_the_same() -> None:
    found = calibrated(lambda share: share, 0.3, generous=1, strict=0, close=1e-9)
    assert found.value == pytest.approx(0.3, abs=1e-8)


def test_it_ends_where_the_cost_is_close_enough() -> None:
    function, asked = counting(lambda threshold: 1 - threshold)
    found = calibrated(function, 0.25, generous=0, strict=1, close=0.001)
    assert asked == [0, 1, 0.5, 0.75]
    assert (found.value, found.cost, found.tried) == (0.75, 0.25, 4)


def test_a_step_gives_the_nearest_side_and_ends() -> None:
    function, asked = counting(lambda threshold: 0.9 if threshold < math.pi / 4 else 0.2)
    found = calibrated(function, 0.6, generous=0, strict=1, most=10_000)
    assert (found.cost, found.is_met) == (0.9, False)
    assert len(asked) < 70  # no number lies between the last two
    assert calibrated(function, 0.5, generous=0, strict=1).cost == 0.2


def test_the_cheaper_of_two_equally_near_ones_wins() -> None:
    assert calibrated(lambda threshold: 0.75 if threshold < 0.5 else 0.25, 0.5, 0, 1, most=10).cost == 0.25


@pytest.mark.parametrize(("target", "value"), [(1.5, 0), (1.0, 0), (0.1, 1), (0.2, 1)])
def test_what_lies_outside_gets_the_nearest_end(target: float, value: float) -> None:
    function, asked = counting(lambda threshold: 1 - 0.8 * threshold)
    found = calibrated(function, target, generous=0, strict=1)
    assert found.value == value
    assert len(asked) == 2
    assert found.is_met == (target in (1.0, 0.2))


def test_a_cost_that_goes_up_and_down_is_still_bracketed() -> None:
    found = calibrated(lambda x: 1 - x + 0.1 * math.sin(40 * x), 0.5, generous=0, strict=1, close=1e-6)
    assert found.cost == pytest.approx(0.5, abs=1e-6)


def test_a_good_guess_saves_asking_and_a_bad_one_does_no_harm() -> None:
    function, asked = counting(lambda threshold: 1 - threshold**3)
    found = calibrated(function, 0.271, 0, 1, guess=lambda generous, strict: 0.9)
    assert found.value == 0.9
    assert len(asked) == 3
    for wrong in (-5.0, 0.0, 1.0, 7.0, math.nan):
        found = calibrated(function, 0.271, 0, 1, guess=lambda generous, strict, wrong=wrong: wrong)
        assert found.cost == pytest.approx(0.271, abs=CLOSE)


def test_it_asks_no_more_than_it_may() -> None:
    function, asked = counting(lambda threshold: 1 - threshold)
    calibrated(function, 1 / 3, 0, 1, close=0, most=7)
    assert len(asked) == 7
