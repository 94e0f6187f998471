"""Every command from end to end, on a tiny model."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from brief import briefly

from .conftest import relabelled

pytestmark = pytest.mark.usefixtures("quick")
FEW = ("--set", "replacing.max_steps=12", "--set", "replacing.batch_size=8", "--device", "cpu", "--quiet")


def files_task(data: Path) -> tuple[str, ...]:
    """The flags of the task."""
    return ("--task", "files", "--data-dir", str(data), "--columns", "text", "--max-length", "32")


@pytest.fixture(scope="module")
def run(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished theseus run, made through the command line."""
    import contextlib
    import io
    import sys

    from bertpress import cli
    from bertpress.costs import latency

    out = tmp_path_factory.mktemp("runs") / "small"
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setattr(latency, "measure", briefly(latency.measure))
        patch.setattr(sys, "argv", ["bertpress", *theseus(model, data, out)])
        with contextlib.suppress(SystemExit):
            cli.main()
    return out


def theseus(model: Path, data: Path, out: Path, *more: str) -> list[str]:
    """The command of `run`."""
    return ["theseus", "--model", str(model), *files_task(data), *FEW, "--out", str(out), *more]


def test_theseus_leaves_the_files_of_a_run(run: Path) -> None:
    for name in ("recipe.yaml", "environment.json", "report.json", "report.md", "report.html"):
        assert (run / name).is_file(), name
    for part in ("start", "baseline", "00-theseus"):
        assert json.loads((run / part / "result.json").read_text())["schema"] == 1
        assert (run / part / "predictions" / "validation.parquet").is_file()
    for part in ("baseline", "00-theseus"):
        assert (run / part / "model" / "model.safetensors").is_file()
        assert (run / part / "model" / "README.md").is_file()
    assert (run / "00-theseus" / "replacing" / "log.jsonl").is_file()
    assert not list(run.rglob("checkpoint-*"))
    assert not list(run.rglob("*.tmp"))


def test_tensorboard_gets_rates_replacements_and_losses(
    bertpress: Callable[..., Any], model: Path, data: Path, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert bertpress(*theseus(model, data, tmp_path / "run", "--log", "tensorboard", "--no-baseline")).code == 0
    (events,) = (tmp_path / "run" / "00-theseus" / "replacing").rglob("events.out.tfevents.*")
    found = EventAccumulator(str(events)).Reload()
    scalars = {"train/loss", "train/learning_rate", "train/replace_rate", "train/replaced_0", "eval/accuracy"}
    assert scalars <= set(found.Tags()["scalars"])
    assert [point.value for point in found.Scalars("train/replace_rate")][-1] == 1.0


def test_result_json_keeps_its_contract(run: Path) -> None:
    result = json.loads((run / "00-theseus" / "result.json").read_text())
    assert result["method"] == "theseus"
    assert result["phases"] == ["replacing"]
    assert result["primary_metric"] in result["metrics"]["validation"]
    assert set(result["cost"]) == {"parameters", "macs", "size_bytes", "latency"}
    assert {"total", "encoder"} <= set(result["cost"]["parameters"])
    assert result["seed"] == 1
    assert result["layers"] == 2


def test_the_report_has_every_section(run: Path) -> None:
    result = json.loads((run / "00-theseus" / "result.json").read_text())
    assert (result["kind"], result["labels"], result["positive"]) == ("classification", ["neg", "pos"], 1)
    report = json.loads((run / "report.json").read_text())
    pairs = [(test["name"], test["against"]) for test in report["comparisons"]]
    assert ("theseus", "start") in pairs
    assert ("theseus", "truncated baseline") in pairs
    scores = {row["name"]: row["score"] for row in report["rows"]}
    for test in report["comparisons"]:
        assert test["difference"] == pytest.approx(scores[test["name"]] - scores[test["against"]])
    assert report["changes"][0]["rows"] == 40
    assert [(curve["name"], set(curve["series"])) for curve in report["curves"]] == [
        ("truncated baseline", {"loss", "score"}),
        ("theseus", {"loss", "score", "replace_rate"}),
    ]
    page = (run / "report.html").read_text()
    for heading in ("Paired tests", "Costs", "Rows that changed", "Training curves", "Settings", "Environment"):
        assert heading in page
    assert "successor_layers: null" in page


def test_predictions_hold_the_texts(run: Path, data: Path) -> None:
    from pyarrow import parquet

    table = parquet.read_table(run / "00-theseus" / "predictions" / "validation.parquet")
    with (data / "validation.csv").open() as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    assert [row["text"] for row in table.column("texts").to_pylist()] == texts
    assert table.column("row").to_pylist() == list(range(40))


def test_the_result_loads_with_transformers(run: Path, data: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    loaded, info = AutoModelForSequenceClassification.from_pretrained(
        run / "00-theseus" / "model", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert loaded.config.num_hidden_layers == 2
    assert loaded.config.id2label == {0: "neg", 1: "pos"}
    tokenizer = AutoTokenizer.from_pretrained(run / "00-theseus" / "model")
    assert tokenizer.backend_tokenizer.truncation is None
    assert tokenizer.backend_tokenizer.padding is None


def test_the_same_command_again_does_nothing(run: Path, model: Path, data: Path, bertpress: Callable[..., Any]) -> None:
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*.safetensors")}
    start = time.perf_counter()
    assert bertpress(*theseus(model, data, run)).code == 0
    assert time.perf_counter() - start < 10
    assert {file: file.stat().st_mtime_ns for file in run.rglob("*.safetensors")} == before


@pytest.mark.slow
def test_a_run_does_not_go_on_with_edited_rows(
    model: Path, data: Path, tmp_path: Path, bertpress: Callable[..., Any]
) -> None:
    shutil.copytree(data, tmp_path / "data")
    command = theseus(model, tmp_path / "data", tmp_path / "run", "--no-baseline")
    assert bertpress(*command).code == 0
    assert set(json.loads((tmp_path / "run" / "sources.json").read_text())) == {
        str(tmp_path / "data" / f"{split}.csv") for split in ("train", "validation", "test")
    }
    train = tmp_path / "data" / "train.csv"
    train.write_text(train.read_text(encoding="utf-8").replace("film", "plot", 1), encoding="utf-8")
    again = bertpress(*command)
    assert again.code == 2
    assert f"was begun with other data: {train} changed since" in again.err


def test_evaluate_repeats_the_metrics_of_the_run(run: Path, data: Path, bertpress: Callable[..., Any]) -> None:
    outcome = bertpress("evaluate", run, *files_task(data), "--device", "cpu", "--json")
    assert outcome.code == 0
    metrics = json.loads((run / "00-theseus" / "result.json").read_text())["metrics"]
    got = json.loads(outcome.out)
    assert got.keys() == metrics.keys()
    for split in got:
        assert got[split] == pytest.approx(metrics[split])
    assert "hint" not in outcome.err


def test_a_model_that_reads_less_than_it_was_trained_on_says_so(
    run: Path, data: Path, bertpress: Callable[..., Any]
) -> None:
    trained = yaml.safe_load((run / "recipe.yaml").read_text())["max_length"]
    outcome = bertpress("evaluate", run, *files_task(data), "--device", "cpu", "--max-length", trained - 1)
    assert outcome.code == 0
    told = f"was trained on inputs of up to {trained} tokens and reads {trained - 1}; give --max-length."
    assert told in " ".join(outcome.err.split())


def test_evaluate_tells_what_it_scores(model: Path, data: Path, tmp_path: Path, bertpress: Callable[..., Any]) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(data / "train.csv", tmp_path / "data")
    rows = len((data / "train.csv").read_text().splitlines()) - 1
    held = round(rows / 10)
    flags = (*files_task(tmp_path / "data"), "--device", "cpu")
    told = [
        f"validation: {held} rows",
        f"no validation split: {held} of {rows} training rows (seed 1) are held out for validation",
    ]
    scored, predicted = bertpress("evaluate", model, *flags), bertpress("predict", model, *flags, "--out", tmp_path)
    for outcome in (scored, predicted):
        assert outcome.code == 0, outcome.err
        assert not [line for line in told if line not in " ".join(outcome.err.split())], outcome.err


def test_predict_texts(model: Path, tmp_path: Path, bertpress: Callable[..., Any]) -> None:
    outcome = bertpress("predict", model, "--text", "the film was good", "--text", "an awful plot", "--max-length", 32)
    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert [record["prediction"] for record in records] == ["pos", "neg"]
    file = tmp_path / "texts.csv"
    file.write_text("id,text\n1,the film was good\n2,an awful plot\n")
    again = bertpress("predict", model, "--input", file, "--columns", "text", "--max-length", 32)
    assert [json.loads(line)["prediction"] for line in again.out.splitlines()] == ["pos", "neg"]


def test_predict_a_split(model: Path, data: Path, tmp_path: Path, bertpress: Callable[..., Any]) -> None:
    outcome = bertpress("predict", model, *files_task(data), "--split", "test", "--out", tmp_path / "predictions")
    assert outcome.code == 0
    records = [json.loads(line) for line in (tmp_path / "predictions" / "test.jsonl").read_text().splitlines()]
    assert [record["row"] for record in records] == list(range(20))
    assert {record["prediction"] for record in records} <= {"neg", "pos"}


def test_the_split_that_is_predicted_is_the_test_split_if_there_is_one(
    model: Path, data: Path, tmp_path: Path, bertpress: Callable[..., Any]
) -> None:
    outcome = bertpress("predict", model, *files_task(data), "--out", tmp_path / "tested")
    assert "predicting test: 20 rows" in outcome.err
    assert (tmp_path / "tested" / "test.jsonl").is_file()
    for split in ("train", "validation"):
        (tmp_path / "data").mkdir(exist_ok=True)
        shutil.copy(data / f"{split}.csv", tmp_path / "data")
    flags = (*files_task(tmp_path / "data"), "--limit", "validation=7")
    outcome = bertpress("predict", model, *flags, "--out", tmp_path / "predicted")
    assert outcome.code == 0, outcome.err
    assert "predicting validation: 7 rows" in outcome.err
    assert len((tmp_path / "predicted" / "validation.jsonl").read_text().splitlines()) == 7
    refused = bertpress("predict", model, *flags, "--split", "test", "--out", tmp_path / "other")
    assert refused.code == 2
    assert "no split 'test'" in refused.err


def test_predictions_need_a_place(model: Path, data: Path, tmp_path: Path, bertpress: Callable[..., Any]) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    for out in (file, file / "predictions"):
        outcome = bertpress("predict", model, *files_task(data), "--split", "test", "--out", out)
        assert outcome.code == 2
        assert "choose another --out" in outcome.err
    assert file.read_text() == "not a folder"


def test_measure_two_models(run: Path, model: Path, data: Path, bertpress: Callable[..., Any]) -> None:
    flags = (*files_task(data), "--device", "cpu", "--batch-size", 8)
    outcome = bertpress("measure", run, "--against", model, *flags, "--json")
    assert outcome.code == 0
    rows = json.loads(outcome.out)
    assert [row["batch"] for row in rows] == [1, 8]
    assert all(row["median_ms"] > 0 for row in rows)
    assert bertpress("measure", run, *flags).out.strip()


def test_measure_a_model_without_label_names(
    model: Path, data: Path, tmp_path: Path, bertpress: Callable[..., Any]
) -> None:
    unnamed = relabelled(model, tmp_path / "unnamed", ("LABEL_0", "LABEL_1"))
    flags = ("measure", unnamed, *files_task(data), "--device", "cpu", "--batch-size", 8)
    assert bertpress(*flags).code == 2
    assert bertpress(*flags, "--head-labels", "neg,pos").code == 0


def test_report_over_runs(run: Path, tmp_path: Path, bertpress: Callable[..., Any]) -> None:
    page = tmp_path / "page.html"
    outcome = bertpress("report", run, "--out", page)
    assert outcome.code == 0
    assert "accuracy" in outcome.out
    assert "<html" in page.read_text()


@pytest.mark.parametrize(
    ("what", "expected"), [("methods", "theseus"), ("tasks", "glue/mrpc"), ("recipes", "demo-theseus")]
)
def test_list_and_show(what: str, expected: str, bertpress: Callable[..., Any]) -> None:
    listed = bertpress("list", what)
    assert listed.code == 0
    assert expected in listed.out
    shown = bertpress("show", expected)
    assert shown.code == 0
    assert len(shown.out) > 20


def test_show_lists_the_fields_of_groups(bertpress: Callable[..., Any]) -> None:
    shown = " ".join(bertpress("show", "yoco").out.split())
    assert "search.candidates = 24 candidates of a round" in shown
    assert "supernet.epochs = 5" in shown
    tinybert = bertpress("show", "tinybert").out
    assert tinybert.count(".learning_rate = ") == 1, "the second group of the same fields is one line"


def test_dry_run_writes_nothing(model: Path, data: Path, tmp_path: Path, bertpress: Callable[..., Any]) -> None:
    outcome = bertpress(*theseus(model, data, tmp_path / "out"), "--dry-run")
    assert outcome.code == 0
    assert "00-theseus" in outcome.out
    assert not list(tmp_path.iterdir())
    rows = json.loads(bertpress(*theseus(model, data, tmp_path / "out"), "--dry-run", "--json").out)
    assert [row["layers"] for row in rows][:1] == [2]


def test_print_goes_through_compress(model: Path, data: Path, tmp_path: Path, bertpress: Callable[..., Any]) -> None:
    printed = bertpress(*theseus(model, data, tmp_path / "out", "--seed", "3"), "--print")
    assert printed.code == 0
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(printed.out)
    again = bertpress("compress", recipe, "--print")
    assert again.code == 0
    assert again.out == printed.out
    assert yaml.safe_load(again.out)["steps"][0]["theseus"]["replacing"]["max_steps"] == 12


def test_a_recipe_keeps_the_settings_of_its_task_where_that_is_named_again(bertpress: Callable[..., Any]) -> None:
    command = ("compress", "trbert-race", "--model", "folder", "--task", "race", "--data-dir", "RACE", "--print")
    task = yaml.safe_load(bertpress(*command).out)["task"]
    assert (task["data_dir"], task["choice"]["scoring"]) == ("RACE", "separately")


@pytest.mark.parametrize(
    ("method", "flags", "phase", "changed"),
    [
        ("tinybert", ("--epochs", "10"), "intermediate", {"epochs": 10}),
        ("tinybert", ("--set", "prediction.batch_size=8"), "prediction", {"batch_size": 8}),
        ("trbert", ("--set", "policy.learning_rate=1e-3"), "policy", {"learning_rate": 1e-3}),
        ("trbert", ("--set", "joint={accumulation: 2}"), "joint", {"accumulation": 2}),
        ("yoco", ("--learning-rate", "3e-4"), "supernet", {"learning_rate": 3e-4}),
        ("yoco", ("--epochs", "2", "--set", "supernet.clip=3"), "supernet", {"epochs": 2, "clip": 3}),
    ],
)
def test_a_flag_changes_the_named_field_alone(
    method: str, flags: tuple[str, ...], phase: str, changed: dict[str, float], bertpress: Callable[..., Any]
) -> None:
    def printed(*more: str) -> dict[str, Any]:
        outcome = bertpress(method, "--model", "any", "--task", "glue/mrpc", "--print", *more)
        assert outcome.code == 0, outcome.err
        fields: dict[str, Any] = yaml.safe_load(outcome.out)["steps"][0][method]
        return fields

    plain, found = printed(), printed(*flags)
    assert found == {**plain, phase: {**plain[phase], **changed}}


def test_a_printed_recipe_goes_on_with_the_run(
    run: Path, model: Path, data: Path, tmp_path: Path, bertpress: Callable[..., Any]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(bertpress(*theseus(model, data, run), "--print").out)
    assert bertpress("compress", recipe, "--out", run, "--device", "cpu", "--quiet").code == 0


@pytest.mark.slow
def test_seeds_write_a_summary(model: Path, data: Path, tmp_path: Path, bertpress: Callable[..., Any]) -> None:
    out = tmp_path / "seeds"
    assert bertpress(*theseus(model, data, out, "--seeds", "2", "--no-baseline")).code == 0
    summary = json.loads((out / "summary.json").read_text())
    assert [cell["settings"] for cell in summary["cells"]] == [{"seed": 1}, {"seed": 2}]
    assert summary["low"] <= summary["median"] <= summary["high"]
    assert (out / summary["best"] / "00-theseus" / "model").is_dir()
    assert bertpress("evaluate", out, *files_task(data), "--json", "--device", "cpu").code == 0


@pytest.mark.slow
def test_a_sweep_is_a_grid(model: Path, data: Path, tmp_path: Path, bertpress: Callable[..., Any]) -> None:
    out = tmp_path / "grid"
    sweep = ("--sweep", "successor_layers=1,2", "--sweep", "replacing.learning_rate=1e-3,1e-4", "--no-baseline")
    outcome = bertpress(*theseus(model, data, out, *sweep), "--json")
    assert outcome.code == 0
    summary = json.loads(outcome.out)
    assert len(summary["cells"]) == 4
    assert len({json.dumps(cell["settings"]) for cell in summary["cells"]}) == 4
    for cell in summary["cells"]:
        result = json.loads((out / cell["folder"] / "00-theseus" / "result.json").read_text())
        assert result["layers"] == cell["settings"]["steps.0.theseus.successor_layers"]


@pytest.mark.slow
def test_one_phase_then_the_rest(model: Path, data: Path, tmp_path: Path, bertpress: Callable[..., Any]) -> None:
    two = ("--set", "finetuning.max_steps=10", "--set", "finetuning.batch_size=8", "--no-baseline")
    apart, whole = tmp_path / "apart", tmp_path / "whole"
    stopped = bertpress(*theseus(model, data, apart, *two, "--phases", "replacing"))
    assert stopped.code == 0
    assert "finetuning" in stopped.err
    assert (apart / "00-theseus" / "replacing" / "finished.json").is_file()
    assert not (apart / "00-theseus" / "result.json").exists()
    assert bertpress(*theseus(model, data, apart, *two)).code == 0
    assert bertpress(*theseus(model, data, whole, *two)).code == 0
    weights = [(out / "00-theseus" / "model" / "model.safetensors").read_bytes() for out in (apart, whole)]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_the_baseline_is_trained_whatever_phases_were_asked_for(
    model: Path, data: Path, tmp_path: Path, bertpress: Callable[..., Any]
) -> None:
    outcome = bertpress(*theseus(model, data, tmp_path / "out", "--phases", "replacing"))
    assert outcome.code == 0
    assert "Stopped" not in outcome.err
    assert (tmp_path / "out" / "baseline" / "result.json").is_file()
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.slow
def test_finetune_an_encoder_alone(model: Path, data: Path, tmp_path: Path, bertpress: Callable[..., Any]) -> None:
    from transformers import AutoModel

    out = tmp_path / "encoder"
    steps = ("--set", "training.max_steps=6", "--set", "encoder_only=true", "--batch-size", "8")
    outcome = bertpress("finetune", "--model", model, *files_task(data), *steps, "--out", out, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    loaded, info = AutoModel.from_pretrained(out / "00-finetune" / "model", output_loading_info=True)
    assert loaded.config.architectures == ["BertModel"]
    card = (out / "00-finetune" / "model" / "README.md").read_text()
    assert "AutoModel.from_pretrained" in card
    assert "saved without its head" in card
    assert "ForSequenceClassification" not in card.partition("The recipe")[0]
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]


@pytest.mark.slow
def test_half_precision_trains_and_the_result_is_float32(
    model: Path, data: Path, tmp_path: Path, bertpress: Callable[..., Any]
) -> None:
    from safetensors.torch import load_file

    more = ["--precision", "bf16", "--no-baseline", "--learning-rate", "1e-3", "--set", "rate.constant.rate=1"]
    assert bertpress(*theseus(model, data, tmp_path / "out", *more)).code == 0
    weights = load_file(tmp_path / "out" / "00-theseus" / "model" / "model.safetensors")
    assert {str(value.dtype) for value in weights.values()} == {"torch.float32"}
    start = load_file(model / "model.safetensors")
    name = "bert.encoder.layer.0.output.dense.weight"
    assert not (weights[name] == start[name]).all()
