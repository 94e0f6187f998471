"""Latency measured for a moment only: whole runs of tiny models otherwise spend most of their time on it."""

from __future__ import annotations

from typing import Any


def briefly(measure: Any) -> Any:
    """`latency.measure` with few rounds on two batches."""

    def brief(models: Any, batches: Any, *_: Any, **more: Any) -> Any:
        return measure(models, batches[:2], **{**more, "repeats": 5, "warmup": 1, "seconds": 0})

    return brief
