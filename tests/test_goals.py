"""What of a budget a result misses."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bertpress import cli
from bertpress.budgeted import missed as missed_by_run
from bertpress.config import build
from bertpress.errors import RequestError
from bertpress.goals import Goal, missed


def result(score: float = 0.8, total: int = 1000, encoder: int = 600, macs: int = 5000, **row: float) -> dict[str, Any]:
    """A result with one row of latency at batch 1."""
    times = {"batch": 1, "median_ms": 10.0, "low": 9.0, "high": 11.0, **row}
    cost = {"parameters": {"total": total, "encoder": encoder}, "macs": {"value": macs}, "latency": [times]}
    return {"primary_metric": "accuracy", "metrics": {"validation": {"accuracy": score}}, "cost": cost}


START = result()


def lacks(ours: dict[str, Any], **limits: Any) -> list[str]:
    return missed(build(Goal, limits), START, ours)


@pytest.mark.parametrize(
    ("limits", "ours", "words"),
    [
        ({"parameters": "50%"}, {"encoder": 300}, None),
        ({"parameters": "50%"}, {"encoder": 301}, "301 parameters of the encoder, at most 300"),
        ({"parameters": 900}, {"total": 900}, None),
        ({"parameters": 900}, {"total": 901, "encoder": 1}, "901 parameters, at most 900"),
        ({"parameters": "50%", "scope": "total"}, {"total": 501}, "501 parameters, at most 500"),
        ({"macs": "40%"}, {"macs": 2000}, None),
        ({"macs": "40%"}, {"macs": 2001}, "2,001 multiply-adds, at most 2,000"),
        ({"flops": 4000}, {"macs": 2001}, "4,002 FLOPs, at most 4,000"),
        ({"latency_ms": 11}, {}, None),
        ({"latency_ms": "10.5ms"}, {}, r"10.00 ms \(9.00-11.00\) at batch 1, at most 10.50"),
        ({"latency_ms": "50%"}, {"median_ms": 4.0, "high": 5.0}, None),
        ({"speedup": 1.5}, {"speedup": 2.0, "speedup_low": 1.5, "speedup_high": 2.2}, None),
        ({"speedup": 1.5}, {"speedup": 2.0, "speedup_low": 1.4, "speedup_high": 2.2}, r"2.00x \(1.40-2.20\)"),
        ({"speedup": 1.5, "batch_size": 8}, {}, "Nothing was measured at batch 8"),
        ({"max_drop": 1}, {"score": 0.79}, None),
        ({"max_drop": 1}, {"score": 0.7899}, "1.01 points of accuracy lost on validation, at most 1 were"),
        ({"max_drop": 0}, {"score": 0.81}, None),
    ],
)
def test_a_limit_is_held_or_named(limits: dict[str, Any], ours: dict[str, Any], words: str | None) -> None:
    found = lacks(result(**ours), **limits)
    if words is None:
        assert found == []
    else:
        (sentence,) = found
        assert re.search(words, sentence), sentence


def test_all_limits_are_looked_at() -> None:
    assert len(lacks(result(score=0.5), macs="10%", speedup=2, max_drop=1)) == 3


def test_without_labels_a_drop_cannot_be_told() -> None:
    start = {**START, "metrics": {}}
    assert missed(Goal(max_drop=1), start, start) == ["There is no score of the start model to tell what was lost."]


def test_a_budget_needs_a_limit() -> None:
    with pytest.raises(RequestError, match="a budget needs a limit"):
        build(Goal, {"batch_size": 4})


@pytest.mark.slow
def test_compress_says_what_is_missed_and_ends_with_3(
    carry_out: Callable[..., Path],
    tiny_model_folder: Path,
    tiny_data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = {
        "model": str(tiny_model_folder),
        "task": {"files": str(tiny_data_folder), "columns": ["text"]},
        "steps": [{"theseus": {"replacing": {"max_steps": 1}}}],
        "max_length": 32,
        "baseline": False,
    }
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"

    def run(**budget: Any) -> int:
        recipe.write_text(yaml.safe_dump({**values, "budget": budget}))
        arguments = ["bertpress", "compress", str(recipe), "--out", str(out), "--device", "cpu", "--quiet"]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0)

    assert run(parameters="60%", max_drop=100, batch_size=4) == 0
    rows = json.loads((out / "00-theseus" / "result.json").read_text())["cost"]["latency"]
    assert [row["batch"] for row in rows] == [1, 4]
    assert run(parameters="40%") == 3, "another budget for the same run trains nothing"
    assert "The budget is not met: " in capsys.readouterr().err
    assert "at most" in missed_by_run(out)[0]
