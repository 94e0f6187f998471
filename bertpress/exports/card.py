"""The README of an export folder: what it is, how it is opened without this package, what it scores and costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bertpress.costs.latency import describe
from bertpress.exports import GRAPH
from bertpress.hub_card import base_of, front_matter, name_on_hub
from bertpress.reloading import LEVELS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_OPENING = """import onnxruntime
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
session = onnxruntime.InferenceSession("FOLDER/{graph}")
names = {{found.name for found in session.get_inputs()}}
{texts}
outputs = session.run({outputs}, {{name: value for name, value in encoded.items() if name in names}})
"""
_TEXTS = {
    "ForMultipleChoice": """answers = ["one answer", "another one"]
encoded = tokenizer(["a question"] * 2, answers, padding=True, return_tensors="np")
encoded = {name: value[None] for name, value in encoded.items()}  # (questions, answers, tokens)""",
    "ForQuestionAnswering": """encoded = tokenizer(["a question"], ["a text with the answer"], return_tensors="np")""",
    "": """encoded = tokenizer(["a text", "another one"], padding=True, return_tensors="np")""",
}
"""What a model of each head reads, by the end of its architecture's name; any other reads the last."""


def card(name: str, model: PreTrainedModel, record: Mapping[str, Any], kind: str | None = None) -> str:
    """The card of an export.

    Args:
        name: the model that it was made of.
        model: that model.
        record: what the export says of itself.
        kind: of the task that it was scored on; None without one.
    """
    precision, parity, config = record["request"]["precision"], record["parity"], model.config
    lines = [
        *(
            f"- {split}: " + ", ".join(f"{metric} {100 * value:.1f}" for metric, value in values.items())
            for split, values in record["metrics"].items()
        ),
        f"- {record['size_bytes'] / 1e6:.1f} MB",
        f"- the fp32 graph agrees with the model on {parity['rows']} inputs: outputs are apart by at most "
        f"{parity['difference']:.1e} of the largest one",
        *(
            f"- it loads {LEVELS[way['level']]}; this was tried, in a process without bertpress"
            for way in record["loads"]
        ),
        *(f"- against {row['against_what']}: {describe(row)}" for row in record["latency"]),
        *_about_int8(record.get("int8")),
    ]
    task = record["request"]["sources"]["task"]
    head = front_matter(
        library="onnx",
        tags=["onnx", precision],
        base=name_on_hub(name) or base_of(config.name_or_path),
        title=f"{task} in ONNX, {precision}",
        task=task,
        kind=kind,
        metrics=record["metrics"],
    )
    return (
        f"{head}\n# A model exported by bertpress\n\nONNX, {precision}, from `{name}` ({config.model_type}); any batch "
        "size and length.\n\n"
        + "\n".join(lines)
        + f"\n\n{opening_of(type(model).__name__, record)}\n\n`export.json` says all of this to programs.\n"
    )


def opening_of(architecture: str, record: Mapping[str, Any]) -> str:
    """How the graph of such a model is run without this package, in Markdown.

    Args:
        architecture: the name of the model's class.
        record: with the names of the graph's `inputs` and `outputs`.
    """
    if "sentences" in record["inputs"]:
        return "It reads where sentences begin and end beside the tokens; `bertpress predict` gives it both."
    texts = next(texts for head, texts in _TEXTS.items() if architecture.endswith(head))
    return f"```python\n{_OPENING.format(graph=GRAPH, texts=texts, outputs=list(record['outputs']))}```"


def _about_int8(int8: Mapping[str, Any] | None) -> list[str]:
    if int8 is None:
        return []
    left_out = ", ".join(int8["left_out"]) or "nothing"
    lines = [f"- left out of int8: {left_out}; norms, softmax and products of two states are fp32 always"]
    if int8["seven_bits"]:
        lines.append("- weights keep to 7 bits, as this processor's sums of int8 products would overflow with 8")
    if paired := int8["paired"]:
        low, high = 100 * paired["low"], 100 * paired["high"]
        lines.append(
            f"- against fp32 on {paired['examples']} rows, {paired['metric']} changes by "
            f"{100 * paired['difference']:+.2f} points ({low:+.2f} to {high:+.2f})"
        )
    return lines
