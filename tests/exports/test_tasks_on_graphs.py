"""Graphs in the place of models: what a task makes of either is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_masked_task, make_model
from exports.test_exporting import exported
from models.making import make_compact
from token_tasks import label_fields, token_task, write_token_tasks

from bertpress.engine.evaluation import logits_of
from bertpress.exports.session import OnnxModel
from bertpress.measurements.measuring import measured
from bertpress.tasks.task import Task

pytestmark = pytest.mark.slow  # each traces a graph, which takes seconds


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Task]:
    named = write_token_tasks(tmp_path_factory.mktemp("tokens"))
    return {"masked-lm": make_masked_task(), **{kind: token_task(values) for kind, values in named.items()}}


@pytest.mark.parametrize("kind", ["tagging", "qa", "multihop", "candidates", "choice", "embedding", "masked-lm"])
def test_a_task_scores_a_graph_as_its_model(kind: str, tasks: dict[str, Task], tmp_path: Path) -> None:
    task = tasks[kind]
    model = make_model(head=task.head, **label_fields(kind))
    graph: Any = exported(model, "bert", tmp_path / "model.onnx")[0]
    rows = task.encoded("validation")
    np.testing.assert_allclose(logits_of(graph, task, rows), logits_of(model, task, rows), atol=1e-4, rtol=1e-4)


def test_what_a_graph_leaves_out_is_counted(task: Any, tmp_path: Path, quick_latency: None) -> None:
    reduction = {"layers": [1, 2], "shares": [0.6, 0.3]}
    model = make_compact(
        "bert", "ForSequenceClassification", token_reduction=reduction, **label_fields("classification")
    )
    graph: Any = exported(model, "bert", tmp_path / "model.onnx")[0]
    hiding: Any = OnnxModel(graph.file, graph.config, session=graph.session, drops=False)
    fields = label_fields("classification")
    whole: Any = make_compact("bert", "ForSequenceClassification", token_reduction=None, **fields)

    def costs(of: Any) -> dict[str, Any]:
        found: dict[str, Any] = measured(of, task, tmp_path / "predictions", 8)["cost"]
        return found

    of_graph, of_model, of_hiding = costs(graph), costs(model), costs(hiding)
    assert of_graph["macs"] == of_model["macs"]
    assert of_graph["token_reduction"]["kept"] == of_model["token_reduction"]["kept"]
    assert of_graph["macs"]["value"] < costs(whole)["macs"]["value"]
    assert of_hiding["macs"]["value"] > costs(whole)["macs"]["value"], "all tokens, and the policies"
    assert "token_reduction" not in of_hiding


def test_a_graph_without_decisions_leaves_nothing_out(task: Any, tmp_path: Path, quick_latency: None) -> None:
    fields = label_fields("classification")
    model = make_compact("bert", "ForSequenceClassification", token_reduction={"layers": []}, **fields)
    graph: Any = exported(model, "bert", tmp_path / "model.onnx")[0]
    whole: Any = make_compact("bert", "ForSequenceClassification", token_reduction=None, **fields)
    found, expected = (measured(each, task, tmp_path / "predictions", 8)["cost"] for each in (graph, whole))
    assert found["macs"] == expected["macs"]
