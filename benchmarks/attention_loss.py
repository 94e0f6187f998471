"""The loss on attention scores by Gram matrices against the same loss by maps: time, memory, and that they are equal.

Forward and backward with gradients to the student's queries and keys, half of the rows padded. Speed: both take turns
in one process, on the same tensors. Memory: each in a process of its own, above the level with the inputs in place.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time

import torch
from memory import peak, reset_peak
from results import Interval, arguments, write_result
from torch import Tensor

from bertpress.losses import Implementation, Projections, attention_loss
from bertpress.statistics import median_interval, ratio_interval

BATCH, HEADS = 8, 12
TEACHER = 64
STUDENTS = (26, 32)
LENGTHS = (128, 256, 512)
SIDES: tuple[Implementation, ...] = ("gram", "maps")
PROCESSES = 15


def inputs(student: int, length: int) -> tuple[Projections, Projections, Tensor]:
    """Student, teacher and mask; a head is `student` and 64 wide, laid out in memory as models give it."""
    generator = torch.Generator().manual_seed(1)

    def projections(width: int) -> Projections:
        queries, keys = (
            torch.randn(BATCH, length, HEADS, width, generator=generator).transpose(1, 2) for _ in range(2)
        )
        return Projections(queries, keys, width**-0.5)

    made = projections(student)
    mask = torch.ones(BATCH, length)
    mask[: BATCH // 2, -length // 8 :] = 0
    return (
        dataclasses.replace(made, queries=made.queries.requires_grad_(), keys=made.keys.requires_grad_()),
        projections(TEACHER),
        mask,
    )


def step(side: Implementation, student: Projections, teacher: Projections, mask: Tensor) -> list[Tensor]:
    """Loss and gradients to queries and keys."""
    loss = attention_loss(student, teacher, mask, implementation=side)
    return [loss.detach(), *torch.autograd.grad(loss, (student.queries, student.keys))]


def speed(student: int, length: int, rounds: int, steps: int) -> dict[Implementation, list[float]]:
    """Seconds of each side in each round."""
    tensors = inputs(student, length)
    times: dict[Implementation, list[float]] = {side: [] for side in SIDES}
    for turn in range(rounds + 2):
        for side in SIDES:
            began = time.perf_counter()
            for _ in range(steps):
                step(side, *tensors)
            if turn >= 2:
                times[side].append(time.perf_counter() - began)
    return times


def difference(student: int, length: int) -> float:
    """The largest difference between the sides in loss and gradients, relative to those of the student's maps alone."""
    ours, teacher, mask = inputs(student, length)
    alone = step("maps", ours, dataclasses.replace(teacher, scaling=0.0), mask)
    gram, maps = (step(side, ours, teacher, mask) for side in SIDES)
    return max(float((a - b).norm() / c.norm()) for a, b, c in zip(gram, maps, alone, strict=True))


def memory(side: Implementation, student: int, length: int) -> float:
    """Peak MiB that one step adds in this process, after a short one that wakes the libraries up."""
    step(side, *inputs(student, 16))
    tensors = inputs(student, length)
    level = reset_peak()
    step(side, *tensors)
    return peak() - level


def in_own_process(side: str, student: int, length: int) -> float:
    """`memory` in a new process."""
    command = [sys.executable, __file__, "memory", side, str(student), str(length)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def measured(student: int, length: int, rounds: int, steps: int) -> dict[str, list[float]]:
    """Everything about one shape: milliseconds and MiB of each side, and their difference."""
    milliseconds = {
        side: [1000 * value / steps for value in values]
        for side, values in speed(student, length, rounds, steps).items()
    }
    mib = {side: [in_own_process(side, student, length) for _ in range(min(PROCESSES, rounds))] for side in SIDES}
    return {
        **{f"{side}_ms": milliseconds[side] for side in SIDES},
        **{f"{side}_mib": mib[side] for side in SIDES},
        "difference": [difference(student, length)],
    }


def main() -> None:
    if sys.argv[1:2] == ["memory"]:
        print(memory(sys.argv[2], *map(int, sys.argv[3:])))  # type: ignore[arg-type]
        return
    options = arguments(__doc__, rounds=15, steps=3)
    found = {
        (student, length): measured(student, length, options.rounds, options.steps)
        for student in STUDENTS
        for length in LENGTHS
    }
    rows = []
    for (student, length), values in found.items():
        ratio, low, high = ratio_interval(values["maps_ms"], values["gram_ms"])
        medians = {name: median_interval(numbers)[0] for name, numbers in values.items()}
        shape = {"student head": student, "teacher head": TEACHER, "tokens": length}
        rows.append({**shape, **medians, "maps_over_gram": ratio, "low": low, "high": high})
    speeds = [ratio_interval(found[student, 512]["maps_ms"], found[student, 512]["gram_ms"]) for student in STUDENTS]
    growths = [ratio_interval(found[student, 512]["gram_mib"], found[student, 256]["gram_mib"]) for student in STUDENTS]
    largest = max(row["difference"] for row in rows)
    claims: dict[str, Interval] = {
        "attention-gram-speed": min(speeds, key=lambda interval: interval[1]),
        "attention-gram-equal": (largest, largest, largest),
        "attention-gram-memory": max(growths, key=lambda interval: interval[2]),
    }
    write_result("attention_loss", "python benchmarks/attention_loss.py", rows, claims, options.out)


if __name__ == "__main__":
    main()
