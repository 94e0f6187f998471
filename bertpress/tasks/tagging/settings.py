"""Settings of tagging. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bertpress.config import Config
from bertpress.tasks.tagging.schemes import Scheme
from bertpress.tasks.tagging.words import Level


class TaggingSettings(Config):
    """How entities are written as tags, and long sentences read."""

    scheme: Literal["BIO", "BIOES", "BMES", "BILOU"] = "BIO"
    """the tags that a new head gets; a trained head keeps its own"""
    strict: bool = False
    """tags that break the scheme are no entities, whether predicted or, but for training, true; else they are read as
    conlleval reads them"""
    level: Level | None = None
    """what a word is where texts come without: word (between spaces and punctuation) or character; default character
    for Chinese and Japanese"""
    read_as: Scheme | None = None
    """scheme of the tags in your files; found out by default"""
    overlap: float = Field(0.25, ge=0, le=0.9)
    """share of a window that the next one reads again, where a sentence is longer than one"""
