"""A hand-made graph, so that most tests need no tracing: two logits of the sum of the embeddings of a row's tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

SCOPE = "pkg.torch.onnx.name_scopes"


def write_sum_graph(file: Path, table: np.ndarray, head: np.ndarray) -> None:
    """(batch, length) ids and mask to `logits` (batch, outputs), with the notes that tracing leaves on nodes.

    Args:
        table: (words, width).
        head: (width, outputs).
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def node(kind: str, inputs: list[str], output: str, scope: str, **attributes: Any) -> Any:
        made = helper.make_node(kind, inputs, [output], name=output, **attributes)
        made.metadata_props.add(key=SCOPE, value=f"['', '{scope}', '{output}']")
        return made

    nodes = [
        node("Gather", ["table", "input_ids"], "embedding", "bert.embeddings.word_embeddings"),
        node("Cast", ["attention_mask"], "seen", "bert", to=TensorProto.FLOAT),
        node("Unsqueeze", ["seen", "last"], "column", "bert"),
        node("Mul", ["embedding", "column"], "shown", "bert"),
        node("MatMul", ["shown", "square"], "inner", "bert.encoder.layer.0.output.dense"),
        node("ReduceSum", ["inner", "middle"], "sum", "bert", keepdims=0),
        node("MatMul", ["sum", "head"], "logits", "classifier"),
    ]
    square = np.eye(table.shape[1])
    weights = {"table": table, "square": square, "head": head}
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    axes = {"last": [-1], "middle": [1]}
    tensors += [numpy_helper.from_array(np.array(value, dtype=np.int64), name) for name, value in axes.items()]
    shape = ["batch", "length"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", head.shape[1]])
    graph = helper.make_graph(nodes, "sum", inputs, [output], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(file))


def sum_logits(table: np.ndarray, head: np.ndarray, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The same, row by row."""
    return np.stack([(table[row] * seen[:, None]).sum(0) @ head for row, seen in zip(ids, mask, strict=True)])


class SumModel(BertPreTrainedModel):
    """The model that such a graph is made of, with random weights."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        generator = torch.Generator().manual_seed(0)
        self.table = torch.nn.Parameter(torch.randn(config.vocab_size, 16, generator=generator))
        self.head = torch.nn.Parameter(torch.randn(16, 2, generator=generator))

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        shown = self.table[input_ids] * attention_mask[..., None]
        return SequenceClassifierOutput(logits=shown.sum(1) @ self.head)  # type: ignore[arg-type]


def write_graph(model: SumModel, sample: Any, drops: bool, file: Path) -> None:
    """In place of tracing a `SumModel`."""
    write_sum_graph(file, model.table.detach().numpy(), model.head.detach().numpy())
