"""Weights and products of a graph in int8, by the tools of ONNX Runtime, for those parts that are wanted."""

from __future__ import annotations

import platform
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.encoders import encoder_of
from bertpress.exports.adapter import SCOPES, quiet

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from bertpress.exports.session import Feed

OPERATIONS = ("MatMul", "Gemm", "Gather")
"""Linear maps and tables of embeddings; products of two states stay fp32, and so does all that is no product."""
ATTENTION = re.compile(r"\.(attention|attn)\b")


def parts_of(file: Path, config: PreTrainedConfig) -> dict[str, tuple[str, ...]]:
    """Parts of a graph to the nodes with weights that they have, in the order of the forward pass.

    Parts are `embeddings`, `layer 0 attention`, `layer 0 feed-forward`, ..., `head`. What decides about tokens is no
    part: near a threshold a small error is another decision.
    """
    import onnx

    graph = onnx.load(str(file), load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    layers = re.compile(rf"(?:^|\.){re.escape(encoder_of(config).layers)}\.(\d+)")
    found: dict[str, list[str]] = {}
    seen_layer = False
    for node in graph.node:
        table = node.op_type == "Gather"
        if node.op_type not in OPERATIONS or node.input[0 if table else 1] not in weights:
            continue
        scope = _scope(node)
        layer = layers.search(scope)
        if "policies" in scope.split(".") or (table and "embed" not in scope):
            continue
        seen_layer = seen_layer or layer is not None
        if layer is None:
            part = "head" if seen_layer else "embeddings"
        else:
            part = f"layer {layer[1]} {'attention' if ATTENTION.search(scope) else 'feed-forward'}"
        found.setdefault(part, []).append(node.name)
    return {part: tuple(nodes) for part, nodes in found.items()}


def _scope(node: Any) -> str:
    """The innermost module that a node belongs to: bert.encoder.layer.0.attention.self.query."""
    notes = {entry.key: entry.value for entry in node.metadata_props}
    names = re.findall(r"'([^']*)'", notes.get(SCOPES, ""))
    return str(names[-2]) if len(names) > 1 else ""


def quantize(source: Path, target: Path, nodes: Collection[str], feeds: Sequence[Feed] | None = None) -> None:
    """Write a graph in which these nodes compute in int8, each output of a linear map with a scale of its own.

    Args:
        source: the graph in fp32.
        target: a file beside which the tools may write.
        feeds: inputs on which the ranges of states are measured once; None: they are measured in each pass.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    common: Mapping[str, Any] = {
        "op_types_to_quantize": list(OPERATIONS),
        # The tools split a Gemm into a MatMul of this name and an addition before they look at names.
        "nodes_to_quantize": [name for node in nodes for name in (node, f"{node}_MatMul")],
        "per_channel": True,
        "reduce_range": saturates(),
        "weight_type": QuantType.QInt8,
        "use_external_data_format": Path(f"{source}.data").is_file(),
    }
    for file in (target, Path(f"{target}.data")):  # the tools append to a file of weights that is there
        file.unlink(missing_ok=True)
    with quiet():
        plain = _without_stale_shapes(source, target.with_name(f"{target.stem}-plain.onnx"))
        try:
            if feeds is None:
                quantize_dynamic(plain, target, extra_options={"MatMulConstBOnly": True}, **common)
            else:
                quantize_static(
                    plain,
                    target,
                    _Reader(feeds),
                    quant_format=QuantFormat.QDQ,
                    activation_type=QuantType.QUInt8,
                    extra_options={
                        "MatMulConstBOnly": True,
                        "OpTypesToExcludeOutputQuantization": list(OPERATIONS),
                    },
                    **common,
                )
        finally:
            for file in (plain, Path(f"{plain}.data")):
                file.unlink(missing_ok=True)


def _without_stale_shapes(source: Path, target: Path) -> Path:
    """A copy without the noted shapes of weights: the tools transpose some, and then trip over the old shapes."""
    import onnx

    model = onnx.load(str(source))
    weights = {tensor.name for tensor in model.graph.initializer}
    kept = [info for info in model.graph.value_info if info.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    outside = Path(f"{source}.data").is_file()
    onnx.save(model, str(target), save_as_external_data=outside, location=f"{target.name}.data" if outside else None)
    return target


class _Reader:
    """Feeds in the form that the tools of ONNX Runtime read them."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self.feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self.feeds, None)


def saturates(cpu: str | None = None) -> bool:
    """True if sums of int8 products overflow on this processor unless weights keep to 7 bits.

    x86 processors before VNNI add two products in 16 bits; where a processor cannot be told, it is taken for such.

    Args:
        cpu: the text of /proc/cpuinfo; default: that of this machine.
    """
    if platform.machine().lower() in ("arm64", "aarch64"):
        return False
    if cpu is None:
        file = Path("/proc/cpuinfo")
        cpu = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return re.search(r"\b(avx_vnni|avx512_vnni|avx512vnni)\b", cpu) is None
