"""Tables of latencies made by hand, and times that are a function of a network's size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bertpress.config import build
from bertpress.costs import latency
from bertpress.costs.latency_table import LatencyTable, Timing
from bertpress.encoders import encoder_of
from bertpress.measurements.layer_timing import Stack, Whole

SHAPES = ["1x12", "1x24", "2x12", "2x24"]
PAIRS = [(1, 12), (1, 24), (2, 12), (2, 24)]


def layer_ms(layer: nn.Module) -> float:
    """What a layer is pretended to take, by its real size."""
    linears = [module for module in layer.modules() if isinstance(module, nn.Linear)]
    return 0.001 * sum(module.in_features * module.out_features for module in linears)


def seconds_of(module: nn.Module, distort: Callable[[float], float]) -> float:
    if isinstance(module, Stack):
        return sum(map(layer_ms, module.layers)) / 1000
    model = module.model if isinstance(module, Whole) else module
    layers = list(encoder_of(model.config).layer_list(model).children())
    total = 0.25 + sum(map(layer_ms, layers))
    return (distort(total) if layers else total) / 1000


def pretending(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
    """Times as they would be where a network's is a function of the sum of its parts'; gives the time asked for."""

    def use(distort: Callable[[float], float] = float, slower: float = 1) -> list[float]:
        asked: list[float] = []

        def measure(
            modules: Any,
            batches: Any,
            repeats: int = 3,
            warmup: int = 1,
            seconds: float = 0,
            forward: Any = latency.run_model,
        ) -> Any:
            with torch.inference_mode():
                for module in modules:
                    forward(module, batches[0])
            asked.append(seconds)
            spread = 1 + 0.01 * (np.arange(repeats) - (repeats - 1) / 2)
            return np.outer([slower * seconds_of(module, distort) for module in modules], spread)

        monkeypatch.setattr(latency, "measure", measure)
        return asked

    return use


def table_of(values: dict[str, float], base: float = 1.0, **fields: Any) -> LatencyTable:
    settings = {
        "device": "cpu", "machine": "Z80", "threads": 1, "dtype": "float32", "batch_size": 1, "tokens": 64,
        "attention": "sdpa", "torch": "2.13.0", "transformers": "5.23.0", "architecture": "bert", "hidden_size": 16,
        "head_size": 8, "head": "sequence-classification", "outputs": 2,
    }  # fmt: skip
    timings = {key: Timing(median=value, low=value, high=value) for key, value in values.items()}
    base_ms = Timing(median=base, low=base, high=base)
    return build(LatencyTable, {"settings": settings, "base_ms": base_ms, "layers_ms": timings, "rounds": 9, **fields})
