"""Whether a graph says what its model says, on inputs other than those that it was traced with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bertpress.exports.dropping import KEPT
from bertpress.exports.inputs import as_tensors
from bertpress.exports.session import Feed, OnnxModel, answers
from bertpress.models import is_reduced
from bertpress.models.walks import Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

BOUND = 1e-4
"""Largest difference of an output from the model's, as a share of the largest that the model gives anywhere."""
MOST_OTHERWISE = 0.01
"""Share of rows whose tokens may be chosen otherwise: scores that lie within rounding of a threshold."""


@dataclass(frozen=True)
class Parity:
    """How far a graph is from its model."""

    rows: int
    difference: float
    """the largest, as a share of the largest output"""
    decided_otherwise: int
    """rows of which other tokens were skipped; their outputs are not compared"""
    bound: float = BOUND

    @property
    def holds(self) -> bool:
        """True for a graph that may be shipped."""
        allowed = max(1, int(MOST_OTHERWISE * self.rows)) if self.decided_otherwise < self.rows else 0
        return self.difference <= self.bound and self.decided_otherwise <= allowed

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def parity(model: PreTrainedModel, graph: OnnxModel, feeds: Sequence[Feed]) -> Parity:
    """Compare all outputs for every token of `feeds`.

    Args:
        model: in eval mode, on the CPU.
    """
    rows = otherwise = 0
    largest = difference = 0.0
    for feed in feeds:
        expected, kept = _expected(model, feed)
        found = graph.run(feed)
        count = int(np.prod(feed["input_ids"].shape[:-1]))
        same = np.ones(count, bool) if kept is None else (kept == found[KEPT]).all(1)
        rows, otherwise = rows + count, otherwise + int((~same).sum())
        alike = same.reshape(feed["input_ids"].shape[:-1])
        ours, theirs = (answers(side, feed["attention_mask"], alike) for side in (found, expected))
        for name, value in theirs.items():
            if value.size:
                largest = max(largest, float(np.abs(value).max()))
                gap = float(np.abs(ours[name] - value).max())
                difference = max(difference, gap if np.isfinite(gap) else np.inf)
    return Parity(rows, difference / largest if largest else difference, otherwise)


def _expected(model: PreTrainedModel, feed: Feed) -> tuple[Feed, NDArray[Any] | None]:
    """The model's outputs, and of one that skips tokens how many of each row went on, (rows, decisions)."""
    trace = Trace() if is_reduced(model.config) else None
    with torch.inference_mode():
        outputs = model(**as_tensors(feed), **({} if trace is None else {"trace": trace}))
    found = {name: value.numpy() for name, value in outputs.items() if isinstance(value, torch.Tensor)}
    return found, trace.kept().numpy() if trace is not None and trace.decisions else None
