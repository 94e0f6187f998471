"""Seconds of an export, and what leaving tokens out brings in ONNX Runtime: one input of 512 tokens.

MiniLM with a classifier, and the same skipping tokens before its second and its fourth layer: it keeps a half, then a
quarter, those that its policies rank highest; what they rank does not matter here. For latency the other side is the
same graph without decisions. Both take turns on the same rows, two threads each; PyTorch's packed execution of the
first is a row beside the claim.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import torch
from results import arguments, write_result
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bertpress.costs import latency
from bertpress.encoders.compact import compact
from bertpress.engine.loading import load_tokenizer, packaged_minilm
from bertpress.exports import GRAPH, OnnxExport
from bertpress.exports.adapter import write_graph
from bertpress.exports.exporting import export
from bertpress.exports.inputs import TRACED, input_names, made_batch, made_feeds
from bertpress.exports.making import Source
from bertpress.exports.parity import parity
from bertpress.exports.session import OnnxModel
from bertpress.runs.pipeline import quieten
from bertpress.statistics import median_interval, ratio_interval

MODEL = "packaged-minilm"
LENGTH = 512
REDUCTION = {"layers": [1, 3], "shares": [0.5, 0.25]}
THREADS = 2


def classifier() -> PreTrainedModel:
    """MiniLM with a new head of two outputs."""
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        packaged_minilm(), num_labels=2, dtype=torch.float32
    )
    model.config.architectures = [type(model).__name__]
    return model.eval()


def export_seconds(
    models: dict[str, PreTrainedModel], tokenizer: PreTrainedTokenizerBase, folder: Path, rounds: int
) -> list[dict]:
    """Seconds of whole exports, everything that the command measures included."""
    rows = []
    for (name, model), precision in itertools.product(models.items(), ("fp32", "int8")):
        source, what = Source(MODEL, model, tokenizer), f"export, {name}, {precision}"
        places = [folder / f"{what} {number}" for number in range(rounds)]
        records = [export(source, OnnxExport(precision=precision), place) for place in places]
        median, low, high = median_interval([record["seconds"] for record in records])
        rows.append(
            {"what": what, "seconds": median, "low": low, "high": high}
            | {"size_mb": records[0]["size_bytes"] / 1e6, "rounds": rounds}
        )
    return rows


def graph_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, file: Path) -> OnnxModel:
    """The graph of a model, after it was compared with the model."""
    names = input_names(model, tokenizer)
    model.config.architectures = [type(model).__name__]
    write_graph(model, made_batch(model.config, names, *TRACED), True, file)
    graph = OnnxModel(file, model.config, threads=THREADS)
    found = parity(model, graph, made_feeds(model.config, names))
    assert found.holds, found
    return graph


def main() -> None:
    options = arguments(__doc__, rounds=31, steps=3)
    quieten(threads=THREADS)
    tokenizer, model = load_tokenizer(MODEL), classifier()
    torch.manual_seed(0)
    reduced = compact(model, token_reduction=REDUCTION).eval()
    whole = compact(model, token_reduction={"layers": []}).eval()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = export_seconds({"plain": model, "skipping tokens": reduced}, tokenizer, folder, options.steps)
        graphs = [
            graph_of(each, tokenizer, folder / f"{number}-{GRAPH}") for number, each in enumerate((whole, reduced))
        ]
        names = input_names(model, tokenizer)
        batches = [made_batch(model.config, names, (LENGTH,), 1, seed) for seed in range(5)]
        times = latency.measure([*graphs, reduced], batches, repeats=options.rounds)
    sides = ("ONNX Runtime, no decisions", "ONNX Runtime, tokens left out", "PyTorch, packed")
    for side, seconds in zip(sides, times, strict=True):
        median, low, high = median_interval(1000 * np.asarray(seconds))
        rows.append({"what": side, "tokens": LENGTH, "batch": 1, "median_ms": median, "low": low, "high": high})
    slowest = max((row for row in rows if "seconds" in row), key=lambda row: float(row["high"]))
    claims = {
        "export-seconds": (slowest["seconds"], slowest["low"], slowest["high"]),
        "onnx-reduction-latency": ratio_interval(times[0], times[1]),
    }
    write_result(
        "export_speed", f"python benchmarks/export_speed.py --rounds {options.rounds}", rows, claims, options.out
    )


if __name__ == "__main__":
    main()
