"""What a model costs that skips tokens, as a share of the plain one, and the thresholds at which it costs so much.

Nothing here needs labels. The model is run no further than its last decision, and what a run has seen of the tokens'
scores tells nearly what other thresholds would cost, so few runs suffice.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bertpress.calibration import CLOSE, NEAR, Calibration, calibrated
from bertpress.evaluation import batches_by_length
from bertpress.kernels import fastest_kernels
from bertpress.models.token_selection import Decide, Question, Settings, tokens_of
from bertpress.models.walks import Trace, Walk
from bertpress.parts import Shape
from bertpress.shapes import shape_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.tasks.task import Rows, Task

Counts = NDArray[np.int64]
Scores = list[Tensor]
"""of each batch, (rows, length, decisions), nan where nothing was asked"""
MOST_RUNS = 12
STRICT_THRESHOLD = 1.001
"""No score is as high, so that each row's first token goes on and nothing else."""


def keeping_all(settings: Settings) -> Settings:
    """Settings under which nothing is skipped and nothing is decided."""
    return dataclasses.replace(settings, layers=(), thresholds=None, shares=None)


@contextmanager
def with_settings(model: PreTrainedModel, settings: Settings | None) -> Iterator[None]:
    """The model with other settings of its token reduction inside."""
    encoder: Any = model.base_model
    before, encoder.settings = encoder.settings, settings
    try:
        yield
    finally:
        encoder.settings = before


@dataclass(frozen=True)
class _UpToLastDecision:
    """Stands for a walk in a forward pass of which only the decisions are wanted."""

    walk: Walk
    collected = None

    def step(self, index: int, layer: Any, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        last = self.walk.layers[-1] if self.walk.layers else 0
        if index > last:
            return hidden
        return self.walk.step(index, _PassOn() if index == last else layer, hidden, *args, **kwargs)


class _PassOn(nn.Module):
    """Stands for a layer whose result nobody needs."""

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return hidden


def macs_of_rows(
    shape: Shape,
    lengths: Counts,
    kept: Counts,
    positions: Counts | int = 1,
    head: str | None = "sequence-classification",
) -> Counts:
    """Multiply-adds of each row as `cost.ideal_macs` counts them, for many rows at once.

    Args:
        shape: of the model; without decisions, what the plain model costs.
        lengths: (rows,) tokens of each row, padding left out.
        kept: (rows, decisions) tokens that went on.
        positions: tokens of each row that the head is applied to.
        head: the kind of head.
    """
    total: Any = lengths * sum(part.macs for part in shape.tokens)
    total = total + positions * sum(part.macs for part in shape.tops[head])
    asked, alive = lengths >= shape.least_tokens, lengths
    decisions = {decision.layer: (step, decision) for step, decision in enumerate(shape.decisions)}
    for index, layer in enumerate(shape.layers):
        if index in decisions:
            step, decision = decisions[index]
            total = total + asked * alive * sum(part.macs for part in decision.parts)
            if decision.reads_attention:
                total = total + asked * alive**2 * shape.layers[index - 1].attention
            alive = kept[:, step]
        layer_macs: Any = layer.macs
        total = total + layer_macs(alive)
    result: Counts = total
    return result


class ReductionCost:
    """Multiply-adds of a model with token reduction on encoded rows, padding left out, over those of the plain model.

    Called with a number it gives the cost at that one threshold for all decisions; for settings with shares, at the
    shares times that number.

    Args:
        model: one with token reduction.
        task: makes batches of the rows.
        encoded: the rows; labels are not looked at.
    """

    def __init__(self, model: PreTrainedModel, task: Task, encoded: Rows) -> None:
        encoder: Any = model.base_model
        self.model, self.task = model.eval(), task
        self.settings: Settings = encoder.settings
        self.batches = [batch for _, batch in batches_by_length(task, encoded, model.device)]
        self.lengths: Counts = np.concatenate([batch["attention_mask"].sum(1).cpu().numpy() for batch in self.batches])
        counts, rows = np.unique(self.lengths, return_inverse=True)  # few lengths, many rows
        self.positions: Counts = np.array([task.positions(int(count)) for count in counts])[rows]
        self.shape = shape_of(model.config)
        nothing = np.zeros((len(self.lengths), 0), np.int64)
        self.plain = self._macs(dataclasses.replace(self.shape, decisions=()), nothing)
        self.costs: dict[float, float] = {}
        self.kept: dict[float, list[float]] = {}
        """number to the share of all tokens that went on at each decision"""
        self._seen: dict[float, Scores] = {}

    @property
    def ends(self) -> tuple[float, float]:
        """The numbers at which everything is kept, and as little as possible."""
        if self.settings.shares is None:
            return 0.0, STRICT_THRESHOLD
        return 1 / min((share for share in self.settings.shares if share > 0), default=1.0), 0.0

    def values_at(self, number: float) -> dict[str, list[float]]:
        """What a profile stores."""
        if self.settings.shares is None:
            return {"thresholds": [number] * len(self.settings.layers)}
        return {"shares": [min(1.0, number * share) for share in self.settings.shares]}

    def settings_at(self, number: float) -> Settings:
        """The model's settings with these values."""
        cleared: dict[str, Any] = {"thresholds": None, "shares": None}
        values = {name: tuple(numbers) for name, numbers in self.values_at(number).items()}
        return dataclasses.replace(self.settings, **{**cleared, **values})

    def calibrated(self, share: float) -> Calibration:
        """The number at which the cost is nearest to `share`."""
        return calibrated(self, share, *self.ends, guess=partial(self._guess, share), most=MOST_RUNS)

    def at_present(self) -> float:
        """The cost at the model's own settings."""
        return self._share(self._run(self.settings)[1])

    def __call__(self, number: float) -> float:
        if number not in self.costs:
            settings = self.settings_at(number)
            if self._seen and self._is_foretold:
                self._seen[number] = next(iter(self._seen.values()))
                kept = self._replayed(self._seen[number], settings)
            else:
                self._seen[number], kept = self._run(settings)
            self.costs[number] = self._share(kept)
            self.kept[number] = [float(share) for share in kept.sum(0) / self.lengths.sum()]
        return self.costs[number]

    @property
    def _is_foretold(self) -> bool:
        """One run tells all: the scores at the only decision are always the same, or the counts hang on none."""
        settings = self.settings
        return len(settings.layers) == 1 or (settings.shares is not None and not settings.always_keep)

    def _guess(self, target: float, generous: float, strict: float) -> float | None:
        """The number that costs `target` by the scores seen in the run at the generous one.

        A token's later scores depend a little on what was skipped before; how much that matters at the strict one is
        known, and taken to grow evenly with the cost up to there. None if what was found is good enough, and as good
        as what can be foretold.
        """
        whole = self.ends[0]
        run = generous if generous in self._seen else whole  # of an earlier search, only the cost is left
        self._seen = {number: self._seen[number] for number in (whole, run)}
        high, low = self.costs[run], self.costs[strict]
        wanted = high - (high - target) * (high - self._foretold(run, strict)) / (high - low)
        found = calibrated(partial(self._foretold, run), wanted, generous, strict, close=CLOSE / 10)
        best = min(abs(self.costs[number] - target) for number in (generous, strict))
        return None if best <= min(NEAR, abs(found.cost - wanted)) else found.value

    def _foretold(self, seen: float, number: float) -> float:
        """The cost at a number if every token had the scores that it had in the run at another one."""
        return self._share(self._replayed(self._seen[seen], self.settings_at(number)))

    def _run(self, settings: Settings) -> tuple[Scores, Counts]:
        """The scores that the model gives with these settings, and the tokens kept of each row."""
        with torch.inference_mode(), fastest_kernels(self.model.device), with_settings(self.model, settings):
            traces = [self._traced(batch) for batch in self.batches]
        return [trace.scores() for trace in traces], np.concatenate([trace.kept().cpu().numpy() for trace in traces])

    def _traced(self, batch: Mapping[str, Tensor]) -> Trace:
        trace = Trace()
        encoder: Any = self.model.base_model
        inputs = self.task.inputs_of(self.model, batch)
        walk = encoder.new_walk(inputs["attention_mask"].bool(), inputs["input_ids"], trace=trace)
        encoder(**inputs, walk=_UpToLastDecision(walk))
        return trace

    def _replayed(self, seen: Scores, settings: Settings) -> Counts:
        """The tokens kept of each row if the decisions are made from scores that are known."""
        settings = dataclasses.replace(settings, selector="attention")  # takes the scores that a question holds
        kept = []
        for batch, scores in zip(self.batches, seen, strict=True):
            ids = batch["input_ids"]
            always = torch.isin(ids, torch.tensor(settings.always_keep, dtype=ids.dtype, device=ids.device)).flatten()
            decide = Decide(settings, nn.ModuleList(), always)
            tokens, counts = tokens_of(batch["attention_mask"].bool()), []
            for step in range(len(settings.layers)):
                known = scores[..., step].flatten()[tokens.place].nan_to_num(nan=-math.inf)
                tokens, _ = tokens.select(decide(Question(step, known, tokens, known))[0])
                counts.append(np.array(tokens.counts)[np.argsort(tokens.rows)])
            kept.append(np.stack(counts, axis=1))
        return np.concatenate(kept)

    def _share(self, kept: Counts) -> float:
        return self._macs(self.shape, kept) / self.plain

    def _macs(self, shape: Shape, kept: Counts) -> int:
        return int(macs_of_rows(shape, self.lengths, kept, self.positions, self.task.head).sum())
