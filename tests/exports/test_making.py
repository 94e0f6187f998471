"""Whole exports of a model whose graph is made by hand: what tells them apart, and what is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_config, make_tokenizer
from exports.graphs import SumModel, write_graph
from huggingface_hub import ModelCard

from bertpress.engine.evaluation import logits_of
from bertpress.errors import RequestError
from bertpress.exports import OnnxExport, inputs, int8, making
from bertpress.exports.exporting import export
from bertpress.exports.making import Source
from bertpress.exports.parity import parity
from bertpress.exports.session import OnnxModel
from bertpress.reloading import DoesNotLoad
from bertpress.tasks.classification import Classification

DYNAMIC = OnnxExport(precision="int8")
STATIC = OnnxExport(precision="int8", calibration="static", calibration_rows=12)


@pytest.fixture(autouse=True)
def untraced(monkeypatch: pytest.MonkeyPatch, quick_latency: None) -> None:
    """Graphs made by hand, and timed for a moment."""
    monkeypatch.setattr(making, "write_graph", write_graph)


def source_of(task: Any = None, **fields: Any) -> Source:
    return Source("sum", SumModel(make_config(**fields)).eval(), make_tokenizer(), task)


def differing(wanted: OnnxExport, ours: Source, theirs: Source) -> list[str]:
    """What tells two exports apart."""
    mine, other = ours.identity(wanted), theirs.identity(wanted)
    return [name for name in mine if mine[name] != other[name]]


def test_a_newer_transformers_makes_no_other_export() -> None:
    ours, theirs = source_of(), source_of()
    theirs.model.config.transformers_version = "99.0"
    assert not differing(DYNAMIC, ours, theirs)
    assert differing(DYNAMIC, ours, source_of(hidden_size=64)) == ["config"]


def test_other_rows_and_another_length_make_another_export(text_data: Callable[..., Any]) -> None:
    def of(length: int = 32, **counts: int) -> Source:
        return source_of(Classification(text_data(**counts), make_tokenizer(), length))

    assert not differing(STATIC, of(), of())
    assert differing(DYNAMIC, of(), of(validation=31)) == ["rows"]
    assert not differing(DYNAMIC, of(), of(train=95)), "training rows are not looked at"
    assert differing(STATIC, of(), of(train=95)) == ["rows"]
    assert differing(DYNAMIC, of(), of(8)) == ["max_length", "rows"]


def test_the_same_number_of_other_rows_makes_another_export(text_data: Callable[..., Any]) -> None:
    data = text_data()
    ours, theirs = (Classification(text_data(), make_tokenizer(), 32) for _ in range(2))
    theirs.splits = {**theirs.splits, "validation": data.splits["validation"].select([*range(1, 32), 0])}
    assert differing(DYNAMIC, source_of(ours), source_of(theirs)) == ["rows"]


@pytest.mark.parametrize(
    ("total", "count", "sizes"),
    [(96, 64, [1] * 4 + [8] * 7), (96, 5, [1] * 4), (96, 12, [1] * 4 + [8]), (1, 3, [1] * 2), (3, 8, [1] * 3 + [3])],
)
def test_there_are_no_more_rows_than_asked_for(total: int, count: int, sizes: list[int], task: Any) -> None:
    found = inputs.task_rows(task, total, count)
    assert [len(batch) for batch in found] == sizes
    assert sum(map(len, found)) <= count
    assert {number for batch in found for number in batch} <= set(range(total))


def test_what_is_timed_records_nothing(task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[str] = []
    rows = making.latency.latency_rows

    def watch(*models: Any, **options: Any) -> Any:
        timed.extend(type(model).__name__ for model in models[:2])
        return rows(*models, **options)

    monkeypatch.setattr(making.latency, "latency_rows", watch)
    export(source_of(task), STATIC, tmp_path / "int8")
    export(source_of(task), OnnxExport(), tmp_path / "fp32")
    assert timed == ["OnnxModel", "OnnxModel", "SumModel", "OnnxModel"]


def test_an_export_is_loaded_in_a_fresh_process(tmp_path: Path) -> None:
    said: list[str] = []
    record = export(source_of(), DYNAMIC, tmp_path / "out", said.append)
    (way,) = record["loads"]
    assert (way["level"], way["class"]) == ("onnx runtime", "InferenceSession")
    assert way["difference"] <= 1e-6
    assert "it loads with ONNX Runtime in a process without bertpress" in said
    assert "it loads with ONNX Runtime; this was tried" in (tmp_path / "out" / "README.md").read_text()


def test_int8_that_is_no_faster_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making.latency, "is_faster", lambda row: False)
    said: list[str] = []
    export(source_of(), DYNAMIC, tmp_path / "int8", said.append)
    assert "int8 is not faster than fp32 on this processor; what it brings here is a smaller file." in said
    said.clear()
    export(source_of(), OnnxExport(), tmp_path / "fp32", said.append)
    assert not any("int8" in line for line in said)


def test_the_hub_reads_what_an_export_is(task: Any, tmp_path: Path) -> None:
    source = source_of(task)
    (tmp_path / "README.md").write_text("---\nbase_model: someone/encoder\n---\n")
    source.model.config.name_or_path = str(tmp_path)
    local = Source(str(tmp_path), source.model, source.tokenizer, task)
    record = export(local, DYNAMIC, tmp_path / "scored")
    data = ModelCard.load(tmp_path / "scored" / "README.md").data
    assert (data.library_name, data.pipeline_tag) == ("onnx", "text-classification")
    assert (data.base_model, data.tags) == ("someone/encoder", ["bertpress", "onnx", "int8"])
    [score] = data.eval_results
    assert (score.dataset_name, score.dataset_split, score.metric_type) == ("files", "validation", "accuracy")
    assert score.metric_value == pytest.approx(record["metrics"]["validation"]["accuracy"])
    export(source_of(), OnnxExport(), tmp_path / "plain")
    data = ModelCard.load(tmp_path / "plain" / "README.md").data
    assert (data.base_model, data.pipeline_tag, data.eval_results) == ("sum", None, None)


@pytest.mark.parametrize("broken", ["tokenizer.json", "model.onnx", "answers"])
def test_what_does_not_load_elsewhere_is_no_export(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = making.check_graph_loads

    def damaged(file: Path, feeds: Any, outputs: Any) -> Any:
        if broken == "answers":
            outputs[1]["logits"][0, 0] += 1
        else:
            (file.parent / broken).write_bytes(b"{")
        return check(file, feeds, outputs)

    monkeypatch.setattr(making, "check_graph_loads", damaged)
    reason = "outputs there differ by" if broken == "answers" else "does not load in a fresh process"
    with pytest.raises(DoesNotLoad, match=reason):
        export(source_of(), OnnxExport(), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        (OnnxExport(), ["model.onnx"]),
        (DYNAMIC, ["model.onnx", "work/model.onnx"]),
        (OnnxExport(precision="int8", max_drop=100), ["model.onnx", "work/model.onnx"]),
    ],
    ids=["fp32", "int8", "int8 with a bound"],
)
def test_each_graph_is_scored_once(
    wanted: OnnxExport, asked: list[str], task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    def watch(graph: Any, *rest: Any) -> Any:
        found.append(str(graph.file.relative_to(tmp_path / ".out.tmp")))
        return logits_of(graph, *rest)

    for module in (making, int8):
        monkeypatch.setattr(module, "logits_of", watch)
    record = export(source_of(task), wanted, tmp_path / "out")
    assert found == asked
    graph: Any = OnnxModel(tmp_path / "out" / "model.onnx", make_config())
    split = task.dev_split
    assert record["metrics"] == {split: task.score(logits_of(graph, task, task.encoded(split)), split)}
    if wanted.precision == "int8":
        assert record["int8"]["paired"]["examples"] == 32


def test_parity_finds_a_changed_model(tmp_path: Path) -> None:
    model: Any = source_of().model
    write_graph(model, None, True, tmp_path / "model.onnx")
    graph = OnnxModel(tmp_path / "model.onnx", model.config)
    feeds = inputs.made_feeds(model.config, graph.inputs)
    assert parity(model, graph, feeds).holds
    shared = feeds[0]["input_ids"][0, 0]  # the first token of its rows
    with torch.no_grad():
        model.table[shared] *= 1.01
    found = parity(model, graph, feeds)
    assert not found.holds
    assert 1e-4 < found.difference < 0.1


def test_what_a_killed_export_left_is_not_in_the_way(tmp_path: Path) -> None:
    left = tmp_path / ".out.tmp" / "work"
    left.mkdir(parents=True)
    (left / "model.onnx").write_bytes(b"half a graph")
    (left.parent / "export.json").write_text("{}")
    record = export(source_of(), DYNAMIC, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*o*")) == [
        "config.json",
        "export.json",
        "model.onnx",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    said: list[str] = []
    assert export(source_of(), DYNAMIC, tmp_path / "out", said.append) == json.loads(json.dumps(record))
    assert said == [f"{tmp_path / 'out'} holds this export already"]


@pytest.mark.parametrize("file", ["model.onnx", "config.json"])
def test_a_damaged_export_is_not_taken_for_a_whole_one(file: str, tmp_path: Path) -> None:
    export(source_of(), OnnxExport(), tmp_path / "out")
    (tmp_path / "out" / file).write_text("garbage")
    with pytest.raises(RequestError, match=rf"is damaged \({file} changed since\); delete it"):
        export(source_of(), OnnxExport(), tmp_path / "out")
