"""`export` from the command line: what it writes, what opens it, and what it refuses."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from exports.graphs import write_sum_graph

from bertpress.exports import making

from .conftest import Outcome, commands_of
from .test_bad_input import refused
from .test_commands import files_task

Call = Callable[..., Outcome]
pytestmark = pytest.mark.usefixtures("quick")
slow = pytest.mark.slow  # traces a graph
INT8 = ("--precision", "int8")


@pytest.fixture(scope="module")
def sensitive(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with an embedding of a word that no row has, so large that int8 has one value for all others."""
    from transformers import BertForSequenceClassification

    folder = tmp_path_factory.mktemp("sensitive") / "model"
    shutil.copytree(model, folder)
    changed = BertForSequenceClassification.from_pretrained(model)
    changed.bert.embeddings.word_embeddings.weight.data[60] = 1000.0
    changed.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def traced(sensitive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of that model, for tests that are about what comes behind tracing."""
    from transformers import BertForSequenceClassification

    file = tmp_path_factory.mktemp("traced") / "model.onnx"
    model = BertForSequenceClassification.from_pretrained(sensitive).eval()
    names = ("input_ids", "token_type_ids", "attention_mask")
    making.write_graph(model, making.inputs.made_batch(model.config, names, *making.inputs.TRACED), True, file)
    return file


@pytest.fixture
def untraced(traced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take that graph in place of tracing it again."""
    monkeypatch.setattr(making, "write_graph", lambda model, sample, drops, file: shutil.copy(traced, file))


@slow
def test_an_export_is_a_folder_that_other_commands_take(
    bertpress: Call, reduced: Path, data: Path, tmp_path: Path
) -> None:
    out, task = tmp_path / "out", (*files_task(data), "--quiet")
    outcome = bertpress("export", reduced, *task, "--profile", "half", "--out", out, "--json")
    assert outcome.code == 0, outcome.err
    record = json.loads(outcome.out)
    assert record == json.loads((out / "export.json").read_text())
    assert record["parity"]["difference"] <= record["parity"]["bound"]
    assert record["outputs"] == ["logits", "kept"]
    assert record["size_bytes"] == (out / "model.onnx").stat().st_size
    assert {row["against_what"] for row in record["latency"]} == {"PyTorch"}
    assert not list(out.glob("*.py"))
    assert not list(out.glob("*.safetensors"))
    assert "session.run(['logits', 'kept']" in (out / "README.md").read_text()
    scores = [
        bertpress("evaluate", name, *task, "--json", *more)
        for name, more in ((out, ()), (reduced, ("--profile", "half")))
    ]
    assert [score.code for score in scores] == [0, 0], scores[0].err
    assert json.loads(scores[0].out) == json.loads(scores[1].out) == {"validation": record["metrics"]["validation"]}
    assert bertpress("predict", out, "--text", "a good film", "--quiet").code == 0
    assert "against" in bertpress("measure", out, "--against", reduced, *task).out
    before = (out / "model.onnx").stat().st_mtime_ns
    again = bertpress("export", reduced, *task, "--profile", "half", "--out", out)
    assert again.code == 0
    assert (out / "model.onnx").stat().st_mtime_ns == before, "it is there already"
    refused(bertpress("export", reduced, *task, *INT8, "--out", out), "holds another export", "precision")
    longer = (*files_task(data)[:-1], "40", "--quiet", "--profile", "half")
    refused(bertpress("export", reduced, *longer, "--out", out), "(other max_length)")
    refused(bertpress("export", out, "--out", tmp_path / "b"), "is an export already")
    refused(bertpress("evaluate", out, *task, "--profile", "half"), "has one speed")
    refused(bertpress("evaluate", out, *task, "--device", "cuda"), "There is no device")
    refused(bertpress("finetune", "--model", out, *task, "--out", tmp_path / "c"), "give the model that it was")


@slow
@pytest.mark.usefixtures("untraced")
def test_the_page_runs_as_it_stands(
    bertpress: Call, sensitive: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sensitive, "runs/small")
    shutil.copytree(data, "data")
    for arguments in commands_of("exports"):
        outcome = bertpress(*arguments, "--quiet")
        assert outcome.code == 0, outcome.err
    small, int8 = ((Path("exports") / name / "model.onnx").stat().st_size for name in ("small", "small-int8"))
    assert int8 < small


@slow
@pytest.mark.usefixtures("untraced")
def test_what_suffers_most_stays_fp32(bertpress: Call, sensitive: Path, data: Path, tmp_path: Path) -> None:
    task, out = files_task(data), tmp_path / "out"
    whole = bertpress("export", sensitive, *task, *INT8, "--out", tmp_path / "whole", "--json", "--quiet")
    lost = json.loads(whole.out)["metrics"]["validation"]["accuracy"]
    outcome = bertpress("export", sensitive, *task, *INT8, "--max-drop", 0, "--out", out, "--json", "--quiet")
    assert outcome.code == 0, outcome.err
    record = json.loads(outcome.out)
    kept = json.loads(bertpress("evaluate", sensitive, *task, "--json").out)["validation"]["accuracy"]
    assert lost < kept == record["metrics"]["validation"]["accuracy"]
    assert record["int8"]["left_out"][0] == next(iter(record["int8"]["sensitivity"])) == "embeddings"
    assert len(record["int8"]["left_out"]) < len(record["int8"]["parts"])
    assert record["int8"]["paired"]["difference"] >= 0
    assert "left out of int8: embeddings" in (out / "README.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


@slow
@pytest.mark.usefixtures("untraced")
def test_a_bound_that_nothing_holds_is_a_no(
    bertpress: Call, sensitive: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = {"metric": "accuracy", "difference": -0.1, "low": -0.2, "high": -0.05}
    monkeypatch.setattr(making.leaving_out, "compared", lambda task, logits, plain: worse)
    outcome = bertpress(
        "export", sensitive, *files_task(data), *INT8, "--max-drop", 5, "--out", tmp_path / "out", "--quiet"
    )
    assert outcome.code == 3
    assert "the nearest: leaving out nothing changes accuracy by -10.00 points (-20.00 to -5.00)" in outcome.err
    assert not list(tmp_path.iterdir())


@slow
@pytest.mark.usefixtures("untraced")
def test_static_ranges_come_from_as_little_as_one_training_row(
    bertpress: Call, sensitive: Path, traced: Path, data: Path, tmp_path: Path
) -> None:
    out, static = tmp_path / "out", (*INT8, "--calibration", "static")
    outcome = bertpress("export", sensitive, *files_task(data), *static, "--limit", "train=1", "--out", out, "--json")
    assert outcome.code == 0, outcome.err
    record = json.loads(outcome.out)
    assert record["size_bytes"] < traced.stat().st_size
    assert record["int8"]["mean_change"] > 0
    assert b"QuantizeLinear" in (out / "model.onnx").read_bytes()
    assert b"DynamicQuantizeLinear" not in (out / "model.onnx").read_bytes()


@slow
@pytest.mark.usefixtures("untraced")
def test_a_recipe_exports_its_result(bertpress: Call, sensitive: Path, data: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text("steps: [{finetune: {training: {max_steps: 1}}}]\nexports: [{onnx: {precision: int8}}]\n")
    command = ("compress", recipe, "--model", sensitive, *files_task(data), "--out", out, "--quiet")
    outcome = bertpress(*command)
    assert outcome.code == 1, "the step has changed the model, whose graph this is not"
    assert "does not say what the model says" in outcome.err
    assert not (out / "export").exists() or not list((out / "export").iterdir())
    assert (out / "report.json").is_file(), "the run itself is complete"
    result = out / "00-finetune" / "model"
    shutil.copy(sensitive / "model.safetensors", result / "model.safetensors")
    outcome = bertpress(*command)
    assert outcome.code == 0, outcome.err
    record = json.loads((out / "export" / "onnx-int8" / "export.json").read_text())
    assert record["request"]["precision"] == "int8"
    of_export = json.loads((out / "export" / "onnx-int8" / "result.json").read_text())
    assert of_export["loads"] == record["loads"]
    assert of_export["loads"][0]["level"] == "onnx runtime"
    assert of_export["seconds"] == record["seconds"]


@slow
def test_depth_tokens_vocabulary_and_precision_in_one_run(
    bertpress: Call, model: Path, data: Path, tmp_path: Path
) -> None:
    """The whole road: each step and the export is a row of the report, and the budget is that of the export."""
    few = "{max_steps: 2, batch_size: 8}"
    theseus = f"{{theseus: {{successor_layers: 3, replacing: {few}}}}}"
    steps = f"{theseus}, {{trbert: {{policy: {few}, joint: {few}, rollouts: 2}}}}"
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(
        f"steps: [{steps}, {{vocabulary: {{}}}}]\n"
        "exports: [{onnx: {precision: int8}}]\nbudget: {min_speedup: 1000}\nbaseline: false\n"
    )
    outcome = bertpress("compress", recipe, "--model", model, *files_task(data), "--out", out, "--quiet")
    assert outcome.code == 3, outcome.err
    assert "min-speedup 1,000 is broken" in outcome.err
    report = json.loads((out / "report.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["start", "theseus", "trbert", "vocabulary", "onnx-int8"]
    assert {("onnx-int8", "start"), ("onnx-int8", "vocabulary")} <= {
        (test["name"], test["against"]) for test in report["comparisons"]
    }
    sizes = [row["size_bytes"] for row in report["rows"]]
    graph = onnx.load(out / "export" / "onnx-int8" / "model.onnx").graph
    weights = sum(len(each.SerializeToString()) for each in graph.initializer)
    assert weights < sizes[-2] < sizes[0]  # of so small a model, the nodes of a graph are more than its weights
    assert sizes[-1] < sizes[0]
    assert "onnx-int8" in (out / "report.html").read_text()
    for result in (out, out / "export" / "onnx-int8"):
        checked = bertpress("check", result, "--against", out / "start", "--min-speedup", "0.001", "--json", "--quiet")
        assert checked.code == 0, checked.err
        assert json.loads(checked.out)["costs"][1]["size_bytes"] == sizes[-1]
    evaluated = bertpress("evaluate", out / "export" / "onnx-int8", *files_task(data), "--json", "--quiet")
    assert json.loads(evaluated.out)["validation"]["accuracy"] == report["rows"][-1]["score"]


def test_hiding_tokens_is_refused_before_anything_is_trained(
    bertpress: Call, model: Path, data: Path, tmp_path: Path
) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    for steps, fits in (("[theseus]", False), ("[trbert]", True)):
        recipe.write_text(f"steps: {steps}\nexports: [{{onnx: {{execution: masked}}}}]\n")
        asked = ("--model", model, *files_task(data), "--out", out, "--quiet", "--dry-run")
        outcome = bertpress("compress", recipe, *asked)
        assert outcome.code == (0 if fits else 2), outcome.err
        assert ("skips no tokens, so there are none to hide" in outcome.err) != fits


def export(bertpress: Call, model: Path, out: Path, *more: object) -> Outcome:
    """An export with some flags; refused ones must leave nothing behind."""
    outcome = bertpress("export", model, "--out", out, "--quiet", *more)
    assert not out.exists()
    assert not out.with_name(f".{out.name}.tmp").exists()
    return outcome


@pytest.mark.parametrize(
    ("flags", "fragments"),
    [
        (("--format", "onyx"), ("There is no export format 'onyx'", "'onnx'")),
        (("--precision", "int4"), ("onnx.precision", "'fp32' or 'int8'")),
        (("--max-drop", "1"), ("max_drop is about int8, but the precision is fp32",)),
        (("--calibration", "static"), ("static is about int8",)),
        ((*INT8, "--max-drop", "1"), ("max_drop needs rows of a task; name it with --task",)),
        ((*INT8, "--max-drop", "-1"), ("onnx.max_drop", "greater than or equal to 0")),
        ((*INT8, "--calibration", "static"), ("static calibration needs rows of a task",)),
        (("--profile", "half"), ("reads every token in every layer",)),
        (("--execution", "masked"), ("skips no tokens, so there are none to hide",)),
        (("--limit", "train=5"), ("--limit and --head-labels describe a task; name it with --task",)),
    ],
)
def test_what_cannot_be_asked_is_refused(
    flags: tuple[str, ...], fragments: tuple[str, ...], bertpress: Call, model: Path, tmp_path: Path
) -> None:
    refused(export(bertpress, model, tmp_path / "out", *flags), *fragments)


def test_the_folder_must_be_free(bertpress: Call, model: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    refused(bertpress("export", model, "--out", tmp_path / "taken"), "holds files that are no export")
    refused(bertpress("export", model, "--out", tmp_path / "taken" / "notes.txt" / "out"), "cannot be made")
    refused(bertpress("export", model), "Name the folder of the export with --out")
    assert (tmp_path / "taken" / "notes.txt").read_text() == "mine"


def test_a_place_that_is_read_only_is_named(
    bertpress: Call, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mkdir(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    refused(export(bertpress, model, tmp_path / "out"), "cannot be made: Read-only file system; choose another --out")


def test_what_cannot_be_traced_is_an_error_that_names_the_model(bertpress: Call, tmp_path: Path, model: Path) -> None:
    """Of a model whose forward pass no graph can hold, as the exporter says it."""
    from transformers import BertForSequenceClassification

    def forward(self: Any, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
        return {"logits": input_ids.float().numpy()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BertForSequenceClassification, "forward", forward)
        outcome = export(bertpress, model, tmp_path / "out")
    assert outcome.code == 1
    assert "the exporter of transformers cannot trace a BertForSequenceClassification" in outcome.err


def test_missing_packages_are_named(
    bertpress: Call, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bertpress.exports.adapter.PACKAGES", ("onnx", "no_such_package"))
    outcome = export(bertpress, model, tmp_path / "out")
    refused(outcome, "(no_such_package)", 'pip install "bertpress[onnx]"')


@pytest.mark.parametrize("what", ["full", "interrupted"])
def test_what_was_begun_goes_when_it_cannot_be_finished(
    what: str, bertpress: Call, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(model: Any, sample: Any, drops: bool, file: Path) -> None:
        file.write_bytes(b"half a graph")
        raise OSError(errno.ENOSPC, "No space left on device", str(file)) if what == "full" else KeyboardInterrupt

    monkeypatch.setattr(making, "write_graph", fail)
    outcome = export(bertpress, model, tmp_path / "out")
    code, said = {"full": (1, "No space left on device"), "interrupted": (130, "Interrupted")}[what]
    assert outcome.code == code
    assert said in outcome.err
    assert not list(tmp_path.iterdir())


def test_a_graph_that_says_something_else_is_not_kept(
    bertpress: Call, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    table, head = generator.normal(size=(64, 8)), generator.normal(size=(8, 2))
    monkeypatch.setattr(making, "write_graph", lambda model, sample, drops, file: write_sum_graph(file, table, head))
    outcome = export(bertpress, model, tmp_path / "out")
    assert outcome.code == 1
    assert "does not say what the model says: outputs are apart by" in outcome.err
