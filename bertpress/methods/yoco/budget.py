"""What a sub-network may cost. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from bertpress.amounts import Amount, Count, Time
from bertpress.config import Config

Scope = Literal["total", "backbone", "encoder"]
"""Which parameters count: of the whole model; of all but the layer that gives the logits; of the encoder's layers."""


class Budget(Config):
    """Limits that a sub-network has to meet, all of them; a limit that is met exactly is met."""

    parameters: Count | None = None
    """most parameters: 15M, or a share of the largest network's: 40%. A share counts the encoder's layers, a number the
    whole model with its head"""
    macs: Count | None = None
    """most multiply-adds of a sequence of the length given: 1.2G or 30%"""
    flops: Count | None = None
    """most floating-point operations, of which a multiply-add has two: 2.4G or 30%"""
    latency_ms: Time | None = None
    """most milliseconds of a batch, as measured on this machine: 7.8 or 0.5ms, or a share: 50%"""
    scope: Scope | None = None
    """which parameters count, whatever the limit is written as: total, backbone (all but the layer that gives the
    logits) or encoder (its layers alone)"""

    @model_validator(mode="after")
    def _fits(self) -> Budget:
        if self.scope is not None and self.parameters is None:
            raise ValueError("scope says which parameters count, but there is no limit on parameters; give one")
        return self

    def given(self) -> dict[str, Amount]:
        """Name to amount of each limit that is set, in a fixed order; none for an empty budget."""
        amounts = {name: getattr(self, name) for name in ("parameters", "macs", "flops", "latency_ms")}
        return {name: amount for name, amount in amounts.items() if amount is not None}


HALF = Budget(parameters="50%")
"""What a result may cost where nothing is said."""
