"""Settings of sentence embeddings: how vectors are made, what is learned of pairs, how a teacher is imitated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from bertpress.config import Config, build

Pooling = Literal["mean", "cls", "max"]
Loss = Literal["cosent", "cosine", "ranking"]


class EmbeddingSettings(Config):
    """How sentences become vectors, and what is learned of them."""

    pooling: Pooling | None = None
    """how the states of a text's tokens become one vector; by default as the start model says, else mean"""
    normalize: bool | None = None
    """vectors of length 1; by default as the start model says, else off"""
    loss: Loss | None = None
    """cosent (default for pairs with scores), cosine, or ranking (default for pairs without scores, which belong
    together), by sentence-transformers"""
    scale: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    """what cosent and ranking multiply similarities by: more weighs the hardest pairs more"""
    distance: Literal["cosine", "mse"] = "cosine"
    """how far a vector is from the teacher's; mse keeps lengths too and is small where vectors are long lists"""
    score_range: tuple[float, float] | None = None
    """scores that become 0 and 1; by default the lowest and the highest of the training rows"""

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.score_range is not None and not self.score_range[0] < self.score_range[1]:
            raise ValueError(f"score_range expects a lower and a higher score, got {list(self.score_range)}")
        return self


NAMED: Mapping[str, Mapping[str, Any]] = {"glue/stsb": {"score_range": (0.0, 5.0)}}
"""Name of a task to its settings that differ from the defaults."""


def settings_for(name: str, given: EmbeddingSettings | None) -> EmbeddingSettings:
    """Those of a task by its name, changed by what was given."""
    own = {} if given is None else given.model_dump(exclude_unset=True)
    return build(EmbeddingSettings, {**NAMED.get(name, {}), **own}, where="task.embedding")
