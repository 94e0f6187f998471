"""REINFORCE for decisions about tokens: log-likelihood of actions, rewards, advantages. Shapes: K rollouts, B rows."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def action_losses(logits: Tensor, actions: Tensor, eps: float = 0.0) -> Tensor:
    """(tokens,) negative log-likelihood of each action under the policy (section 3.2 of the paper).

    Args:
        logits: (tokens,) of keeping.
        actions: (tokens,) True where the token was kept, whoever decided it.
        eps: added to the probabilities, as the original does with 1e-6.
    """
    if eps == 0:
        return functional.binary_cross_entropy_with_logits(logits, actions.float(), reduction="none")
    keep = torch.sigmoid(logits)
    return -torch.where(actions, torch.log(keep + eps), torch.log(1 - keep + eps))


def entropies(logits: Tensor) -> Tensor:
    """(tokens,) entropy of each decision in nats."""
    keep = torch.sigmoid(logits)
    return keep * functional.softplus(-logits) + (1 - keep) * functional.softplus(logits)


def advantages(
    rewards: Tensor, baseline: Literal["loo", "mean"], normalise: bool = False, running: Tensor | None = None
) -> Tensor:
    """(K, B) how much better each rollout did than the others of its row.

    Args:
        rewards: (K, B).
        baseline: mean of the other K - 1 rollouts, or of all K; the former is K / (K - 1) times the latter.
        normalise: divide by the row's standard deviation.
        running: for one rollout, which has no others, what it is compared with, of shape (); nan: nothing came
            yet, and nothing is learned.
    """
    count = rewards.shape[0]
    if count == 1:
        assert running is not None, "one rollout needs something to be compared with"
        return rewards - torch.where(running.isnan(), rewards, running).to(rewards)
    result = rewards - rewards.mean(0)
    if baseline == "loo":
        result = result * count / (count - 1)
    if normalise:
        result = result / (rewards.std(0, unbiased=False) + 1e-6)
    return result


def policy_loss(advantage: Tensor, nll: Tensor) -> Tensor:
    """Mean over rollouts and rows of advantage times the log-likelihood of the actions, of shape ().

    Args:
        advantage: (K, B); no gradient goes through it.
        nll: (K, B) negative log-likelihood: mean over the tokens alive, summed over decisions.
    """
    return (advantage.detach() * nll).mean()


def ranks_as_targets(scores: Tensor, lengths: Tensor) -> Tensor:
    """(rows, length): 1 for the most important token of a row, falling by 1 / n to 1 / n; 0 for padding.

    Args:
        scores: (rows, length), padding at the end.
        lengths: (rows,) tokens n of each row.
    """
    positions = torch.arange(scores.shape[1], device=scores.device)
    valid = positions < lengths[:, None]
    order = scores.masked_fill(~valid, -torch.inf).argsort(dim=1, descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks.scatter_(1, order, positions.expand_as(order).contiguous())
    return (1 - ranks / lengths[:, None]).masked_fill(~valid, 0)


def mean_shares(lengths: Tensor, kept: Tensor, length_norm: str, width: int) -> Tensor:
    """(rows,): mean over the decisions of the tokens kept, as a share of the row's own or of the `width` padded to."""
    divisor = lengths if length_norm == "valid" else torch.full_like(lengths, float(width))
    return (kept / divisor[:, None]).mean(1)


def moved_price(price: float, cost: float, target: float, rate: float) -> float:
    """The price of the next step: it rises while more than the target is spent, and is never negative."""
    return max(0.0, price + rate * (cost - target))
