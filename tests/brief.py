"""Latency measured for a moment only: whole runs of tiny models otherwise spend most of their time on it."""

from __future__ import annotations

from typing import Any


def briefly(measure: Any) -> Any:
    """`latency.measure` on one batch, in few rounds unless it is told how many."""

    def brief(models: Any, batches: Any, repeats: int = 3, **more: Any) -> Any:
        return measure(models, batches[:1], repeats, **{**more, "warmup": 1, "seconds": 0})

    return brief
