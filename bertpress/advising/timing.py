"""What a model's layers take on this machine: measured once, then kept where other plans find it."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from bertpress.advising.foreseeing import Layers
from bertpress.costs import latency
from bertpress.costs.latency_table import LatencyTable, Settings, Timing, key_of, load_table
from bertpress.costs.shapes import shape_of
from bertpress.encoders import encoder_of, shapes_of
from bertpress.errors import RequestError
from bertpress.files import cache_root, digest, read_json, write_json
from bertpress.measurements import layer_timing
from bertpress.models import COMPACT, architecture_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.tasks.task import Task

Pair = tuple[int, int]
"""heads and inner width of a layer"""
HEADS, WIDTHS = (1 / 3, 2 / 3, 1.0), (1 / 6, 1 / 2, 1.0)
"""Shares of a layer's heads and width that are timed: a coarse net, between whose points times count as straight."""
SECONDS = 10.0
"""Time for measuring each."""


def layers_of(model: PreTrainedModel, task: Task, batch_size: int, tokens: int, cache: Path | None = None) -> Layers:
    """Times of the layers of a model, whole and narrower, from the table of this machine, or measured for it.

    Args:
        model: where it is to be run; left as it was but for its attention.
        tokens: of the batch's longest text.
        cache: folder of tables; default in the user's cache.
    """
    settings = layer_timing.settings_of(model, task, batch_size, tokens)
    whole, narrow = shapes_of(model.config), architecture_of(model.config) in COMPACT
    sizes = [narrower(whole, *shares) for shares in product(HEADS, WIDTHS)] if narrow else [whole]
    shapes = sorted({shape for layers in sizes for shape in layers})
    file = _file(settings, whole, shapes, cache=cache)
    table = _kept(file)
    if table is None:
        measure = _by_shape if narrow else _by_depth
        table = measure(model, task, shapes, settings)
        with suppress(OSError):  # where nothing can be kept, it is measured again
            table.save(file)
    # of equal shares the fastest, as a search would choose it
    times: dict[float, float] = {}
    for layers in sizes:
        share = share_of(model, layers, whole)
        mean = float(np.mean([table.layers_ms[key_of(shape)].median for shape in layers]))
        times[share] = min(times.get(share, np.inf), mean)
    shares = sorted(times)
    return Layers(table.base_ms.median, tuple(shares), tuple(times[share] for share in shares))


def narrower(whole: Iterable[Pair], heads: float, width: float) -> tuple[Pair, ...]:
    """Layers with these shares of their heads and of their width, at least one of each."""
    return tuple((max(1, math.floor(own * heads + 0.5)), max(1, math.floor(wide * width + 0.5))) for own, wide in whole)


def int8_factor(model: PreTrainedModel, task: Task, batch_size: int, tokens: int, cache: Path | None = None) -> float:
    """Time of a model's int8 export over its own, from the cache of this machine, or measured for it.

    Raises:
        RequestError: packages are missing, or the model cannot be exported.
    """
    from bertpress.exports import OnnxExport
    from bertpress.exports.adapter import require_packages
    from bertpress.exports.exporting import export
    from bertpress.exports.making import Source
    from bertpress.exports.session import open_export

    require_packages()
    if model.device.type != "cpu":
        raise RequestError("int8 runs on the CPU; plan with --device cpu.")
    settings = layer_timing.settings_of(model, task, batch_size, tokens)
    file = _file(settings, shapes_of(model.config), version("onnxruntime"), cache=cache).with_suffix(".int8.json")
    if (kept := _kept_factor(file)) is not None:
        return kept
    with tempfile.TemporaryDirectory() as place:
        try:
            export(Source("plan", model, task.tokenizer), OnnxExport(precision="int8"), Path(place) / "int8")
        except RuntimeError as error:
            raise RequestError(" ".join(str(error).split())) from None
        graph: Any = open_export(str(Path(place) / "int8"), model.config, None, None)
        batch = layer_timing.batch_of(model, task, batch_size, tokens)
        times = latency.measure([model, graph], [batch], layer_timing.FEWEST, seconds=SECONDS, forward=task.forward)
    factor = float(np.median(times[1] / times[0]))
    with suppress(OSError):
        write_json(file, {"factor": factor})
    return factor


def _kept_factor(file: Path) -> float | None:
    """What a file holds; None if there is none that can be read."""
    try:
        return float(read_json(file)["factor"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def share_of(model: PreTrainedModel, layers: Sequence[Pair], whole: Sequence[Pair]) -> float:
    """Parameters of layers with so many heads and that inner width, as a share of the whole ones'."""
    if layers == whole:
        return 1.0
    return _parameters(model, layers) / _parameters(model, whole)


def _parameters(model: PreTrainedModel, layers: Sequence[Pair]) -> int:
    from bertpress.encoders.compact import compact_config

    shapes = [{"heads": heads, "intermediate_size": width, "origin": 0} for heads, width in layers]
    config = compact_config(model.config, layer_shapes=shapes, token_reduction=None)
    setattr(config, encoder_of(config).depth_field, len(shapes))
    return sum(layer.parameters for layer in shape_of(config).layers)


def _file(settings: Settings, *what: Any, cache: Path | None) -> Path:
    key = json.dumps([settings.model_dump(), *what], sort_keys=True).encode()
    return (cache or cache_root() / "latency") / f"{digest(key)[:16]}.json"


def _kept(file: Path) -> LatencyTable | None:
    """The table in a file; None if there is none that can be read."""
    try:
        return load_table(file)
    except RequestError:
        return None


def _by_shape(model: PreTrainedModel, task: Task, shapes: Sequence[Pair], settings: Settings) -> LatencyTable:
    return layer_timing.build(model, task, shapes, settings.batch_size, settings.tokens, seconds=SECONDS)


def _by_depth(model: PreTrainedModel, task: Task, shapes: Sequence[Pair], settings: Settings) -> LatencyTable:
    """The same for an architecture whose layers keep their shape: from the whole model and its lower half."""
    depth = encoder_of(model.config).depth(model.config)
    half = depth // 2
    sides = [Lower(model, task, depth), Lower(model, task, half)]
    batch = layer_timing.batch_of(model, task, settings.batch_size, settings.tokens)
    times = latency.measure(
        sides, [batch], layer_timing.FEWEST, warmup=1, seconds=SECONDS, forward=lambda side, given: side(given)
    )
    layer = (times[0] - times[1]) / (depth - half)
    base, each = (max(0.0, 1000 * float(np.median(row))) for row in (times[1] - half * layer, layer))
    shape = key_of(shapes[0])
    return LatencyTable(
        settings=settings,
        base_ms=Timing(median=base, low=base, high=base),
        layers_ms={shape: Timing(median=each, low=each, high=each)},
        rounds=times.shape[1],
    )


class Lower(nn.Module):
    """A model run with its first layers alone.

    Args:
        count: how many.
    """

    def __init__(self, model: PreTrainedModel, task: Task, count: int) -> None:
        super().__init__()
        self.model, self.task, self.count = model, task, count

    def forward(self, batch: Mapping[str, Tensor]) -> Any:
        layers = list(encoder_of(self.model.config).layer_list(self.model).children())[: self.count]
        with layer_timing.with_layers(self.model, layers):
            return self.task.forward(self.model, batch)
