"""Tiny models that skip tokens, what trains them, and a plain loop over rows to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from conftest import make_model, without_dropout
from torch import Tensor

from bertpress.methods.trbert import TrBert
from bertpress.methods.trbert.reinforced import Reinforced
from bertpress.methods.trbert.steps import freeze, prepared

FIXED = {"alpha": 0.7, "policy_init_bias": 0.3}
"""Settings with a fixed price, and policies that keep a little more than half."""


def made(task: Any, family: str = "bert", seed: int = 1, **fields: Any) -> tuple[Any, TrBert]:
    """A reduced model without dropout whose policies differ visibly from token to token, and its method."""
    method = TrBert(**{**FIXED, **fields})
    reduced = prepared(method, make_model(family=family, **without_dropout(family)), task, seed)
    with torch.no_grad():
        for policy in reduced.base_model.policies:
            policy.inner.weight.mul_(20)
            policy.outer.weight.mul_(20)
    return reduced, method


def reinforced(task: Any, phase: str = "policy", guide: Any = None, family: str = "bert", **fields: Any) -> Reinforced:
    """What trains such a model by REINFORCE, in training mode."""
    reduced, method = made(task, family, **fields)
    if phase == "policy":
        freeze(reduced)
    else:
        reduced.requires_grad_(True)
    return Reinforced(reduced, task, method, seed=1, phase=phase, guide=guide).train()


@dataclass(frozen=True)
class Pass:
    """One row by itself, with given actions."""

    loss: Tensor
    logits: Tensor
    """of the answer"""
    keep: list[Tensor]
    """of each decision, the policy's logits of the tokens alive"""
    actions: list[Tensor]
    """of each decision, those of the tokens alive"""
    kept: list[int]


def alone(model: Any, task: Any, batch: Any, row: int, actions: Tensor) -> Pass:
    """A row without padding and neighbours, all positions computed; a plain loop finds what is alive.

    Args:
        actions: (positions, decisions) True where a token goes on; that of the first token is taken for True.
    """
    length = int(batch["attention_mask"][row].sum())
    one = {name: value[row : row + 1] for name, value in batch.items()}
    one = {name: value[:, :length] if value.dim() == 2 else value for name, value in one.items()}
    actions = actions[:length].clone()
    actions[0] = True
    outputs = task.forward(model, one, actions=actions[None], backend="masked", output_hidden_states=True)
    alive, keep, taken = list(range(length)), [], []
    for step, layer in enumerate(model.base_model.settings.layers):
        states = torch.stack([outputs.hidden_states[layer][0, token] for token in alive])
        keep.append(model.base_model.policies[step](states))
        taken.append(actions[alive, step])
        alive = [token for token in alive if bool(actions[token, step])]
    kept = [int(chosen.sum()) for chosen in taken]
    return Pass(task.example_losses(outputs, one)[0], outputs.logits[0], keep, taken, kept)


def log_likelihood(found: Pass, eps: float = 0.0) -> Tensor:
    """Sum over decisions of the mean over the tokens alive of the log-probability of what was done."""
    total = torch.zeros(())
    for logits, actions in zip(found.keep, found.actions, strict=True):
        pieces = []
        for logit, action in zip(logits, actions.tolist(), strict=True):
            probability = 1 / (1 + torch.exp(-logit))
            pieces.append(torch.log((probability if action else 1 - probability) + eps))
        total = total + torch.stack(pieces).mean()
    return total


def drawn_actions(objective: Reinforced, batch: Any) -> Tensor:
    """(rollouts, rows, width, decisions) some actions for every token, the same for the same seed."""
    rows, width = batch["input_ids"].shape
    shape = (objective.method.rollouts, rows, width, objective.decisions)
    return torch.rand(shape, generator=torch.Generator().manual_seed(5)) < 0.6


def gradients(objective: Any) -> dict[str, Tensor]:
    """Of the parameters that have one."""
    named = objective.named_parameters()
    return {name: value.grad.clone() for name, value in named if value.grad is not None and name != "anchor"}
