"""An exported graph as a model: opened in ONNX Runtime, it takes and gives tensors as the model that it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from bertpress.errors import RequestError
from bertpress.exports import GRAPH, RECORD, read_record
from bertpress.exports.dropping import KEPT
from bertpress.files import reading

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedConfig

    from bertpress.models.walks import Trace

Feed = dict[str, "NDArray[Any]"]
"""inputs or outputs of a graph by name"""
BY_TOKEN = ("start_logits", "end_logits")
"""Outputs with one number for each token."""


class Outputs(dict[str, Any]):
    """What a graph gave, by name, and as attributes as of a model's output."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(f"the graph has no output {name}; it has {', '.join(self)}")
        return self[name]


class OnnxModel(nn.Module):
    """A graph with the inputs, outputs and configuration of the model that it was made of; it cannot be trained.

    Args:
        file: the graph.
        config: of the model that it was made of.
        threads: of ONNX Runtime; default: as many as PyTorch has.
        session: of the same graph, where there is one already.
        drops: whether it leaves out the tokens that it skips, and does not only hide them.
    """

    device = torch.device("cpu")

    def __init__(
        self, file: Path, config: PreTrainedConfig, threads: int | None = None, session: Any = None, drops: bool = True
    ) -> None:
        super().__init__()
        self.config, self.file, self.threads, self.drops = config, file, threads, drops
        self.session = session or open_session(file, threads)
        self.inputs = tuple(found.name for found in self.session.get_inputs())
        self.outputs = tuple(found.name for found in self.session.get_outputs())

    @property
    def base_model(self) -> OnnxModel:
        """Itself: what lies inside a graph cannot be called."""
        return self

    @property
    def size_bytes(self) -> int:
        """Of its file, and of that beside it where weights are too many for one."""
        return sum(file.stat().st_size for file in self.file.parent.glob(f"{self.file.name}*"))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        sentences: Tensor | None = None,
        groups: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Outputs:
        """What the graph makes of a batch; inputs that it does not have are left out, as unknown to its architecture.

        Args:
            input_ids: (batch, length), or (questions, options, length).
            attention_mask: of the same shape, 1 where there is a token.
            token_type_ids: of the same shape.
            sentences: (batch, sentences, 2) first and last token of each.
            groups: (batch,) equal numbers for options of a question that share decisions, each a row (1, length).
            trace: told how many tokens of each row went on, by a graph that skips some.
        """
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "sentences": sentences,
        }
        batch = {name: value for name, value in given.items() if value is not None}
        feed = {name: value.numpy() for name, value in batch.items()}
        found = self.run(feed) if groups is None else self._by_question(feed, groups.numpy())
        outputs = Outputs({name: torch.from_numpy(value) for name, value in found.items()})
        if trace is not None:
            trace.valid, trace.counts = batch["attention_mask"].flatten(0, -2).bool(), outputs[KEPT]
        return outputs

    def run(self, feed: Feed) -> Feed:
        """The graph's outputs by name; inputs that it does not have are left out."""
        feed = {name: value for name, value in feed.items() if name in self.inputs}
        return dict(zip(self.outputs, self.session.run(None, feed), strict=True))

    def _by_question(self, feed: Feed, groups: NDArray[Any]) -> Feed:
        """Outputs for each row, (rows, width), of questions that are run one by one."""
        found: Feed = {}
        for group in np.unique(groups):
            rows = groups == group
            question = {name: value[rows].reshape(1, -1, value.shape[-1]) for name, value in feed.items()}
            for name, value in self.run(question).items():
                each = value.reshape(rows.sum(), -1)
                found.setdefault(name, np.empty((len(groups), each.shape[1]), each.dtype))[rows] = each
        return found


class Recording(OnnxModel):
    """Remembers what a graph is fed, of the inputs that it has; only for that, as everything is kept."""

    def __init__(self, graph: OnnxModel) -> None:
        super().__init__(graph.file, graph.config, graph.threads, graph.session)
        self.feeds: list[Feed] = []

    def run(self, feed: Feed) -> Feed:
        self.feeds.append({name: value for name, value in feed.items() if name in self.inputs})
        return super().run(feed)


def open_session(file: Path, threads: int | None) -> Any:
    """A session of ONNX Runtime on the CPU, which tells nobody anything.

    Raises:
        RequestError: the file is no graph that it can run.
    """
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")  # PyTorch works in this process too
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class
        reason = " ".join(str(error).split())[:200]
        raise RequestError(f"ONNX Runtime cannot open {file} ({reason}); export the model again.") from None


def open_export(folder: str, config: PreTrainedConfig, threads: int | None, device: str | None) -> OnnxModel:
    """The model of an export folder.

    Raises:
        RequestError: it is damaged, or a GPU is asked for.
    """
    from bertpress.exports.adapter import require_packages

    require_packages()
    record = read_record(folder)
    with reading(Path(folder) / RECORD, "export the model again"):
        drops = record["request"]["execution"] == "gather"
    require_cpu(folder, device)
    return OnnxModel(Path(folder) / GRAPH, config, threads, drops=drops).eval()


def require_cpu(folder: str, device: str | None) -> None:
    """Refuse to run an export on another device than the CPU.

    Raises:
        RequestError: it was asked for.
    """
    if device not in (None, "cpu"):
        raise RequestError(f"{folder} is an export, which runs on the CPU here; leave out --device, got {device}.")


def answers(found: Feed, mask: NDArray[Any], rows: NDArray[np.bool_] | None = None) -> Feed:
    """What a graph says, row by row and without what it says of padding: (tokens, ...) where each token has its own.

    Args:
        mask: (..., length), 1 where there is a token.
        rows: (...) those that are wanted; default: all.
    """
    rows = np.ones(mask.shape[:-1], bool) if rows is None else rows
    tokens = mask[rows].astype(bool)  # (rows, length)
    wanted = {name: value[rows] for name, value in found.items() if name != KEPT}
    return {name: value[tokens] if value.ndim > 2 or name in BY_TOKEN else value for name, value in wanted.items()}
