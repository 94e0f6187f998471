"""The report of synthetic runs: numbers by hand, hostile text, broken folders."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt
from rich.console import Console

from bertpress import rendering, reporting
from bertpress.errors import RequestError

HOSTILE = "<script>alert(1)</script> \"'|`*[x](javascript:alert(1)) \x1b[31m"


def timing(batch: int, speedup: float | None = None, low: float = 0, high: float = 0) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "batch": batch,
        "tokens": 60.5 + 0.1 * (speedup or 0),
        "threads": 2,
        "device": "cpu",
        "rounds": 20,
    }
    entry |= {"median_ms": 10.0, "low": 9.5, "high": 10.5}
    if speedup is not None:
        entry |= {"speedup": speedup, "speedup_low": low, "speedup_high": high}
        entry["against"] = {"median_ms": 10 * speedup, "low": 17.0, "high": 19.0}
    return entry


def result(score: float | None, layers: int, *latency: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "method": None,
        "phases": [],
        "metrics": {} if score is None else {"validation": {"accuracy": score - 0.1, "accuracy_f1": score}},
        "primary_metric": "accuracy_f1",
        "cost": {
            "parameters": {"total": layers * 10_000_000, "encoder": layers * 7_000_000},
            "macs": {"tokens": 128, "value": layers * 900_000_000},
            "size_bytes": layers * 40_000_000,
            "latency": list(latency),
        },
        "seconds": 12.5,
        "seed": 1,
        "config": {},
        "layers": layers,
        "notes": [],
    } | changes


def save(folder: Path, results: dict[str, Any], **recipe: Any) -> Path:
    steps: list[dict[str, Any]] = [{place[3:]: {}} for place in sorted(results) if place[:2].isdigit()]
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"model": "runs/teacher", "task": "glue/mrpc", "seed": 1, "steps": steps} | recipe
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps({"versions": {"python": "3.11"}, "device": "cpu"}))
    for place, content in results.items():
        (folder / place).mkdir()
        (folder / place / "result.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    results = {
        "start": result(0.8, 12, timing(1), timing(16)),
        "baseline": result(0.6, 6, timing(1, 1.9, 1.8, 2.0), timing(16, 1.9, 1.8, 2.0)),
        "00-theseus": result(0.75, 6, timing(1, 1.83, 1.79, 1.88), timing(16, 1.0, 0.95, 1.04), method="theseus"),
        "01-trbert": result(0.7, 6, timing(1, 3.0, 2.9, 3.1), timing(16, 2.0, 1.9, 2.1), method="trbert"),
    }
    return save(tmp_path / "small", results)


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
    assert (built["model"], built["task"], built["seed"], built["notes"]) == ("runs/teacher", "glue/mrpc", 1, [])


def test_markdown_shows_the_numbers(run: Path) -> None:
    lines = rendering.markdown(reporting.build(run)).splitlines()
    head = next(line for line in lines if line.startswith("| name | layers"))
    assert head == (
        "| name | layers | score | kept % | parameters (M) | MACs (M) at 128 tokens | size (MB) "
        "| ms at batch 1 | speed-up at batch 1 | ms at batch 16 | speed-up at batch 16 |"
    )
    assert "## Result against start: accuracy_f1 on validation; timed: threads 2, cpu" in lines
    row = next(line for line in lines if line.startswith("| theseus"))
    assert row == (
        "| theseus | 6 | 75.0 | 93.8 | 60.00 | 5,400.0 | 240.0 "
        "| 10.00 | 1.83x (1.79-1.88) | 10.00 | no measured speed-up (0.95-1.04) |"
    )
    assert (
        "- theseus: score 75.0; 93.8 % of the start model's; 75.0 % of what plain truncation loses recovered; "
        "not faster at every measured setting." in lines
    )
    assert lines[2] == "- runs/teacher on glue/mrpc, seed 1."
    assert "| theseus | 65.0 | 75.0 |" in lines  # all metrics: accuracy, accuracy_f1


def test_a_slower_model_and_an_interval_that_ends_at_1(tmp_path: Path) -> None:
    results = {
        "start": result(0.8, 4),
        "00-theseus": result(0.7, 2, timing(1, 0.8, 0.7, 0.9), timing(2, 1.1, 1.0, 1.2)),
    }
    built = reporting.build(save(tmp_path / "run", results))
    assert built["rows"][1]["faster"] is False
    text = rendering.markdown(built)
    assert "0.80x (0.70-0.90)" in text
    assert "no measured speed-up (1.00-1.20)" in text


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
    assert built["notes"] == ["01-yoco has not finished", "no score of the start model to compare with"]
    assert "| theseus | - | 50.0 | - | - | - |" in rendering.markdown(built)
    assert "<table" in rendering.html(built)


def test_tasks_and_commands_read_as_one_line(tmp_path: Path) -> None:
    task = {"files": "data/", "columns": ["question", "answer"]}
    folder = save(tmp_path / "run", {"start": result(0.8, 4)}, task=task)
    (folder / "environment.json").write_text(json.dumps({"command": ["bertpress", "theseus", "--seed", "1"]}))
    text = rendering.markdown(reporting.build(folder))
    assert "- runs/teacher on files in data/, seed 1." in text
    assert "| command | bertpress theseus --seed 1 |" in text


def test_scores_that_are_not_numbers_count_as_missing(tmp_path: Path) -> None:
    metrics = {"validation": {"accuracy_f1": float("nan")}}
    folder = save(tmp_path / "run", {"start": result(0.8, 4), "00-theseus": result(0.7, 2, metrics=metrics)})
    assert rows(folder)["theseus"]["score"] is None
    reporting.write(folder)
    assert "NaN" not in (folder / "report.json").read_text()


def test_the_same_method_twice_keeps_both_rows(tmp_path: Path) -> None:
    results = {"start": result(0.8, 12), "00-theseus": result(0.7, 6), "01-theseus": result(0.6, 3)}
    assert list(rows(save(tmp_path / "run", results))) == ["start", "00-theseus", "01-theseus"]


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_text_is_harmless(tmp_path: Path) -> None:
    split = {HOSTILE: {HOSTILE: 0.5}}
    bad = result(
        None, 6, timing(1) | {"device": HOSTILE}, metrics=split, primary_metric=HOSTILE, notes=[HOSTILE, "# a\n# b"]
    )
    folder = save(tmp_path / "run", {"start": bad, "00-theseus": bad}, model=HOSTILE, task={"files": HOSTILE})
    (folder / "environment.json").write_text(json.dumps({HOSTILE: [HOSTILE]}))
    built = reporting.write(folder)

    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text  # shown, not run
    known = {
        "role",
        "class",
        "scope",
        "data-label",
        "id",
        "lang",
        "charset",
        "name",
        "content",
        "rel",
        "href",
        "aria-label",
        "tabindex",
    }
    assert {name for name, _ in page.attributes} <= known

    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "\x1b" not in text
    rendered = Page(MarkdownIt("commonmark").enable("table").render(text))
    assert set(rendered.tags) == {"h1", "h2", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}
    assert rendered.tags.count("td") == page.tags.count("td") + page.tags.count("th") - rendered.tags.count("th")
    assert "<script>alert(1)</script> \"'|`*[x](javascript:alert(1))" in rendered.text

    assert "\x1b" not in terminal(built, 200)
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["rows"][1]["notes"][0] == HOSTILE


def test_the_page_stands_alone(run: Path) -> None:
    text = rendering.html(reporting.build(run))
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text
    page = Page(text)
    assert not {"script", "img", "iframe", "form"} & set(page.tags)
    assert page.tags.count("caption") == page.tags.count("table") == 3
    assert {value for name, value in page.attributes if name == "href"} == {"data:,"}


def test_write_leaves_three_files_and_nothing_else(run: Path) -> None:
    before = {path.name for path in run.iterdir()}
    built = reporting.write(run)
    assert {path.name for path in run.iterdir()} - before == {"report.json", "report.md", "report.html"}
    assert json.loads((run / "report.json").read_text(encoding="utf-8")) == built == reporting.build(run)


def test_combined_holds_every_run(run: Path, tmp_path: Path) -> None:
    other = save(tmp_path / "other", {"start": result(0.9, 12)}, model="another model")
    reporting.combined([run, other], tmp_path / "out" / "report.html")
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert page.tags.count("article") == 2
    assert "another model" in page.text
    assert "runs/teacher" in page.text
    assert {("id", "report-1"), ("id", "report-2"), ("href", "#report-2")} <= set(page.attributes)


def terminal(built: dict[str, Any], width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(rendering.table(built))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_table_shows_text_as_it_is(run: Path) -> None:
    built = reporting.build(run)
    built["rows"][2]["name"] = "[red]theseus[/red]"
    text = terminal(built, 300)
    assert "[red]theseus[/red]" in text
    assert "1.83x (1.79-1.88)" in text
    assert "no measured speed-up (0.95-1.04)" in text


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
    for line in (
        "| seed 1 | 70.0 |",
        "| seed 2 (best, reported here) | 75.0 |",
        "| median | 72.5 |",
        "| high | 75.0 |",
    ):
        assert line in text


@pytest.mark.parametrize("best", [None, "cells/seed=9"])
def test_a_sweep_without_its_best_cell_is_refused(tmp_path: Path, best: str | None) -> None:
    with pytest.raises(RequestError, match=r"names no best cell|seed=9 is not a run"):
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


def test_the_report_needs_no_torch(run: Path) -> None:
    code = f"import sys, bertpress.reporting; bertpress.reporting.write({str(run)!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
