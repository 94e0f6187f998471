"""Policies by REINFORCE, alone or together with the encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from bertpress.methods.trbert.reducing import Reducing
from bertpress.methods.trbert.rewards import advantages, policy_loss
from bertpress.methods.trbert.sampling import Rollouts, Sampled
from bertpress.processes import mean_over_processes

if TYPE_CHECKING:
    from bertpress.methods.trbert.artefacts import PerRow

REMEMBERED = 0.99
"""Share of the running mean of rewards that a step leaves as it was."""


class Reinforced(Reducing):
    """Policies by REINFORCE: several rollouts of each row, compared with each other.

    In the joint phase the encoder and the head learn too, from the rows' answers.

    Args:
        guide: importance of each token of each training row; the first rollout of each row takes the most important
            ones, in the first part of the run.
    """

    draws = True
    running: Tensor

    def __init__(self, *args: Any, guide: PerRow | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.joint, self.guide = self.phase == "joint", guide
        self.register_buffer("running", torch.tensor(torch.nan, dtype=torch.float64))

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if mode and not self.joint and not self.method.policy_dropout:
            self.model.eval()
        return self

    def training_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        count = self.method.rollouts
        repeated = {name: value.repeat(count, *[1] * (value.dim() - 1)) for name, value in batch.items()}
        sampled = self._sampled(batch, repeated)
        walk = self.walk(Rollouts, repeated, sampled, rollouts=count, keep_gradient=self.method.grad_through_skipped)
        expected = self.expected(batch)
        if expected is not None:
            expected = expected.repeat(count, *[1] * (expected.dim() - 1))
        answers = self.answer_losses(self.task.forward(self.model, repeated, walk=walk), repeated, expected)
        cost = self.priced(repeated, sampled.kept)
        rewards = (-answers.detach() - float(self.price) * cost).view(count, -1)
        advantage = advantages(rewards, self.method.baseline, self.method.advantage_norm, self.running)
        nll = torch.stack(sampled.nll).sum(0).view(count, -1)
        policies = policy_loss(advantage, nll)
        entropy = torch.stack(sampled.entropy).mean()
        self._note(answers, rewards, advantage, entropy)
        total = policies if not self.joint else answers.mean() + self.method.beta * policies
        return total - self.method.entropy_weight * entropy

    def _sampled(self, batch: Mapping[str, Tensor], repeated: Mapping[str, Tensor]) -> Sampled:
        count = self.method.rollouts
        return Sampled(
            self.rules(repeated),
            self.drawn(batch, count),
            self._guidance(batch),
            self.imposed_actions(batch, count),
            self.method.logprob_eps,
            self.joint and self.method.detach_policy_input,
        )

    @property
    def guided(self) -> bool:
        """True while the first rollout of each row takes the most important tokens."""
        return self.guide is not None and self.step < self.method.guide_rate * self.total_steps

    def _guidance(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """(decisions, rollouts * rows * length): importance for the first rollout, nan for the others."""
        if self.guide is None or not self.guided:
            return None
        width = batch["attention_mask"].shape[1]
        first = self.guide.tokens(batch["row"], width, batch["row"].device).flatten(1)  # (decisions, rows * length)
        if (shared := self.shared(batch)) is not None:
            everywhere = torch.arange(first.shape[1], device=first.device)
            first = torch.stack([shared.total(scores, everywhere) for scores in first])
        others = first.new_full((first.shape[0], first.shape[1] * (self.method.rollouts - 1)), torch.nan)
        return torch.cat([first, others], 1)

    def learn_from(self, spent: Mapping[str, float]) -> None:
        super().learn_from(spent)
        reward = mean_over_processes(spent["reward"])
        kept = REMEMBERED if bool(torch.isfinite(self.running)) else 0.0
        self.running.fill_(kept * self.running.nan_to_num(0.0) + (1 - kept) * reward)

    def _note(self, answers: Tensor, rewards: Tensor, advantage: Tensor, entropy: Tensor) -> None:
        self.spent.add(reward=rewards.mean())
        self.means.add(
            reward=rewards.mean(),
            task_loss=answers.mean(),
            entropy=entropy,
            advantage=advantage.std(unbiased=False),
            guided=torch.tensor(float(self.guided) / self.method.rollouts),
        )
