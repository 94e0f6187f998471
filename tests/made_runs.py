"""Folders of runs made by hand, and a reader of pages."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import yaml
from pyarrow import parquet

HOSTILE = "<script>alert(1)</script> \"'|`*[x](javascript:alert(1)) \x1b[31m"


def timing(batch: int, speedup: float | None = None, low: float = 0, high: float = 0) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "batch": batch,
        "tokens": 60.5 + 0.1 * (speedup or 0),
        "threads": 2,
        "device": "cpu",
        "rounds": 20,
    }
    entry |= {"median_ms": 10.0, "low": 9.5, "high": 10.5}
    if speedup is not None:
        entry |= {"speedup": speedup, "speedup_low": low, "speedup_high": high}
        entry["against"] = {"median_ms": 10 * speedup, "low": 17.0, "high": 19.0}
    return entry


def result(score: float | None, layers: int, *latency: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "method": None,
        "phases": [],
        "metrics": {} if score is None else {"validation": {"accuracy": score - 0.1, "accuracy_f1": score}},
        "primary_metric": "accuracy_f1",
        "cost": {
            "parameters": {"total": layers * 10_000_000, "encoder": layers * 7_000_000},
            "macs": {"tokens": 128, "value": layers * 900_000_000},
            "size_bytes": layers * 40_000_000,
            "latency": list(latency),
        },
        "seconds": 12.5,
        "seed": 1,
        "config": {},
        "layers": layers,
        "notes": [],
    } | changes


def save(folder: Path, results: dict[str, Any], **recipe: Any) -> Path:
    steps: list[dict[str, Any]] = [{place[3:]: {}} for place in sorted(results) if place[:2].isdigit()]
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"model": "runs/teacher", "task": "glue/mrpc", "seed": 1, "steps": steps} | recipe
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps({"versions": {"python": "3.11"}, "device": "cpu"}))
    for place, content in results.items():
        (folder / place).mkdir()
        (folder / place / "result.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def make_run(folder: Path) -> Path:
    """A run with start, baseline and two steps, without predictions or logs, as older versions left it."""
    results = {
        "start": result(0.8, 12, timing(1), timing(16)),
        "baseline": result(0.6, 6, timing(1, 1.9, 1.8, 2.0), timing(16, 1.9, 1.8, 2.0)),
        "00-theseus": result(0.75, 6, timing(1, 1.83, 1.79, 1.88), timing(16, 1.0, 0.95, 1.04), method="theseus"),
        "01-trbert": result(0.7, 6, timing(1, 3.0, 2.9, 3.1), timing(16, 2.0, 1.9, 2.1), method="trbert"),
    }
    return save(folder, results)


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


CLASSES: dict[str, Any] = {"kind": "classification", "labels": ["no", "yes"], "positive": 1}


def save_predictions(
    folder: Path, share: float, texts: list[str] | None = None, rows: int = 400, lengths: bool = False
) -> None:
    """Predictions of a result on the validation split, right on that share of the rows: the first ones."""
    labels = np.arange(rows) % 2
    answers = np.where(np.arange(rows) < share * rows, labels, 1 - labels)
    columns = {"row": list(range(rows)), "label": labels.tolist(), "logits": (np.eye(2)[answers] * 2).tolist()}
    if lengths:
        columns["length"] = [5 + row % 40 for row in range(rows)]
    if texts is not None:
        columns["texts"] = [{"text": texts[row % len(texts)]} for row in range(rows)]
    (folder / "predictions").mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), folder / "predictions" / "validation.parquet")


def save_log(folder: Path, *entries: dict[str, Any]) -> None:
    """The log of a phase."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def make_full_run(folder: Path, texts: list[str] | None = None) -> Path:
    """A run with everything: predictions with texts, logs and what the tests need in each result."""
    results = {
        "start": result(0.8, 12, timing(1), **CLASSES),
        "baseline": result(0.6, 6, timing(1, 1.9, 1.8, 2.0), phases=["training"], **CLASSES),
        "00-theseus": result(0.75, 6, timing(1, 1.8, 1.7, 1.9), method="theseus", phases=["replacing"], **CLASSES),
    }
    save(folder, results)
    for place, share in (("start", 0.8), ("baseline", 0.6), ("00-theseus", 0.75)):
        save_predictions(folder / place, share, texts or ["some words"])
    entries = [{"loss": 2.0, "replace_rate": 0.3, "step": 1}, {"eval_accuracy_f1": 0.7, "step": 1}]
    entries += [{"loss": 1.0, "replace_rate": 1.0, "step": 2}, {"eval_accuracy_f1": 0.75, "step": 2}]
    save_log(folder / "00-theseus" / "replacing", *entries)
    save_log(folder / "baseline" / "training", {"loss": 1.5, "step": 1})
    return folder


def make_reduced_run(folder: Path, **reduction: Any) -> Path:
    """A run whose last step skips tokens."""
    expected = {"theoretical_speedup": 3.01, "executed_speedup": 2.9}
    own = {"against_itself": {"speedup": 2.5, "speedup_low": 2.4, "speedup_high": 2.6}}
    step = result(0.7, 6, {**timing(1, 2.8, 2.7, 2.9), **expected, **own}, timing(16, 2.0, 1.9, 2.1), method="trbert")
    shares = {"mean": 0.41, "p5": 0.2, "p50": 0.4, "p95": 0.631}
    kept = [{"layer": 1, **shares}, {"layer": 3, **shares, "mean": 0.2}]
    step["cost"]["token_reduction"] = {"kept": kept, **expected} | reduction
    return save(folder, {"start": result(0.8, 6, timing(1), timing(16)), "00-trbert": step})


def make_composed_run(folder: Path, **changes: Any) -> Path:
    """A run of two steps with predictions, right on 90, 80 and 75 % of the rows, whose lengths are known."""
    results = {
        "start": result(0.9, 12, timing(1), primary_metric="accuracy", **CLASSES),
        "00-theseus": result(0.8, 6, timing(1, 2.0, 1.9, 2.1), primary_metric="accuracy", **CLASSES),
        "01-trbert": result(0.75, 6, timing(1, 4.0, 3.8, 4.2), primary_metric="accuracy", **CLASSES),
    }
    for place, share in (("start", 0.9), ("00-theseus", 0.8), ("01-trbert", 0.75)):
        results[place]["metrics"] = {"validation": {"accuracy": share}}
        results[place]["cost"]["macs"]["value"] *= 0.5 if place == "01-trbert" else 1
    save(folder, results, **changes)
    for place, share in (("start", 0.9), ("00-theseus", 0.8), ("01-trbert", 0.75)):
        save_predictions(folder / place, share, ["some words"], lengths=True)
    return folder


def make_exported_run(folder: Path) -> Path:
    """The same with two exports of its result, right on 75 and 70 % of the rows, 5 and 8 times as fast as the start."""
    make_composed_run(folder)
    for name, share, speedup in (("onnx-fp32", 0.75, 5.0), ("onnx-int8", 0.7, 8.0)):
        place = folder / "export" / name
        times = timing(1, speedup, speedup - 0.2, speedup + 0.2)
        content = result(share, 6, times, primary_metric="accuracy", method=name, **CLASSES)
        content["cost"]["macs"]["value"] *= 0.5
        save_predictions(place, share, ["some words"], lengths=True)
        (place / "result.json").write_text(json.dumps(content | {"metrics": {"validation": {"accuracy": share}}}))
    return folder
