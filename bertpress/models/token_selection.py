"""Which tokens go on: settings of a reduced model, and the tokens alive in a forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

SELECTORS = ("policy", "attention", "random", "first")
"""What a token's score is: a small network's verdict on its state, the attention that it received in the layer before,
a number that depends on its position in the row alone, or how near to the row's start it stands."""


@dataclass(frozen=True)
class Settings:
    """How a reduced model chooses, as its configuration stores it in `token_reduction`.

    The first token of each row, whose state a classifier reads, goes on always. A token is kept if its score is at
    least the step's threshold; or, where shares are given instead, if it is among that share of its row's tokens.
    """

    layers: tuple[int, ...] = ()
    """decisions are made before these layers; without any, the model is the plain one"""
    selector: str = "policy"
    policy_hidden: int = 32
    """width inside of the small networks"""
    thresholds: tuple[float, ...] | None = None
    """one for each decision; default 0.5"""
    shares: tuple[float, ...] | None = None
    """of a row's tokens that are kept at each decision"""
    min_keep: int = 1
    """tokens that each row keeps at least"""
    max_keep: int | None = None
    """tokens that each row keeps at most"""
    min_tokens: int = 0
    """rows of fewer tokens keep all"""
    always_keep: tuple[int, ...] = ()
    """token ids that are never skipped, such as that of a separator"""
    shared: bool = False
    """the options of a question go on with the same tokens of what they have in common, and with all of their own"""
    profiles: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """names to other thresholds or shares"""

    @classmethod
    def of(cls, values: Mapping[str, Any], depth: int) -> Settings:
        """Read and check what a configuration holds for an encoder of `depth` layers.

        Raises:
            ValueError: an unknown field, or one that does not fit.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"token_reduction has no field {unknown[0]}; it has {', '.join(sorted(known))}")
        settings = cls(**_frozen(values))
        settings._check_layers(depth)
        for name in settings.profiles:
            settings.changed(name)
        settings._check_choice()
        return settings

    def _check_layers(self, depth: int) -> None:
        layers = self.layers
        if any(not 1 <= layer < depth for layer in layers) or list(layers) != sorted(set(layers)):
            raise ValueError(
                f"token_reduction.layers must rise from 1 to at most {depth - 1} (a model of {depth} layers), got "
                f"{list(layers)}; the default for this depth is {default_layers(depth)}"
            )

    def _check_choice(self) -> None:
        layers = self.layers
        if self.selector not in SELECTORS:
            raise ValueError(f"token_reduction.selector must be one of {', '.join(SELECTORS)}, got {self.selector}")
        for name in ("thresholds", "shares"):
            given = getattr(self, name)
            if given is not None and len(given) != len(layers):
                raise ValueError(f"token_reduction.{name} must have a number for each of {len(layers)} decisions")
        if self.thresholds is not None and self.shares is not None:
            raise ValueError("token_reduction takes thresholds or shares, not both")
        needs = {"random": "shares", "first": "shares", "attention": "shares or thresholds"}.get(self.selector, "")
        if needs and layers and self.shares is None and (needs == "shares" or self.thresholds is None):
            raise ValueError(f"the selector {self.selector} needs {needs}")
        if not all(0 < share <= 1 for share in self.shares or ()):
            raise ValueError(f"token_reduction.shares must be above 0 and at most 1, got {list(self.shares or ())}")
        if any(threshold != threshold for threshold in self.thresholds or ()):  # it is no number
            raise ValueError(f"token_reduction.thresholds must be numbers, got {list(self.thresholds or ())}")
        if self.min_keep < 1 or self.policy_hidden < 1:
            raise ValueError(
                f"token_reduction.min_keep and policy_hidden must be at least 1, got {self.min_keep} and "
                f"{self.policy_hidden}"
            )
        if self.max_keep is not None and self.max_keep < max(1, self.min_keep):
            raise ValueError(f"max_keep must be at least 1 and min_keep ({self.min_keep}), got {self.max_keep}")

    def changed(
        self,
        profile: str | None = None,
        token_threshold: float | Sequence[float] | None = None,
        min_keep: int | None = None,
        max_keep: int | None = None,
    ) -> Settings:
        """These settings with what is given instead; a threshold is one number for all decisions, or one for each.

        Raises:
            ValueError: no such profile, or what does not fit.
        """
        settings = self if profile is None else self.with_profile(profile)
        given = {"min_keep": min_keep, "max_keep": max_keep}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if isinstance(token_threshold, Sequence):
            changes |= {"thresholds": tuple(token_threshold), "shares": None}
        elif token_threshold is not None:
            changes |= {"thresholds": (token_threshold,) * len(self.layers), "shares": None}
        settings = dataclasses.replace(settings, **changes)
        settings._check_choice()
        return settings

    def with_profile(self, name: str) -> Settings:
        """These settings with the thresholds or shares of a named profile.

        Raises:
            ValueError: no such profile.
        """
        if name not in self.profiles:
            raise ValueError(f"there is no profile '{name}'; there are: {', '.join(self.profiles) or 'none'}")
        cleared = dict.fromkeys(("thresholds", "shares") if {"thresholds", "shares"} & set(self.profiles[name]) else ())
        return dataclasses.replace(self, **{**cleared, **_frozen(self.profiles[name])})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a configuration."""
        plain = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def _frozen(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def default_layers(depth: int) -> list[int]:
    """Before the second layer and before the middle one, as in the paper; fewer where a model has fewer layers."""
    return [1, depth // 2] if depth >= 4 else [1][: depth - 1]


@dataclass(frozen=True)
class Tokens:
    """The tokens alive, in the order of their states: those of one example behind each other, in their text's order."""

    place: Tensor
    """(tokens,) row * width + position"""
    counts: tuple[int, ...]
    """tokens of each example"""
    rows: tuple[int, ...]
    """row of each example in the batch"""
    lengths: tuple[int, ...]
    """tokens that each example had before any decision"""
    width: int
    """length of the batch, padding included"""

    @cached_property
    def example(self) -> Tensor:
        """(tokens,) which of the examples, in the order in which they lie, each token belongs to."""
        counts = torch.tensor(self.counts, device=self.place.device)
        return torch.repeat_interleave(counts, output_size=self.place.shape[0])

    @cached_property
    def starts(self) -> Tensor:
        """(examples,) index of each one's first token."""
        counts = torch.tensor(self.counts, device=self.place.device)
        return counts.cumsum(0) - counts

    def per_token(self, values: Sequence[int]) -> Tensor:
        """(tokens,) of one number for each example."""
        return torch.tensor(values, device=self.place.device)[self.example]

    def ranks(self, scores: Tensor) -> Tensor:
        """(tokens,) place of each token among those of its example by falling score, from 0; earlier ones first."""
        example = self.example
        order = torch.argsort(scores, descending=True, stable=True)
        order = order[torch.argsort(example[order], stable=True)]
        ranks = torch.empty_like(order)
        ranks[order] = torch.arange(len(order), device=order.device) - self.starts[example[order]]
        return ranks

    def select(self, keep: Tensor) -> tuple[Tokens, Tensor]:
        """What stays alive, and where its states are now, (tokens left,). Equal counts become neighbours."""
        counts: list[int] = torch.bincount(
            self.example[keep], minlength=len(self.counts)
        ).tolist()  # waits for the device
        kept = keep.nonzero().squeeze(1)
        order = sorted(range(len(counts)), key=counts.__getitem__)
        if order != list(range(len(counts))):
            segments = torch.split(kept, counts)
            kept = torch.cat([segments[example] for example in order])
        sorted_counts, rows, lengths = (
            tuple(values[example] for example in order) for values in (counts, self.rows, self.lengths)
        )
        return Tokens(self.place[kept], sorted_counts, rows, lengths, self.width), kept

    def repeated(self, copies: int) -> Tokens:
        """The same batch so many times: copy j of row i is row j * batch + i."""
        batch = len(self.rows)
        shift = torch.arange(copies, device=self.place.device)[:, None] * (batch * self.width)
        return dataclasses.replace(
            self,
            place=(self.place[None] + shift).flatten(),
            counts=self.counts * copies,
            rows=tuple(copy * batch + row for copy in range(copies) for row in self.rows),
            lengths=self.lengths * copies,
        )


def tokens_of(valid: Tensor) -> Tokens:
    """All tokens of a batch, (batch, length) with True where there is one.

    Raises:
        ValueError: a row without any token.
    """
    counts = valid.sum(1).tolist()  # waits for the device
    if 0 in counts:
        raise ValueError(f"row {counts.index(0)} of the batch has no token: its attention mask is all zero")
    rows, width = valid.shape
    place = torch.arange(rows * width, device=valid.device)
    if sum(counts) != rows * width:
        place = place[valid.flatten()]
    whole = Tokens(place, tuple(counts), tuple(range(rows)), tuple(counts), width)
    return whole.select(torch.ones_like(place, dtype=torch.bool))[0] if counts != sorted(counts) else whole
