"""What each step cost and gave: stages by hand, bars where their numbers are."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_runs import make_composed_run, make_exported_run, make_full_run, make_run

from bertpress.reports import reporting, waterfall
from bertpress.reports.waterfall import LEFT, RIGHT, WIDTH


def test_stages_by_hand(tmp_path: Path) -> None:
    start, first, second = waterfall.stages(reporting.build(make_composed_run(tmp_path / "run")))
    assert (start["parameters"], start["macs"], start["time"], start["step"], start["whole"]) == (1, 1, 1, None, None)
    assert (first["parameters"], first["macs"], first["time"]) == pytest.approx((0.5, 0.5, 0.5))
    assert (second["parameters"], second["macs"], second["time"]) == pytest.approx((0.5, 0.25, 0.25))
    assert second["time_interval"] == pytest.approx((1 / 4.2, 1 / 3.8))
    assert (first["step"]["difference"], first["whole"]["difference"]) == pytest.approx((-0.1, -0.1))
    assert (second["step"]["difference"], second["whole"]["difference"]) == pytest.approx((-0.05, -0.15))
    assert second["step"]["against"] == "theseus"
    assert (second["step"]["only_result"], second["step"]["only_other"]) == (0, 20)


def test_the_table_shows_what_is_left_and_what_a_step_took(tmp_path: Path) -> None:
    section = waterfall.table(reporting.build(make_composed_run(tmp_path / "run")))
    start, first, second = section.rows
    assert start == ["start", "90.0", "-", "-", "-", "-", "100.0", "100.0", "100.0", "-"]
    assert (first[0], first[1], first[2], first[4]) == ("theseus", "80.0", "-10.0", "-10.0")
    assert (second[1], second[2], second[4]) == ("75.0", "-5.0", "-15.0")
    assert first[6:9] == ["50.0 (-50.0)"] * 3
    assert second[6:] == ["50.0 (0.0)", "25.0 (-25.0)", "25.0 (-25.0)", "23.8-26.3"]


def test_exports_of_one_result_are_alternatives(tmp_path: Path) -> None:
    report = reporting.build(make_exported_run(tmp_path / "run"))
    found = waterfall.stages(report)
    assert [stage["name"] for stage in found] == ["start", "theseus", "trbert", "onnx-fp32", "onnx-int8"]
    assert [stage["of"] for stage in found] == [None, 0, 1, 2, 2]
    for stage, points, share in zip(found[3:], (0, -0.05), (1 / 5, 1 / 8), strict=True):
        assert stage["step"]["against"] == "trbert"
        assert stage["step"]["difference"] == pytest.approx(points)
        assert stage["time"] == pytest.approx(share)
    assert [row[8] for row in waterfall.table(report).rows[3:]] == ["20.0 (-5.0)", "12.5 (-12.5)"]
    score, *_, time = waterfall.waterfalls(report)
    assert [bar.text for bar in score.bars] == ["90.0", "-10.0", "-5.0", "0.0", "-5.0"]
    assert time.bars[2].kept is not None
    taken = [bar.taken and bar.taken[1] for bar in time.bars[3:]]
    assert taken == [time.bars[2].kept[1]] * 2, "both begin where the last step ended"


def test_one_step_is_no_waterfall_and_a_run_without_predictions_has_no_intervals(tmp_path: Path) -> None:
    assert waterfall.waterfalls(reporting.build(make_full_run(tmp_path / "full"))) == []
    older = reporting.build(make_run(tmp_path / "older"))
    assert [row[2] for row in waterfall.table(older).rows] == ["-", "-", "-"]
    assert waterfall.waterfalls(older)[0].title == "accuracy_f1, in points"


def test_bars_stand_where_their_numbers_are(tmp_path: Path) -> None:
    score, parameters, macs, time = waterfall.waterfalls(reporting.build(make_composed_run(tmp_path / "run")))
    wide = WIDTH - LEFT - RIGHT
    assert [bar.kept for bar in macs.bars] == [(LEFT, LEFT + wide), (LEFT, LEFT + wide / 2), (LEFT, LEFT + wide / 4)]
    assert [bar.taken for bar in macs.bars] == [
        None,
        (LEFT + wide / 2, LEFT + wide),
        (LEFT + wide / 4, LEFT + wide / 2),
    ]
    assert parameters.bars[2].taken is None
    assert time.bars[2].whisker == pytest.approx((LEFT + wide / 4.2, LEFT + wide / 3.8), abs=0.1)
    assert [bar.text for bar in score.bars] == ["90.0", "-10.0", "-5.0"]
    first, second = score.bars[1:]
    assert first.kept is not None
    assert second.kept is not None
    assert score.bars[0].mark == first.kept[1]  # the first step begins where the start stands
    assert first.kept[0] == second.kept[1]
    assert first.whisker is not None
    assert first.whisker[0] < first.kept[0] < first.whisker[1]
    assert score.description == "accuracy, in points: start 90.0, theseus to 80.0, trbert to 75.0"
