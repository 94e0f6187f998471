"""The parts of an export in their order: the graph, its parity, int8, what stands beside it, scores and latency."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from bertpress.costs import latency
from bertpress.engine.evaluation import logits_of
from bertpress.engine.loading import clear_limits, tokenizer_for
from bertpress.exports import GRAPH, OnnxExport, inputs, leaving_out
from bertpress.exports.adapter import write_graph
from bertpress.exports.int8 import Int8
from bertpress.exports.parity import parity
from bertpress.exports.session import OnnxModel
from bertpress.files import digest, write_json
from bertpress.fingerprints import rows_digest, tokenizer_digest, weights_digest
from bertpress.measurements.measuring import latency_batches
from bertpress.reloading import LEVELS, check_graph_loads

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bertpress.tasks.task import Task

COMPARED_ROWS = 64
"""Rows of the development split on which a graph is compared with its model."""
LOADED_WITH = 3
"""Made batches on which a graph is compared with itself in a fresh process."""
SECONDS = 3.0
"""Time for measuring each batch size."""
BATCH = 8
"""The batch size that latency is measured at beside 1."""
NOT_ITS_OWN = ("_name_or_path", "transformers_version")
"""Fields of a configuration that say where a model lies and what reads it, not what it is."""


def used_rows(task: Task, wanted: OnnxExport) -> dict[str, dict[str, Any]]:
    """The number of rows of each split that an export looks at, and a digest of those that it takes."""
    dev = task.encoded(task.dev_split)
    found = {task.dev_split: {"rows": len(dev), "digest": rows_digest(dev, range(len(dev)))}}
    if wanted.needs_task:
        train = task.encoded("train")
        taken = itertools.chain(*inputs.task_rows(task, len(train), wanted.calibration_rows))
        found["train"] = {"rows": len(train), "digest": rows_digest(train, list(taken))}
    return found


@dataclass(frozen=True)
class Source:
    """What is exported."""

    name: str
    """as it was asked for"""
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    task: Task | None = None
    """gives rows that are scored and timed, and training rows for int8"""
    threads: int | None = None

    @property
    def kind(self) -> str | None:
        """Of the task."""
        return None if self.task is None else self.task.kind

    def identity(self, wanted: OnnxExport) -> dict[str, Any]:
        """By which an export is told from others: digests of all that goes into it."""
        config = {name: value for name, value in self.model.config.to_dict().items() if name not in NOT_ITS_OWN}
        settings = getattr(self.model.base_model, "settings", None)
        return {
            "weights": weights_digest(self.model),
            "config": digest(repr(sorted(config.items())).encode(), repr(settings).encode()),
            "tokenizer": tokenizer_digest(self.tokenizer),
            "task": None if self.task is None else self.task.name,
            "data": {} if self.task is None else dict(self.task.sources),
            "max_length": None if self.task is None else self.task.max_length,
            "rows": {} if self.task is None else used_rows(self.task, wanted),
        }


@dataclass
class Making:
    """One export as it is made."""

    source: Source
    wanted: OnnxExport
    folder: Path
    work: Path
    """for what is not kept"""
    say: Callable[[str], None]

    def run(self) -> dict[str, Any]:
        """Write everything but card and record; what the record says of it."""
        source, wanted, model = self.source, self.wanted, self.source.model
        names = inputs.input_names(model, source.tokenizer)
        self.say(f"tracing {type(model).__name__}")
        plain_file = self.folder / GRAPH if wanted.precision == "fp32" else self.work / GRAPH
        write_graph(
            model, inputs.made_batch(model.config, names, *inputs.TRACED), wanted.execution == "gather", plain_file
        )
        plain = OnnxModel(plain_file, model.config, source.threads)
        made: dict[str, Any] = {"inputs": plain.inputs, "outputs": plain.outputs, **self._parity(plain, names)}
        graph, logits = plain, None
        if wanted.precision == "int8":
            int8 = Int8(plain, source.task, wanted, self.folder / GRAPH, self.work, self.say)
            made["int8"], logits = int8.run(), int8.logits
            graph = OnnxModel(self.folder / GRAPH, model.config, source.threads)
            made["int8"]["mean_change"] = leaving_out.mean_change(plain, graph, inputs.made_feeds(model.config, names))
        self._save_others()
        made |= {"size_bytes": graph.size_bytes, "loads": self._loads(graph, names)}
        return {**made, "metrics": self._metrics(graph, logits), "latency": self._latency(graph, plain)}

    def _parity(self, plain: OnnxModel, names: Sequence[str]) -> dict[str, Any]:
        task, model = self.source.task, self.source.model
        feeds = inputs.made_feeds(model.config, names)
        if task is not None:
            feeds += inputs.task_feeds(plain, task, task.encoded(task.dev_split), COMPARED_ROWS)
        found = parity(model, plain, feeds)
        if not found.holds:
            raise RuntimeError(
                f"the graph of a {type(model).__name__} does not say what the model says: outputs are apart by "
                f"{found.difference:.1e} of the largest one (at most {found.bound:.0e}), and of "
                f"{found.decided_otherwise} of {found.rows} inputs other tokens are skipped; nothing was kept"
            )
        what = "made inputs (a task gives real ones)" if task is None else "inputs"
        self.say(
            f"the graph agrees with the model on {found.rows} {what}: apart by {found.difference:.1e} of the largest"
        )
        return {"parity": found.to_dict()}

    def _save_others(self) -> None:
        """What stands beside the graph, so that others know its tokens and labels."""
        model = self.source.model
        values = json.loads(model.config.to_json_string())
        values.pop("auto_map", None)  # no code stands beside a graph
        write_json(self.folder / "config.json", {**values, "architectures": [type(model).__name__]})
        tokenizer = tokenizer_for(model, self.source.tokenizer)
        clear_limits(tokenizer)
        tokenizer.save_pretrained(self.folder)
        if self.source.task is not None:
            for name, content in self.source.task.companions(model.config).items():
                write_json(self.folder / name, content)

    def _loads(self, graph: OnnxModel, names: Sequence[str]) -> list[dict[str, Any]]:
        """How the folder loads where this package is not."""
        made = inputs.made_feeds(graph.config, names)[:LOADED_WITH]
        feeds = [{name: value for name, value in feed.items() if name in graph.inputs} for feed in made]
        loads = check_graph_loads(graph.file, feeds, [graph.run(feed) for feed in feeds])
        for way in loads:
            self.say(f"it loads {LEVELS[way['level']]} in a process without bertpress")
        return loads

    def _metrics(self, graph: OnnxModel, logits: np.ndarray | None) -> dict[str, dict[str, float]]:
        """Scores on the development split, of logits where the graph was asked already."""
        task = self.source.task
        if task is None or not task.has_labels(task.dev_split):
            return {}
        split = task.dev_split
        if logits is None:
            logits = logits_of(graph, task, task.encoded(split))
        return {split: task.score(logits, split)}

    def _latency(self, graph: OnnxModel, plain: OnnxModel) -> list[dict[str, Any]]:
        """Rows of latency, int8 in turn with fp32, and fp32 with PyTorch."""
        task, model = self.source.task, self.source.model
        is_int8 = self.wanted.precision == "int8"
        start: Any = plain if is_int8 else model
        forward: latency.Forward = latency.run_model
        if task is not None:
            batches: Any = latency_batches(task, (1, BATCH), model.device)
            forward = task.forward
        else:
            batches = self._made_batches(graph)
        rows = latency.latency_rows(start, graph, batches, seconds=SECONDS, forward=forward)
        against = "the same graph in fp32" if is_int8 else "PyTorch"
        for row in rows:
            row["against_what"] = against
            self.say(f"against {against}: {latency.describe(row)}")
        if is_int8 and not any(map(latency.is_faster, rows)):
            self.say("int8 is not faster than fp32 on this processor; what it brings here is a smaller file.")
        return rows

    def _made_batches(self, graph: OnnxModel) -> dict[int, list[dict[str, Tensor]]]:
        lengths = {1: (32, 128), BATCH: (32, 64)}
        return {
            size: [inputs.made_batch(graph.config, graph.inputs, (length,) * size, 2) for length in several]
            for size, several in lengths.items()
        }
