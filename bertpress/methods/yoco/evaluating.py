"""What sub-networks lose on rows held out: cheaply for many, on all rows for few."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch

from bertpress.engine.evaluation import pieces_of, side_by_side
from bertpress.engine.kernels import fastest_kernels
from bertpress.losses import kl_divergence
from bertpress.methods.yoco.elastic import choosing
from bertpress.processes import rank, sum_over_processes, world_size
from bertpress.tasks.rows import groups_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from bertpress.methods.yoco.space import SubNetwork
    from bertpress.tasks.task import Task

BATCH = 64


class Evaluator:
    """The rows of a split, collated once, in rungs: each rung adds rows to those before it.

    Rows without labels are judged by how far a network's predictions are from the largest network's.

    Args:
        model: in eval mode; elastic, or one that stands for itself: its only network is None.
        split: whose rows are looked at.
        rungs: numbers of rows; the last rung is all of them, whatever is given.
        largest: whom networks without labels are compared with.
        seed: of the order in which rows are looked at.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        task: Task,
        split: str,
        rungs: Sequence[int],
        largest: SubNetwork | None,
        seed: int,
    ) -> None:
        self.model, self.task = model, task
        rows = task.encoded(split)
        groups = groups_of(rows, task.together)
        order = np.random.default_rng((seed, len(rows))).permutation(len(rows))
        self.ends = sorted({min(rung, len(rows)) for rung in (*rungs, len(rows))})
        if groups is not None:
            order, self.ends = side_by_side(order, groups, self.ends)
        self.labelled = task.has_labels(split)
        self.rungs: list[list[dict[str, Tensor]]] = []
        for start, end in zip([0, *self.ends], self.ends, strict=False):
            chosen = order[start:end]
            pieces = pieces_of(np.asarray(rows["length"][:])[chosen], BATCH, None if groups is None else groups[chosen])
            batches = [task.collate([rows[row] for row in chosen[piece].tolist()]) for piece in pieces]
            self.rungs.append([{name: value.to(model.device) for name, value in batch.items()} for batch in batches])
        self.expected = (
            [] if self.labelled else [[self._logits(largest, batch) for batch in rung] for rung in self.rungs]
        )

    def _chosen(self, network: SubNetwork | None) -> AbstractContextManager[None]:
        return nullcontext() if network is None else choosing(self.model, network)

    @torch.inference_mode()
    def _logits(self, network: SubNetwork | None, batch: dict[str, Tensor]) -> Tensor:
        with self._chosen(network):
            logits: Tensor = self.task.forward(self.model, batch).logits
        return logits

    def sums(self, networks: Sequence[SubNetwork | None], rung: int) -> list[float]:
        """The sum of the losses of each network over the rows that a rung adds; processes share the networks."""
        found = np.zeros(len(networks))
        for place in range(rank(), len(networks), world_size()):
            found[place] = self._sum(networks[place], rung)
        return [float(total) for total in sum_over_processes(found)]

    @torch.inference_mode()
    def _sum(self, network: SubNetwork | None, rung: int) -> float:
        total = 0.0
        with self._chosen(network), fastest_kernels(self.model.device):
            for place, batch in enumerate(self.rungs[rung]):
                outputs = self.task.forward(self.model, batch)
                if self.labelled:
                    each = self.task.example_losses(outputs, batch)
                else:
                    expected = self.expected[rung][place]
                    each = self.task.distillation_losses(outputs.logits, expected, batch, kl_divergence)
                total += float(each.double().sum())
        return total if math.isfinite(total) else math.inf
