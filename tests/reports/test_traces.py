"""Traces beside results: shown as texts, and left out with a note where they are none of the model's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_runs import HOSTILE, Page, make_reduced_run
from test_token_summary import ALL, NONE, made_record

from bertpress.reports import rendering, reporting
from bertpress.reports.traces import MOST_ROWS


def save(folder: Path, *records: Any) -> Path:
    """A run whose last step has decisions before layers 1 and 3, with a trace."""
    run = make_reduced_run(folder)
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (run / "00-trbert" / "trace.jsonl").write_text(lines, encoding="utf-8")
    return run


def record(**changes: Any) -> dict[str, Any]:
    return {**made_record(["good", "film"], [ALL, NONE, ALL, NONE]), **changes}


def test_the_first_rows_are_shown(tmp_path: Path) -> None:
    run = save(tmp_path / "run", *[record(row=number, prediction="pos") for number in range(MOST_ROWS + 5)])
    built = reporting.write(run)
    [trace] = built["traces"]
    assert (trace["name"], trace["layers"], trace["depth"], len(trace["rows"])) == ("trbert", [1, 3], 6, MOST_ROWS)
    source = rendering.html(built)
    page = Page(source)
    for text in ("What trbert reads", "Row 0: pos", "3 of 6 layers"):
        assert text in page.text
    assert ("class", "token level-2") in page.attributes
    assert ".decisions-2 .level-2" in source
    assert json.loads((run / "report.json").read_text())["traces"] == built["traces"]
    assert "decisions-" not in rendering.html(reporting.build(make_reduced_run(tmp_path / "without")))


@pytest.mark.parametrize(
    "changes",
    [
        {"kept": [[True]] * 4},
        {"offsets": [[0, 99]] * 4},
        {"text": [7] * 4},
        {"tokens": "text"},
        {"last_layer": []},
        {"scores": [["x", "y"]] * 4},
        {"probability": "high"},
        {"row": None},
    ],
)
def test_a_trace_of_something_else_is_left_out_with_a_note(tmp_path: Path, changes: dict[str, Any]) -> None:
    built = reporting.build(save(tmp_path / "run", record(), record(**changes)))
    assert built["traces"] == []
    assert "the trace of trbert is not shown: trace.jsonl is none of this model" in built["notes"]


def test_hostile_texts_are_harmless(tmp_path: Path) -> None:
    shown = record(texts=[HOSTILE], tokens=[HOSTILE] * 4, prediction=HOSTILE, label=HOSTILE, right=False)
    length = len(HOSTILE)
    shown |= {"offsets": [[0, 0], [0, 8], [8, length], [0, 0]], "text": [None, 0, 0, None]}
    source = rendering.html(reporting.build(save(tmp_path / "run", shown)))
    assert not {"script", "img"} & set(Page(source).tags)
    assert "\x1b" not in source
