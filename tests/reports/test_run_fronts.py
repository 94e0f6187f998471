"""Several runs side by side: who is best by a naive loop, marks by hand, groups by task, what could not be shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_runs import HOSTILE, Page, make_composed_run, make_run, result, save, save_predictions

from bertpress import api
from bertpress.errors import RequestError
from bertpress.reports import rendering, reporting, run_fronts
from bertpress.reports.curves import BOTTOM, HEIGHT, TOP


def test_the_best_are_those_of_the_naive_loop() -> None:
    generator = np.random.default_rng(0)
    points = [(float(cost), float(score)) for cost, score in generator.integers(8, size=(60, 2))]
    wanted = []
    for cost, score in points:
        beaten = False
        for other in points:
            cheaper_and_as_good = other[0] < cost and other[1] >= score
            better_and_as_cheap = other[0] <= cost and other[1] > score
            beaten = beaten or cheaper_and_as_good or better_and_as_cheap
        wanted.append(not beaten)
    assert run_fronts.best(points) == wanted
    assert run_fronts.best([(1, 1), (1, 1)]) == [True, True]


def test_a_group_has_every_model_and_a_shared_start_once(tmp_path: Path) -> None:
    built = [reporting.build(make_composed_run(tmp_path / name)) for name in ("one", "two")]
    [group] = run_fronts.groups(built)
    assert group.title == "glue/mrpc: accuracy on validation, 400 rows"
    assert group.timed == "batch 1, threads 2, cpu"
    names = ["start: runs/teacher", "one: theseus", "one", "two: theseus", "two"]
    assert [point["name"] for point in group.points] == names
    start, theseus, *_ = group.points
    assert (start["score"], start["parameters"], theseus["latency"]) == (0.9, 120_000_000, 10.0)
    assert start["score_low"] < 0.9 < start["score_high"]


def test_marks_stand_where_their_numbers_are(tmp_path: Path) -> None:
    [group] = run_fronts.groups([reporting.build(make_composed_run(tmp_path / "one"))])
    by_time, by_parameters, by_macs = run_fronts.fronts(group)
    assert by_time.x_name == "time (ms)"
    assert [mark.label for mark in by_macs.marks] == ["3", "2", "1"]  # by rising cost
    assert [mark.chosen for mark in by_macs.marks] == [True, True, True]
    assert [(mark.label, mark.chosen) for mark in by_parameters.marks] == [("2", True), ("3", False), ("1", True)]
    scores = {mark.label: mark.y for mark in by_macs.marks}
    bars = {mark.label: mark.bar for mark in by_macs.marks}
    low, high = group.points[2]["score_low"], group.points[0]["score_high"]
    unit = (HEIGHT - BOTTOM - TOP) / (1.24 * (high - low))  # 12 % of room at each end
    assert scores["3"] - scores["1"] == pytest.approx(0.15 * unit, abs=0.2)
    assert bars["1"] is not None
    assert bars["1"][1] == pytest.approx(TOP + 0.12 * (high - low) * unit, abs=0.2)
    assert all(mark.level is not None for mark in by_time.marks)
    assert all(mark.level is None for mark in by_macs.marks)
    assert "3 one: 75.0 at 2700 (best)" in by_macs.description


def test_numbers_do_not_stand_on_each_other(tmp_path: Path) -> None:
    built = [reporting.build(make_composed_run(tmp_path / str(name), model=f"m{name}")) for name in range(4)]
    [group] = run_fronts.groups(built)
    wide, tall = run_fronts.LETTERS
    for front in run_fronts.fronts(group):
        places = [(mark.x, mark.label_y) for mark in front.marks]
        assert len(places) == 12
        for number, (x, y) in enumerate(places):
            assert not [1 for a, b in places[:number] if abs(a - x) < wide and abs(b - y) < tall]


def test_the_table_says_by_what_a_model_is_best(tmp_path: Path) -> None:
    [group] = run_fronts.groups([reporting.build(make_composed_run(tmp_path / "one"))])
    rows = {row[0]: row for row in run_fronts.table(group).rows}
    assert rows["3. one"][-1] == "macs"
    assert rows["2. one: theseus"][-2:] == ["2.00x (1.90-2.10)", "latency, parameters, macs"]


def test_runs_on_other_tasks_are_apart(tmp_path: Path) -> None:
    runs = [make_composed_run(tmp_path / "one"), make_composed_run(tmp_path / "two", task="glue/rte")]
    runs += [make_run(tmp_path / "older"), make_composed_run(tmp_path / "fewer")]
    for place in ("start", "00-theseus", "01-trbert"):
        save_predictions(runs[-1] / place, 0.8, rows=300)
    built = [reporting.build(run) for run in runs]
    titles = [group.title for group in run_fronts.groups(built)]
    assert titles == [
        "glue/mrpc: accuracy on validation, 400 rows",
        "glue/rte: accuracy on validation, 400 rows",
        "glue/mrpc: accuracy_f1 on validation",
        "glue/mrpc: accuracy on validation, 300 rows",
    ]
    page = Page(rendering.html(*built))
    assert all(title in page.text for title in titles)


def test_a_run_that_is_named_twice_is_shown_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (make_composed_run(tmp_path / name) for name in ("one", "two"))
    monkeypatch.chdir(tmp_path)
    built = api.report(one, two, "one", tmp_path / "two" / ".." / "one", out=tmp_path / "all.html")
    assert [report["run"] for report in built] == ["one", "two"]
    assert len(api.report("one", one)) == 1


def test_what_cannot_be_shown_is_named_and_nothing_else_is_lost(tmp_path: Path) -> None:
    runs = [make_composed_run(tmp_path / "one"), make_composed_run(tmp_path / "two")]
    broken = make_composed_run(tmp_path / "broken")
    (broken / "00-theseus" / "result.json").write_text("{")
    out, said = tmp_path / "all.html", list[str]()
    built = api.report(*runs, broken, tmp_path / "missing", out=out, say=said.append)
    told = [line.split(": ")[:2] for line in said]
    assert told == [["not shown", f"{folder}"] for folder in (broken, tmp_path / "missing")]
    with pytest.raises(RequestError, match=r"is written as \.html, got .*all\.pdf"):
        api.report(*runs, out=tmp_path / "all.pdf")
    assert [report["run"] for report in built] == ["one", "two"]
    text = Page(out.read_text(encoding="utf-8")).text
    assert "Not shown" in text
    for reason in ("00-theseus/result.json cannot be read", "missing is not a run: expected a folder"):
        assert reason in text
    with pytest.raises(RequestError, match="missing is not a run"):
        api.report(tmp_path / "missing", broken, out=tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()
    with pytest.raises(RequestError, match="missing is not a run"):
        api.report(runs[0], tmp_path / "missing")


def test_runs_without_scores_or_costs_have_rows_and_no_drawing(tmp_path: Path) -> None:
    sparse = {"metrics": {}, "cost": {}}
    built = [reporting.build(save(tmp_path / name, {"start": sparse, "00-theseus": sparse})) for name in ("a", "b")]
    [group] = run_fronts.groups(built)
    assert run_fronts.fronts(group) == []
    assert [row[1:] for row in run_fronts.table(group).rows] == [["-"] * 8] * 3  # one start, two results
    assert "a" in rendering.html(*built)


def test_hostile_names_are_harmless(tmp_path: Path) -> None:
    runs = []
    for name in ("<b>one</b>", "two"):
        bad = result(0.5, 6, kind="classification", labels=[HOSTILE, HOSTILE * 2], primary_metric="accuracy")
        runs.append(
            save(tmp_path / name, {"start": bad, "00-theseus": bad, "01-trbert": bad}, model=HOSTILE, task=HOSTILE)
        )
        for place in ("start", "00-theseus", "01-trbert"):
            save_predictions(runs[-1] / place, 0.7, [HOSTILE], lengths=True)
    reporting.combined([*runs, tmp_path / "<b>\x1b"], tmp_path / "all.html")
    source = (tmp_path / "all.html").read_text(encoding="utf-8")
    page = Page(source)
    assert not {"script", "img", "iframe", "b"} & set(page.tags)
    assert "<script>alert(1)</script>" in page.text
    assert "\x1b" not in source
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on")}
