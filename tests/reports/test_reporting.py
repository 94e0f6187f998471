"""The report of synthetic runs: numbers by hand, what it compares, broken folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_runs import (
    CLASSES,
    Page,
    make_composed_run,
    make_full_run,
    make_run,
    result,
    save,
    save_log,
    save_predictions,
)

from bertpress.checks.sides import side_of
from bertpress.errors import RequestError
from bertpress.reports import rendering, reporting


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "small")


def rows(folder: Path) -> dict[str, Any]:
    return {row["name"]: row for row in reporting.build(folder)["rows"]}


def test_numbers_by_hand(run: Path) -> None:
    built = reporting.build(run)
    assert [row["name"] for row in built["rows"]] == ["start", "truncated baseline", "theseus", "trbert"]
    assert [row["folder"] for row in built["rows"]] == ["start", "baseline", "00-theseus", "01-trbert"]
    assert [row["retention"] for row in built["rows"]] == pytest.approx([1, 0.75, 0.9375, 0.875])
    assert built["recovered"] == pytest.approx({"theseus": 0.75, "trbert": 0.5})
    assert [row["faster"] for row in built["rows"]] == [False, True, False, True]
    theseus = built["rows"][2]
    assert (theseus["parameters"], theseus["encoder_parameters"]) == (60_000_000, 42_000_000)
    assert (theseus["macs"], theseus["tokens"], theseus["size_bytes"]) == (5_400_000_000, 128, 240_000_000)
    assert (built["model"], built["task"], built["seed"]) == ("runs/teacher", "glue/mrpc", 1)


@pytest.mark.parametrize(
    ("start", "truncated", "layers"),
    [(0.8, None, 6), (0.6, 0.6, 6), (0.5, 0.6, 6), (None, 0.6, 6), (0.8, 0.6, 3)],
    ids=["no score", "nothing lost", "truncation better", "no start", "other depth"],
)
def test_recovered_is_null_where_undefined(
    tmp_path: Path, start: float | None, truncated: float | None, layers: int
) -> None:
    results = {"start": result(start, 12), "baseline": result(truncated, layers), "00-theseus": result(0.75, 6)}
    assert reporting.build(save(tmp_path / "run", results))["recovered"] == {"theseus": None}


def test_a_first_finetune_step_is_the_start(tmp_path: Path) -> None:
    teacher = result(0.8, 12, method="finetune")
    folder = save(tmp_path / "run", {"start": teacher, "00-finetune": teacher, "01-theseus": result(0.7, 6)})
    assert [(row["name"], row["folder"]) for row in reporting.build(folder)["rows"]] == [
        ("start", "start"),
        ("theseus", "01-theseus"),
    ]
    (folder / "start" / "result.json").unlink()
    assert rows(folder)["start"]["folder"] == "00-finetune"
    assert rows(folder)["theseus"]["retention"] == pytest.approx(0.875)


def test_the_start_s_times_are_those_of_its_turns_with_the_last_step(run: Path) -> None:
    times = rows(run)["start"]["latency"]
    assert [(entry["batch"], entry["median_ms"], entry["low"]) for entry in times] == [
        (1, 30.0, 17.0),
        (16, 20.0, 17.0),
    ]
    (run / "01-trbert" / "result.json").unlink()
    assert [entry["median_ms"] for entry in rows(run)["start"]["latency"]] == [18.3, 10.0]
    (run / "00-theseus" / "result.json").unlink()
    assert [entry["median_ms"] for entry in rows(run)["start"]["latency"]] == [10.0, 10.0]


def test_paired_tests_and_changed_rows_by_hand(tmp_path: Path) -> None:
    built = reporting.write(make_full_run(tmp_path / "run", ["one", "two"]))
    pairs = {(test["name"], test["against"]): test for test in built["comparisons"]}
    assert list(pairs) == [
        ("truncated baseline", "start"),
        ("theseus", "start"),
        ("theseus", "truncated baseline"),
    ]
    test = pairs["theseus", "start"]  # right on the first 300 of 400 rows against the first 320
    assert (test["only_result"], test["only_other"], test["differs"]) == (0, 20, True)
    assert test["p"] == pytest.approx(2 / 2**20)
    assert (pairs["theseus", "truncated baseline"]["only_result"], built["notes"]) == (60, [])
    [change] = built["changes"]
    assert (change["name"], change["worse"]["count"], change["better"]["count"]) == ("theseus", 20, 0)
    example = change["worse"]["examples"][0]
    assert (example["row"], example["label"], example["result"]) == (300, "no", "yes")
    assert example["texts"] == {"text": "one"}


def test_curves_of_every_phase(tmp_path: Path) -> None:
    drawn = reporting.build(make_full_run(tmp_path / "run"))["curves"]
    assert [(curve["name"], curve["phase"]) for curve in drawn] == [
        ("truncated baseline", "training"),
        ("theseus", "replacing"),
    ]
    assert drawn[1]["series"] == {
        "loss": [[1, 2.0], [2, 1.0]],
        "score": [[1, 0.7], [2, 0.75]],
        "replace_rate": [[1, 0.3], [2, 1.0]],
    }


def test_the_start_s_curves_lie_with_the_step_that_made_it(tmp_path: Path) -> None:
    teacher = result(0.8, 12, method="finetune", phases=["training"])
    folder = save(tmp_path / "run", {"start": teacher, "00-finetune": teacher, "01-theseus": result(0.7, 6)})
    save_log(folder / "00-finetune" / "training", {"loss": 1.0, "step": 1})
    assert [(curve["name"], curve["phase"]) for curve in reporting.build(folder)["curves"]] == [("start", "training")]


def test_an_older_run_says_why_it_has_no_test(run: Path) -> None:
    built = reporting.build(run)
    assert (built["comparisons"], built["changes"], built["curves"]) == ([], [], [])
    assert "no paired test of theseus against start: 00-theseus/result.json names no kind of task" in built["notes"][1]
    for place in ("start", "00-theseus"):
        save_predictions(run / place, 0.5)
        content = json.loads((run / place / "result.json").read_text())
        (run / place / "result.json").write_text(json.dumps({**content, **CLASSES}))
    built = reporting.write(run)
    assert [test["name"] for test in built["comparisons"]] == ["theseus"]
    assert built["changes"][0]["worse"]["examples"] == []
    (run / "start" / "predictions" / "validation.parquet").write_bytes(b"")
    notes = reporting.write(run)["notes"]
    assert any("start/predictions/validation.parquet is no file of predictions" in note for note in notes)


def test_anything_may_stand_in_a_result(tmp_path: Path) -> None:
    strange = {
        "metrics": {"validation": 3},
        "cost": {"latency": [3, None, {"batch": {}}]},
        "notes": "text",
        "phases": 1,
    }
    strange |= {"kind": [], "labels": {}, "primary_metric": ["f1"], "seconds": 10**400, "layers": True}
    folder = save(tmp_path / "run", {"start": strange, "00-theseus": strange})
    (folder / "00-theseus" / "replacing").mkdir()
    (folder / "00-theseus" / "replacing" / "log.jsonl").mkdir()
    reporting.write(folder)
    assert "theseus" in (folder / "report.html").read_text(encoding="utf-8")


def test_an_untrained_start_and_missing_keys(tmp_path: Path) -> None:
    sparse = {
        "metrics": {"dev": {"accuracy": 0.5}, "test": {"accuracy": 0.4}},
        "primary_metric": "accuracy",
        "cost": {},
    }
    folder = save(
        tmp_path / "run", {"start": {"metrics": {}}, "00-theseus": sparse}, steps=[{"theseus": {}}, {"yoco": {}}]
    )
    (folder / "environment.json").unlink()
    built = reporting.build(folder)
    assert (built["split"], built["rows"][1]["score"], built["rows"][1]["retention"]) == ("dev", 0.5, None)
    assert built["notes"][:2] == ["01-yoco has not finished", "no score of the start model to compare with"]
    assert "| theseus | - | 50.0 | - | - |" in rendering.markdown(built)
    assert "<table" in rendering.html(built)


def test_scores_that_are_not_numbers_count_as_missing(tmp_path: Path) -> None:
    metrics = {"validation": {"accuracy_f1": float("nan")}}
    folder = save(tmp_path / "run", {"start": result(0.8, 4), "00-theseus": result(0.7, 2, metrics=metrics)})
    assert rows(folder)["theseus"]["score"] is None
    reporting.write(folder)
    assert "NaN" not in (folder / "report.json").read_text()


def test_the_same_method_twice_keeps_both_rows(tmp_path: Path) -> None:
    results = {"start": result(0.8, 12), "00-theseus": result(0.7, 6), "01-theseus": result(0.6, 3)}
    assert list(rows(save(tmp_path / "run", results))) == ["start", "00-theseus", "01-theseus"]


def test_write_leaves_three_files_and_nothing_else(run: Path) -> None:
    before = {path.name for path in run.iterdir()}
    built = reporting.write(run)
    assert {path.name for path in run.iterdir()} - before == {"report.json", "report.md", "report.html"}
    assert json.loads((run / "report.json").read_text(encoding="utf-8")) == built == reporting.build(run)


def test_the_certificate_of_a_run_is_that_of_its_last_step(tmp_path: Path) -> None:
    built = reporting.write(make_composed_run(tmp_path / "run"))
    found = json.loads((tmp_path / "run" / "certificate.json").read_text(encoding="utf-8"))
    assert (found["result"], found["against"], found["metric"]) == ("run: trbert", "run: start", "accuracy")
    assert (found["rows"], found["scores"]) == (400, {"result": 0.75, "other": 0.9})
    assert found["test"] == {key: value for key, value in built["comparisons"][1].items() if key in found["test"]}
    assert found["flips"]["negative"]["count"] == found["changes"]["worse"]["count"] == 60
    assert [row["name"] for row in found["costs"]] == ["start", "trbert"]
    assert {row["by"] for row in found["slices"]} == {"class", "length"}
    assert [(test["name"], test["against"]) for test in built["comparisons"]] == [
        ("theseus", "start"),
        ("trbert", "start"),
        ("trbert", "theseus"),
    ]
    assert [row["score_low"] < row["score"] < row["score_high"] for row in built["rows"]] == [True] * 3


def test_the_sections_of_a_certificate(tmp_path: Path) -> None:
    text = rendering.markdown(reporting.build(make_composed_run(tmp_path / "run")))
    for line in (
        "| trbert against start | 15.0 | 11.6 to 18.9 | 0.0 | 0.0 to 0.9 |",  # 60 and 0 of 400, by Clopper and Pearson
        "## Slices: trbert against start, intervals not corrected",
        "| theseus against start: Brier score | 0.1807 | 0.3331 | +0.1523 |",
    ):
        assert line in text
    assert "trbert: 15.0 % of the rows (11.6 to 18.9) were right in start and are wrong now." in text
    assert "trbert: a loss is shown in 6 of 6 slices: " in text


def test_combined_holds_every_run(run: Path, tmp_path: Path) -> None:
    other = save(tmp_path / "other", {"start": result(0.9, 12)}, model="another model")
    reporting.combined([run, other], tmp_path / "out" / "report.html")
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert page.tags.count("article") == 2
    assert "another model" in page.text
    assert "runs/teacher" in page.text
    assert {("id", "report-1"), ("id", "report-2"), ("href", "#report-2")} <= set(page.attributes)


def sweep(folder: Path, **changes: Any) -> Path:
    cells = []
    for seed, score in ((1, 0.7), (2, 0.75)):
        save(folder / f"cells/seed={seed}", {"start": result(0.8, 12), "00-theseus": result(score, 6)}, seed=seed)
        cells.append({"settings": {"seed": seed}, "folder": f"cells/seed={seed}", "score": score})
    summary = {"cells": cells, "best": "cells/seed=2", "median": 0.725, "low": 0.7, "high": 0.75}
    (folder / "summary.json").write_text(json.dumps(summary | {"primary_metric": "accuracy_f1"} | changes))
    return folder


def test_a_sweep_stands_for_its_best_cell(tmp_path: Path) -> None:
    built = reporting.write(sweep(tmp_path / "swept"))
    assert (built["run"], built["seed"], built["sweep"]["median"]) == ("swept", 2, 0.725)
    assert built["rows"][1]["folder"] == "cells/seed=2/00-theseus"
    assert built["rows"][1]["score"] == 0.75
    text = (tmp_path / "swept" / "report.md").read_text(encoding="utf-8")
    seeds = built["seeds"]
    assert [cell["difference"] for cell in seeds["cells"]] == pytest.approx([-0.1, -0.05])
    assert (seeds["median"], seeds["low"], seeds["high"]) == pytest.approx((-0.075, -0.1, -0.05))
    for line in (
        "| seed 1 | 80.0 | 70.0 | -10.0 |",
        "| low | - | - | -10.0 |",
        "| seed 1 | 70.0 |",
        "| seed 2 (best, reported here) | 75.0 |",
        "| median | 72.5 |",
        "| high | 75.0 |",
    ):
        assert line in text


@pytest.mark.parametrize("best", [None, "cells/seed=9", "../../other"])
def test_a_sweep_without_its_best_cell_is_refused(tmp_path: Path, best: str | None) -> None:
    with pytest.raises(RequestError, match="names no best cell"):
        reporting.build(sweep(tmp_path / "swept", best=best))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RequestError, match=f"{folder.name} is not a run"):
            reporting.build(folder)
    with pytest.raises(RequestError, match=r"unfinished holds no result\.json yet"):
        reporting.build(save(tmp_path / "unfinished", {}))


@pytest.mark.parametrize("name", ["00-theseus/result.json", "environment.json", "recipe.yaml", "summary.json"])
@pytest.mark.parametrize("content", [b'{"metrics": {"valid', b"[1, 2]", b"\xff\xfe{}", b""])
def test_a_broken_file_is_named(run: Path, name: str, content: bytes) -> None:
    (run / name).write_bytes(content)
    with pytest.raises(RequestError, match=name):
        reporting.write(run)
    assert not (run / "report.json").exists()


@pytest.mark.parametrize("content", ["{}", '{"metrics": 3}', '{"seed": 1}'])
def test_a_result_without_metrics_is_damaged(run: Path, content: str) -> None:
    (run / "01-trbert" / "result.json").write_text(content)
    damaged = r"01-trbert/result.json is damaged \(it has no metrics\): restore it"
    with pytest.raises(RequestError, match=damaged):
        reporting.write(run)
    for place in (run, run / "01-trbert"):
        with pytest.raises(RequestError, match=damaged):
            side_of(str(place))


def test_the_report_needs_no_torch(run: Path) -> None:
    code = f"import sys; from bertpress.reports import reporting; reporting.write({str(run)!r})"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


BOMB = "a0: &a0 [1, 1]\n" + "".join(f"a{step}: &a{step} [*a{step - 1}, *a{step - 1}]\n" for step in range(1, 40))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("recipe.yaml", "steps: 3"),
        ("recipe.yaml", "steps: [null, 3, theseus]"),
        ("recipe.yaml", BOMB),
        ("environment.json", '{"a": ' * 600 + "1" + "}" * 600),
        ("summary.json", '{"best": "cells/a", "cells": [3]}'),
        ("summary.json", '{"best": null}'),
    ],
    ids=["steps", "step", "bomb", "deep", "cells", "best"],
)
def test_an_odd_folder_leaves_the_other_runs_on_the_page(file: str, content: str, run: Path, tmp_path: Path) -> None:
    odd = make_run(tmp_path / "odd")
    if file == "summary.json":
        make_run(odd / "cells" / "a")
    (odd / file).write_text(content)
    built = reporting.combined([odd, run], tmp_path / "page.html")
    assert built[-1]["run"] == "small"
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "small" in page.text
    assert "odd" in page.text


def test_a_run_that_cannot_be_written_to_is_shown_all_the_same(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, value: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(reporting, "write_json", refuse)
    assert len(reporting.combined([run], tmp_path / "page.html")) == 1
    assert "small" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_no_step_before_the_last_one_gets_the_certificate(tmp_path: Path) -> None:
    run = make_composed_run(tmp_path / "run")
    reporting.write(run)
    assert json.loads((run / "certificate.json").read_text())["result"] == "run: trbert"
    (run / "01-trbert" / "predictions" / "validation.parquet").unlink()
    reporting.write(run)
    assert not (run / "certificate.json").exists()
