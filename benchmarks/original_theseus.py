"""The slow side of theseus_speed.py: module replacing in the arrangement of the paper's published code.

As a competent user would run it today: float32, all threads, fused AdamW, the faster of the two stock attentions. What
makes the arrangement: inputs are padded to 128; the whole predecessor and successor take part in the graph, with
gradients for all of it; the optimizer holds the successor layers; the norm is clipped over all parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

LENGTH = 128


class Original:
    """Predecessor, successor and their training step.

    Args:
        model: the fine-tuned predecessor; changed in place.
        rows: encoded training rows, each with input_ids, token_type_ids, attention_mask and labels.
    """

    def __init__(
        self, model: PreTrainedModel, rows: dict[str, list], attention: str, total_steps: int = 10_000
    ) -> None:
        self.model, self.encoder = model.train(), model.bert.encoder
        model.set_attn_implementation(attention)
        self.rows = {name: torch.tensor(values) for name, values in rows.items()}
        self.encoder.predecessor = nn.ModuleList(self.encoder.layer)
        half = len(self.encoder.predecessor) // 2
        self.encoder.successor = nn.ModuleList(copy.deepcopy(layer) for layer in self.encoder.predecessor[:half])
        model.requires_grad_(True)
        self.optimizer = torch.optim.AdamW(self.encoder.successor.parameters(), lr=2e-5, weight_decay=0, fused=True)
        self.schedule = LambdaLR(self.optimizer, lambda step: 1 - step / total_steps)

    def step(self, rows: list[int], mask: Sequence[bool]) -> None:
        """One training step on these rows; `mask` says which modules of two layers are replaced."""
        layers: list[nn.Module] = []
        for index, replaced in enumerate(mask):
            pair = self.encoder.predecessor[2 * index : 2 * index + 2]
            layers += [self.encoder.successor[index]] if replaced else list(pair)
        self.encoder.layer = nn.ModuleList(layers)
        loss = self.model(**{name: values[rows] for name, values in self.rows.items()}).loss
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.model.zero_grad()


def padded(encoded: Sequence[dict]) -> dict[str, list]:
    """Encoded rows as columns padded to 128."""
    columns: dict[str, list] = {"labels": [row["labels"] for row in encoded]}
    for name in ("input_ids", "token_type_ids", "attention_mask"):
        columns[name] = [[*row[name], *[0] * (LENGTH - len(row[name]))] for row in encoded]
    return columns
