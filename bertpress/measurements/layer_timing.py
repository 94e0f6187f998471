"""Measuring a table of latencies: a model without layers, and layers of each shape, as they are run when deployed."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bertpress.costs import latency
from bertpress.costs.latency_table import LatencyTable, Settings, Timing, key_of
from bertpress.encoders import encoder_of
from bertpress.encoders.compact import compact_config
from bertpress.engine.objective import choose_attention
from bertpress.errors import RequestError
from bertpress.models import COMPACT, architecture_of, module_of
from bertpress.statistics import median_interval

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.tasks.task import Task

Batch = Mapping[str, Tensor]
COPIES = 2
"""Layers of one shape that are timed one after the other, so that weights come from as far away as in a model."""
FEWEST = 7
"""Rounds, however long they take; the 95 % interval of a median needs 6."""


def settings_of(model: PreTrainedModel, task: Task, batch_size: int, tokens: int) -> Settings:
    """The settings under which a model, its layers and what is made of them are timed here and now.

    The model gets the attention that is deployed, in place.
    """
    choose_attention(model, training=False)
    config = model.config
    return Settings(
        device=model.device.type,
        machine=_machine(model.device),
        threads=torch.get_num_threads(),
        dtype=str(model.dtype).removeprefix("torch."),
        batch_size=batch_size,
        tokens=tokens,
        attention=config._attn_implementation,
        torch=version("torch"),
        transformers=version("transformers"),
        architecture=architecture_of(config),
        hidden_size=config.hidden_size,
        head_size=config.hidden_size // config.num_attention_heads,
        head=task.head,
        outputs=config.vocab_size if task.head == "masked-lm" else config.num_labels,
    )


def build(
    model: PreTrainedModel,
    task: Task,
    shapes: Sequence[tuple[int, int]],
    batch_size: int,
    tokens: int,
    seconds: float = 20,
) -> LatencyTable:
    """Time the model without layers, and layers of each shape, as they are run when deployed.

    All take turns in rounds, so that noise of the machine hits them alike. Layers are called with what the model itself
    hands to its first one. Their weights are random, as they do not matter.

    Args:
        model: where it is to be run; left as it was but for its attention.
        shapes: heads and inner width of each layer that is timed.
        tokens: length of the batch's longest text.
        seconds: rounds go on for so long; there are at least 7.

    Raises:
        RequestError: the texts are longer than the model takes.
    """
    settings = settings_of(model, task, batch_size, tokens)
    batch = batch_of(model, task, batch_size, tokens)
    parts = stacks(model, task, batch, shapes)
    with with_layers(model, []):
        times = seconds_of([Whole(model, task), *parts], batch, FEWEST, seconds)
    return LatencyTable(
        settings=settings,
        base_ms=_timing(times[0]),
        layers_ms={key_of(shape): _timing(row / COPIES) for shape, row in zip(shapes, times[1:], strict=True)},
        rounds=times.shape[1],
    )


class Stack(nn.Module):
    """Layers on each other, called as the encoder calls its own; the batch is that of which the call was taken.

    Args:
        args: what the first layer is called with, the states first.
        options: by name.
    """

    def __init__(self, layers: Sequence[nn.Module], args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.args, self.options = args, options

    def forward(self, batch: Batch) -> Any:
        states, *others = self.args
        for layer in self.layers:
            states = layer(states, *others, **self.options)
        return states


class Recorder(nn.Module):
    """In place of a layer: remembers what it was called with, and changes nothing."""

    def forward(self, *args: Any, **options: Any) -> Any:
        self.args, self.options = args, options
        return args[0]


class Whole(nn.Module):
    """A model, run as its task runs it."""

    def __init__(self, model: PreTrainedModel, task: Task) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(self, batch: Batch) -> Any:
        return self.task.forward(self.model, batch)


def batch_of(model: PreTrainedModel, task: Task, batch_size: int, tokens: int) -> dict[str, Tensor]:
    """Rows of the development split, cut or repeated: one of `tokens`, the others down to half as long, and padding.

    Raises:
        RequestError: the model does not take as many tokens.
    """
    positions = encoder_of(model.config).positions(model.config)
    if not 0 < tokens <= positions:
        raise RequestError(f"Latency was asked for at {tokens} tokens, but the model takes 1 to {positions}.")
    rows = task.encoded(task.dev_split)
    lengths = np.linspace(tokens, max(1, tokens // 2), batch_size).round().astype(int).tolist()
    made = [_stretched(rows[index % len(rows)], length) for index, length in enumerate(lengths)]
    return {name: value.to(model.device) for name, value in task.collate(made).items()}


def _stretched(row: Mapping[str, Any], length: int) -> dict[str, Any]:
    """A row of that many tokens: its own ones, again and again."""
    own = len(row["input_ids"])
    listed = {name for name, value in row.items() if hasattr(value, "__len__") and len(value) == own}
    again = {name: [row[name][index % own] for index in range(length)] for name in listed}
    # the words that a question is about may lie behind the cut, and time does not depend on them
    unasked: dict[str, list[Any]] = {
        name: [] for name in ("marks", "labels") if "marks" in row and row[name] is not None
    }
    return {**row, **again, **unasked, "length": length}


def stacks(model: PreTrainedModel, task: Task, batch: Batch, shapes: Sequence[tuple[int, int]]) -> list[Stack]:
    """For each shape some layers of random weights, called as the model's first one is in a forward pass."""
    recorder = Recorder()
    with with_layers(model, [recorder]):
        seconds_of([Whole(model, task)], batch, 1)
    each = [
        {"origin": index, "heads": heads, "intermediate_size": width}
        for index, (heads, width) in enumerate(shape for shape in shapes for _ in range(COPIES))
    ]
    made = model_of_shapes(model, f"Compact{COMPACT[architecture_of(model.config)]}Model", each)
    layers = list(encoder_of(made.config).layer_list(made).children())
    groups = [layers[start : start + COPIES] for start in range(0, len(layers), COPIES)]
    return [Stack(group, recorder.args, recorder.options) for group in groups]


def model_of_shapes(model: PreTrainedModel, name: str, shapes: list[dict[str, int]]) -> PreTrainedModel:
    """A model of the compact class of that name with these layers; the random state stays as it was."""
    config = compact_config(model.config, layer_shapes=shapes, token_reduction=None)
    setattr(config, encoder_of(config).depth_field, len(shapes))
    cls = getattr(module_of(architecture_of(config)), name)
    with torch.random.fork_rng(devices=[]):
        made = cls._from_config(config, attn_implementation=model.config._attn_implementation)
    result: PreTrainedModel = made.to(device=model.device, dtype=model.dtype)
    return result


@contextmanager
def with_layers(model: PreTrainedModel, layers: Sequence[nn.Module]) -> Iterator[None]:
    """The model with these layers, or none, inside."""
    encoder = encoder_of(model.config)
    own = encoder.layer_list(model)
    encoder.set_layer_list(model, nn.ModuleList(layers))
    try:
        yield
    finally:
        encoder.set_layer_list(model, own)


def seconds_of(modules: Sequence[nn.Module], batch: Batch, fewest: int, seconds: float = 0) -> NDArray[np.float64]:
    """Seconds of each module on the batch, taking turns; of shape (modules, rounds)."""
    return latency.measure(
        modules, [batch], fewest, warmup=1, seconds=seconds, forward=lambda module, given: module(given)
    )


def _timing(seconds: NDArray[np.float64]) -> Timing:
    """Of the seconds of each round."""
    median, low, high = median_interval(1000 * seconds)
    return Timing(median=median, low=low, high=high)


def _machine(device: torch.device) -> str:
    """Name of the accelerator or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
