"""`bertpress yoco` and `bertpress search` from end to end, wrong input and accidents."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from made_tables import pretending

from .test_commands import files_task

pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.slow]
SPACE = ("--set", "space.depth=[2,3,4]", "--set", "space.heads=[1,2,4]", "--set", "space.widths=[16,32,64]")
FEW = (
    "--set",
    "supernet.max_steps=8",
    "--batch-size",
    "8",
    "--set",
    "search.rounds=1",
    "--set",
    "search.candidates=6",
    "--set",
    "search.points=3",
    "--set",
    "search.rungs=[8]",
    "--device",
    "cpu",
    "--quiet",
    "--no-baseline",
)


@pytest.fixture
def yoco(bertpress: Callable[..., Any], model: Path, data: Path) -> Callable[..., Any]:
    """Run the command on the trained model."""

    def call(*more: object) -> Any:
        return bertpress("yoco", "--model", model, *files_task(data), *SPACE, *FEW, *more)

    return call


@pytest.fixture(scope="module")
def _trained() -> dict[str, Path]:
    return {}


@pytest.fixture
def trained(yoco: Callable[..., Any], _trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, made once; the whole front was searched."""
    if "run" not in _trained:
        run = tmp_path_factory.mktemp("yoco") / "run"
        outcome = yoco("--out", run)
        assert outcome.code == 0, outcome.err
        _trained["run"] = run
    return _trained["run"]


@pytest.fixture
def search(bertpress: Callable[..., Any], trained: Path) -> Callable[..., Any]:
    """Search that run's super-network."""

    def call(*more: object) -> Any:
        return bertpress("search", trained, "--device", "cpu", *more)

    return call


@pytest.fixture
def steady_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency as a function of the size: the real ones of networks as tiny as these differ less than they vary."""
    pretending(monkeypatch)()


def found(run: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((run / "00-yoco" / "search" / "found.json").read_text())
    return result


def entries(run: Path) -> list[dict[str, Any]]:
    lines = (run / "00-yoco" / "search" / "archive.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def logits_of(run: Path) -> Any:
    from pyarrow import parquet

    return np.array(parquet.read_table(run / "00-yoco" / "predictions" / "validation.parquet")["logits"].to_pylist())


def test_a_run_leaves_a_super_network_its_front_and_a_result(trained: Path) -> None:
    step = trained / "00-yoco"
    assert (step / "supernet" / "model" / "super_network.json").is_file()
    assert not list(step.glob("*/checkpoint-*"))
    what = found(trained)
    assert what["limits"] == [{"name": "encoder_parameters", "most": what["limits"][0]["most"], "asked": "50%"}]
    assert what["chosen"]["costs"]["encoder_parameters"] <= what["limits"][0]["most"]
    costs = [point["costs"]["encoder_parameters"] for point in what["points"]]
    assert costs == sorted(costs)
    assert len(costs) >= 2
    for point in [what["chosen"], *what["points"]]:
        assert point["costs"]["flops"] == 2 * point["costs"]["macs"]
        assert point["low"] <= point["score"] <= point["high"]
    result = json.loads((step / "result.json").read_text())
    assert result["phases"] == ["supernet"]
    assert result["cost"]["parameters"]["encoder"] == what["chosen"]["costs"]["encoder_parameters"]


def test_a_later_budget_is_answered_without_looking_at_anything(
    search: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    outcome = search("--parameters", "70%", "--out", tmp_path / "found")
    assert outcome.code == 0, outcome.err
    what = found(tmp_path / "found")
    assert what["forwards"] == 0
    assert what["chosen"]["costs"]["encoder_parameters"] <= what["limits"][0]["most"]
    assert f"answered from the archive of {trained}" in " ".join(outcome.err.split())


def test_a_super_network_of_a_small_budget_is_searched_for_a_larger_one(
    yoco: Callable[..., Any], bertpress: Callable[..., Any], tmp_path: Path
) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    outcome = yoco("--set", "parameters=30%", "--out", small)
    assert outcome.code == 0, outcome.err
    again = ("search", small, "--device", "cpu", "--set", "search.candidates=6")
    outcome = bertpress(*again, "--parameters", "95%", "--out", large)
    assert outcome.code == 0, outcome.err
    assert "uses most of this budget: searching" in " ".join(outcome.err.split())
    assert found(large)["forwards"] > 0
    assert found(large)["chosen"]["costs"]["encoder_parameters"] > found(small)["limits"][0]["most"]


def test_rounds_refine_what_was_found_and_repeat_nothing(
    search: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    before = {json.dumps(entry["network"]): entry for entry in entries(trained)}
    flags = ("--set", "search.candidates=6", "--quiet")
    outcome = search("--parameters", "70%", "--rounds", 2, *flags, "--out", tmp_path / "found")
    assert outcome.code == 0, outcome.err
    after = {json.dumps(entry["network"]): entry for entry in entries(tmp_path / "found")}
    assert set(before) < set(after)
    for network, entry in before.items():
        assert after[network]["sums"][: len(entry["sums"])] == entry["sums"]
    what = found(tmp_path / "found")
    judged = [entry for entry in after.values() if len(entry["sums"]) == len(what["rungs"])]
    fitting = [entry for entry in judged if entry["costs"]["encoder_parameters"] <= what["limits"][0]["most"]]
    assert what["chosen"]["loss"] == min(sum(entry["sums"]) / entry["rows"][-1] for entry in fitting)


def test_a_search_of_default_length_that_stopped_goes_on(trained: Path, tmp_path: Path) -> None:
    """What it has found so far is no earlier search that would answer already."""
    from bertpress.api import run_recipe
    from bertpress.engine.run import Runtime
    from bertpress.recipe import make_recipe
    from bertpress.search_requests import recipe_values

    shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "00-yoco" / "search")
    recipe = make_recipe(recipe_values(str(tmp_path / "run"), parameters="60%"))

    def stop(phase: str, step: int, total: int, logs: dict[str, float]) -> None:
        if (phase, step, total) == ("search", 2, 6):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, tmp_path / "parts", Runtime(device="cpu", progress=stop))
    run_recipe(recipe, tmp_path / "parts", Runtime(device="cpu"))
    run_recipe(recipe, tmp_path / "whole", Runtime(device="cpu"))
    assert entries(tmp_path / "parts") == entries(tmp_path / "whole")
    state = json.loads((tmp_path / "parts" / "00-yoco" / "search" / "state.json").read_text())
    assert state["done"] == 6


def test_a_narrower_search_shows_nothing_of_the_wider_one(
    search: Callable[..., Any], steady_times: None, tmp_path: Path
) -> None:
    flags = ("--servable", "stock", "--latency-ms", "95%", "--rounds", 1, "--quiet")
    outcome = search(*flags, "--out", tmp_path / "found")
    assert outcome.code == 0, outcome.err
    for point in found(tmp_path / "found")["points"]:
        assert {layer["heads"] for layer in point["network"]} == {4}
        assert "latency_ms" in point["costs"]


def test_the_result_is_the_super_network_set_to_its_shape(trained: Path, data: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    import bertpress
    from bertpress.methods.yoco.elastic import choosing, elastic
    from bertpress.methods.yoco.space import SubNetwork

    shapes = found(trained)["chosen"]["network"]
    folder = trained / "00-yoco"
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    texts = [line.rpartition(",")[0] for line in (data / "validation.csv").read_text().splitlines()[1:]]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    whole = elastic(AutoModelForSequenceClassification.from_pretrained(folder / "supernet" / "model").eval())
    own = AutoModelForSequenceClassification.from_pretrained(folder / "model").eval()
    again = bertpress.sub_network(trained, shapes)
    with torch.inference_mode():
        with choosing(whole, SubNetwork.of(shapes)):
            expected = whole(**batch).logits
        torch.testing.assert_close(own(**batch).logits, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(again(**batch).logits, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(logits_of(trained), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("servable", ["stock", "padded"])
def test_results_that_need_no_code(servable: str, search: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "found"
    outcome = search("--parameters", "60%", "--servable", servable, "--rounds", 1, "--out", out, "--quiet")
    assert outcome.code == 0, outcome.err
    model = out / "00-yoco" / "model"
    assert json.loads((model / "config.json").read_text())["model_type"] == "bert"
    assert not list(model.glob("*.py"))


def test_a_budget_below_the_smallest_network_is_refused(search: Callable[..., Any], tmp_path: Path) -> None:
    outcome = search("--parameters", "1%", "--out", tmp_path / "found", "--quiet")
    assert outcome.code == 3
    assert "smallest reachable" in outcome.err
    assert "2 layers, 1 head, width 16" in outcome.err
    assert not (tmp_path / "found" / "00-yoco" / "search" / "archive.jsonl").exists()


def test_a_budget_above_the_largest_network_is_told(search: Callable[..., Any], tmp_path: Path) -> None:
    outcome = search("--parameters", "10G", "--out", tmp_path / "found")
    assert outcome.code == 0, outcome.err
    assert sum("does not bind" in line for line in outcome.lines) == 1


def test_several_limits_hold_together(search: Callable[..., Any], steady_times: None, tmp_path: Path) -> None:
    out = tmp_path / "found"
    outcome = search("--parameters", "80%", "--flops", "60%", "--latency-ms", "90%", "--rounds", 1, "--out", out)
    assert outcome.code == 0, outcome.err
    what = found(out)
    assert [limit["name"] for limit in what["limits"]] == ["encoder_parameters", "flops", "latency_ms"]
    for limit in what["limits"]:
        assert what["chosen"]["costs"][limit["name"]] <= limit["most"]
    assert (out / "00-yoco" / "search" / "latency_table.json").is_file()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--parameters", "0"), "expected a number such as 15M"),
        (("--parameters", "120%"), "at most 100%"),
        (("--macs", "many"), "expected a number such as 15M"),
        (("--scope", "encoder"), "there is no limit on parameters"),
        (("--set", "space.widths=[8,64]"), "The super-network was not trained for"),
        (("--set", "space.depth=[9]"), "space.depth must be numbers from 1 to 4"),
        (("--set", "search.split=validation"), "is a split that is trained or reported on"),
        (("--servable", "onnx"), "'compact', 'stock' or 'padded'"),
        (("--learning-rate", "1e-4"), "Nothing is trained here, so --learning-rate sets nothing"),
    ],
)
def test_a_wrong_search_is_refused_in_a_sentence(
    more: tuple[str, ...], words: str, search: Callable[..., Any], tmp_path: Path
) -> None:
    outcome = search(*more, "--out", tmp_path / "found", "--quiet")
    assert outcome.code == 2, (outcome.out, outcome.err)
    assert words in outcome.err
    assert len(outcome.lines) == 1


def test_a_search_reads_the_data_that_it_is_given(search: Callable[..., Any], tmp_path: Path) -> None:
    outcome = search("--data-dir", tmp_path / "nowhere", "--parameters", "70%", "--out", tmp_path / "found")
    assert outcome.code == 2
    assert "nowhere" in outcome.err


def test_what_is_no_super_network_is_refused(bertpress: Callable[..., Any], model: Path, tmp_path: Path) -> None:
    outcome = bertpress("search", model, "--parameters", "50%", "--out", tmp_path / "found")
    assert outcome.code == 2
    assert "holds no super-network" in outcome.err
    assert bertpress("search", tmp_path / "nothing", "--out", tmp_path / "found").code == 2


def test_another_search_in_the_same_folder_is_refused_with_the_difference(
    search: Callable[..., Any], tmp_path: Path
) -> None:
    out = tmp_path / "found"
    assert search("--parameters", "70%", "--out", out, "--quiet").code == 0
    outcome = search("--parameters", "60%", "--out", out, "--quiet")
    assert outcome.code == 2
    assert "steps.0.yoco.parameters: 0.7 there, 0.6 now" in outcome.err


def test_a_smaller_space_than_the_trained_one_can_be_searched(search: Callable[..., Any], tmp_path: Path) -> None:
    flags = ("--set", "space.depth=[3]", "--set", "space.heads=[2,4]", "--set", "space.widths=[32,64]")
    outcome = search(*flags, "--parameters", "70%", "--out", tmp_path / "found", "--quiet")
    assert outcome.code == 0, outcome.err
    assert len(found(tmp_path / "found")["chosen"]["network"]) == 3


def test_what_a_narrower_space_does_not_name_stays_as_it_was_trained(
    search: Callable[..., Any], tmp_path: Path
) -> None:
    outcome = search("--set", "space.depth=[3]", "--parameters", "70%", "--rounds", 1, "--out", tmp_path / "found")
    assert outcome.code == 0, outcome.err
    assert "searching 3 layers, 1, 2, 4 heads, widths 16, 32, 64, of the trained 2, 3, 4 layers" in outcome.err
    assert len(found(tmp_path / "found")["chosen"]["network"]) == 3


def test_a_search_learns_as_its_super_network_s_run_did_and_a_sweep_stands_for_its_best_cell(
    yoco: Callable[..., Any], bertpress: Callable[..., Any], tmp_path: Path
) -> None:
    flags = ("--set", "learning=fixed", "--set", "exploit=upstream", "--set", "learn_from_explored=true")
    assert yoco(*flags, "--seeds", 2, "--out", tmp_path / "sweep").code == 0
    outcome = bertpress("search", tmp_path / "sweep", "--parameters", "60%", "--out", tmp_path / "found", "--quiet")
    assert outcome.code == 0, outcome.err
    step = yaml.safe_load((tmp_path / "found" / "recipe.yaml").read_text())["steps"][0]["yoco"]
    assert (step["learning"], step["exploit"], step["learn_from_explored"]) == ("fixed", "upstream", True)


@pytest.mark.parametrize("limit", ["macs=1%", "flops=1%", "parameters=1%"])
def test_what_nothing_meets_is_said_before_anything_is_trained(
    limit: str, yoco: Callable[..., Any], tmp_path: Path
) -> None:
    outcome = yoco("--set", limit, "--out", tmp_path / "run")
    assert outcome.code == 3
    assert "smallest reachable" in outcome.err
    assert not (tmp_path / "run").exists()


def test_rows_without_labels_can_be_trained_on_after_the_search(
    bertpress: Callable[..., Any], model: Path, data: Path, tmp_path: Path
) -> None:
    unlabelled = tmp_path / "data"
    unlabelled.mkdir()
    shutil.copy(data / "validation.csv", unlabelled)
    header, *lines = (data / "train.csv").read_text().splitlines()
    rows = [header.rpartition(",")[0], *(line.rpartition(",")[0] for line in lines)]
    (unlabelled / "train.csv").write_text("\n".join(rows) + "\n")
    flags = (*SPACE, *FEW, "--unlabelled", "--set", "parameters=60%", "--set", "export={max_steps: 3}")
    outcome = bertpress("yoco", "--model", model, *files_task(unlabelled), *flags, "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err


def test_a_super_network_alone_and_its_search_later(
    yoco: Callable[..., Any], bertpress: Callable[..., Any], tmp_path: Path
) -> None:
    assert yoco("--phases", "supernet", "--out", tmp_path / "run").code == 0
    assert not (tmp_path / "run" / "00-yoco" / "search").exists()
    outcome = bertpress(
        "search",
        tmp_path / "run",
        "--parameters",
        "60%",
        "--out",
        tmp_path / "found",
        "--device",
        "cpu",
        "--set",
        "search.candidates=6",
        "--rounds",
        1,
        "--quiet",
    )
    assert outcome.code == 0, outcome.err
    assert yoco("--out", tmp_path / "run").code == 0  # and the run itself goes on


def test_a_moved_run_is_searched_where_it_is(trained: Path, bertpress: Callable[..., Any], tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "moved")
    outcome = bertpress("search", tmp_path / "moved", "--parameters", "60%", "--out", tmp_path / "found", "--quiet")
    assert outcome.code == 0, outcome.err
    recipe = yaml.safe_load((tmp_path / "found" / "recipe.yaml").read_text())
    assert recipe["steps"][0]["yoco"]["super_network"] == str(tmp_path / "moved")
    assert recipe["model"] == yaml.safe_load((trained / "recipe.yaml").read_text())["model"]


@pytest.mark.parametrize("strategy", ["single", "progressive"])
def test_the_originals_ways_train_too(strategy: str, yoco: Callable[..., Any], tmp_path: Path) -> None:
    outcome = yoco(
        "--set",
        f"strategy={strategy}",
        "--set",
        "teacher=none",
        "--set",
        "learning=fixed",
        "--set",
        "exploit=upstream",
        "--set",
        "same_cost=false",
        "--set",
        "order_by=none",
        "--out",
        tmp_path,
    )
    assert outcome.code == 0, outcome.err
    log = [json.loads(line) for line in (tmp_path / "00-yoco" / "supernet" / "log.jsonl").read_text().splitlines()]
    assert any("drawn_loss" in entry for entry in log)
    assert not any("largest_loss" in entry for entry in log)


@pytest.mark.parametrize("policy", ["uniform", "importance"])
def test_other_layers_than_the_first_can_be_kept(policy: str, yoco: Callable[..., Any], tmp_path: Path) -> None:
    outcome = yoco("--set", f"space.depth_policy={policy}", "--set", "parameters=40%", "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    about = json.loads((tmp_path / "run" / "00-yoco" / "supernet" / "model" / "super_network.json").read_text())
    sets = about["space"]["layer_sets"]
    expected = [sorted(about["ordering"]["layers"][:depth]) for depth in (2, 3, 4)]
    assert sets == (expected if policy == "importance" else [[0, 2], [0, 1, 2], [0, 1, 2, 3]])


def test_a_table_of_other_settings_is_refused(search: Callable[..., Any], steady_times: None, tmp_path: Path) -> None:
    out = tmp_path / "found"
    flags = ("--latency-ms", "80%", "--rounds", 1, "--out", out, "--quiet")
    assert search(*flags).code == 0
    folder = out / "00-yoco" / "search"
    (folder / "finished.json").unlink()
    (out / "00-yoco" / "result.json").unlink()
    table = json.loads((folder / "latency_table.json").read_text())
    table["settings"]["threads"] += 1
    (folder / "latency_table.json").write_text(json.dumps(table))
    outcome = search(*flags)
    assert outcome.code == 2
    assert "measured under other settings (threads" in outcome.err


@pytest.mark.parametrize("recipe", ["theseus-yoco", "yoco-trbert"])
def test_it_goes_together_with_other_methods(
    recipe: str, bertpress: Callable[..., Any], model: Path, data: Path, tmp_path: Path
) -> None:
    place = {"theseus-yoco": 1, "yoco-trbert": 0}[recipe]
    few = [
        f"steps.{place}.yoco.{name}"
        for name in (
            "supernet.max_steps=6",
            "space.depth=[0.75,1.0]",
            "space.heads=[1,4]",
            "space.widths=[16,64]",
            "search.rounds=1",
            "search.candidates=6",
            "search.rungs=[8]",
        )
    ]
    few += {
        "theseus-yoco": ["steps.0.theseus.replacing.max_steps=6", "steps.0.theseus.replacing.batch_size=8"],
        "yoco-trbert": [
            "steps.1.trbert.policy.max_steps=4",
            "steps.1.trbert.joint.max_steps=4",
            "steps.1.trbert.rollouts=2",
            "steps.1.trbert.macs=0.8",
        ],
    }[recipe]
    flags = [word for assignment in few for word in ("--set", assignment)]
    outcome = bertpress(
        "compress",
        recipe,
        "--model",
        model,
        *files_task(data),
        *flags,
        "--out",
        tmp_path / "run",
        "--no-baseline",
        "--device",
        "cpu",
        "--quiet",
    )
    assert outcome.code == 0, outcome.err
    last = json.loads((sorted((tmp_path / "run").glob("0*"))[-1] / "model" / "config.json").read_text())
    assert (last.get("token_reduction") is not None) == (recipe == "yoco-trbert")
    assert last["num_hidden_layers"] <= (2 if recipe == "theseus-yoco" else 4)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("search/archive.jsonl", '{"network": [{"heads"'),
        ("search/archive.jsonl", '{"network": [{"origin": 0, "heads": "4", "intermediate_size": 16}], "costs": {}}'),
        ("search/archive.json", "[1"),
        ("supernet/model/super_network.json", "{}"),
        ("supernet/model/super_network.json", '{"schema": 2}'),
        ("supernet/model/super_network.json", '{"schema": 1, "space": "x"}'),
    ],
)
def test_a_damaged_file_is_named(
    name: str, content: str, trained: Path, bertpress: Callable[..., Any], tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "00-yoco" / name).write_text(content)
    outcome = bertpress("search", tmp_path / "run", "--parameters", "60%", "--out", tmp_path / "found", "--quiet")
    assert outcome.code == 2, (outcome.out, outcome.err)
    assert f"{name} is damaged" in outcome.err
    assert len(outcome.lines) == 1


@pytest.mark.parametrize("layer", [{"origin": "0", "heads": "1", "intermediate_size": "16"},
                                   {"origin": 0, "heads": True, "intermediate_size": 16}, {"origin": 0, "heads": 1},
                                   {"origin": 0, "heads": 1, "intermediate_size": 16, "more": 1}])  # fmt: skip
def test_a_sub_network_of_something_else_is_refused(layer: dict[str, Any], trained: Path) -> None:
    import bertpress
    from bertpress.errors import RequestError

    with pytest.raises(RequestError, match="expected the whole numbers origin, heads, intermediate_size of a layer"):
        bertpress.sub_network(trained, [layer])
