"""Decisions that a gradient reaches: relaxed draws from policies, and soft thresholds on attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from bertpress.budget import change_settings
from bertpress.methods.trbert.reducing import Reducing
from bertpress.methods.trbert.sampling import Relaxed, RelaxedPolicy, SoftThresholds

SOFTEST_THRESHOLD = 0.002
"""Softness of thresholds at temperature 1, from arXiv 2107.00910."""
LAST_THRESHOLD = 0.01
"""Thresholds rise from layer to layer, and would start at this after the last, from there too."""


class Smooth(Reducing):
    """Decisions with a gradient, and one pass of each row.

    Policies are trained alone, or with the encoder in the joint phase; thresholds always with the encoder.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.draws = self.method.selector == "gumbel"
        self.thresholds: torch.nn.Parameter | None = None
        if self.method.selector == "threshold":
            depth = len(self.costs.linear)
            start = [LAST_THRESHOLD * layer / depth for layer in self.costs.layers]
            self.thresholds = torch.nn.Parameter(torch.tensor(start, device=self.model.device))

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if mode and self.draws and self.phase == "policy" and not self.method.policy_dropout:
            self.model.eval()
        if not mode and self.thresholds is not None:
            change_settings(self.model, thresholds=self.thresholds.tolist(), shares=None)
        return self

    def training_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        soft = self._temperature()
        decide: SoftThresholds | RelaxedPolicy
        if self.thresholds is not None:
            decide = SoftThresholds(self.rules(batch), self.thresholds, SOFTEST_THRESHOLD * soft)
        else:
            decide = RelaxedPolicy(self.rules(batch), self.drawn(batch), soft, self.imposed_actions(batch))
        scaled = self.thresholds is not None
        walk = self.walk(Relaxed, batch, decide, needs_received=scaled, scaled=scaled)
        outputs = self.task.forward(self.model, batch, walk=walk)
        answers = self.answer_losses(outputs, batch, self.expected(batch))
        cost = self.priced(batch, decide.kept)
        entropy = torch.stack(decide.entropy).mean()
        self.means.add(task_loss=answers.mean(), entropy=entropy)
        return answers.mean() + float(self.price) * cost.mean() - self.method.entropy_weight * entropy

    def _temperature(self) -> float:
        start, end = self.method.temperature
        return float(start * (end / start) ** (self.step / max(1, self.total_steps)))
