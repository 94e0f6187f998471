"""Measured latency: models take turns on the same batches, so that noise of the machine hits all of them alike.

On a shared machine the same model can be several times slower minutes later. Timing one model, then the other, would
measure that; here every round times every model, and a speed-up is the median of the ratios within rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bertpress.statistics import median_interval, ratio_interval

Batch = Mapping[str, Tensor]
Forward = Callable[[Any, Batch], Any]
"""one forward pass of a model over a batch"""

ROUNDS = 15  # the 95 % interval of the median then runs from the 4th to the 12th value
WARMUP = 3
SHORT = 0.05
"""Seconds of a pass below which it is run twice and the second is timed.

What had its turn before leaves its weights in the caches, and threads that spin for some milliseconds: those of
ONNX Runtime slow PyTorch down, and the other way round.
"""


def run_model(model: nn.Module, batch: Batch) -> Any:
    """The model's own forward pass, with everything that the batch holds."""
    return model(**batch)


def measure(
    models: Sequence[nn.Module],
    batches: Sequence[Batch],
    repeats: int = ROUNDS,
    warmup: int = WARMUP,
    seconds: float = 0.0,
    forward: Forward = run_model,
) -> NDArray[np.float64]:
    """Seconds of one forward pass, in eval and inference mode, of shape (models, rounds): columns are pairs.

    Round r times every model on ``batches[r % len(batches)]``; which model goes first rotates from round to round, and
    for each batch from one time it comes round to the next. A turn of a model with short passes begins with an untimed
    one. Flags of training and gradients are as before afterwards.

    Args:
        models: All on one device; the batches are moved there beforehand.
        repeats: The fewest timed rounds.
        warmup: The fewest untimed rounds before; each batch is run at least once, as kernels are chosen by shape.
        seconds: More rounds are timed until this much has passed since the start, warm-up included.
        forward: What is timed.
    """
    started = time.perf_counter()
    device = _device(models[0])
    moved = [{name: tensor.to(device) for name, tensor in batch.items()} for batch in batches]
    rounds: list[list[float]] = []
    with _evaluating(models), torch.inference_mode():
        once = [1] * len(models)
        warm = [_time_round(models, moved, index, device, forward, once) for index in range(max(warmup, len(moved)))]
        passes = [1 + bool(median < SHORT) for median in np.median(warm, axis=0)]
        while len(rounds) < repeats or time.perf_counter() - started < seconds:
            rounds.append(_time_round(models, moved, len(rounds), device, forward, passes))
    return np.array(rounds).T


def latency_rows(
    start: nn.Module,
    other: nn.Module | None,
    batches: Mapping[int, Sequence[Batch]],
    seconds: float = 6.0,
    forward: Forward = run_model,
    undecided: nn.Module | None = None,
    start_rows: float = 1.0,
) -> list[dict[str, Any]]:
    """One JSON-able row per batch size: the latency of `other`, set against `start`; without `other`, that of `start`.

    Milliseconds are per batch. ``low`` and ``high`` end the 95 % interval of the median: over rounds, hence over the
    lengths of the given batches too. ``against`` holds `start`'s, ``speedup`` is start / other within rounds; both are
    absent if there is only one model. ``tokens`` is the mean padded length of the timed batches.

    Args:
        batches: For each batch size some batches (about ten) with lengths as the task has them, each `input_ids` of
            shape (batch size, length).
        seconds: Time for each batch size, all models together; the fewest rounds (15 and warm-up) may exceed it.
        forward: What is timed.
        undecided: A model that takes turns too; ``against_itself`` then holds the speed-up over it.
        start_rows: How many rows hold for `start` what one holds for `other`, which its times are multiplied by.
    """
    models = [model for model in (start, other, undecided) if model is not None]
    rows = []
    for size in batches:
        row, times = _timed(models, 0 if other is None else 1, size, batches[size], seconds, forward)
        if other is not None:
            whole = start_rows * times[0]
            speedup, low, high = ratio_interval(whole, times[1])
            row |= {"against": _milliseconds(whole), "speedup": speedup, "speedup_low": low, "speedup_high": high}
        if undecided is not None:
            names = ("speedup", "speedup_low", "speedup_high")
            row["against_itself"] = dict(zip(names, ratio_interval(times[-1], times[-2]), strict=True))
        rows.append(row)
    return rows


def is_faster(row: Mapping[str, Any]) -> bool:
    """Whether a row of `latency_rows` shows a speed-up: its interval lies above 1. False if nothing was compared."""
    return bool(row.get("speedup_low", 0.0) > 1)


def _timed(
    models: Sequence[nn.Module], subject: int, size: int, batches: Sequence[Batch], seconds: float, forward: Forward
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """What was timed and the latency of `models[subject]`; and the seconds of all, (models, rounds)."""
    shapes = [tuple(batch["input_ids"].shape) for batch in batches]
    if not shapes or any(shape[0] != size for shape in shapes):
        raise ValueError(f"expected batches of {size} rows, got input_ids of shapes {shapes}")
    times = measure(models, batches, seconds=seconds, forward=forward)
    rounds = times.shape[1]
    row: dict[str, Any] = {
        "batch": size,
        "tokens": float(np.mean([shapes[index % len(shapes)][-1] for index in range(rounds)])),
        "threads": torch.get_num_threads(),
        "device": _device(models[0]).type,
        "rounds": rounds,
        **_milliseconds(times[subject]),
    }
    return row, times


def _milliseconds(seconds: NDArray[np.float64]) -> dict[str, float]:
    median, low, high = median_interval(1000 * seconds)
    return {"median_ms": median, "low": low, "high": high}


def _time_round(
    models: Sequence[nn.Module],
    batches: Sequence[Batch],
    index: int,
    device: torch.device,
    forward: Forward,
    passes: Sequence[int],
) -> list[float]:
    """Seconds of each model's last pass over the batch of round `index`."""
    cycle, position = divmod(index, len(batches))
    first = (cycle + position) % len(
        models
    )  # with the cycle: else an even number of batches would fix each one's order
    seconds = [0.0] * len(models)
    for turn in range(len(models)):
        model = (first + turn) % len(models)
        for _ in range(passes[model]):
            seconds[model] = _time_pass(models[model], batches[position], device, forward)
    return seconds


def _time_pass(model: nn.Module, batch: Batch, device: torch.device, forward: Forward) -> float:
    synchronize(device)
    started = time.perf_counter()
    forward(model, batch)
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: torch.device) -> None:
    """Wait for an accelerator, which runs behind Python; a CPU does not."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _device(model: nn.Module) -> torch.device:
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


@contextmanager
def _evaluating(models: Sequence[nn.Module]) -> Iterator[None]:
    """Eval mode inside; afterwards each module's own flag again, as a model may hold frozen parts in eval mode."""
    flags = {module: module.training for model in models for module in model.modules()}
    try:
        for model in models:
            model.eval()
        yield
    finally:
        for module, training in flags.items():
            module.training = training


def describe(row: Mapping[str, Any]) -> str:
    """One row in words; a speed-up whose interval covers 1 is not called one."""
    text = (
        f"batch {row['batch']} at {row['tokens']:.0f} tokens, {row['threads']} threads, {row['device']}: "
        f"{row['median_ms']:.2f} ms ({row['low']:.2f}-{row['high']:.2f})"
    )
    if "speedup" in row:
        ratio, low, high = (row[f"speedup{end}"] for end in ("", "_low", "_high"))
        known = f"{ratio:.2f}x faster" if is_faster(row) else f"{ratio:.2f}x, slower"
        verdict = f"{'no measured speed-up' if low <= 1 <= high else known} ({low:.2f}-{high:.2f})"
        text = f"{text} against {row['against']['median_ms']:.2f} ms: {verdict}"
    if "theoretical_speedup" in row:
        text += f"; theoretical {row['theoretical_speedup']:.2f}x, executed {row['executed_speedup']:.2f}x"
    if own := row.get("against_itself"):
        text += f", measured against itself {own['speedup']:.2f}x ({own['speedup_low']:.2f}-{own['speedup_high']:.2f})"
    return text
