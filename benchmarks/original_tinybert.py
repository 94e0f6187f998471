"""The slow side of tinybert_speed.py: step 1 of TinyBERT in the arrangement of the paper's published code.

As a competent user would run it today: float32, all threads, fused AdamW, the teacher in eval mode, the norm clipped
over all parameters at once, and stock BERT with the cheapest attention that can show its scores, the eager one. What
makes the arrangement: inputs are padded to 128; scores before softmax and hidden states of every layer of both models
are kept; the teacher runs in each step; one linear map takes the student's hidden states to the teacher's width, even
where the widths agree; means over everything, padding too, where scores of padding count as 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.modeling_utils import AttentionInterface

ATTENTION = "eager with scores"
PADDING = -100.0
"""Scores up to this are those of padding, to which the mask was added."""


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """Eager attention, (batch, length, heads, width of a head), and its scores before the softmax."""
    scores = query @ key.transpose(2, 3) * kwargs["scaling"]
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = functional.dropout(functional.softmax(scores, dim=-1), kwargs["dropout"], module.training)
    return (weights @ value).transpose(1, 2).contiguous(), scores


class Original:
    """Teacher, student and their training step.

    Args:
        student: of the teacher's width and number of heads; its layers learn from every so manieth of the teacher.
        rows: encoded training rows, each with input_ids, token_type_ids, attention_mask and labels, padded to 128.
    """

    def __init__(self, teacher: PreTrainedModel, student: PreTrainedModel, rows: dict[str, list]) -> None:
        AttentionInterface.register(ATTENTION, attend)
        AttentionMaskInterface.register(ATTENTION, eager_mask)
        for model in (teacher, student):
            model.set_attn_implementation(ATTENTION)
        self.teacher, self.student = teacher.eval().requires_grad_(False), student.train().requires_grad_(True)
        self.rows = {name: torch.tensor(values) for name, values in rows.items() if name != "labels"}
        self.projection = nn.Linear(student.config.hidden_size, teacher.config.hidden_size)
        self.parameters = [*student.parameters(), *self.projection.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=5e-5, weight_decay=0.01, fused=True)
        self.schedule = LambdaLR(self.optimizer, lambda step: 1.0)

    def loss(self, rows: list[int]) -> Tensor:
        """What a step on these rows lowers."""
        batch = {name: values[rows] for name, values in self.rows.items()}
        student = self.student(**batch, output_attentions=True, output_hidden_states=True)
        with torch.no_grad():
            teacher = self.teacher(**batch, output_attentions=True, output_hidden_states=True)
        every = len(teacher.attentions) // len(student.attentions)
        pairs = zip(student.attentions, teacher.attentions[every - 1 :: every], strict=True)
        attention = sum(functional.mse_loss(_without_padding(mine), _without_padding(theirs)) for mine, theirs in pairs)
        states = zip(map(self.projection, student.hidden_states), teacher.hidden_states[::every], strict=True)
        return attention + sum(functional.mse_loss(mine, theirs) for mine, theirs in states)

    def step(self, rows: list[int]) -> None:
        """One training step on these rows."""
        self.loss(rows).backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()


def _without_padding(scores: Tensor) -> Tensor:
    return torch.where(scores <= PADDING, torch.zeros_like(scores), scores)
