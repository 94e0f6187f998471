"""What sub-networks cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Additive:
    """A cost that is a sum over layers: fixed + the sum over active layers of ``layers[layer][choice[1 + slot]]``."""

    name: str
    fixed: float
    layers: tuple[tuple[float, ...], ...]
    """for each layer of the super-network the cost of each option of its slot"""
    integral: bool
    """whether all of its numbers are integers"""
