"""Bounds by hand, the forms of a certificate, and which results can be set against each other."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow
import pytest
import yaml
from made_runs import HOSTILE, Page, make_composed_run, make_exported_run, save_predictions, timing
from markdown_it import MarkdownIt
from pyarrow import parquet

from bertpress.api import Result
from bertpress.bounds import Bounds, judged
from bertpress.checks import checking
from bertpress.checks.checking import broken_bounds, check
from bertpress.checks.junit import junit
from bertpress.checks.sides import side_of
from bertpress.checks.unscored import changed_answers
from bertpress.comparison.comparing import NotComparable
from bertpress.config import build
from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.reports import rendering
from bertpress.reports.certificate_sections import bound_line


def found(**changes: Any) -> dict[str, Any]:
    """What a result that lost half a point, between -1 and 2, and is twice as fast, between 1.9 and 2.1, says."""
    other = {"parameters": 100_000_000, "macs": 10**9, "latency": [timing(1)]}
    own = {"parameters": 40_000_000, "macs": 3 * 10**8, "latency": [timing(1, 2.0, 1.9, 2.1), timing(8, 3.0, 2.9, 3.1)]}
    test = {"difference": 0.795 - 0.8, "low": -0.02, "high": 0.01}
    return {"test": test, "costs": [other, own], **changes}


@pytest.mark.parametrize(
    ("bounds", "value", "interval", "kept"),
    [
        ({"max_drop": 0.5}, 0.5, (-1, 2), True),  # met exactly, although 0.8 - 0.795 is a little more
        ({"max_drop": 0.49}, 0.5, (-1, 2), False),
        ({"max_drop": 2, "confident": True}, 0.5, (-1, 2), True),
        ({"max_drop": 1.9, "confident": True}, 0.5, (-1, 2), False),
        ({"min_speedup": 1.9}, 2.0, (1.9, 2.1), True),
        ({"min_speedup": 1.95}, 2.0, (1.9, 2.1), False),
        ({"min_speedup": 2.5, "batch_size": 8}, 3.0, (2.9, 3.1), True),
        ({"max_latency_ms": 10.5}, 10.0, (9.5, 10.5), True),
        ({"max_latency_ms": 10.4}, 10.0, (9.5, 10.5), False),
        ({"max_parameters": "40M"}, 4e7, (None, None), True),
        ({"max_parameters": "39%"}, 4e7, (None, None), False),
        ({"max_parameters": "40%"}, 4e7, (None, None), True),
        ({"max_macs": "0.29G"}, 3e8, (None, None), False),
    ],
)
def test_bounds_by_hand(bounds: dict[str, Any], value: float, interval: tuple[Any, Any], kept: bool) -> None:
    [row] = judged(build(Bounds, bounds), found())
    assert row["value"] == pytest.approx(value)
    assert (row["low"], row["high"]) == pytest.approx(interval)
    assert row["kept"] is kept


def test_a_bound_in_a_line() -> None:
    rows = judged(build(Bounds, {"max_drop": 0.25, "min_speedup": 1.5, "max_parameters": "40%"}), found())
    assert [bound_line(row) for row in rows] == [
        "max-drop 0.25 is broken: 0.5 (-1 to 2) points",
        "min-speedup 1.5 is kept: 2 (1.9 to 2.1) times at batch 1",
        "max-parameters 40,000,000 is kept: 40,000,000 parameters",
    ]


def test_a_number_that_rounds_to_its_limit_has_more_digits() -> None:
    row = {"bound": "min-speedup", "limit": 1.5, "value": 1.62, "low": 1.4962, "high": 1.71, "unit": "times"}
    assert bound_line({**row, "kept": False}) == "min-speedup 1.5 is broken: 1.62 (1.496 to 1.71) times"


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({}, "nothing to check"),
        ({"confident": True, "max_macs": "1G"}, "give max_drop"),
        ({"min_speedup": 0}, "min_speedup"),
        ({"max_parameters": "many"}, "expected a number such as 15M.* or a share such as 40%"),
        ({"max_dorp": 1}, "max_drop"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(bounds: dict[str, Any], message: str, tmp_path: Path) -> None:
    run = str(make_composed_run(tmp_path / "run"))
    with pytest.raises(RequestError, match=message):
        check(run, run, bounds)


def make_unlabelled_run(folder: Path, **recipe: Any) -> Path:
    """A run on rows without labels: nothing was scored, and no predictions are kept."""
    run = make_composed_run(folder, **recipe)
    for file in run.glob("*/result.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "metrics": {}}))
        (file.parent / "predictions" / "validation.parquet").unlink()
    return run


def test_costs_alone_need_no_labels(tmp_path: Path) -> None:
    run = make_unlabelled_run(tmp_path / "run")
    files = [tmp_path / name for name in ("c.html", "c.md")]
    for file in files:
        whole = check(str(run), str(run / "start"), {"max_parameters": "50%", "max_macs": "20%"}, out=file)
    assert [bound["kept"] for bound in whole["bounds"]] == [True, False]
    unsaid = ("metric", "rows", "test", "flips", "changes", "changed_answers", "split")
    assert [whole[name] for name in unsaid] == [None] * len(unsaid)
    for file in files:
        assert "nothing is said of scores, flips, slices and calibration" in file.read_text()
    assert 'failures="1"' in junit(whole)
    assert broken_bounds(run) == []
    (run / "recipe.yaml").write_text((run / "recipe.yaml").read_text() + "budget: {max_macs: 20%}\n")
    assert broken_bounds(run) == ["max-macs 2,160,000,000 is broken: 2,700,000,000 macs"]


def test_scores_need_labels_and_costs_the_same_task(tmp_path: Path) -> None:
    run, other = (make_unlabelled_run(tmp_path / name, task=name) for name in ("run", "other"))
    with pytest.raises(RequestError, match="neither has a score, which max_drop is about"):
        check(str(run), str(run / "start"), {"max_drop": 1, "max_macs": "1G"})
    with pytest.raises(RequestError, match="their tasks are not the same"):
        check(str(run), str(other), {"max_macs": "100%"})


def test_answers_that_changed_are_counted_without_labels() -> None:
    sure, unsure = ({"prediction": "a", "probability": share} for share in (0.9, 0.6))
    other = {"prediction": "b", "probability": 0.9}
    changed = changed_answers([sure, sure, sure, sure], [unsure, other, sure, sure])
    assert changed is not None
    assert (changed["count"], changed["rate"]) == (1, 0.25)
    assert 0 < changed["low"] < 0.25 < changed["high"] < 1
    one, moved = ([{"type": "LOC", "start": at, "end": 5, "probability": 0.5 + at / 10}] for at in (0, 2))
    again = [{**one[0], "probability": 0.1}]
    sides = ([{"entities": found} for found in side] for side in ((one, one, []), (again, moved, [])))
    tagged = changed_answers(*sides)
    assert tagged is not None
    assert tagged["count"] == 1
    assert changed_answers([{"prediction": 0.5}], [{"prediction": 0.6}]) is None, "numbers always differ"
    assert changed_answers([], []) is None


def test_a_number_that_is_not_known_is_asked_for() -> None:
    with pytest.raises(RequestError, match="does not tell the speedup at batch 4 that min-speedup is about"):
        judged(build(Bounds, {"min_speedup": 2, "batch_size": 4}), found())


def test_runs_and_steps_are_compared_by_their_predictions(tmp_path: Path) -> None:
    run = make_composed_run(tmp_path / "run")
    whole = check(str(run), str(run / "start"), {"max_drop": 14.9, "max_parameters": "50%", "max_macs": "30%"})
    assert [bound["kept"] for bound in whole["bounds"]] == [False, True, True]
    assert (whole["scores"], whole["rows"]) == ({"result": 0.75, "other": 0.9}, 400)
    assert (whole["task"], whole["split"], whole["metric"]) == ("glue/mrpc", "validation", "accuracy")
    step = check(str(run / "00-theseus"), str(run), {"max_drop": 0})
    assert step["test"]["difference"] == pytest.approx(0.05)
    assert step["bounds"][0]["kept"]


def test_the_same_certificate_as_json_markdown_and_page(tmp_path: Path) -> None:
    run = make_composed_run(tmp_path / "run")
    arguments: tuple[Any, ...] = (str(run), str(run / "start"), {"max_drop": 1})
    for name in ("c.html", "c.md", "c.json"):
        written = check(*arguments, out=tmp_path / name, junit=tmp_path / "junit.xml")
    assert json.loads((tmp_path / "c.json").read_text()) == written
    page = Page((tmp_path / "c.html").read_text())
    markdown = (tmp_path / "c.md").read_text()
    for line in (
        "score 75.0 against 90.0: -15.0 points",
        "max-drop 1 is broken: 15",
        "15.0 % of the rows (11.6 to 18.9) were right in ",
    ):
        assert line in page.text
        assert line in markdown
    tables = Page(MarkdownIt("commonmark").enable("table").render(markdown)).tags.count("table")
    assert tables == page.tags.count("table") == len(rendering.certificate_tables(written))
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    with pytest.raises(RequestError, match=r"\.html, \.md, \.json"):
        check(*arguments, out=tmp_path / "c.txt")
    with pytest.raises(RequestError, match=r"both name .*c\.html; give each its own"):
        check(*arguments, out=tmp_path / "c.html", junit=tmp_path / "." / "c.html")


def test_junit_names_every_bound_and_survives_hostile_names() -> None:
    document = dict.fromkeys(("result", "against", "task", "split", "metric"), HOSTILE)
    bounds = judged(build(Bounds, {"max_drop": 0.1, "min_speedup": 1.5}), found())
    root = ElementTree.fromstring(junit({**document, "bounds": bounds}))
    assert [(case.get("name"), case.find("failure") is not None) for case in root.iter("testcase")] == [
        ("max-drop", True),
        ("min-speedup", False),
    ]
    failure = next(root.iter("failure"))
    assert failure.get("message") == failure.text == "max-drop 0.1 is broken: 0.5 (-1 to 2) points"
    assert {each.get("name") for each in root.iter("property")} == set(document)


def test_what_a_name_stands_for(tmp_path: Path) -> None:
    run = make_composed_run(tmp_path / "run")
    assert side_of(str(run)).model == str(run / "01-trbert" / "model")
    assert side_of(str(run / "00-theseus")).model == str(run / "00-theseus" / "model")
    assert side_of(str(run / "start")).model == "runs/teacher"
    (run / "00-finetune" / "model").mkdir(parents=True)
    assert side_of(str(run / "start")).model == str(run / "00-finetune" / "model")
    cells = tmp_path / "swept" / "cells"
    make_composed_run(cells / "seed=1")
    (tmp_path / "swept" / "summary.json").write_text(json.dumps({"best": "cells/seed=1"}))
    assert side_of(str(tmp_path / "swept")).place == cells / "seed=1" / "01-trbert"
    assert side_of(str(tmp_path / "swept")).name == str(cells / "seed=1"), "which cell it was is said"
    for place in ("01-trbert", "00-theseus"):
        (run / place / "result.json").unlink()
    with pytest.raises(RequestError, match="no finished step yet"):
        side_of(str(run))
    with pytest.raises(RequestError, match="name the task with --task"):
        side_of(str(run / "01-trbert"))


def test_the_last_export_is_the_one_written_last(tmp_path: Path) -> None:
    run = make_exported_run(tmp_path / "run")
    files = [run / "export" / name / "result.json" for name in ("onnx-int8", "onnx-fp32")]
    for time, file in enumerate(files):
        os.utime(file, (time, time))
    assert side_of(str(run)).place == files[1].parent
    os.utime(files[0], (2, 2))
    assert side_of(str(run)).place == files[0].parent


def test_with_a_task_a_run_is_what_it_gives_last_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_exported_run(tmp_path / "run")
    opened: list[str] = []

    def scored(result: str, against: str, *_: Any) -> Any:
        opened.extend((result, against))
        raise NotComparable("enough")

    monkeypatch.setattr(checking, "_scored_now", scored)
    with pytest.raises(RequestError, match="enough"):
        check(str(run), "someone/teacher", {"max_drop": 1}, "glue/mrpc")
    assert opened == [side_of(str(run)).model, "someone/teacher"]
    assert "export" in opened[0]


def test_a_sweep_says_how_its_cell_was_chosen_and_what_the_others_lose(tmp_path: Path) -> None:
    sweep, cells = tmp_path / "swept", []
    for seed in (1, 2):
        make_composed_run(sweep / "cells" / f"seed={seed}", seed=seed)
        cells.append({"settings": {"seed": seed}, "folder": f"cells/seed={seed}"})
    other = sweep / "cells" / "seed=1" / "01-trbert" / "result.json"
    other.write_text(other.read_text().replace('"accuracy": 0.75', '"accuracy": 0.7'))
    (sweep / "summary.json").write_text(json.dumps({"best": "cells/seed=2", "cells": cells}))
    whole = check(str(sweep), str(sweep / "cells" / "seed=2" / "00-theseus"), {"max_drop": 10})
    assert [cell["difference"] for cell in whole["seeds"]["cells"]] == pytest.approx([-0.1, -0.05])
    assert whole["notes"] == ["the best of 2 cells by its score on the development split, which flatters it there"]
    assert whole["result"].endswith("seed=2")


def test_cells_that_only_fine_tune_are_set_against_another_model(tmp_path: Path) -> None:
    sweep, cells = tmp_path / "swept", []
    for seed in (1, 2):
        run = make_composed_run(sweep / "cells" / f"seed={seed}", seed=seed)
        recipe = yaml.safe_load((run / "recipe.yaml").read_text())
        (run / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "steps": [{"finetune": {}}]}))
        (run / "01-trbert").rename(run / "00-finetune")
        for place in ("00-theseus", "start"):
            shutil.rmtree(run / place)
        cells.append({"settings": {"seed": seed}, "folder": f"cells/seed={seed}"})
    (sweep / "summary.json").write_text(json.dumps({"best": "cells/seed=2", "cells": cells}))
    other = make_composed_run(tmp_path / "other")
    found = check(str(sweep), str(other / "00-theseus"), {"max_drop": 10})
    assert [cell["difference"] for cell in found["seeds"]["cells"]] == pytest.approx([-0.05, -0.05])


def test_costs_of_texts_cut_at_other_lengths_are_not_compared(tmp_path: Path) -> None:
    short = make_composed_run(tmp_path / "short", max_length=64)
    whole = make_composed_run(tmp_path / "whole", max_length=256)
    assert check(str(short), str(whole), {"max_drop": 100})["bounds"][0]["kept"]
    with pytest.raises(RequestError, match="one reads at most 64 tokens of a text, the other 256"):
        check(str(short), str(whole), {"max_macs": "40%"})


def test_a_budget_is_judged_where_its_run_was_carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_composed_run(tmp_path / "run", budget={"max_latency_ms": 8})
    asked: list[Any] = []

    def timed(*arguments: Any) -> list[dict[str, Any]]:
        asked.append(arguments[-1])
        return [timing(1, 2.0, 1.9, 2.1)]

    monkeypatch.setattr(checking, "_timed", timed)
    runtime = Runtime(device="cpu", threads=3)
    assert broken_bounds(run, runtime) == Result(run, {}, runtime).broken_bounds
    assert asked == [runtime, runtime]


def test_an_export_is_judged_on_the_cpu_wherever_its_run_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_exported_run(tmp_path / "run")
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "budget: {max_latency_ms: 12}\n")
    asked: list[Any] = []

    def timed(*arguments: Any) -> list[dict[str, Any]]:
        asked.append(arguments[-1])
        return [timing(1, 2.0, 1.9, 2.1)]

    monkeypatch.setattr(checking, "_timed", timed)
    assert broken_bounds(run, Runtime(device="cuda", threads=3)) == []
    assert asked == [Runtime(device=None, threads=3)]


def test_other_rows_labels_texts_and_kinds_are_refused(tmp_path: Path) -> None:
    base = make_composed_run(tmp_path / "base")
    others = {name: make_composed_run(tmp_path / name) for name in ("rows", "labels", "texts", "split", "file")}
    step = "01-trbert"
    save_predictions(others["rows"] / step, 0.7, ["some words"], rows=399)
    save_predictions(others["texts"] / step, 0.75, ["other words"])
    result = json.loads((others["labels"] / step / "result.json").read_text())
    (others["labels"] / step / "result.json").write_text(json.dumps({**result, "labels": ["no", "maybe"]}))
    (others["split"] / step / "result.json").write_text(json.dumps({**result, "metrics": {"dev": {"accuracy": 1}}}))
    (others["file"] / step / "predictions" / "validation.parquet").unlink()
    reasons = {
        "rows": "hold other rows or classes",
        "labels": "knows other labels",
        "texts": "hold other texts, first in row 0",
        "split": "no split on which both were scored",
        "file": "is missing",
    }
    for name, reason in reasons.items():
        with pytest.raises(RequestError, match=reason):
            check(str(others[name]), str(base), {"max_drop": 100})


def test_classes_in_another_order_are_the_same_classes(tmp_path: Path) -> None:
    base, other = (make_composed_run(tmp_path / name) for name in ("base", "other"))
    place = other / "01-trbert"
    file = place / "predictions" / "validation.parquet"
    columns = parquet.read_table(file).to_pydict()
    columns["label"] = [1 - label for label in columns["label"]]
    columns["logits"] = np.asarray(columns["logits"])[:, ::-1].tolist()
    parquet.write_table(pyarrow.table(columns), file)
    result = json.loads((place / "result.json").read_text())
    (place / "result.json").write_text(json.dumps({**result, "labels": ["yes", "no"], "positive": 0}))
    whole = check(str(other), str(base), {"max_drop": 0})
    assert (whole["test"]["difference"], whole["changes"]["worse"]["count"]) == (0, 0)
