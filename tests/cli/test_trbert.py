"""`bertpress trbert` from end to end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from .test_commands import files_task

pytestmark = pytest.mark.usefixtures("quick")
FEW = ("--set", "policy.max_steps=6", "--set", "joint.max_steps=6", "--set", "rollouts=2", "--batch-size", "8",
       "--set", "joint.batch_size=8", "--device", "cpu", "--quiet")  # fmt: skip


@pytest.fixture
def trbert(bertpress: Callable[..., Any], model: Path, data: Path) -> Callable[..., Any]:
    """Run the command on the trained model."""

    def call(*more: object, start: object = model) -> Any:
        return bertpress("trbert", "--model", start, *files_task(data), *more)

    return call


def printed(outcome: Any) -> dict[str, Any]:
    """The fields of the only step of a printed recipe."""
    assert outcome.code == 0, outcome.err
    fields: dict[str, Any] = yaml.safe_load(outcome.out)["steps"][0]["trbert"]
    return fields


def test_flags_become_fields(trbert: Callable[..., Any]) -> None:
    fields = printed(
        trbert("--set", "selector=gumbel", "--set", "alpha=[2, 0.5]", "--set", "reduction_layers=[1,3]", "--set",
               "always_keep=[sep]", "--teacher", "input", "--epochs", "2", "--learning-rate", "1e-3", "--print")
    )  # fmt: skip
    assert (fields["selector"], fields["alpha"], fields["reduction_layers"]) == ("gumbel", [2.0, 0.5], [1, 3])
    assert (fields["teacher"], fields["always_keep"]) == ("input", ["sep"])
    assert (fields["policy"]["epochs"], fields["policy"]["learning_rate"]) == (2.0, 1e-3)
    assert fields["joint"]["epochs"] == 3.0


@pytest.mark.parametrize(
    ("more", "phase"),
    [((), "policy"), (("--set", "selector=first"), "joint"), (("--set", "init.warmup=0.1"), "init"),
     (("--set", "policy=null"), "joint")],
)  # fmt: skip
def test_training_flags_set_the_phase_that_comes_first(
    trbert: Callable[..., Any], more: tuple[str, ...], phase: str
) -> None:
    fields = printed(trbert(*more, "--epochs", "7", "--print"))
    assert fields[phase]["epochs"] == 7.0
    assert [name for name in ("init", "policy", "joint") if (fields[name] or {}).get("epochs") == 7.0] == [phase]


def test_a_dry_run_tells_hours_and_writes_nothing(trbert: Callable[..., Any], tmp_path: Path) -> None:
    long = ("--set", "policy.max_steps=1000000", "--out", tmp_path / "run", "--dry-run", "--device", "cpu")
    outcome = trbert(*long, "--set", "policy.batch_size=512")
    assert outcome.code == 0, outcome.err
    assert re.search(r"│ [\d.]+ h +│", outcome.out)
    assert "before layers 1, 2 of 4 (counted from 0), so that about 50 % of the multiply-adds are kept" in outcome.out
    (row,) = json.loads(trbert(*long, "--json").out)
    assert set(row["optimizer_steps"]) == {"policy", "joint"}
    fewer = json.loads(trbert(*long, "--json", "--set", "rollouts=1").out)[0]
    assert row["seconds"] > 1.5 * fewer["seconds"], "rollouts cost time"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--set", "macs=0.2"), "macs 0.2 cannot be reached: 1 of 4 layers always see all tokens"),
        (("--set", "reduction_layers=[1,9]"), "must rise from 1 to at most 3 (the model has 4 layers), got [1, 9]"),
        (("--set", "selector=best"), "'policy', 'gumbel', 'threshold', 'attention', 'random' or 'first'"),
        (("--set", "marcs=0.4"), "did you mean 'macs'"),
        (("--phases", "policies"), "no phase 'policies' in this recipe (did you mean 'policy'?)"),
        (("--set", "selector=gumbel", "--phases", "importance"), "no phase 'importance' in this recipe"),
        (("--teacher", "none", "--set", "soft_weight=0.5"), "without a teacher only the labels are learned"),
        (("--set", "always_keep=[period]"), "always_keep names period, but the tokenizer has no such special token"),
        (("--teacher", "nowhere/there"), "nowhere/there"),
    ],
)
def test_requests_that_are_wrong(trbert: Callable[..., Any], tmp_path: Path, more: tuple[str, ...], words: str) -> None:
    outcome = trbert(*FEW, *more, "--out", tmp_path / "run")
    assert outcome.code == 2
    assert len(outcome.lines) == 1
    assert words in outcome.err
    assert not list(tmp_path.rglob("checkpoint-*"))


@pytest.mark.slow
def test_a_run_and_what_stands_on_it(
    trbert: Callable[..., Any], bertpress: Callable[..., Any], model: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert trbert(*FEW, "--out", out, "--phases", "importance,policy").code == 0
    assert not (out / "00-trbert" / "model").exists()
    done = trbert(*FEW, "--out", out)
    assert done.code == 0, done.err
    assert "trbert" in done.out
    result = json.loads((out / "00-trbert" / "result.json").read_text())
    assert result["phases"] == ["policy", "joint"]
    scored = bertpress("evaluate", out, *files_task(data), "--json")
    assert json.loads(scored.out)["validation"]["accuracy"] == pytest.approx(
        result["metrics"]["validation"]["accuracy"]
    )
    answer = bertpress("predict", out, "--text", "the film was good")
    assert json.loads(answer.out)["prediction"] in ("neg", "pos")
    measured = bertpress("measure", out, "--against", model, *files_task(data), "--json", "--device", "cpu")
    assert json.loads(measured.out)
    again = trbert(*FEW, "--set", "macs=0.9", "--out", out)
    assert again.code == 2
    assert "macs: 0.5 there, 0.9 now" in again.err
    twice = trbert(*FEW, "--out", tmp_path / "twice", start=out)
    assert twice.code == 2
    assert "skips tokens" in twice.err


@pytest.mark.slow
def test_on_a_run_of_another_method(
    trbert: Callable[..., Any], bertpress: Callable[..., Any], model: Path, data: Path, tmp_path: Path
) -> None:
    first = tmp_path / "small"
    steps = ("--set", "replacing.max_steps=6", "--batch-size", "8", "--device", "cpu", "--quiet", "--no-baseline")
    made = bertpress(
        "theseus", "--model", model, *files_task(data), *steps, "--set", "successor_layers=3", "--out", first
    )
    assert made.code == 0, made.err
    done = trbert(*FEW, "--set", "macs=0.7", "--teacher", str(model), "--out", tmp_path / "run", start=first)
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "run" / "00-trbert" / "result.json").read_text())["layers"] == 3


def test_list_and_show(bertpress: Callable[..., Any]) -> None:
    assert "trbert" in bertpress("list", "methods").out
    assert {"trbert-upstream", "demo-trbert"} <= {
        line.split()[0] for line in bertpress("list", "recipes").out.splitlines()
    }
    page = bertpress("show", "trbert").out
    assert "arXiv 2105.11618" in page
    for field in ("macs = 0.5", "selector = policy", "alpha = None", "rollouts = 8"):
        assert field in page
    assert "trbert" in bertpress("theseus", "--help").out, "--teacher names the methods that have one"


def test_the_method_is_a_public_name() -> None:
    import bertpress

    assert bertpress.TrBert(macs=0.4).macs == 0.4
