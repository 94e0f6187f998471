"""From a budget to recipes: which there are, what they would cost, in which order; and the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import make_model

from bertpress import cli
from bertpress.advising import Candidate, candidates, fitting
from bertpress.advising.advice import in_order, nearest, start_costs
from bertpress.advising.foreseeing import Costs, Known, Layers, foreseen, shortfall, skipping_factor
from bertpress.advising.timing import layers_of, share_of
from bertpress.bounds import Bounds
from bertpress.checks.checking import broken_bounds
from bertpress.config import build
from bertpress.costs import cost
from bertpress.costs.latency_table import LatencyTable, Timing, key_of
from bertpress.engine.evaluation import mean_tokens
from bertpress.errors import RequestError
from bertpress.methods.theseus import Theseus
from bertpress.methods.trbert import TrBert
from bertpress.methods.vocabulary import Vocabulary
from bertpress.methods.yoco import Yoco
from bertpress.recipe import make_recipe
from bertpress.tasks.classification import Classification

START = Costs(parameters=1000, encoder=600, macs=10_000, milliseconds=14.0)
TIMED = Layers(base_ms=2.0, shares=(0.25, 1.0), milliseconds=(0.8, 2.0))


def test_recipes_go_from_depth_to_width_to_tokens() -> None:
    found = candidates(6)
    orders = {tuple(step.name for step in candidate.steps) for candidate in found}
    for order in orders:
        assert list(order) == sorted(order, key=("tinybert", "theseus", "yoco", "trbert").index)
    assert {("theseus", "yoco", "trbert"), ("tinybert",), ("trbert",)} <= orders
    assert {candidate.layers for candidate in found} == {6, 5, 4, 3, 2}
    assert len({repr(candidate.steps) for candidate in found}) == len(found)
    assert {candidate.layers for candidate in candidates(1)} == {1}
    more = candidates(6, vocabulary=True, int8=True)
    assert len(more) == 4 * (len(found) + 1) - 2, "the vocabulary alone is a recipe, and nothing at all is none"
    assert more[-1].name == "theseus 2 layers, yoco 33 %, trbert 35 %, vocabulary, int8"


def test_methods_that_do_not_fit_are_left_out_with_their_reason() -> None:
    def refusal(steps: Any) -> str | None:
        """None of tokens, none of two."""
        if any(step.name == "trbert" for step in steps):
            return "no tokens to skip"
        return "too much at once" if len(steps) == 2 else None

    fit, reasons = fitting(candidates(4), refusal)
    assert reasons == {"trbert": "no tokens to skip"}
    assert {len(candidate.steps) for candidate in fit} == {1}
    assert {step.name for candidate in fit for step in candidate.steps} == {"tinybert", "theseus", "yoco"}


def test_costs_are_foreseen_layer_by_layer() -> None:
    candidate = Candidate((Theseus(successor_layers=3), Yoco(parameters=0.5), TrBert(macs=0.5)), 3, 0.5, 0.5)
    # 6 layers have 600 parameters and 9,000 multiply-adds; a half as wide layer takes 0.8 + 1/3 of 1.2 ms
    known = Known(START, 9_000, 6, TIMED, tokens=64, batch_size=1, int8=0.25, embeddings=100)
    found = foreseen(candidate, known)
    assert (found.parameters, found.encoder) == (400 + 150, 150)
    assert found.macs == pytest.approx(1_000 + 9_000 / 8)
    assert found.milliseconds == pytest.approx(2 + 3 * 1.2 * 0.5 / 0.82)
    smaller = foreseen(Candidate((*candidate.steps, Vocabulary()), 3, 0.5, 0.5, int8=True), known)
    assert smaller.parameters == found.parameters - 100
    assert smaller.milliseconds == pytest.approx(found.milliseconds / 4)
    assert foreseen(Candidate((), 6, 1.0, 1.0), known) == START


def test_skipping_tokens_of_short_texts_saves_no_time() -> None:
    assert skipping_factor(0.5, tokens=10, batch_size=1) == 1
    assert skipping_factor(0.5, tokens=10, batch_size=8) == pytest.approx(0.5 / 0.98)
    assert skipping_factor(0.9, tokens=64, batch_size=1) == 1, "never slower"
    assert skipping_factor(1.0, tokens=64, batch_size=8) == 1


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"max_parameters": "50%"}, 1.1),
        ({"max_parameters": 1100}, 0.5),
        ({"max_macs": "25%"}, 0.8),
        ({"max_latency_ms": 14}, 0.5),
        ({"min_speedup": 3}, 1.5),
        ({"min_speedup": 3, "max_macs": "10%"}, 2.0),
        ({"max_drop": 1}, 0.0),
    ],
)
def test_the_worst_limit_counts(limits: dict[str, Any], expected: float) -> None:
    costs = Costs(parameters=550, encoder=150, macs=2_000, milliseconds=7.0)
    assert shortfall(build(Bounds, limits), START, costs) == pytest.approx(expected)


def test_most_is_kept_first_and_simple_ones_before_others() -> None:
    steps = (Theseus(successor_layers=3), Yoco(), TrBert())

    def priced(count: int, macs: float, layers: int) -> tuple[Candidate, Costs]:
        return Candidate(steps[:count], layers, 1.0, 1.0), Costs(1, 1, macs, 1.0)

    given = [priced(3, 1000, 5), priced(1, 980, 4), priced(1, 500, 3), priced(2, 500, 3)]
    assert [(pair[0].layers, len(pair[0].steps)) for pair in in_order(given)] == [(4, 1), (5, 3), (3, 1)]


def test_of_recipes_that_miss_one_of_each_shape_is_told() -> None:
    half, third, whole = (Candidate((Theseus(successor_layers=count),), count, 1.0, 1.0) for count in (3, 2, 6))
    priced = [(each, Costs(1, 1, each.layers, 1.0)) for each in (half, half, third, third, whole)]
    assert [each.layers for each, _ in nearest(priced, lambda costs: costs.macs)] == [2, 3, 6]


def test_the_start_model_is_priced_in_closed_form(task: Classification) -> None:
    model = make_model()
    found, layers = start_costs(model, task, 10, 3.0)
    assert found.parameters == sum(weights.numel() for weights in model.parameters())
    assert found.macs == cost.macs(model.config, 10)
    half = start_costs(make_model(num_hidden_layers=2), task, 10, 3.0)[0]
    assert layers == 2 * (found.macs - half.macs)


def test_a_plan_times_batches_as_long_as_those_that_compress_times(task: Classification) -> None:
    from bertpress.measurements.measuring import latency_batches, padded_tokens

    for size in (1, 3, 8):
        widths = [batch["input_ids"].shape[1] for batch in latency_batches(task, (size,), "cpu")[size]]
        assert padded_tokens(task, size) == round(sum(widths) / len(widths))
    assert padded_tokens(task, 8) > mean_tokens(task), "a batch is as long as its longest text"


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_layers_are_timed_once_on_a_machine(family: str, task_of: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from bertpress.advising import timing

    monkeypatch.setattr(timing, "SECONDS", 0.01)
    model, task = make_model(family=family).eval(), task_of(family)
    layers = list(model.base_model.get_submodule(timing.encoder_of(model.config).layers))
    first = layers_of(model, task, 1, 8, tmp_path)
    assert first.shares[-1] == 1
    (tmp_path / "file").write_text("")
    assert layers_of(model, task, 1, 8, tmp_path / "file").shares == first.shares, "where nothing can be kept"
    (tmp_path / "file").unlink()
    assert (len(first.shares) > 1) == (family == "bert")
    assert all(value >= 0 for value in first.milliseconds)
    assert layers_of(model, task, 1, 8, tmp_path) == first
    assert len(list(tmp_path.iterdir())) == 1
    assert layers == list(model.base_model.get_submodule(timing.encoder_of(model.config).layers))


def test_a_layers_share_counts_its_parameters() -> None:
    model = make_model()
    layer = next(iter(model.base_model.encoder.layer))
    heads, width = model.config.num_attention_heads, model.config.intermediate_size
    assert share_of(model, [(heads, width)], [(heads, width)]) == 1
    narrower = share_of(model, [(heads, width // 2)] * 2, [(heads, width)] * 2)
    whole = sum(weights.numel() for weights in layer.parameters())
    removed = (width - width // 2) * (2 * model.config.hidden_size + 1)
    assert narrower == pytest.approx(1 - removed / whole)


def test_layers_that_differ_are_priced_by_their_mean(task: Classification, tmp_path: Path, monkeypatch: Any) -> None:
    from bertpress.advising import timing

    def by_width(model: Any, task: Any, shapes: Any, settings: Any) -> LatencyTable:
        times = {key_of((heads, width)): Timing(median=width, low=width, high=width) for heads, width in shapes}
        return LatencyTable(settings=settings, base_ms=Timing(median=1, low=1, high=1), layers_ms=times, rounds=7)

    monkeypatch.setattr(timing, "_by_shape", by_width)
    monkeypatch.setattr(timing, "shapes_of", lambda config: ((2, 6), (2, 60)))
    timed = layers_of(make_model().eval(), task, 1, 8, tmp_path)
    assert timed.layer(1.0) == 33, "the mean of 6 and 60"
    assert timed.milliseconds[0] == (1 + 10) / 2, "a sixth of each"


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["bertpress", "plan", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def no_cutting(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RequestError("tokens of this kind stay")

    monkeypatch.setattr(Vocabulary, "check", refuse)


def test_plan_writes_the_best_recipe_with_its_budget(
    tiny_model_folder: Path,
    tiny_data_folder: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from bertpress.advising import timing

    monkeypatch.setattr(timing, "SECONDS", 0.01)
    timed_at: list[tuple[int, int]] = []

    def factor(model: Any, task: Any, batch_size: int, tokens: int) -> float:
        timed_at.append((batch_size, tokens))
        return 0.25

    monkeypatch.setattr(timing, "int8_factor", factor)
    data = ["--task", "files", "--data-dir", str(tiny_data_folder), "--columns", "text", "--max-length", "32"]
    common = [str(tiny_model_folder), *data, "--device", "cpu", "--quiet"]
    file = tmp_path / "plan.yaml"
    assert run([*common, "--macs", "50%", "--max-drop", "1", "--out", str(file)], monkeypatch) == 0
    said = capsys.readouterr().out
    assert "as it is" in said
    assert "yoco 50 %" in said
    assert "int8" in said
    assert "does not fit" not in said
    recipe = make_recipe(yaml.safe_load(file.read_text()))
    assert recipe.budget == build(Bounds, {"max_macs": "50%", "max_drop": 1})
    assert recipe.model == str(tiny_model_folder)
    assert "keeps to the budget as it is" not in said
    assert run([*common, "--macs", "100%"], monkeypatch) == 0
    assert "The model keeps to the budget as it is." in capsys.readouterr().out
    assert run([*common, "--speedup", "500", "--batch-size", "8", "--json"], monkeypatch) == 3
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert told["recipe"] is None
    assert len(told["rows"]) == 3
    assert told["refused"] == {}
    exports = ["onnx fp32", "onnx int8"]
    assert told["fits"] == ["finetune", "theseus", "tinybert", "trbert", "vocabulary", "yoco", *exports]
    assert timed_at[-1] == (8, told["padded"])
    assert told["padded"] > told["tokens"]
    as_it_is, int8 = told["start"]["milliseconds"], told["baselines"][0]["milliseconds"]
    assert int8 == pytest.approx(as_it_is / 4)
    assert "No recipe would keep to the budget" in captured.err
    assert run([*common, "--max-drop", "1"], monkeypatch) == 2
    assert "Name what is to be saved" in capsys.readouterr().err
    for split in ("train", "validation"):
        (tmp_path / "plain").mkdir(exist_ok=True)
        (tmp_path / "plain" / f"{split}.csv").write_text("text\n" + "a good film\n" * 20)
    plain = [str(tmp_path / "plain") if word == str(tiny_data_folder) else word for word in common]
    assert run([*plain, "--unlabelled", "--macs", "50%", "--max-drop", "1"], monkeypatch) == 2
    assert "max_drop needs labelled rows" in capsys.readouterr().err
    (tmp_path / "plain" / "train.csv").unlink()
    assert run([*plain, "--unlabelled", "--macs", "50%"], monkeypatch) == 2
    assert "has no train split" in capsys.readouterr().err
    no_cutting(monkeypatch)
    assert run([*common, "--parameters", "60%", "--json"], monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)["refused"] == {"vocabulary": "tokens of this kind stay"}
    assert run([*common, "--macs", "50%"], monkeypatch) == 0
    said = capsys.readouterr().out
    assert "Fit this model and task: finetune, theseus, tinybert, trbert, yoco, onnx fp32, onnx int8." in said
    assert "vocabulary does not fit: tokens of this kind stay" in said


@pytest.mark.slow
def test_an_int8_export_is_timed_once_on_a_machine(task: Classification, tmp_path: Path, monkeypatch: Any) -> None:
    from bertpress.advising import timing

    monkeypatch.setattr(timing, "SECONDS", 0.01)
    model = make_model().eval()
    factor = timing.int8_factor(model, task, 1, 8, tmp_path)
    assert factor > 0
    (file,) = tmp_path.iterdir()
    assert timing.int8_factor(model, task, 1, 8, tmp_path) == factor
    file.write_text("broken")
    monkeypatch.setattr(timing.latency, "measure", lambda *_, **__: np.array([[2.0] * 7, [1.0] * 7]))
    assert timing.int8_factor(model, task, 1, 8, tmp_path) == 0.5


@pytest.mark.slow
def test_compress_keeps_its_result_to_the_budget(
    tiny_recipe: dict[str, Any],
    quick_latency: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = {**tiny_recipe, "steps": [{"theseus": {"replacing": {"max_steps": 1}}}]}
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"

    def compress(**budget: Any) -> int:
        recipe.write_text(yaml.safe_dump({**values, "budget": budget}))
        arguments = ["bertpress", "compress", str(recipe), "--out", str(out), "--device", "cpu", "--quiet"]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0)

    assert compress(max_macs="60%", max_drop=100, batch_size=4) == 0
    rows = json.loads((out / "00-theseus" / "result.json").read_text())["cost"]["latency"]
    assert [row["batch"] for row in rows] == [1, 4]
    began = (out / "00-theseus" / "result.json").stat().st_mtime_ns
    environment = out / "environment.json"
    environment.write_text(environment.read_text().replace('"cpu"', '"cuda:0"'))
    assert compress(max_macs="40%") == 3
    assert '"cuda:0"' in environment.read_text(), "what is done was done where it was done"
    assert "max-macs" in capsys.readouterr().err
    assert (out / "00-theseus" / "result.json").stat().st_mtime_ns == began, "another budget trains nothing anew"
    assert "broken" in broken_bounds(out)[0]
