"""The small network that decides about one token by its state."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Policy(nn.Module):
    """A small network that looks at one token's state: above 0 it goes on."""

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(hidden_size, width)
        self.outer = nn.Linear(width, 1)

    def forward(self, states: Tensor) -> Tensor:
        """(tokens, hidden size) to (tokens,), in float32 also where the rest is not."""
        with torch.autocast(states.device.type, enabled=False):
            inner = functional.linear(states.float(), self.inner.weight.float(), self.inner.bias.float())
            outer = functional.linear(functional.gelu(inner), self.outer.weight.float(), self.outer.bias.float())
        return outer.squeeze(-1)
