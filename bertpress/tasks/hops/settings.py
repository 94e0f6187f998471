"""Settings of multi-hop reading: what stands in an input, what is learned, and which answers are possible."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bertpress.config import Config


class HopSettings(Config):
    """How questions on several paragraphs are read and answered."""

    question_length: int = Field(default=80, ge=1)
    """tokens of a question; longer ones are cut there, and where they would take more than half of an input"""
    title_marker: str = "[unused1]"
    """token before the title of a paragraph; the separator stands in where the vocabulary does not have it"""
    text_marker: str = "[unused2]"
    """token between the title and the text of a paragraph, likewise"""
    max_answer_spans: int = Field(default=8, ge=1)
    """places of the answer that are learned; further ones are left out"""
    max_sentences: int = Field(default=80, ge=1)
    """sentences of an input that an answer can rest on; further ones are left out"""
    longest_answer: int = Field(default=30, ge=1)
    """tokens"""
    span_reduction: Literal["mean", "sum"] = "mean"
    """how the distances of starts and of ends from a teacher's are put together; the published training added them,
    while the loss against the labels is always their mean"""
