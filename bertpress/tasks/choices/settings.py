"""Settings of multiple choice: how options are read and compared."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bertpress.config import Config


class ChoiceSettings(Config):
    """How the options of a question are read, and what is learned of them."""

    scoring: Literal["together", "separately"] = "together"
    """together: one softmax over the options of a question (a multiple choice head); separately: each option is right
    or wrong by itself (a classifier with two classes), and the one with the largest output for right is chosen"""
    option_length: int = Field(default=128, ge=2)
    """tokens of a question with one of its options; longer ones are cut there, and where they would take more than half
    of an input"""
    fill_blanks: bool = False
    """put the option in place of the question's first blank (underscores), where it has one, not behind the question"""
