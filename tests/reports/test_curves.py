"""Training curves: logs that may be broken, round numbers on the axes, charts by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertpress.reports import curves
from bertpress.reports.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH


@pytest.mark.parametrize(
    ("low", "high", "about", "expected"),
    [
        (0, 100, 4, [0, 50, 100]),  # 25 apart would be asked for; the next of 20, 50 is 50
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (2, 260, 6, [50, 100, 150, 200, 250]),
        (0.31, 0.92, 4, [0.4, 0.6, 0.8]),
        (-3, 3, 3, [-2, 0, 2]),
        (1e-7, 5e-7, 4, [1e-7, 2e-7, 3e-7, 4e-7, 5e-7]),
        (5, 5, 4, [5]),
        (0, float("inf"), 4, [0]),
    ],
)
def test_ticks_are_round(low: float, high: float, about: int, expected: list[float]) -> None:
    assert curves.ticks(low, high, about) == pytest.approx(expected)


def test_a_chart_by_hand() -> None:
    chart = curves.chart("loss", [[0, 2.0], [5, 0.0], [10, 1.0]])
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    top, bottom, centre = TOP, HEIGHT - BOTTOM, TOP + (HEIGHT - TOP - BOTTOM) / 2
    assert chart.path == f"M{LEFT} {top} L{middle:g} {bottom} L{WIDTH - RIGHT} {centre:g}"
    assert chart.dots == [(middle, bottom)]
    assert chart.description == "loss by step: first 2 at step 0, lowest 0 at step 5, last 1 at step 10"
    assert [text for _, text in chart.x_ticks] == ["0", "2", "4", "6", "8", "10"]
    assert chart.y_ticks[0] == (bottom, "0")
    assert chart.y_ticks[-1] == (top, "2")


def test_the_score_is_shown_times_100_and_marked_at_its_highest() -> None:
    chart = curves.chart("score", [[1, 0.5], [2, 0.75], [3, 0.7]])
    assert chart.description == "dev score by step: first 50 at step 1, highest 75 at step 2, last 70 at step 3"
    assert chart.dots[0][1] == TOP


@pytest.mark.parametrize(
    "points",
    [
        [[1, 3.0]],
        [[1, 0.0]],
        [[1, 2.0], [2, 2.0]],
        [[1, 1.7e308], [2, -1.7e308]],
        [[0, 0.0], [5e-324, 5e-324]],
        [[1, 10**308], [2, 0]],
    ],
)
def test_any_numbers_make_a_chart(points: curves.Points) -> None:
    for name in curves.SERIES:
        chart = curves.chart(name, points)
        assert chart.path.startswith("M")
        assert chart.x_ticks


def test_a_log_with_broken_lines(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    lines = ['{"loss": 2.0, "replace_rate": 0.3, "step": 1}', '{"loss": NaN, "step": 2}', "{broken", "[1]", "", "NaN"]
    lines += ['{"loss": 1e999, "step": 3}', '{"loss": true, "step": 4}', '{"loss": 1.0}', '{"eval_f1": 0.5, "step": 4}']
    log.write_text("\n".join([*lines, '{"loss": 1, "step": 5}', "[" * 100_000]))
    series = curves.series_of(curves.read_log(log), "f1")
    assert series == {"loss": [[1, 2.0], [5, 1]], "score": [[4, 0.5]], "replace_rate": [[1, 0.3]]}
    log.write_bytes(b"\xff")
    assert curves.read_log(log) == curves.read_log(tmp_path / "none") == []


def test_long_logs_are_thinned() -> None:
    points = [[step, float(step)] for step in range(10_001)]
    thin = curves.thinned(points)
    assert (len(thin), thin[0], thin[-1]) == (400, points[0], points[-1])
    assert curves.thinned(thin) is thin


def test_phases_come_in_their_order(tmp_path: Path) -> None:
    for phase in ("finetuning", "replacing", "older"):
        (tmp_path / phase).mkdir()
        (tmp_path / phase / "log.jsonl").write_text('{"loss": 1.0, "step": 1}\n')
    (tmp_path / "model").mkdir()
    assert list(curves.phases(tmp_path, ["replacing", "finetuning", None], "f1")) == [
        "replacing",
        "finetuning",
        "older",
    ]
