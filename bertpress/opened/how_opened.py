"""How a finished model is opened: what may be asked for, and what holds where nothing is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from bertpress.engine.run import Runtime
from bertpress.recipe import MAX_LENGTH


class Opening(TypedDict, total=False):
    """How a finished model is opened to be looked at; what is left out has its default."""

    max_length: int
    """longest input in tokens; default 128"""
    limit: Mapping[str, int] | None
    """largest number of rows of a split; default all"""
    runtime: Runtime | None
    """device, threads, progress"""
    head_labels: tuple[str, ...] | None
    """label names in the order of the model's head, where its configuration does not tell"""


class OpeningAtSpeed(Opening, total=False):
    """The same of a model that may skip tokens, at one of its speeds; default its own."""

    profile: str | None
    """thresholds or shares that the model's configuration holds under this name"""
    token_threshold: float | Sequence[float] | None
    """one for all decisions, or one for each"""


@dataclass(frozen=True)
class Speed:
    """Which of the speeds of a model with token reduction is wanted; by default its own."""

    profile: str | None = None
    token_threshold: float | Sequence[float] | None = None


OWN = Speed()


def settled(how: OpeningAtSpeed) -> tuple[Runtime, Speed, int]:
    """How it is run, the speed and the longest input that were asked for, or their defaults.

    Raises:
        TypeError: something else was asked for.
    """
    if strange := sorted(how.keys() - OpeningAtSpeed.__optional_keys__):
        known = ", ".join(sorted(OpeningAtSpeed.__optional_keys__))
        raise TypeError(f"got the unknown {', '.join(strange)}; a model is opened by {known}")
    speed = Speed(how.get("profile"), how.get("token_threshold"))
    return how.get("runtime") or Runtime(), speed, how.get("max_length", MAX_LENGTH)


def said_to(how: OpeningAtSpeed) -> Callable[[str], None]:
    """Who is told remarks."""
    return settled(how)[0].say
