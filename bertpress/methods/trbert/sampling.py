"""Forward passes in which decisions are drawn: several at once per row, or relaxed so that a gradient reaches them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bertpress import draws
from bertpress.methods.trbert.rewards import action_losses, entropies
from bertpress.models.deciding import Decide, Question
from bertpress.models.token_selection import Tokens
from bertpress.models.walks import Masked, Packed


def uniform_draws(key: tuple[int, ...], rows: Tensor, rollouts: int, width: int) -> Tensor:
    """(rollouts * rows * width,): a number in [0, 1) for each token; rollout j of row i is example j * rows + i.

    Args:
        key: such as seed, step and decision.
        rows: (rows,) the number of each example in its data.
    """
    numbers = rows.cpu().numpy()
    drawn = [torch.from_numpy(draws.uniform((*key, copy), numbers, width)) for copy in range(rollouts)]
    return torch.stack(drawn).flatten().to(rows.device)


@dataclass
class Sampled:
    """Draws every decision from the policies, and keeps what REINFORCE needs to know of it."""

    rules: Decide
    """the policies, and what holds when they are deployed"""
    uniform: Callable[[int], Tensor]
    """of a decision, (examples * width,): a token goes on if the number of its place is below its probability"""
    guide: Tensor | None = None
    """(decisions, examples * width) importance, for examples that take the most important tokens; nan elsewhere"""
    actions: Tensor | None = None
    """(examples * width, decisions) actions to take instead of drawing"""
    eps: float = 0.0
    detach: bool = False
    nll: list[Tensor] = field(default_factory=list)
    """of each decision, (examples,) mean over the tokens alive that it is about"""
    kept: list[Tensor] = field(default_factory=list)
    """of each decision, (examples,)"""
    entropy: list[Tensor] = field(default_factory=list)
    """of each decision, ()"""

    def __call__(self, question: Question) -> tuple[Tensor, Tensor | None]:
        tokens = question.tokens
        states = question.states.detach() if self.detach else question.states
        logits = self.rules.mean(self.rules.policies[question.step](states), tokens)
        keep = self._behaviour(question, torch.sigmoid(logits.detach()))
        keep = self.rules.held(self.rules.limited(keep, logits.detach(), tokens), tokens)
        asked = self.rules.asked(tokens)
        self.nll.append(mean_of_examples(action_losses(logits, keep, self.eps), tokens, asked))
        self.kept.append(sum_of_examples(keep.float(), tokens))
        self.entropy.append((entropies(logits) * asked).sum() / asked.sum())
        return keep, None

    def _behaviour(self, question: Question, probability: Tensor) -> Tensor:
        tokens = question.tokens
        if self.actions is not None:
            return self.actions[tokens.place, question.step]
        keep = self.uniform(question.step)[tokens.place] < probability
        if self.guide is None:
            return keep
        importance = self.guide[question.step][tokens.place]
        guided, asked = ~importance.isnan(), self.rules.asked(tokens)
        quotas = torch.floor(_segment_sums(probability * asked, tokens) + 0.5)
        chosen = tokens.ranks(importance.nan_to_num(-1.0).masked_fill(~asked, -1.0)) < quotas[tokens.example]
        return torch.where(guided, chosen, keep)


def _segment_sums(values: Tensor, tokens: Tokens) -> Tensor:
    """(examples,) in the order in which they lie."""
    return values.new_zeros(len(tokens.counts)).index_add(0, tokens.example, values)


def sum_of_examples(values: Tensor, tokens: Tokens) -> Tensor:
    """(examples,) sums over the tokens of each, in the order of the batch."""
    rows = torch.tensor(tokens.rows, device=values.device)
    return values.new_zeros(len(tokens.rows)).index_add(0, rows[tokens.example], values)


def mean_of_examples(values: Tensor, tokens: Tokens, asked: Tensor) -> Tensor:
    """(examples,) means over those tokens of each that are asked about, in the order of the batch."""
    return sum_of_examples(values * asked, tokens) / sum_of_examples(asked.to(values), tokens)


class Rollouts(Packed):
    """Several passes of the same rows, which part at the first decision; what lies below it is computed once.

    Args:
        valid: (rollouts * rows, length): the batch repeated as a whole.
        rollouts: how often.
        keep_gradient: gradients reach the last states of skipped tokens.
    """

    def __init__(self, valid: Tensor, *args: Any, rollouts: int, keep_gradient: bool = True, **kwargs: Any) -> None:
        super().__init__(valid[: len(valid) // rollouts], *args, **kwargs)
        self.rollouts, self.keep_gradient = rollouts, keep_gradient

    def enter(self, hidden: Tensor) -> None:
        super().enter(hidden[: len(hidden) // self.rollouts])

    def reduce(self, step: int) -> None:
        if step == 0 and self.rollouts > 1:
            self.tokens = self.tokens.repeated(self.rollouts)
            self.shrink(torch.arange(len(self.packed), device=self.packed.device).repeat(self.rollouts))
        super().reduce(step)

    def skip(self, places: Tensor, states: Tensor) -> None:
        super().skip(places, states if self.keep_gradient else states.detach())


class Relaxed(Masked):
    """A pass in which a token's share in what follows is a number, so that the decision has a gradient.

    `decide` gives that number in place of a score. Skipped tokens are seen with weight 0 and keep their state, as in
    the deployed model; their weight's gradient tells what they would have changed.

    Args:
        scaled: the number multiplies the token's state, and hides nothing (the soft stage of learned thresholds).
    """

    def __init__(self, *args: Any, scaled: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scaled = scaled

    def enter(self, hidden: Tensor) -> None:
        super().enter(hidden)
        self.weights = self.valid.to(self.hidden.dtype)

    def run(self, layer: nn.Module, *args: Any, **kwargs: Any) -> None:
        mask = self.valid[:, None, None, :].expand(-1, 1, self.valid.shape[1], -1)
        weights = None if self.scaled else self.weights
        out = layer(self.hidden, mask, *args, key_weights=weights, **kwargs)
        share = self.valid[..., None] if self.scaled else self.weights[..., None]
        self.hidden = out * share + self.hidden * (1 - share.to(out.dtype))

    def decided(self, keep: Tensor, scores: Tensor | None) -> None:
        assert scores is not None
        flat = self.weights.flatten()
        if self.scaled:
            share = torch.ones_like(flat).index_put((self.tokens.place,), scores.to(flat))
            self.hidden = self.hidden * share.view_as(self.weights)[..., None]
            return
        place = self.tokens.place
        self.weights = flat.index_put((place,), flat[place] * scores.to(flat)).view_as(self.weights)
        self.tokens = self.tokens.select(keep)[0]


@dataclass
class RelaxedPolicy:
    """Straight-through draws: forward a token goes on or not, backward the draw is as soft as `temperature` says."""

    rules: Decide
    """the policies, and what holds when they are deployed"""
    uniform: Callable[[int], Tensor]
    """of a decision, (examples * width,)"""
    temperature: float
    actions: Tensor | None = None
    kept: list[Tensor] = field(default_factory=list)
    """of each decision, (examples,), with a gradient also to the decisions before it"""
    entropy: list[Tensor] = field(default_factory=list)
    left: Tensor | None = None
    """(examples * width,) what all decisions so far have left of each token"""

    def __call__(self, question: Question) -> tuple[Tensor, Tensor | None]:
        tokens = question.tokens
        logits = self.rules.mean(self.rules.policies[question.step](question.states), tokens)
        drawn = self.uniform(question.step)[tokens.place].clamp(1e-6, 1 - 1e-6).to(logits.dtype)
        soft = torch.sigmoid((logits + torch.logit(drawn)) / self.temperature)
        keep = soft > 0.5 if self.actions is None else self.actions[tokens.place, question.step]
        keep = self.rules.limited(keep, logits.detach(), tokens)
        stays = self.rules.held(torch.zeros_like(keep), tokens)
        share = (keep.to(soft.dtype) + (soft - soft.detach())).masked_fill(stays, 1.0)
        before = torch.ones_like(self.uniform(question.step), dtype=share.dtype) if self.left is None else self.left
        left = before[tokens.place] * share
        self.left = before.index_put((tokens.place,), left)
        self.kept.append(sum_of_examples(left, tokens))
        self.entropy.append(entropies(logits).mean())
        return keep | stays, share


@dataclass
class SoftThresholds:
    """Learned thresholds on the attention that tokens receive, as soft as `temperature` says."""

    rules: Decide
    """what holds when the model is deployed; its least and most tokens are no matter before"""
    thresholds: Tensor
    """(decisions,) with a gradient"""
    temperature: float
    kept: list[Tensor] = field(default_factory=list)
    """of each decision, (examples,): sums of what is left of each token, with a gradient"""
    entropy: list[Tensor] = field(default_factory=list)
    left: Tensor | None = None

    def __call__(self, question: Question) -> tuple[Tensor, Tensor | None]:
        assert question.received is not None
        tokens = question.tokens
        received = self.rules.mean(question.received, tokens)
        share = torch.sigmoid((received - self.thresholds[question.step]) / self.temperature)
        share = share.masked_fill(self.rules.held(torch.zeros_like(share, dtype=torch.bool), tokens), 1.0)
        self.left = share if self.left is None else self.left * share
        self.kept.append(sum_of_examples(self.left, tokens))
        self.entropy.append(torch.zeros(()))
        return torch.ones_like(share, dtype=torch.bool), share
