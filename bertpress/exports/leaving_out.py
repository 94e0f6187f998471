"""Which parts of a graph stay fp32 so that int8 costs no more of the metric than is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertpress.comparison.comparing import Predictions, class_names, paired_test
from bertpress.errors import AnswerNo
from bertpress.exports.quantizing import quantize
from bertpress.exports.session import Feed, OnnxModel, answers

if TYPE_CHECKING:
    from bertpress.tasks.task import Task

Parts = Mapping[str, Sequence[str]]
"""parts of a graph to their nodes"""
NO_LOSS = 1e-9
"""Points; less is rounding."""


@dataclass(frozen=True)
class Trial:
    """A graph in int8 but for some parts, and what that costs on the development split."""

    left_out: tuple[str, ...]
    test: Mapping[str, Any]
    """`comparing.paired_test` of it against the graph in fp32"""

    @property
    def drop(self) -> float:
        """Points of the metric that are lost."""
        return -100 * float(self.test["difference"])

    def __str__(self) -> str:
        low, high = (100 * float(self.test[end]) for end in ("low", "high"))
        without = ", ".join(self.left_out) or "nothing"
        change = f"{self.test['metric']} by {-self.drop:+.2f} points ({low:+.2f} to {high:+.2f})"
        return f"leaving out {without} changes {change}"


def mean_change(graph: OnnxModel, other: OnnxModel, feeds: Sequence[Feed]) -> float:
    """How far the outputs of two graphs are apart: the mean over all numbers that they give."""
    total = count = 0.0
    for feed in feeds:
        ours, theirs = (answers(model.run(feed), feed["attention_mask"]) for model in (graph, other))
        for name, value in ours.items():
            total, count = total + float(np.abs(value - theirs[name]).sum()), count + value.size
    return total / count


def sensitivities(
    plain: OnnxModel, parts: Parts, feeds: Sequence[Feed], work: Path, ranges: Sequence[Feed] | None
) -> dict[str, float]:
    """Of each part how far the outputs move when it alone is int8, the largest first.

    Args:
        plain: the graph in fp32.
        feeds: rows on which that is measured.
        work: a folder for graphs that are not kept.
        ranges: feeds for ranges that are measured once; None: in each pass.
    """
    found = {}
    for part, nodes in parts.items():
        file = work / "part.onnx"
        quantize(plain.file, file, nodes, ranges)
        found[part] = mean_change(plain, OnnxModel(file, plain.config), feeds)
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))


def fewest(count: int, holds: Callable[[int], bool]) -> int | None:
    """The fewest of at most `count` at which `holds`, found by halving, as if more never hurt; None if not at `count`.

    What it gives was tried and held.
    """
    if holds(0):
        return 0
    if not count or not holds(count):
        return None
    failed, held = 0, count
    while held - failed > 1:
        middle = (failed + held) // 2
        failed, held = (failed, middle) if holds(middle) else (middle, held)
    return held


def leave_out(
    count: int, order: Callable[[], Sequence[str]], most: float, attempt: Callable[[tuple[str, ...]], Trial]
) -> Trial:
    """The fewest of the most sensitive parts without which at most so many points are lost.

    Args:
        count: of parts; one stays int8.
        order: the parts, the most sensitive first; asked where int8 throughout loses too much.
        most: points of the metric, of the difference itself; its interval is reported and not bounded, as it is wider
            than half a point on most development splits, whatever is left out.
        attempt: makes and scores a graph without some parts.

    Raises:
        AnswerNo: no number of parts is enough; it names the nearest.
    """
    tried: dict[int, Trial] = {}

    def holds(number: int) -> bool:
        tried[number] = attempt(tuple(order()[:number]) if number else ())
        return tried[number].drop <= most + NO_LOSS

    found = fewest(count - 1, holds)
    if found is None:
        nearest = min(tried.values(), key=lambda trial: trial.drop)
        raise AnswerNo(f"int8 loses more than {most:g} points whatever stays fp32; the nearest: {nearest}.")
    return tried[found]


def predictions_of(task: Task, logits: np.ndarray) -> Predictions:
    """What was said about the development split, for a paired test."""
    split = task.dev_split
    return Predictions(
        Path(split),
        task.kind,
        class_names(task.kind, task.labels),
        task.positive,
        np.asarray(task.truths(logits, split), dtype=np.float64),
        np.asarray(task.results(logits, split), dtype=np.float64),
    )


def compared(task: Task, logits: np.ndarray, plain: np.ndarray) -> dict[str, Any]:
    """The paired test of logits against those of the graph in fp32, on the development split and primary metric."""
    return paired_test(predictions_of(task, logits), predictions_of(task, plain), task.primary)
