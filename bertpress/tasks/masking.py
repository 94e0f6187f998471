"""Which tokens a masked language model has to guess: the settings. No NumPy here, so that recipes are read at once."""

from __future__ import annotations

from pydantic import Field

from bertpress.config import Config


class Masking(Config):
    """How tokens are chosen; 80 % of them are hidden, 10 % replaced at random and 10 % left as they are."""

    probability: float = Field(0.15, gt=0, lt=1)
    """share of a text's tokens that are chosen; at least one"""
    whole_word: bool = False
    """choose whole words instead of single word pieces"""
    max_predictions: int | None = Field(None, ge=1)
    """largest number of tokens chosen in a text; default: no limit"""

    def count(self, tokens: int) -> int:
        """Number of tokens that are chosen among so many, special ones not counted."""
        wanted = max(1, int(self.probability * tokens + 0.5)) if tokens else 0
        return wanted if self.max_predictions is None else min(wanted, self.max_predictions)
