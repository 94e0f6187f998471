"""Policies learn the order of importance before they decide anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from bertpress.methods.trbert.reducing import Reducing
from bertpress.methods.trbert.rewards import ranks_as_targets

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.methods.trbert import TrBert
    from bertpress.methods.trbert.artefacts import PerRow
    from bertpress.tasks.task import Task


class Initialising(Reducing):
    """Policies towards the order of importance, on rows of which nothing is skipped (an L1 distance to the rank).

    Args:
        guide: importance of each token of each training row; None to take the weights of a finished training.
    """

    def __init__(self, model: PreTrainedModel, task: Task, method: TrBert, seed: int, guide: PerRow | None) -> None:
        super().__init__(model, task, method, seed, "init")
        self.guide = guide

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.model.eval()
        return self

    def training_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        assert self.guide is not None, "importance is needed to train"
        mask = batch["attention_mask"]
        encoder: Any = self.model.base_model
        everything = torch.ones(*mask.shape, self.decisions, dtype=torch.bool, device=mask.device)
        with torch.no_grad():
            outputs = self.task.forward(self.model, batch, actions=everything, output_hidden_states=True)
        states = outputs.hidden_states
        scores = self.guide.tokens(batch["row"], mask.shape[1], mask.device).nan_to_num(0.0)
        average, scores, mask = self._shared(batch, scores)
        lengths = mask.sum(1)
        distance = torch.zeros(len(mask), device=mask.device)
        for step, layer in enumerate(self.costs.layers):
            target = ranks_as_targets(scores[step], lengths)
            keep = torch.sigmoid(average(encoder.policies[step](states[layer])))
            distance = distance + ((keep - target).abs() * mask).sum(1) / lengths
        self.means.add(rank_distance=distance.mean())
        return distance.mean()

    def _shared(self, batch: Mapping[str, Tensor], scores: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor, Tensor]:
        """How verdicts of policies are averaged, importance, and a mask of the tokens asked about.

        Where the options of a question share decisions, importance is summed over them.
        """
        mask, shared = batch["attention_mask"], self.shared(batch)
        if shared is None:
            return lambda verdicts: verdicts, scores, mask
        everywhere = torch.arange(mask.numel(), device=mask.device)
        totals = torch.stack([shared.total(each.flatten(), everywhere).view_as(each) for each in scores])
        common = shared.is_common(everywhere).view_as(mask).to(mask)
        return lambda verdicts: shared.mean(verdicts.flatten(), everywhere).view_as(verdicts), totals, common
