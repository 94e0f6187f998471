"""What the command line answers to bad input: exit code 2, one sentence, nothing written."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Outcome, relabelled, save_tokenizer, sentences, tiny_config, write_csv

Call = Callable[..., Outcome]
pytestmark = pytest.mark.usefixtures("quick")
ROWS = sentences(20, 9)


def refused(outcome: Outcome, *fragments: str) -> None:
    """One sentence on standard error and exit code 2."""
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert len(outcome.lines) == 1, outcome.err
    assert outcome.err.startswith("bertpress: ")
    assert "Traceback" not in outcome.err
    for fragment in fragments:
        assert fragment in outcome.err


@pytest.fixture
def theseus(model: Path, data: Path, tmp_path: Path, bertpress: Call) -> Call:
    """A theseus command with some flags replaced or added; refused ones must leave nothing behind."""

    def call(*more: object, **replaced: object) -> Outcome:
        flags: dict[str, object] = {
            "--model": model,
            "--task": "files",
            "--data-dir": data,
            "--columns": "text",
            "--max-length": 32,
            "--device": "cpu",
            "--out": tmp_path / "out",
            **{"--" + name.replace("_", "-"): value for name, value in replaced.items()},
        }
        given = [part for name, value in flags.items() if value is not None for part in (name, value)]
        out = tmp_path / "out"
        existed = out.exists()
        outcome = bertpress("theseus", *given, "--quiet", *more)
        assert existed or outcome.code == 0 or not out.exists()
        return outcome

    return call


SETTINGS = {
    "misspelt field": (["--set", "succesor_layers=2"], ["succesor_layers", "did you mean 'successor_layers'?"]),
    "misspelt inner field": (["--set", "replacing.epoch=2"], ["replacing", "did you mean 'epochs'?"]),
    "no equals sign": (["--set", "successor_layers"], ["--set expects path=value"]),
    "value not YAML": (["--set", "modules=[1"], ["modules is not valid YAML", "line 1, column 3"]),
    "field of a number": (["--set", "successor_layers.x=2"], ["successor_layers"]),
    "rate below 0": (["--set", "rate.constant.rate=-0.1"], ["rate", "between 0 and 1", "got -0.1"]),
    "rate above 1": (["--set", "rate.constant.rate=1.5"], ["rate", "between 0 and 1", "got 1.5"]),
    "rate nan": (["--set", "rate.constant.rate=.nan"], ["rate", "between 0 and 1", "got nan"]),
    "rate no number": (["--set", "rate.constant.rate=often"], ["rate", "between 0 and 1", "got often"]),
    "unknown rate": (["--set", "rate.linaer.base=0.3"], ["linaer", "did you mean 'linear'?"]),
    "no successor layers": (["--set", "successor_layers=0"], ["successor_layers", "greater than or equal to 1"]),
    "too many successor layers": (["--set", "successor_layers=5"], ["successor_layers", "predecessor's 4 layers", "5"]),
    "negative epochs": (["--epochs", "-1"], ["epochs", "greater than 0"]),
    "learning rate nan": (["--learning-rate", "nan"], ["learning_rate", "finite number"]),
    "precision": (["--precision", "fp8"], ["precision", "fp8"]),
    "max length above positions": (["--max-length", "65"], ["65", "64 positions"]),
    "max length too small": (["--max-length", "0"], ["--max-length", "greater than or equal to 4"]),
    "limit without number": (["--limit", "train"], ["--limit expects split=rows"]),
    "limit of nonsense": (["--limit", "train=many"], ["--limit expects split=rows", "many"]),
    "limit zero": (["--limit", "train=0"], ["--limit expects split=rows"]),
    "limit of unknown split": (["--limit", "tarin=5"], ["tarin", "did you mean 'train'?"]),
    "phase": (["--phases", "replacin"], ["no phase 'replacin'", "did you mean 'replacing'?"]),
    "sweep without values": (["--sweep", "successor_layers"], ["--sweep expects path=a,b"]),
    "sweep of unknown field": (["--sweep", "succesor_layers=1,2"], ["did you mean 'successor_layers'?"]),
    "sweep with a bad value": (["--sweep", "successor_layers=2,9"], ["successor_layers", "4 layers"]),
    "tracker": (["--log", "tensorbord"], ["tensorbord", "tensorboard"]),
    "device": (["--device", "gpu"], ["gpu", "cpu"]),
    "device without hardware": (["--device", "cuda:99"], ["cuda:99"]),
    "text column": (["--columns", "txt"], ["txt", "text"]),
    "label column": (["--label", "lable"], ["lable", "label"]),
    "fp16 on a CPU": (["--precision", "fp16"], ["fp16 needs a GPU"]),
    "print of a sweep": (["--seeds", "2", "--print"], ["--print shows one recipe"]),
    "kind": (["--kind", "classificaton"], ["kind", "classification"]),
}


IMPOSSIBLE = {
    "fewer than no tokens": ("vocabulary", "tokens=-5", ["tokens: expected a number of tokens from 1", "(got -5)"]),
    "more than all tokens": ("vocabulary", "tokens=1.5", ["tokens: expected", "up to 1.0", "(got 1.5)"]),
    "more positions than memory": ("finetune", "positions=1e11", ["positions: ", "less than or equal to 1000000"]),
    "positions below 0": ("finetune", "positions=-1", ["positions: ", "greater than or equal to 1 (got -1)"]),
    "a student too wide": ("tinybert", "shape.hidden_size=100000000", ["shape.hidden_size: ", "equal to 100000"]),
    "a student too deep": ("tinybert", "shape.layers=100000", ["shape.layers: ", "less than or equal to 1000"]),
    "parameters below 0": ("yoco", "parameters=-5M", ["parameters: expected a number such as", "got '-5M'"]),
    "multiply-adds below 0": ("trbert", "macs=-0.5", ["macs: ", "greater than 0 (got -0.5)"]),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_sizes_and_budgets_that_nothing_has(
    case: str, bertpress: Call, model: Path, data: Path, tmp_path: Path
) -> None:
    command, field, fragments = IMPOSSIBLE[case]
    task = ("--task", "files", "--data-dir", data, "--columns", "text", "--max-length", 32)
    outcome = bertpress(command, "--model", model, *task, "--out", tmp_path / "out", "--set", field)
    refused(outcome, *fragments)
    assert ";" not in outcome.err, "one sentence"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", SETTINGS)
def test_settings(case: str, theseus: Call) -> None:
    flags, fragments = SETTINGS[case]
    refused(theseus(*flags), *fragments)


def test_model_missing(theseus: Call, tmp_path: Path) -> None:
    refused(theseus(model=None), "no model", "--model")
    refused(theseus(model=tmp_path / "nothing"), "There is no model folder")


def test_model_misspelt(theseus: Call, model: Path) -> None:
    refused(theseus(model=model.parent / "teachr"), "did you mean 'teacher'?")


def test_model_misspelt_beside_the_working_folder(theseus: Call, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent.parent)
    refused(theseus(model=f"{model.parent.name}/teachr"), "did you mean 'teacher'?")
    monkeypatch.chdir(model.parent)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused(theseus(model="teachr"), "teachr", "did you mean 'teacher'?")


def test_model_folder_without_model(theseus: Call, data: Path) -> None:
    refused(theseus(model=data), "neither a model folder", "nor a run")


def test_task_misspelt(theseus: Call) -> None:
    refused(theseus(task="glue/mprc", columns=None), "did you mean 'glue/mrpc'?")
    refused(theseus(task=None), "no task", "--task")


def test_recipe_misspelt(bertpress: Call, tmp_path: Path) -> None:
    refused(bertpress("compress", "demo-thesus", "--out", tmp_path / "out"), "did you mean 'demo-theseus'?")


def test_recipe_file_with_a_typo(bertpress: Call, tmp_path: Path, model: Path, data: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"model: {model}\ntask: {{files: {data}, columns: [text]}}\nstep: []\n")
    refused(bertpress("compress", recipe, "--out", tmp_path / "out"), "did you mean 'steps'?")
    recipe.write_text("model: [1\n")
    refused(bertpress("compress", recipe, "--out", tmp_path / "out"), "not valid YAML")
    recipe.write_bytes(b"\xff\xfe\x00\x01")
    refused(bertpress("compress", recipe, "--out", tmp_path / "out"), "not a text file")
    recipe.write_text(f"model: {model}\ntask: {{files: {data}, columns: [text]}}\nsteps: [thesus]\n")
    refused(bertpress("compress", recipe, "--out", tmp_path / "out"), "did you mean 'theseus'?")
    assert not (tmp_path / "out").exists()


def test_names_of_list_show_and_demo(bertpress: Call, tmp_path: Path) -> None:
    refused(bertpress("list", "method"), "did you mean 'methods'?")
    refused(bertpress("show", "thesus"), "did you mean 'theseus'?")
    refused(bertpress("demo", "thesus", "--out", tmp_path / "out"), "did you mean 'theseus'?")


def test_split_and_report(bertpress: Call, model: Path, data: Path, tmp_path: Path) -> None:
    flags = ("--task", "files", "--data-dir", data, "--columns", "text", "--max-length", 32)
    refused(bertpress("evaluate", model, *flags, "--split", "dev"), "no split 'dev'", "validation")
    refused(bertpress("evaluate", model, *flags, "--make-splits", "80/10"), "task.make_splits", "80/10/10")
    refused(bertpress("evaluate", model, *flags, "--make-splits", "80/10/10"), "train, validation, test")
    refused(bertpress("predict", model, *flags), "--out")
    refused(bertpress("evaluate", model), "--task")
    refused(bertpress("report", tmp_path), str(tmp_path))
    refused(bertpress("report", tmp_path / "nothing"), "nothing")
    refused(bertpress("predict", model, "--input", tmp_path / "nothing.csv"), "nothing.csv")
    refused(bertpress("predict", model, "--text", "a", "--text-pair", "b", "--text-pair", "c"), "--text-pair")


def test_data_file_missing(theseus: Call, data: Path) -> None:
    refused(theseus(data_dir=data.parent / "nothing"), "nothing")
    refused(theseus(data_dir=data / "trian.csv"), "did you mean 'train.csv'?")
    refused(theseus(data_dir=None), "--data-dir")


@pytest.mark.parametrize(
    ("content", "fragment"),
    [(b"", "empty"), (b"text,label\n", "none"), (b"\x00\x01\xff\xfe" * 500, "UTF-8"), (b"text,label\na\n", "line 2")],
    ids=["no bytes", "header only", "garbage", "short row"],
)
def test_bad_csv(content: bytes, fragment: str, theseus: Call, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_bytes(content)
    refused(theseus(data_dir=tmp_path / "data"), fragment, "train.csv")


@pytest.mark.parametrize("content", [b"", b"\x00\x01\xff\xfe" * 500, b"PAR1" + b"\x07" * 900 + b"PAR1"])
def test_bad_parquet(content: bytes, theseus: Call, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.parquet").write_bytes(content)
    refused(theseus(data_dir=tmp_path / "data"), "train.parquet")


ROW_CASES: dict[str, tuple[list[tuple[object, object]], list[tuple[object, object]], list[str]]] = {
    "all texts empty": ([(" ", label) for _, label in ROWS], list(ROWS), ["are empty"]),
    "one class": ([(text, "pos") for text, _ in ROWS], list(ROWS), ["two classes", "pos"]),
    "missing label": ([*ROWS, ("the film", "")], list(ROWS), ["row 21 of the train split"]),
    "label nan": ([(text, 0.5) for text, _ in ROWS] + [("the film", "nan")], [("a", 0.5)], ["row 21"]),
    "label infinite": ([(text, 0.5) for text, _ in ROWS] + [("the film", "inf")], [("a", 0.5)], ["row 21"]),
    "new label in validation": (list(ROWS), [*ROWS, ("a film", "neutral")], ["row 21 of the validation", "neutral"]),
}


@pytest.mark.parametrize("case", ROW_CASES)
def test_rows(case: str, theseus: Call, tmp_path: Path) -> None:
    train, validation, fragments = ROW_CASES[case]
    write_csv(tmp_path / "data" / "train.csv", train)
    write_csv(tmp_path / "data" / "validation.csv", validation)
    refused(theseus(data_dir=tmp_path / "data"), *fragments)


def test_no_train_split(theseus: Call, tmp_path: Path) -> None:
    write_csv(tmp_path / "data" / "validation.csv", ROWS)
    refused(theseus(data_dir=tmp_path / "data"), "no train split", "validation")


def test_label_nan_in_parquet(theseus: Call, tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    (tmp_path / "data").mkdir()
    table = pyarrow.table({"text": ["a", "b", "c"], "label": [0.0, 1.0, float("nan")]})
    parquet.write_table(table, tmp_path / "data" / "train.parquet")
    refused(theseus(data_dir=tmp_path / "data"), "row 3 of the train split")


def test_model_without_head(theseus: Call, tmp_path: Path) -> None:
    from transformers import BertModel

    BertModel(tiny_config()).save_pretrained(tmp_path / "bare")
    save_tokenizer(tmp_path / "bare")
    refused(theseus(model=tmp_path / "bare"), "no trained head", "bertpress finetune --model")


def test_head_with_other_labels(theseus: Call, model: Path, tmp_path: Path) -> None:
    other = relabelled(model, tmp_path / "other", ("cat", "dog"))
    refused(theseus(model=other), "cat, dog", "neg, pos")


def test_head_with_more_labels(theseus: Call, tmp_path: Path) -> None:
    from transformers import BertForSequenceClassification

    names = {0: "neg", 1: "neutral", 2: "pos"}
    config = tiny_config(id2label=names, label2id={name: index for index, name in names.items()})
    BertForSequenceClassification(config).save_pretrained(tmp_path / "three")
    save_tokenizer(tmp_path / "three")
    refused(theseus(model=tmp_path / "three"), "3 labels (neg, neutral, pos)", "2 labels (neg, pos)")
    refused(theseus("--head-labels", "neg,pos", model=tmp_path / "three"), "names 2 labels", "head of 3 outputs")


def test_head_with_the_labels_in_another_order_works(model: Path, data: Path, tmp_path: Path, bertpress: Call) -> None:
    turned = relabelled(model, tmp_path / "turned", ("pos", "neg"), (1, 0))
    flags = ("--task", "files", "--data-dir", data, "--columns", "text", "--max-length", 32, "--device", "cpu")
    outcomes = [bertpress("evaluate", folder, *flags, "--json") for folder in (model, turned)]
    assert [outcome.code for outcome in outcomes] == [0, 0]
    assert json.loads(outcomes[0].out) == json.loads(outcomes[1].out)
    assert json.loads(outcomes[0].out)["validation"]["accuracy"] > 0.9


def test_head_without_names(model: Path, data: Path, tmp_path: Path, theseus: Call, bertpress: Call) -> None:
    unnamed = relabelled(model, tmp_path / "unnamed", ("LABEL_0", "LABEL_1"))
    refused(theseus(model=unnamed), "LABEL_0, LABEL_1", "--head-labels neg,pos")
    flags = (
        "--task",
        "files",
        "--data-dir",
        data,
        "--columns",
        "text",
        "--max-length",
        32,
        "--device",
        "cpu",
        "--json",
    )
    named = bertpress("evaluate", unnamed, *flags, "--head-labels", "neg,pos")
    assert named.code == 0
    assert named.out == bertpress("evaluate", model, *flags).out
    refused(bertpress("evaluate", unnamed, *flags, "--head-labels", "neg,good"), "neg, good")
    refused(bertpress("evaluate", unnamed, *flags, "--head-labels", "neg,pos,more"), "names 3 labels", "2 outputs")


def test_unknown_model_type(theseus: Call, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "gpt"
    shutil.copytree(model, folder)
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    refused(theseus(model=folder), "gpt2", "bert")
    (folder / "config.json").write_text('{"model_type": "albert"}')
    refused(theseus(model=folder), "albert", "share their parameters", "modernbert")
    (folder / "config.json").write_text('{"model_type": "nonsense"}')
    refused(theseus(model=folder), "nonsense")
    (folder / "config.json").write_text("{broken")
    refused(theseus(model=folder), "could not be loaded")


def test_weights_cut_off(theseus: Call, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(model, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    refused(theseus(model=folder), "could not be loaded")
    weights.unlink()
    refused(theseus(model=folder), "could not be loaded")


def test_tokenizer_missing(theseus: Call, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mute"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(model / name, folder)
    refused(theseus(model=folder), "tokenizer")


def test_out_of_another_recipe(theseus: Call, tmp_path: Path) -> None:
    from bertpress.recipe import Recipe
    from bertpress.runs.run_folder import open_run

    values = {"model": "m", "task": "pydoc", "steps": [{"theseus": {}}]}
    open_run(tmp_path / "out", Recipe.model_validate(values))
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*")}
    refused(theseus("--set", "successor_layers=3"), "another recipe", "max_length: 128 there, 32 now", "--out")
    assert {file: file.read_bytes() for file in (tmp_path / "out").rglob("*")} == before


def test_out_names_the_differing_field(theseus: Call, tmp_path: Path) -> None:
    from bertpress.recipe import parse_yaml

    printed = theseus("--print")
    assert printed.code == 0
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "recipe.yaml").write_text(printed.out)
    assert parse_yaml(printed.out, "")["seed"] == 1
    refused(theseus("--seed", 2), "(seed: 1 there, 2 now)", "--out")


def test_out_that_cannot_be_used(theseus: Call, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    refused(theseus(out=file), "is a file")
    refused(theseus(out=file / "below"), "cannot be made")
    refused(theseus(out=file / "far" / "below"), "cannot be made")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    refused(theseus(out=foreign), "not a run")
    refused(theseus(out=None), "--out")
    (foreign / "recipe.yaml").write_text("{broken: [")
    refused(theseus(out=foreign), "is not a recipe")
    (foreign / "recipe.yaml").write_text("just words")
    refused(theseus(out=foreign))
    assert file.read_text() == (foreign / "thesis.txt").read_text() == "mine"


@pytest.mark.slow
def test_long_texts_work(model: Path, tmp_path: Path, bertpress: Call) -> None:
    rows = [(text * 400, label) for text, label in sentences(12, 4)]
    rows.append(("good film " * 1_000_000, "pos"))
    rows.append(("x" * 100_000, "neg"))
    write_csv(tmp_path / "data" / "validation.csv", rows)
    start = time.perf_counter()
    flags = ("--data-dir", tmp_path / "data", "--columns", "text", "--max-length", 32, "--device", "cpu")
    outcome = bertpress("evaluate", model, "--task", "files", *flags)
    assert outcome.code == 0, outcome.err
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("error", [ValueError("first line\nsecond line"), KeyError("x"), RuntimeError("")])
def test_internal_error(error: Exception, theseus: Call, bertpress: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from bertpress.runs import pipeline

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "carry_out", fail)
    outcome = theseus()
    assert outcome.code == 1
    assert len(outcome.lines) == 1
    assert outcome.err.startswith(f"bertpress: {type(error).__name__}")
    assert "--debug" in outcome.err
    with_trace = theseus("--debug")
    assert with_trace.code == 1
    assert "Traceback" in with_trace.err
    assert with_trace.lines[-1].startswith("bertpress: ")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:128] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_too_little_memory_names_what_needs_less(
    error: Exception, theseus: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bertpress.runs import pipeline

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "carry_out", fail)
    outcome = theseus()
    assert outcome.code == 1
    assert len(outcome.lines) == 1
    assert "--batch-size" in outcome.err


def test_interrupted(theseus: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from bertpress.runs import pipeline

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "carry_out", interrupt)
    outcome = theseus()
    assert outcome.code == 130
    assert "the same command goes on" in outcome.err
    assert len(outcome.lines) == 1


def test_demo_answers_no(
    bertpress: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path, data: Path
) -> None:
    from types import SimpleNamespace

    from bertpress.commands import demo
    from bertpress.reports import rendering
    from bertpress.runs import pipeline

    task: Any = SimpleNamespace(chance_score=lambda split: 0.5, dev_split="validation")
    monkeypatch.setattr(pipeline, "prepare", lambda *_: SimpleNamespace(task=task))
    monkeypatch.setattr(pipeline, "carry_out", lambda *_: {"searches": []})
    monkeypatch.setattr(rendering, "table", lambda _: "table")
    monkeypatch.setattr(demo, "judge", lambda *_: ["Too slow."])
    outcome = bertpress("demo", "--out", tmp_path / "out", "--quiet")
    assert outcome.code == 3
    assert outcome.err == "bertpress: Too slow.\n"


@pytest.mark.parametrize("arguments", [["theseus", "--nonsense"], ["nonsense"], ["theseus", "--max-length", "many"]])
def test_usage_errors(arguments: list[str], bertpress: Call) -> None:
    outcome = bertpress(*arguments)
    assert outcome.code == 2
    assert len(outcome.lines) == 1, "one sentence, as of any wrong request"
    assert outcome.err.startswith("bertpress: ")
    assert any(word in outcome.err for word in arguments)


def test_a_model_that_lacks_encoder_weights(theseus: Call, bertpress: Call, model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    cut = tmp_path / "cut"
    shutil.copytree(model, cut)
    state = load_file(cut / "model.safetensors")
    kept = {name: value for name, value in state.items() if "layer.3." not in name}
    save_file(kept, cut / "model.safetensors", metadata={"format": "pt"})
    refused(theseus(model=cut), "lacks 16 encoder weights", "bert.encoder.layer.3.", "complete model")


def test_flags_that_do_not_belong_to_the_task(theseus: Call) -> None:
    refused(theseus(task="glue/mrpc", columns=None, label="grade"), "--label", "not glue/mrpc")
    refused(theseus(task="pydoc", columns=None), "leave out --data-dir")


def test_flags_that_nothing_reads(bertpress: Call, model: Path, data: Path, tmp_path: Path) -> None:
    for of_task in (("--out", tmp_path / "out"), ("--head-labels", "a,b"), ("--queries", "q.yaml"), ("--kind", "qa")):
        refused(bertpress("predict", model, "--text", "a film", *of_task), "leave out --out", "what names or describes")
    rows = ("--task", "files", "--data-dir", data, "--columns", "text")
    refused(
        bertpress("predict", model, *rows, "--out", tmp_path / "out", "--zip"), "--zip packs the leaderboard's files"
    )
    refused(bertpress("export", model, "--out", tmp_path / "out", "--max-length", 64), "--max-length is about the rows")
    refused(bertpress("export", model, "--out", tmp_path / "out", "--queries", "q.yaml"), "--queries describes a task")
    signals = ("--signals", tmp_path / "signals", "--out", tmp_path / "out")
    refused(bertpress("finetune", "--model", model, *rows, *signals), "no step is tinybert")
    stores = ("tinybert", "--model", model, *rows, "--label", "label")
    refused(bertpress(*stores, *signals, "--set", "signals=none"), "signals=none does not store")
    refused(bertpress(*stores, "--signals", data / "train.csv", "--out", tmp_path / "out"), "train.csv is a file")


def test_data_without_a_validation_split(theseus: Call, tmp_path: Path) -> None:
    folder = tmp_path / "rte"
    folder.mkdir()
    row = '{"sentence1": "a", "sentence2": "b", "label": 0}'
    (folder / "train.jsonl").write_text(f"{row}\n" * 4)
    refused(theseus(task="glue/rte", data_dir=folder, columns=None), "no validation split")


def test_a_step_may_be_its_bare_name(bertpress: Call, tmp_path: Path, model: Path, data: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"model: {model}\ntask: {{files: {data}, columns: [text]}}\nsteps: [theseus]\n")
    printed = bertpress("compress", recipe, "--set", "steps.0.theseus.successor_layers=3", "--epochs", "2", "--print")
    assert printed.code == 0
    assert "successor_layers: 3" in printed.out
    recipe.write_text(f"model: {model}\ntask: pydoc\nsteps: {{theseus: {{}}}}\n")
    refused(bertpress("compress", recipe, "--epochs", "2", "--out", tmp_path / "out"), "--set steps.0")


def test_a_sweep_takes_lists_and_a_folder_of_its_own(theseus: Call, tmp_path: Path) -> None:
    lists = ["--sweep", "initialisation=[0,2],bottom", "--set", "replacing.max_steps=2", "--dry-run"]
    planned = theseus(*lists)
    assert planned.code == 0, planned.err
    assert "2 cells" in planned.out
    (tmp_path / "out" / "cells").mkdir(parents=True)
    refused(theseus(), "holds a sweep")


def test_a_sweep_and_a_budget_of_time_need_what_they_are_about(bertpress: Call, tmp_path: Path, model: Path) -> None:
    for split in ("train", "validation"):
        write_csv(tmp_path / f"{split}.csv", [[text] for text, _ in ROWS], header=("text",))
    recipe = tmp_path / "recipe.yaml"
    task = f"{{files: {tmp_path}, columns: [text], unlabelled: true}}"
    start = f"model: {model}\ntask: {task}\nmax_length: 32\nsteps: [tinybert: {{layers: 2, encoder_only: ONLY}}]\n"
    recipe.write_text(start.replace("ONLY", "false"))
    refused(bertpress("compress", recipe, "--seeds", "2", "--out", tmp_path / "out"), "chooses by a score")
    recipe.write_text(start.replace("ONLY", "true") + "budget: {min_speedup: 1.1}\n")
    refused(bertpress("compress", recipe, "--out", tmp_path / "out"), "needs the head of the result")


def test_a_folder_that_another_command_works_on(theseus: Call, tmp_path: Path) -> None:
    from bertpress.files import locked

    few = ["--set", "replacing.max_steps=2", "--no-baseline"]
    assert theseus(*few).code == 0
    with locked(tmp_path / "out" / ".lock") as alone:
        assert alone
        refused(theseus(*few), "Another command is working on")
    assert theseus(*few).code == 0


def test_a_phase_that_is_switched_off(theseus: Call) -> None:
    refused(theseus("--phases", "finetuning"), "no phase 'finetuning'", "replacing")


def test_numbers_that_no_one_means(theseus: Call) -> None:
    refused(theseus("--epochs", "1e300"), "epochs", "less than or equal to 100000")
    refused(theseus("--set", "replacing=3"), "replacing", "expected fields with values")
    refused(theseus("--set", "successor_layers.foo=3"), "successor_layers", "valid integer", "got fields (foo)")
