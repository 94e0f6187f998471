"""The base of what TR-BERT trains: a model that skips tokens, what its answers and its tokens cost, the price of these.

By itself it trains the model around decisions that it makes as when it is deployed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from bertpress import losses
from bertpress.budget import fit, settings_of, spread
from bertpress.costs.row_costs import RowCosts
from bertpress.engine.objective import Means, Objective
from bertpress.methods.trbert.rewards import mean_shares, moved_price
from bertpress.methods.trbert.sampling import uniform_draws
from bertpress.models.deciding import Decide
from bertpress.models.shared_choices import Shared
from bertpress.models.walks import Trace
from bertpress.processes import mean_over_processes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.methods.trbert import TrBert
    from bertpress.methods.trbert.artefacts import PerRow
    from bertpress.tasks.task import Task

Say = Callable[[str], None]
Phase = Literal["init", "policy", "joint"]
COLLAPSED, PATIENCE = (0.02, 0.98), 200
"""Shares of the tokens that may be skipped, and steps outside of them that are a collapse."""
FITTED_ROWS = 128
"""By these, thresholds are moved before a checkpoint is scored."""


class Reducing(Objective):
    """The task's loss of a model that skips tokens, and the price of those that it keeps.

    Args:
        model: a compact model with token reduction; the caller has chosen what is trainable.
        phase: which one is trained.
        answers: a teacher's logits of each training row, which are learned in place of the labels.
        teacher: gives them where they cannot be stored.
        say: told when the policies keep almost nothing or almost everything for long.
    """

    price: Tensor
    collapsed: Tensor
    draws = False
    """decisions are drawn in training, so that thresholds are no matter before the model is deployed"""

    def __init__(
        self,
        model: PreTrainedModel,
        task: Task,
        method: TrBert,
        seed: int,
        phase: Phase = "joint",
        answers: PerRow | None = None,
        teacher: PreTrainedModel | None = None,
        say: Say = lambda _: None,
    ) -> None:
        super().__init__(task, teacher)
        self.model, self.method, self.seed, self.phase = model, method, seed, phase
        self.answers, self.say = answers, say
        self.costs = RowCosts.of(model.config)
        self.decisions = len(self.costs.layers)
        self.register_buffer("price", torch.tensor(method.fixed_price(phase) or 0.0, dtype=torch.float64))
        self.means, self.spent = Means(), Means()
        self.register_buffer("collapsed", torch.tensor(0))
        self.judged: list[Tensor] = []

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        if self.training:
            return {"loss": self.training_loss(batch) + 0.0 * self.anchor}
        trace = Trace()
        outputs = self.task.forward(self.model, batch, trace=trace)
        self.judged.append(self.costs.share_of(trace))
        result = {"logits": self.task.condense(outputs, batch)}
        if "labels" in batch:
            result["loss"] = self.task.example_losses(outputs, batch).mean()
        return result

    def training_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Of shape (); here of the model with its own decisions."""
        outputs = self.task.forward(self.model, batch)
        return self.answer_losses(outputs, batch, self.expected(batch)).mean()

    def expected(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """The teacher's logits, if there is one."""
        if self.answers is not None:
            return self.answers.rows(batch["row"], batch["input_ids"].device)
        if self.teacher is None:
            return None
        with torch.no_grad():
            logits: Tensor = self.task.forward(self.teacher, batch).logits
        return logits

    def answer_losses(self, outputs: Any, batch: Mapping[str, Tensor], expected: Tensor | None) -> Tensor:
        """(rows,) distance from the expected logits, or from the labels where there are none."""
        method = self.method
        if expected is None:
            weight = method.hard_weight if self.phase == "joint" and method.learns_labels_alone else 1.0
            found = weight * self.task.example_losses(outputs, batch)
        else:
            found = method.soft_weight * self.task.distillation_losses(outputs.logits, expected, batch, self._soft)
            if method.hard_weight:
                found = found + method.hard_weight * self.task.example_losses(outputs, batch)
        if not bool(torch.isfinite(found).all()):
            rows = batch["row"][~torch.isfinite(found)].tolist()
            raise FloatingPointError(f"the loss of training row {rows[0]} is not finite at step {self.step}")
        return found

    def _soft(self, own: Tensor, other: Tensor) -> Tensor:
        return losses.soft_cross_entropy(own, other, self.method.kd_temperature)

    def priced(self, batch: Mapping[str, Tensor], kept: list[Tensor]) -> Tensor:
        """(rows,) what the price is asked for, and note what was spent.

        Args:
            kept: of each decision, (rows,) tokens left.
        """
        lengths = batch["attention_mask"].sum(1).to(kept[0])
        after = torch.stack(kept, 1)
        macs = self.costs.share(lengths, after)
        shares = (after / lengths[:, None]).mean(0)
        self.means.add(macs_share=macs.mean(), **{f"kept_{step}": share for step, share in enumerate(shares)})
        least = lengths.clamp(max=self.method.min_keep)[:, None]
        kept_of_free = (after - least).sum() / (lengths[:, None] - least).expand_as(after).sum().clamp(min=1)
        self.spent.add(macs=macs.mean(), kept=kept_of_free)
        if not self.method.prices_tokens:
            return macs
        return mean_shares(lengths, after, self.method.length_norm, self.task.max_length)

    def before_update(self) -> None:
        if spent := self.spent.take():
            self.learn_from(spent)

    def learn_from(self, spent: Mapping[str, float]) -> None:
        """Before an optimizer step: what its batch spent moves the price, and is watched."""
        if self.method.alpha is None:
            macs = mean_over_processes(spent["macs"])
            self.price.fill_(moved_price(float(self.price), macs, self.method.macs, self.method.control_rate))
        outside = not COLLAPSED[0] <= spent["kept"] <= COLLAPSED[1]
        self.collapsed.copy_(self.collapsed + 1 if outside else self.collapsed * 0)
        if int(self.collapsed) == PATIENCE:
            kept = f"{100 * spent['kept']:.0f} % of the tokens that may be skipped"
            self.say(f"warning: for {PATIENCE} steps {kept} were kept: a collapse.")

    def progress(self) -> dict[str, float]:
        return {"price": float(self.price), **self.means.take()}

    @property
    def selection(self) -> tuple[str, bool]:
        return (self.task.primary if self.method.alpha is not None else "score_in_budget"), True

    def scores(self, split: str, device: torch.device) -> dict[str, float]:
        """The task's metrics, the share of multiply-adds, and the primary metric less what exceeds the budget."""
        method = self.method
        if self.draws and method.calibrate and method.alpha is None:
            fit(self.model, self.task, spread(self.task.encoded(split), FITTED_ROWS, self.task.together), method.macs)
        self.judged = []
        found = super().scores(split, device)
        macs = float(torch.cat(self.judged).mean())
        excess = max(0.0, macs / method.macs - 1) if method.alpha is None else 0.0
        return {**found, "macs_share": macs, "score_in_budget": found[self.task.primary] - excess}

    def walk(self, kind: type[Any], batch: Mapping[str, Tensor], decide: Any, **options: Any) -> Any:
        """A pass through the layers with decisions made by `decide`."""
        encoder: Any = self.model.base_model
        return kind(
            batch["attention_mask"].bool(),
            len(self.costs.linear),
            self.costs.layers,
            decide,
            encoder.token_outputs,
            **options,
        )

    def rules(self, batch: Mapping[str, Tensor]) -> Decide:
        """What holds of a decision when the model is deployed, whoever makes it: tokens that stay, least and most."""
        encoder: Any = self.model.base_model
        settings, ids = settings_of(self.model), batch["input_ids"]
        always = torch.isin(ids, torch.tensor(settings.always_keep, device=ids.device))
        kept = always.flatten() if settings.always_keep else None
        return Decide(settings, encoder.policies, kept, shared=self.shared(batch))

    def shared(self, batch: Mapping[str, Tensor]) -> Shared | None:
        """What the options of each question have in common, where they share decisions."""
        groups = self.task.groups(batch) if settings_of(self.model).shared else None
        return None if groups is None else Shared.of(groups, batch["input_ids"], batch["attention_mask"].bool())

    def drawn(self, batch: Mapping[str, Tensor], rollouts: int = 1) -> Callable[[int], Tensor]:
        """The numbers that a decision is drawn with, a function of seed, step and row, or question if it is shared."""
        width = batch["attention_mask"].shape[1]
        shared = self.task.together if settings_of(self.model).shared else None
        numbers = batch[shared or "row"]
        return lambda decision: uniform_draws((self.seed, self.step, decision), numbers, rollouts, width)

    def imposed_actions(self, batch: Mapping[str, Tensor], rollouts: int = 1) -> Tensor | None:
        """(rollouts * rows * width, decisions) of what `impose` was given.

        That is (positions, decisions), True where a token goes on, with rows and rollouts before these if they differ;
        positions beyond the width of the batch are left out.
        """
        if self.imposed is None:
            return None
        rows, width = batch["input_ids"].shape
        given: Tensor = self.imposed[..., :width, :]
        return given.expand(rollouts, rows, width, self.decisions).flatten(0, 2).to(batch["input_ids"].device)
