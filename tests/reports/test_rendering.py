"""The report as Markdown, page and terminal table: what it says, hostile text, a page that stands alone."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from made_runs import (
    HOSTILE,
    Page,
    make_full_run,
    make_reduced_run,
    make_run,
    result,
    save,
    save_log,
    save_predictions,
    timing,
)
from markdown_it import MarkdownIt
from rich.console import Console

from bertpress.reports import rendering, reporting, sections
from bertpress.values import shown_points


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "small")


def test_markdown_shows_the_numbers(run: Path) -> None:
    lines = rendering.markdown(reporting.build(run)).splitlines()
    for line in (
        "## Result against start: accuracy_f1 on validation",
        "| name | layers | score | kept % | recovered % |",
        "| theseus | 6 | 75.0 | 93.8 | 75.0 |",
        "## Costs; timed: threads 2, cpu",
        "| name | parameters (M) | encoder (M) | MACs (M) at 128 tokens | size (MB) "
        "| ms at batch 1 | speed-up at batch 1 | ms at batch 16 | speed-up at batch 16 | training (s) |",
        "| theseus | 60.00 | 42.00 | 5,400.0 | 240.0 | 10.00 (9.50-10.50) | 1.83x (1.79-1.88) "
        "| 10.00 (9.50-10.50) | no measured speed-up (0.95-1.04) | 12 |",
        "| theseus | 65.0 | 75.0 |",  # all metrics: accuracy, accuracy_f1
        "- theseus: score 75.0, 93.8 % of the start model's 80.0; 75.0 % of what plain truncation loses recovered.",
        "- theseus: not faster at every measured setting: 1.83x (1.79-1.88) at batch 1, "
        "no measured speed-up (0.95-1.04) at batch 16.",
    ):
        assert line in lines
    assert lines[2] == "- runs/teacher on glue/mrpc, accuracy_f1 on validation, seed 1."


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


def test_tasks_and_commands_read_as_one_line(tmp_path: Path) -> None:
    task = {"files": "data/", "columns": ["question", "answer"]}
    folder = save(tmp_path / "run", {"start": result(0.8, 4)}, task=task)
    (folder / "environment.json").write_text(json.dumps({"command": ["bertpress", "theseus", "--seed", "1"]}))
    text = rendering.markdown(reporting.build(folder))
    assert "- runs/teacher on files in data/, accuracy_f1 on validation, seed 1." in text
    assert "| command | bertpress theseus --seed 1 |" in text


def test_the_speed_ups_of_token_reduction_stand_side_by_side(tmp_path: Path, run: Path) -> None:
    reduced = reporting.build(make_reduced_run(tmp_path / "reduced"))
    text = rendering.markdown(reduced)
    for line in (
        "## Speed-ups of token reduction",
        "| name | at | theoretical | executed | measured | measured against itself |",
        "| trbert | batch 1, threads 2, cpu | 3.01x | 2.90x | 2.80x (2.70-2.90) | 2.50x (2.40-2.60) |",
        "| trbert | batch 16, threads 2, cpu | - | - | 2.00x (1.90-2.10) | - |",
        "## Tokens kept, as a share of each row's own",
        "| name | before layer | mean % | 5th percentile | median | 95th percentile |",
        "| trbert | 1 | 41.0 | 20.0 | 40.0 | 63.1 |",
        "- trbert: keeps 41.0 %, then 20.0 % of the tokens; theoretical speed-up 3.01x.",
    ):
        assert line in text.splitlines(), line
    explained = " ".join(sections.SPEEDUPS)
    assert text.rstrip().endswith(explained)
    assert explained in rendering.html(reporting.build(run), reduced)
    assert "Theoretical speed-up" not in rendering.markdown(reporting.build(run))
    assert "token reduction" not in rendering.html(reporting.build(run))


@pytest.mark.parametrize(
    "strange", [{"kept": HOSTILE}, {"kept": [HOSTILE, {"layer": HOSTILE, "mean": "x"}]}, {"theoretical_speedup": None}]
)
def test_strange_token_reductions_do_not_break_a_report(strange: dict[str, Any], tmp_path: Path) -> None:
    built = reporting.build(make_reduced_run(tmp_path / "run", **strange))
    assert "trbert" in rendering.markdown(built)
    assert "<script>alert" not in rendering.html(built)


ATTRIBUTES = {"role", "class", "scope", "data-label", "id", "lang", "charset", "name", "content", "rel", "href", "dir"}
ATTRIBUTES |= {"aria-label", "aria-hidden", "tabindex", "viewbox", "x", "x1", "x2", "y", "y1", "y2", "text-anchor", "d"}
ATTRIBUTES |= {"cx", "cy", "r"}
CONTROLS = "\0\x1b\u202e\u2066\u200b\x85"


def test_hostile_text_is_harmless(tmp_path: Path) -> None:
    names = {"kind": "classification", "labels": [HOSTILE, HOSTILE * 9], "positive": "yes"}
    more = {"notes": [HOSTILE, "# a\n# b"], "phases": [HOSTILE], "primary_metric": "accuracy_f1", **names}
    bad = result(0.5, 6, timing(1, 1.8, 1.7, 1.9) | {"device": HOSTILE}, **more)
    bad["metrics"][HOSTILE] = {HOSTILE: 0.5}
    folder = save(tmp_path / "run", {"start": bad, "00-theseus": bad}, model=HOSTILE, task={"files": HOSTILE})
    (folder / "environment.json").write_text(json.dumps({HOSTILE: [HOSTILE, "\ud800"]}))
    with (folder / "recipe.yaml").open("a") as recipe:
        recipe.write("# ```\n# <script>alert(1)</script> \u202e\n")
    texts = [HOSTILE, HOSTILE * 40, "</script><img src=x onerror=alert(1)>", CONTROLS, "x" * 1_000_000, "سلام دنیا", ""]
    save_predictions(folder / "start", 0.9, texts)
    save_predictions(folder / "00-theseus", 0.8, texts)
    save_log(folder / "00-theseus" / HOSTILE.replace("/", "|"), {"loss": 1.0, "step": 1})
    built = reporting.write(folder)

    source = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(source)
    assert not {"script", "img", "iframe", "b"} & set(page.tags)
    assert "<script>alert(1)</script>" in page.text  # shown, not run
    assert "</script><img src=x onerror=alert(1)>" in page.text
    assert {name for name, _ in page.attributes} <= ATTRIBUTES
    assert not set(CONTROLS) & set(source)
    assert len(source) < 200_000

    text = (folder / "report.md").read_text(encoding="utf-8")
    assert not set(CONTROLS) & set(text)
    rendered = Page(MarkdownIt("commonmark").enable("table").render(text))
    tables = {"table", "thead", "tbody", "tr", "th", "td"}
    assert set(rendered.tags) == {"h1", "h2", "p", "ul", "li", "pre", "code", *tables}
    assert rendered.tags.count("td") == page.tags.count("td") + page.tags.count("th") - rendered.tags.count("th")
    assert "<script>alert(1)</script> \"'|`*[x](javascript:alert(1))" in rendered.text

    assert "\x1b" not in terminal(built, 200)
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["rows"][1]["notes"][0] == HOSTILE


def test_a_full_run_has_every_section(tmp_path: Path) -> None:
    built = reporting.build(make_full_run(tmp_path / "full"))
    page = Page(rendering.html(built))
    for heading in (
        "Result against start: accuracy_f1 on validation",
        "Paired tests: accuracy_f1 on validation, 400 rows",
        "Costs; timed: threads 2, cpu",
        "Rows that changed",
        "theseus: the 10 rows most changed for the worse",
        "All metrics",
        "Training curves",
        "truncated baseline: training",
        "theseus: replacing",
        "Settings",
        "Environment",
    ):
        assert heading in page.text
    assert page.tags.count("svg") == page.tags.count("path") == 4
    descriptions = {value for name, value in page.attributes if name == "aria-label"}
    assert "dev score by step: first 70 at step 1, highest 75 at step 2, last 75 at step 2" in descriptions
    text = rendering.markdown(built)
    headings = re.findall("^## (.+)$", text, flags=re.MULTILINE)
    assert headings == [section.caption for section in sections.sections(built)] + ["Environment", "Settings"]
    assert "    model: runs/teacher" in text
    points = r"-\d\.\d \| -\d\.\d to -\d\.\d"
    assert re.search(rf"theseus against start \| {points} \| a significant loss \| 0 \| 20 \| &lt; 0\.001 \|", text)


def test_every_region_and_curve_is_named_and_reachable(tmp_path: Path) -> None:
    source = rendering.html(reporting.build(make_full_run(tmp_path / "full")))
    for element in re.findall(r'<div[^>]*role="region"[^>]*>|<svg[^>]*>', source):
        assert re.search(r'aria-label="[^"]+"', element), element
    for element in re.findall(r'<div[^>]*role="region"[^>]*>|<pre[^>]*>', source):
        assert 'tabindex="0"' in element
    page = Page(source)
    assert ("href", "#results") in page.attributes
    assert ("id", "results") in page.attributes
    assert page.tags.count("h1") == 1
    assert page.tags.count("details") == page.tags.count("summary")
    assert ":focus-visible" in source
    assert "@media print" in source


def test_the_figures_of_the_last_step(tmp_path: Path) -> None:
    built = reporting.build(make_full_run(tmp_path / "full"))
    kept, difference, size, speed = sections.figures(built)
    assert kept == ("93.8 %", "of the score kept", "75.0 of 80.0")
    assert difference.label == "points against start"
    assert difference.detail.endswith(": a significant loss")
    assert size == ("50 %", "of the parameters", "60.0 of 120.0 million")
    assert speed == ("1.80x", "speed-up at batch 1", "(1.70-1.90)")
    assert sections.figures({**built, "recovered": {}}) == []


@pytest.mark.parametrize(
    ("share", "text"), [(0.021, "+2.1"), (-0.021, "-2.1"), (0.0, "0.0"), (-0.0004, "0.0"), (0.9999, "+100.0")]
)
def test_points_have_a_sign(share: float, text: str) -> None:
    assert shown_points(share) == text


@pytest.mark.parametrize(
    ("differs", "difference", "text"),
    [(True, -0.1, "a significant loss"), (True, 0.1, "a significant gain"), (False, -0.1, "no difference shown")],
)
def test_an_interval_that_covers_0_shows_no_difference(
    tmp_path: Path, differs: bool, difference: float, text: str
) -> None:
    built = reporting.build(make_full_run(tmp_path / "full"))
    built["comparisons"][1] |= {"difference": difference, "differs": differs, "low": -0.2, "high": 0.2}
    line = next(line for line in sections.findings(built) if line.startswith("theseus against start"))
    assert line.endswith(f"-20.0 to +20.0: {text}.")


def test_the_page_stands_alone(run: Path) -> None:
    text = rendering.html(reporting.build(run))
    assert "//" not in re.sub("<style>.*</style>", "", text, flags=re.DOTALL)
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text
    page = Page(text)
    assert not {"script", "img", "iframe", "form"} & set(page.tags)
    assert page.tags.count("caption") == page.tags.count("table") == 6
    assert {value for name, value in page.attributes if name == "href"} == {"data:,", "#results"}


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
