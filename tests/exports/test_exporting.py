"""Real graphs: every architecture and head, models that skip tokens, other sizes than traced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_model, make_tokenizer
from families import FAMILIES
from models.making import SHAPES, make_compact
from token_tasks import label_fields

from bertpress.exports import inputs
from bertpress.exports.adapter import write_graph
from bertpress.exports.card import opening_of
from bertpress.exports.parity import parity
from bertpress.exports.quantizing import parts_of
from bertpress.exports.session import Feed, OnnxModel
from bertpress.models.walks import Trace

pytestmark = pytest.mark.slow  # each traces a graph, which takes seconds
CELLS = (
    ("xlm-roberta", "masked-lm", "masked-lm"),
    ("modernbert", None, "embedding"),
    ("deberta-v2", "sequence-classification", "classification"),
    ("bert", "multi-hop", "multihop"),
)
"""With the models that skip tokens below, every architecture and every head at least once."""


def exported(model: Any, family: str, file: Path, drops: bool = True) -> tuple[OnnxModel, list[Feed]]:
    """The graph of a model, and batches of other sizes than it was traced with."""
    model.config.architectures = [type(model).__name__]
    sentences = ("sentences",) if type(model).__name__.endswith("MultiHop") else ()
    names = (*FAMILIES[family].inputs, *sentences)
    write_graph(model, inputs.made_batch(model.config, names, *inputs.TRACED), drops, file)
    return OnnxModel(file, model.config, threads=1), inputs.made_feeds(model.config, names)


@pytest.mark.parametrize(("family", "head", "kind"), CELLS)
def test_a_graph_says_what_its_model_says(family: str, head: str | None, kind: str, tmp_path: Path) -> None:
    model = make_model(family=family, head=head, **label_fields(kind))
    graph, feeds = exported(model, family, tmp_path / "model.onnx")
    found = parity(model, graph, feeds)
    assert found.holds, found
    assert found.rows >= 11
    assert b"/site-packages/" not in graph.file.read_bytes(), "no names of files of this machine"
    parts = parts_of(graph.file, model.config)
    assert [part for part in parts if part.startswith("layer")] == [
        f"layer {layer} {part}" for layer in range(4) for part in ("attention", "feed-forward")
    ]
    assert parts["embeddings"]
    assert_a_change_is_found(model, graph, feeds)


def assert_a_change_is_found(model: Any, graph: OnnxModel, feeds: list[Feed]) -> None:
    """The model is no longer the one that the graph was made of: in one row of one matrix of its last layer."""
    changed = dict(model.base_model.named_parameters())
    name = next(name for name in changed if ".3." in name and name.endswith("weight") and changed[name].dim() == 2)
    with torch.no_grad():
        changed[name][0] += 0.5
    found = parity(model, graph, feeds)
    assert not found.holds, name
    assert found.decided_otherwise == 0


@pytest.mark.parametrize(
    ("family", "kind", "fields"),
    [
        ("roberta", "ForQuestionAnswering", {"layer_shapes": SHAPES}),
        (
            "electra",
            "ForSequenceClassification",
            {"token_reduction": {"layers": [1, 3], "selector": "attention", "shares": [0.6, 0.3], "always_keep": [7]}},
        ),
        ("bert", "ForMultipleChoice", {"token_reduction": {"layers": [1, 2], "shared": True}}),
    ],
)
def test_a_graph_leaves_tokens_out(family: str, kind: str, fields: dict[str, Any], tmp_path: Path) -> None:
    model = make_compact(family, kind, **fields)
    graph, feeds = exported(model, family, tmp_path / "model.onnx")
    found = parity(model, graph, feeds)
    assert found.holds, found
    assert found.decided_otherwise == 0
    assert_the_card_opens_it(model, graph, tmp_path)
    if kind == "ForMultipleChoice":
        assert_asked_option_by_option(model, graph, feeds[0])
    inner = _with_output(graph, "layer 3 feed-forward")
    for feed in feeds:
        kept = graph.run(feed)["kept"]
        width = inner.run(feed)["inner"].shape[1]
        assert width == kept[:, -1].sum(), "the last layer computes what is left of all rows, and no padding"
    assert graph.run(feeds[0])["kept"][:, -1].max() < feeds[0]["input_ids"].shape[-1]


def assert_the_card_opens_it(model: Any, graph: OnnxModel, folder: Path) -> None:
    """The lines of the README, run as they stand in a folder with a tokenizer."""
    make_tokenizer().save_pretrained(folder)
    text = opening_of(type(model).__name__, {"inputs": graph.inputs, "outputs": graph.outputs})
    code = text.removeprefix("```python\n").removesuffix("```").replace("FOLDER", str(folder))
    found: dict[str, Any] = {}
    exec(code, found)
    assert len(found["outputs"]) == len(graph.outputs)
    assert len(found["outputs"][0]) == len(found["encoded"]["input_ids"])


def assert_asked_option_by_option(model: Any, graph: OnnxModel, feed: Feed) -> None:
    """As tasks ask: options are rows of a batch, in any order, and `groups` says which belong together."""
    questions, options = feed["input_ids"].shape[:2]
    order = torch.randperm(questions * options, generator=torch.Generator().manual_seed(0))
    rows = {name: value.flatten(0, 1)[order, None] for name, value in inputs.as_tensors(feed).items()}
    groups = torch.arange(questions).repeat_interleave(options)[order]
    seen, expected_seen = Trace(), Trace()
    with torch.inference_mode():
        expected = model(**rows, groups=groups, trace=expected_seen).logits
    torch.testing.assert_close(graph(**rows, groups=groups, trace=seen).logits, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(seen.kept(), expected_seen.kept())
    assert seen.valid is not None
    assert expected_seen.valid is not None
    assert torch.equal(seen.valid.sum(1), expected_seen.valid.sum(1))


def test_the_masked_graph_keeps_its_shapes(tmp_path: Path) -> None:
    model = make_compact("distilbert", "ForTokenClassification", token_reduction={"layers": [2], "shares": [0.6]})
    graph, feeds = exported(model, "distilbert", tmp_path / "model.onnx", drops=False)
    assert parity(model, graph, feeds).holds
    inner = _with_output(graph, "layer 3 feed-forward")
    assert inner.run(feeds[0])["inner"].shape[1] == feeds[0]["input_ids"].shape[1]


def _with_output(graph: OnnxModel, part: str) -> OnnxModel:
    """The graph with the output of a part's first linear map as an output more, `inner`."""
    import onnx

    model = onnx.load(str(graph.file))
    name = parts_of(graph.file, graph.config)[part][0]
    node = next(node for node in model.graph.node if node.name == name)
    model.graph.node.append(onnx.helper.make_node("Identity", [node.output[0]], ["inner"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("inner", onnx.TensorProto.FLOAT, None))
    file = graph.file.with_name("inner.onnx")
    onnx.save(model, str(file))
    return OnnxModel(file, graph.config, threads=1)
