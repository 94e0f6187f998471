"""All demos in one folder, from one fine-tuned model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bertpress import cli
from bertpress.commands import demo
from bertpress.recipe import read_recipe


def test_all_demos_begin_with_the_same_fine_tuning() -> None:
    assert demo.TRUNCATED in demo.demos()
    found = [read_recipe(f"demo-{name}") for name in demo.demos()]
    assert len(found) >= 5
    for recipe in found:
        assert recipe["steps"][0] == found[0]["steps"][0]
        assert {name: recipe[name] for name in ("model", "task", "seed", "max_length")} == {
            name: found[0][name] for name in ("model", "task", "seed", "max_length")
        }


@pytest.mark.slow
def test_all_of_them_are_one_page(
    tiny_recipe: dict[str, Any],
    quick_latency: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = {"max_steps": 1}

    def recipe(name: str) -> dict[str, Any]:
        step = {"theseus": {"replacing": few}} if name == "demo-a" else {"finetune": {"layers": 2, "training": few}}
        return {**tiny_recipe, "steps": [{"finetune": {"training": few}}, step]}

    monkeypatch.setattr(demo, "read_recipe", recipe)
    monkeypatch.setattr(demo, "demos", lambda: ["a", "b"])
    monkeypatch.setattr(demo, "TRUNCATED", "a")
    monkeypatch.setattr(demo, "SCORED", 7)
    monkeypatch.setattr(demo, "judge", lambda report, _: [] if "theseus" in str(report["recovered"]) else ["Too slow."])
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["bertpress", "demo", "--all", "--out", str(out), "--device", "cpu", "--quiet"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 3
    assert capsys.readouterr().err == "bertpress: b: Too slow.\n"
    page = (out / "report.html").read_text()
    assert ">a<" in page
    assert ">b<" in page
    recipes = {name: yaml.safe_load((out / name / "recipe.yaml").read_text()) for name in ("a", "b")}
    assert {name: (recipe["baseline"], recipe["limit"]) for name, recipe in recipes.items()} == {
        "a": (True, {"validation": 7}),
        "b": (False, {"validation": 7}),
    }
    start = json.loads((out / "a" / "start" / "result.json").read_text())
    assert start["metrics"] == json.loads((out / "finetune" / "00-finetune" / "result.json").read_text())["metrics"]
