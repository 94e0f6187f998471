"""Settings of span question answering: windows, supervision, decoding and scoring."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bertpress.config import Config


class ReadingSettings(Config):
    """How questions are read, answered and scored; data sets have defaults of their own (`named.settings_for`)."""

    question_length: int = Field(default=64, ge=1)
    """tokens of a question; longer ones are cut there, and where they would take more than half of a window"""
    step: int = Field(default=128, ge=1)
    """tokens of the text from the start of a window to that of the next; from a window's own size on, windows do not
    overlap, and the cost of a long text is least"""
    answers: Literal["all", "first"] = "all"
    """which of a question's spans are learned"""
    max_answer_positions: int = Field(default=64, ge=1)
    """spans that are learned in a window; further ones are left out"""
    drop_windows_without_answer: bool = False
    """leave out windows of training texts that hold no answer, where another one does; else they point at the first
    token"""
    shared_normalisation: bool = False
    """one softmax for all windows of a question that are in a batch, so that their scores can be compared"""
    unanswerable: bool | None = None
    """the answer may be nothing; by default if some question of the data has no answer"""
    null_threshold: float = Field(default=0.0, allow_inf_nan=False)
    """nothing is answered if its score exceeds that of the best span by more than this"""
    n_best: int = Field(default=20, ge=1)
    """starts and ends of a window that are considered, and answers that are written for a question"""
    longest_answer: int = Field(default=30, ge=1)
    """tokens"""
    normaliser: Literal["squad", "triviaqa"] = "squad"
    """what is equal when answers are compared; TriviaQA's also takes underscores and punctuation as spaces"""
    folds: bool = False
    """train on a part of the validation articles too and evaluate on the others, as validation_folds.json says; for
    data whose training rows have few questions without answers"""
