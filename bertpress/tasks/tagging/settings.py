"""Settings of tagging."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bertpress.config import Config
from bertpress.tasks.tagging.words import Level


class TaggingSettings(Config):
    """How entities are written as tags, and long sentences read."""

    scheme: Literal["BIO", "BIOES", "BMES", "BILOU"] = "BIO"
    """The tags that a new head gets; a trained head keeps its own."""
    strict: bool = False
    """Predicted tags that break the scheme are no entities; else they are read as conlleval reads them."""
    level: Level | None = None
    """What a word is where a text comes without: word (between spaces and punctuation) or character; by default
    characters for Chinese and Japanese."""
    overlap: float = Field(0.25, ge=0, le=0.9)
    """Share of a window that the next one repeats, where a sentence is longer than one."""
