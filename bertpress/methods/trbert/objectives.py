"""What TR-BERT trains: policies towards importance, decisions by REINFORCE or relaxed, and the model that decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from bertpress import losses
from bertpress.methods.trbert.calibrating import change_settings, fit
from bertpress.methods.trbert.costs import RowCosts, mean_shares, moved_price
from bertpress.methods.trbert.rewards import advantages, policy_loss, ranks_as_targets
from bertpress.methods.trbert.sampling import (
    Relaxed,
    RelaxedPolicy,
    Rollouts,
    Sampled,
    SoftThresholds,
    uniform_draws,
)
from bertpress.models.walks import Trace
from bertpress.objective import Means, Objective
from bertpress.processes import mean_over_processes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.methods.trbert import TrBert
    from bertpress.methods.trbert.artefacts import PerRow
    from bertpress.tasks.task import Task

Say = Callable[[str], None]
COLLAPSED, PATIENCE = (0.02, 0.98), 200
SOFTEST_THRESHOLD = 0.002
FITTED_ROWS = 128
"""By these, thresholds are moved before a checkpoint is scored."""


class Reducing(Objective):
    """The task's loss of a model that skips tokens, and the price of those that it keeps.

    Args:
        model: a compact model with token reduction; the caller has chosen what is trainable.
        answers: a teacher's logits of each training row, which are learned in place of the labels.
        teacher: gives them where they cannot be stored.
        say: told when the policies keep almost nothing or almost everything for long.
    """

    price: Tensor
    draws = False
    """decisions are drawn in training, so that thresholds are no matter before the model is deployed"""

    def __init__(
        self,
        model: PreTrainedModel,
        task: Task,
        method: TrBert,
        seed: int,
        answers: PerRow | None = None,
        teacher: PreTrainedModel | None = None,
        say: Say = lambda _: None,
    ) -> None:
        super().__init__(task, teacher)
        self.model, self.method, self.seed, self.answers, self.say = model, method, seed, answers, say
        self.costs = RowCosts.of(model.config)
        self.decisions = len(self.costs.layers)
        start = 0.0 if method.alpha is None else method.alpha
        self.register_buffer("price", torch.tensor(start, dtype=torch.float64))
        self.means, self.spent = Means(), Means()
        self.judged: list[Tensor] = []
        self.collapsed = 0

    def deployed(self) -> PreTrainedModel:
        return self.model

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
            found = self.task.example_losses(outputs, batch)
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
        tokens = mean_shares(lengths, after, self.method.length_norm, batch["attention_mask"].shape[1])
        macs = self.costs.share(lengths, after)
        shares = (after / lengths[:, None]).mean(0)
        self.means.add(macs_share=macs.mean(), **{f"kept_{step}": share for step, share in enumerate(shares)})
        self.spent.add(macs=macs.mean(), tokens=tokens.mean(), kept=shares.mean())
        by_tokens = self.method.cost == "tokens" or (self.method.cost == "auto" and self.method.alpha is not None)
        return tokens if by_tokens else macs

    def before_update(self) -> None:
        spent = self.spent.take()
        if not spent:
            return
        if self.method.alpha is None:
            macs = mean_over_processes(spent["macs"])
            self.price.fill_(moved_price(float(self.price), macs, self.method.macs, self.method.control_rate))
        outside = not COLLAPSED[0] <= spent["kept"] <= COLLAPSED[1]
        self.collapsed = self.collapsed + 1 if outside else 0
        if self.collapsed == PATIENCE:
            self.say(f"warning: for {PATIENCE} steps {100 * spent['kept']:.0f} % of the tokens were kept: a collapse.")

    def progress(self) -> dict[str, float]:
        return {"price": float(self.price), **self.means.take()}

    @property
    def selection(self) -> tuple[str, bool]:
        return (self.task.primary if self.method.alpha is not None else "score_in_budget"), True

    def scores(self, split: str, device: torch.device) -> dict[str, float]:
        """The task's metrics, the share of multiply-adds, and the primary metric less what exceeds the budget."""
        method = self.method
        if self.draws and method.calibrate and method.alpha is None:
            fit(self.model, self.task, self.costs, method.macs, split, FITTED_ROWS)
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

    def drawn(self, batch: Mapping[str, Tensor], rollouts: int = 1) -> Callable[[int], Tensor]:
        """The numbers that a decision is drawn with, a function of seed, step and row."""
        width = batch["attention_mask"].shape[1]
        return lambda decision: uniform_draws((self.seed, self.step, decision), batch["row"], rollouts, width)


class Reinforced(Reducing):
    """Policies by REINFORCE: several rollouts of each row, compared with each other.

    Args:
        joint: the encoder and the head learn too, from the rows' answers.
        guide: importance of each token of each training row; the first rollout of each row takes the most important
            ones, in the first part of the run.
    """

    draws = True
    running: Tensor

    def __init__(self, *args: Any, joint: bool, guide: PerRow | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.joint, self.guide = joint, guide
        self.register_buffer("running", torch.zeros((), dtype=torch.float64))

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if mode and not self.joint and not self.method.policy_dropout:
            self.model.eval()
        return self

    def training_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        count = self.method.rollouts
        repeated = {name: value.repeat(count, *[1] * (value.dim() - 1)) for name, value in batch.items()}
        sampled = self._sampled(batch)
        walk = self.walk(Rollouts, repeated, sampled, rollouts=count, keep_gradient=self.method.grad_through_skipped)
        expected = self.expected(batch)
        if expected is not None:
            expected = expected.repeat(count, *[1] * (expected.dim() - 1))
        answers = self.answer_losses(self.task.forward(self.model, repeated, walk=walk), repeated, expected)
        cost = self.priced(repeated, sampled.kept)
        rewards = (-answers.detach() - float(self.price) * cost).unflatten(0, (count, -1))
        advantage = advantages(rewards, self.method.baseline, self.method.advantage_norm, self.running)
        nll = torch.stack(sampled.nll).sum(0).unflatten(0, (count, -1))
        policies = policy_loss(advantage, nll)
        entropy = torch.stack(sampled.entropy).mean()
        self._note(answers, rewards, advantage, entropy)
        total = policies if not self.joint else answers.mean() + self.method.beta * policies
        return total - self.method.entropy_weight * entropy

    def _sampled(self, batch: Mapping[str, Tensor]) -> Sampled:
        encoder: Any = self.model.base_model
        return Sampled(
            encoder.policies,
            self.drawn(batch, self.method.rollouts),
            self._guidance(batch),
            self.imposed,
            self.method.logprob_eps,
            self.joint and self.method.detach_policy_input,
        )

    def _guidance(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """(decisions, rollouts * rows * length): importance for the first rollout, nan for the others."""
        if self.guide is None or self.step >= self.method.guide_rate * self.total_steps:
            return None
        width = batch["attention_mask"].shape[1]
        first = self.guide.tokens(batch["row"], width, batch["row"].device).flatten(1)  # (decisions, rows * length)
        others = first.new_full((first.shape[0], first.shape[1] * (self.method.rollouts - 1)), torch.nan)
        return torch.cat([first, others], 1)

    def _note(self, answers: Tensor, rewards: Tensor, advantage: Tensor, entropy: Tensor) -> None:
        guided = self.guide is not None and self.step < self.method.guide_rate * self.total_steps
        self.running.mul_(0.99).add_(0.01 * rewards.mean().double())
        self.means.add(
            reward=rewards.mean(),
            task_loss=answers.mean(),
            entropy=entropy,
            advantage=advantage.std(unbiased=False),
            guided=torch.tensor(float(guided) / self.method.rollouts),
        )


class Smooth(Reducing):
    """Decisions with a gradient: relaxed draws from policies, or soft thresholds, and one pass of each row.

    Args:
        joint: of policies, the encoder and the head learn too.
    """

    def __init__(self, *args: Any, joint: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.joint = joint
        self.draws = self.method.selector == "gumbel"
        self.thresholds: torch.nn.Parameter | None = None
        if self.method.selector == "threshold":
            depth = len(self.costs.linear)
            start = [0.01 * layer / depth for layer in self.costs.layers]
            self.thresholds = torch.nn.Parameter(torch.tensor(start, device=self.model.device))

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if mode and not self.joint and self.thresholds is None and not self.method.policy_dropout:
            self.model.eval()
        if not mode and self.thresholds is not None:
            change_settings(self.model, thresholds=self.thresholds.tolist(), shares=None)
        return self

    def training_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        soft = self._temperature()
        encoder: Any = self.model.base_model
        if self.thresholds is not None:
            decide: Any = SoftThresholds(self.thresholds, SOFTEST_THRESHOLD * soft)
        else:
            decide = RelaxedPolicy(encoder.policies, self.drawn(batch), soft, self.imposed)
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


class Initialising(Reducing):
    """Policies towards the order of importance, on rows of which nothing is skipped (an L1 distance to the rank)."""

    def __init__(self, *args: Any, guide: PerRow, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.guide = guide

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.model.eval()
        return self

    def training_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        mask = batch["attention_mask"]
        encoder: Any = self.model.base_model
        with torch.no_grad():
            states = self.task.forward(self.model, batch, token_threshold=-1.0, output_hidden_states=True).hidden_states
        scores = self.guide.tokens(batch["row"], mask.shape[1], mask.device)
        lengths = mask.sum(1)
        distance = torch.zeros(len(mask), device=mask.device)
        for step, layer in enumerate(self.costs.layers):
            target = ranks_as_targets(scores[step].nan_to_num(0.0), lengths)
            keep = torch.sigmoid(encoder.policies[step](states[layer]))
            distance = distance + ((keep - target).abs() * mask).sum(1) / lengths
        self.means.add(rank_distance=distance.mean())
        return distance.mean()
