"""How many parts stay fp32: the search by hand-made answers, and the words of its answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bertpress.errors import AnswerNo
from bertpress.exports.leaving_out import Trial, compared, fewest, leave_out


@pytest.mark.parametrize("needed", range(9))
def test_the_fewest_are_found_in_few_attempts(needed: int) -> None:
    asked: list[int] = []

    def holds(count: int) -> bool:
        asked.append(count)
        return count >= needed

    assert fewest(8, holds) == needed
    assert len(asked) <= 5
    assert len(set(asked)) == len(asked)


def test_nothing_is_found_where_nothing_holds() -> None:
    assert fewest(3, lambda count: False) is None
    assert fewest(0, lambda count: False) is None


def trial(left_out: tuple[str, ...], points: float) -> Trial:
    return Trial(left_out, {"metric": "accuracy", "difference": -points / 100, "low": -0.05, "high": 0.01})


def test_the_most_sensitive_parts_are_left_out_until_the_loss_is_small_enough() -> None:
    losses = {0: 3.0, 1: 0.8, 2: 0.5, 3: 0.1}
    found = leave_out(4, lambda: ["b", "a", "d", "c"], 0.5, lambda parts: trial(parts, losses[len(parts)]))
    assert found.left_out == ("b", "a")
    assert found.drop == pytest.approx(0.5), "the bound itself is allowed"


def test_parts_are_not_ordered_where_nothing_has_to_be_left_out() -> None:
    def order() -> list[str]:
        raise AssertionError("it costs a graph for each part")

    assert leave_out(4, order, 0.5, lambda parts: trial(parts, 0.4)).left_out == ()


def test_one_part_stays_int8_and_the_answer_is_no() -> None:
    losses = {0: 3.0, 2: 1.2}
    with pytest.raises(AnswerNo) as caught:
        leave_out(3, lambda: ["b", "a", "c"], 0.5, lambda parts: trial(parts, losses[len(parts)]))
    assert str(caught.value) == (
        "int8 loses more than 0.5 points whatever stays fp32; the nearest: leaving out b, a changes accuracy by -1.20 "
        "points (-5.00 to +1.00)."
    )


def test_the_loss_is_paired_on_the_development_split(task: Any) -> None:
    labels = np.array(task.splits["validation"]["label"])
    right = np.eye(2)[labels]
    wrong = right.copy()
    wrong[:8] = wrong[:8, ::-1]
    test = compared(task, wrong, right)
    assert (test["metric"], test["examples"], test["difference"]) == ("accuracy", 32, -0.25)
    assert (test["only_result"], test["only_other"]) == (0, 8)
    assert test["high"] < 0
