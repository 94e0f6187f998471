"""How far a table of latencies is off for whole sub-networks, and how long it takes to measure one.

Classifiers of MiniLM's and of BERT-base's shape with random weights, on rows of MRPC cut or repeated to 64 tokens, at
batch 1 and 32 on 2 threads. In every round the table is measured anew, and other random sub-networks of the default
space, built as they are exported, are timed from end to end afterwards, in multiples of what layers of the table take
by then (`drift`: how many times as long as in the table). Needs BERTPRESS_DATA.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from interleave import mrpc
from results import Interval, arguments, write_result
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from bertpress.costs.latency_table import LatencyTable
from bertpress.measurements.layer_timing import build
from bertpress.methods.yoco.costs import shapes_in
from bertpress.methods.yoco.options import Options, resolve
from bertpress.methods.yoco.validating import validate
from bertpress.tasks.task import Task

SHAPES = {
    "MiniLM": {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536},
    "BERT-base": {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
}
BATCHES, TOKENS = (1, 32), 64


def measured(
    model: PreTrainedModel, task: Task, batch_size: int, networks: int, seed: int
) -> tuple[float, LatencyTable]:
    """Seconds that a table took, and the table with its validation."""
    space = resolve(Options(), model.config)
    began = time.perf_counter()
    table = build(model, task, shapes_in(space), batch_size, TOKENS)
    seconds = time.perf_counter() - began
    return seconds, validate(table, model, task, space, networks, seed)


def row(shape: str, batch_size: int, seconds: float, table: LatencyTable) -> dict[str, Any]:
    """What a result says of one table."""
    assert table.validation is not None
    found, correction = table.validation, table.validation.correction
    return {
        "shape": shape,
        "batch": batch_size,
        "rounds": table.rounds,
        "seconds": seconds,
        "base_ms": table.base_ms.median,
        "full_layer_ms": list(table.layers_ms.values())[-1].median,
        "networks": len(found.measured_ms),
        "drift": found.drift,
        "mean_error": found.error,
        "bias": statistics.mean(a / b - 1 for a, b in zip(found.predicted_ms, found.measured_ms, strict=True)),
        "corrected": "-" if correction is None else correction.error,
    }


def worst(rows: Sequence[dict[str, Any]], name: str) -> Interval:
    """Median and range over tables of the shape and batch whose range reaches highest."""
    settings = {(each["shape"], each["batch"]) for each in rows}
    values = [[each[name] for each in rows if (each["shape"], each["batch"]) == setting] for setting in settings]
    chosen = max(values, key=max)
    return statistics.median(chosen), min(chosen), max(chosen)


def main() -> None:
    options = arguments(__doc__, rounds=3, steps=20)
    torch.set_num_threads(2)
    task, rows = mrpc(), []
    for shape, fields in SHAPES.items():
        torch.manual_seed(1)
        model = BertForSequenceClassification(BertConfig(**fields)).eval()
        for batch_size in BATCHES:
            for seed in range(options.rounds):
                rows.append(row(shape, batch_size, *measured(model, task, batch_size, options.steps, seed)))
    claims = {
        "latency-table-error": worst(rows, "mean_error"),
        "latency-table-seconds": worst(rows, "seconds"),
    }
    write_result("latency_table", "python benchmarks/latency_table.py", rows, claims, options.out)


if __name__ == "__main__":
    main()
