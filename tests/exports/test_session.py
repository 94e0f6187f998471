"""A graph as a model: a hand-made one, its parts in int8, and what is no graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_config
from exports.graphs import sum_logits, write_sum_graph

from bertpress.engine.evaluation import logits_of
from bertpress.engine.loading import load_whole
from bertpress.errors import RequestError
from bertpress.exports import OnnxExport, is_export, of_format, read_record
from bertpress.exports.leaving_out import mean_change, sensitivities
from bertpress.exports.parity import Parity
from bertpress.exports.quantizing import parts_of, quantize, saturates
from bertpress.exports.session import OnnxModel, Recording, answers, open_export
from bertpress.measurements import measuring

TABLE = np.random.default_rng(0).normal(size=(100, 16))
HEAD = np.random.default_rng(1).normal(size=(16, 2))


@pytest.fixture
def graph(tmp_path: Path) -> OnnxModel:
    file = tmp_path / "model.onnx"
    write_sum_graph(file, TABLE, HEAD)
    return OnnxModel(file, make_config(), threads=1)


def feeds(count: int = 6) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(2)
    ids = [generator.integers(5, 90, (2, length)) for length in range(3, 3 + count)]
    return [{"input_ids": each, "attention_mask": np.ones_like(each)} for each in ids]


def test_a_graph_answers_a_task(graph: OnnxModel, task: Any) -> None:
    rows = task.encoded("validation")
    found = logits_of(graph, task, rows)  # type: ignore[arg-type]
    for number in (0, 7):
        ids = np.array([rows[number]["input_ids"]])
        batch = task.collate([rows[number]])
        assert found[number] == pytest.approx(sum_logits(TABLE, HEAD, ids, np.ones_like(ids))[0], abs=1e-5)
        assert "token_type_ids" in batch, "which the graph does not have, and is not given"


def test_outputs_are_names_and_attributes(graph: OnnxModel) -> None:
    ids = torch.tensor([[5, 6, 7]])
    found = graph(input_ids=ids, attention_mask=torch.ones_like(ids))
    assert torch.equal(found.logits, found["logits"])
    assert found.get("hidden_states") is None
    with pytest.raises(AttributeError, match="it has logits"):
        _ = found.last_hidden_state


def test_a_recording_graph_remembers_what_it_was_fed(graph: OnnxModel) -> None:
    recording = Recording(graph)
    assert recording.session is graph.session
    ids = torch.tensor([[5, 6, 7]])
    recording(input_ids=ids, attention_mask=torch.ones_like(ids), token_type_ids=torch.zeros_like(ids))
    assert [{name: value.tolist() for name, value in feed.items()} for feed in recording.feeds] == [
        {"input_ids": [[5, 6, 7]], "attention_mask": [[1, 1, 1]]}
    ]


def test_weights_beside_a_graph_count(graph: OnnxModel) -> None:
    inside = graph.file.stat().st_size
    assert graph.size_bytes == inside
    graph.file.with_name("model.onnx.data").write_bytes(bytes(1000))
    graph.file.with_name("config.json").write_text("{}")
    assert graph.size_bytes == inside + 1000 == measuring._size(graph)


def test_answers_are_those_of_tokens_and_rows() -> None:
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    found = answers(
        {"logits": np.zeros((2, 3)), "last_hidden_state": np.zeros((2, 3, 4)), "kept": np.ones((2, 1))}, mask
    )
    assert {name: value.shape for name, value in found.items()} == {"logits": (2, 3), "last_hidden_state": (3, 4)}
    found = answers({"start_logits": np.arange(6).reshape(2, 3)}, mask, np.array([False, True]))
    assert found["start_logits"].tolist() == [3]


def test_parts_are_quantised_one_by_one(graph: OnnxModel, tmp_path: Path) -> None:
    parts = parts_of(graph.file, graph.config)
    assert parts == {"embeddings": ("embedding",), "layer 0 feed-forward": ("inner",), "head": ("logits",)}
    small = tmp_path / "small.onnx"
    quantize(graph.file, small, parts["embeddings"])
    assert small.stat().st_size < graph.file.stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "small.onnx"], "nothing else is left"
    change = mean_change(graph, OnnxModel(small, graph.config), feeds())
    assert 0 < change < 0.05
    assert mean_change(graph, graph, feeds()) == 0


def test_weights_beside_a_graph_are_written_anew_in_each_attempt(tmp_path: Path) -> None:
    import onnx

    table = np.zeros((500, 16), np.float32)
    write_sum_graph(tmp_path / "inside.onnx", table, HEAD)
    plain, small = tmp_path / "model.onnx", tmp_path / "small.onnx"
    onnx.save(
        onnx.load(str(tmp_path / "inside.onnx")), str(plain), save_as_external_data=True, location="model.onnx.data"
    )
    sizes = []
    for _ in range(2):
        quantize(plain, small, ["inner"])
        sizes.append(small.with_name("small.onnx.data").stat().st_size)
    assert sizes[0] == sizes[1] >= table.nbytes


@pytest.mark.parametrize("ranges", [None, feeds(1)], ids=["dynamic", "static, one batch"])
def test_the_part_that_suffers_most_comes_first(ranges: Any, tmp_path: Path) -> None:
    table = TABLE.copy()
    table[99] = 1000.0  # a word that no row has: the table's one scale is lost on it
    file = tmp_path / "model.onnx"
    write_sum_graph(file, table, HEAD)
    plain = OnnxModel(file, make_config())
    found = sensitivities(plain, parts_of(file, plain.config), feeds(), tmp_path, ranges)
    assert next(iter(found)) == "embeddings"
    assert len(found) == 3
    assert all(change > 0 for change in found.values())
    assert found["embeddings"] > 5 * found["head"]


def test_seven_bits_where_sums_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert not saturates("flags : sse avx2 avx512f avx512_vnni")
    assert not saturates("flags : avx2 avx_vnni fma")
    assert saturates("flags : sse avx2 fma")
    assert saturates("")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert not saturates("")


def test_parity_counts_rows_that_decide_otherwise() -> None:
    assert Parity(100, 9e-5, 1).holds
    assert not Parity(100, 2e-4, 0).holds
    assert not Parity(100, 0.0, 2).holds
    assert not Parity(100, float("inf"), 0).holds
    assert Parity(300, 0.0, 3).holds
    assert not Parity(1, 0.0, 1).holds, "nothing was compared"


def test_what_is_no_export_is_told_from_one(tmp_path: Path) -> None:
    assert not is_export(tmp_path)
    (tmp_path / "model.onnx").write_text("{}")
    assert not is_export(tmp_path)
    with pytest.raises(RequestError, match="ONNX Runtime cannot open"):
        OnnxModel(tmp_path / "model.onnx", make_config())
    (tmp_path / "export.json").write_text("[]")
    with pytest.raises(RequestError, match=r"export.json is damaged .* export the model again"):
        read_record(tmp_path)
    (tmp_path / "export.json").write_text('{"schema": 2}')
    with pytest.raises(RequestError, match="has schema 2, and this version reads up to 1"):
        read_record(tmp_path)


def test_a_folder_says_whether_its_graph_leaves_tokens_out(graph: OnnxModel) -> None:
    folder = graph.file.parent
    for execution in ("gather", "masked"):
        record = {"schema": 1, "request": {"execution": execution}}
        (folder / "export.json").write_text(json.dumps(record))
        assert open_export(str(folder), graph.config, 1, None).drops == (execution == "gather")
    (folder / "export.json").write_text('{"schema": 1}')
    with pytest.raises(RequestError, match="export the model again"):
        open_export(str(folder), graph.config, 1, None)


@pytest.mark.parametrize("lacking", ["model.onnx", "export.json"])
def test_a_part_of_an_export_is_named_as_that(lacking: str, tmp_path: Path) -> None:
    make_config().save_pretrained(tmp_path)
    for name in {"model.onnx", "export.json"} - {lacking}:
        (tmp_path / name).write_text("{}")
    with pytest.raises(RequestError, match=f"is no whole export, as it lacks {lacking}; export the model again"):
        load_whole(str(tmp_path))


def test_rows_for_int8_are_refused_where_none_is_looked_at() -> None:
    for fields in ({"calibration_rows": 5}, {"calibration_rows": 5, "precision": "int8"}):
        with pytest.raises(RequestError, match="calibration_rows are for static calibration or max_drop"):
            of_format("onnx", fields)
    assert of_format("onnx", {"calibration_rows": 5, "precision": "int8", "max_drop": 1}).calibration_rows == 5
    assert of_format("onnx", OnnxExport().model_dump()) == OnnxExport()


def test_its_threads_do_not_spin_when_it_has_answered(graph: OnnxModel) -> None:
    options = graph.session.get_session_options()
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
