"""How entities are asked for, learned and read off. No torch here."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from bertpress.config import Config

Reduction = Literal["token_sum", "token_mean"]
Unpaired = Literal["drop", "single"]


class QuerySettings(Config):
    """Settings of named entities by reading comprehension."""

    queries: str | None = None
    """a YAML or JSON file, entity type to question; its order is the order of types. Default: the data set's own"""
    loss: Literal["focal", "cross_entropy"] = "focal"
    """focal counts places that are already right less; few places start or end anything"""
    gamma: float | None = Field(None, ge=0, allow_inf_nan=False)
    """how much less the focal loss counts them; 0 is cross-entropy. Default 1.5"""
    reduction: Reduction | None = None
    """losses of the places of a window: their sum (default of focal) or their mean (of cross_entropy)"""
    start_weight: float = Field(1.0, ge=0, le=1)
    """of the loss of starts"""
    end_weight: float = Field(1.0, ge=0, le=1)
    """of the loss of ends"""
    match_weight: float | None = Field(None, ge=0, le=1)
    """nested: of the loss of pairs of a start and an end. Default 1"""
    threshold: float = Field(0.5, gt=0, lt=1)
    """a word starts or ends an entity, or two match, above this probability"""
    unpaired: Unpaired | None = None
    """not nested: a start without an end is dropped (drop, the default) or an entity of one word (single)"""
    nested: bool = False
    """entities of a type may hold others of it; costs two outputs more, which say what start and end belong together.
    Where one lies strictly inside of another, the start of one with the end of the other is found as well"""
    overlaps: Literal["keep", "best"] = "keep"
    """entities of different types that share words: keep all, or the more probable ones"""
    overlap: float = Field(0.25, ge=0, le=0.9)
    """share of a window that the next one reads again, where a sentence is longer than one"""

    @model_validator(mode="after")
    def _complete(self) -> QuerySettings:
        focal = self.loss == "focal"
        self._only("gamma", focal, "the focal loss", 1.5)
        self._only("match_weight", self.nested, "nested entities", 1.0)
        self._only("unpaired", not self.nested, "entities that are not nested", "drop")
        if self.reduction is None:
            object.__setattr__(self, "reduction", "token_sum" if focal else "token_mean")
        if self.start_weight == 0 or self.end_weight == 0:
            raise ValueError("start_weight and end_weight must be above 0: what has no loss is never learned")
        return self

    def _only(self, field: str, applies: bool, what: str, default: Any) -> None:
        """Fill in the default of a field that goes with something; refuse it where that is not so."""
        if not applies and getattr(self, field) is not None:
            raise ValueError(f"{field} goes with {what} only; leave it out")
        if applies and getattr(self, field) is None:
            object.__setattr__(self, field, default)
