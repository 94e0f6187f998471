"""The decisions of a deployed model about the tokens alive."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .shared_choices import Shared
from .token_selection import Settings, Tokens


@dataclass(frozen=True)
class Question:
    """One decision: what may be known about the tokens alive."""

    step: int
    states: Tensor
    """(tokens, hidden size)"""
    tokens: Tokens
    received: Tensor | None
    """(tokens,) attention received in the layer before, where the selector needs it"""


@dataclass(frozen=True)
class Decide:
    """The decisions of a deployed model."""

    settings: Settings
    policies: nn.ModuleList
    force_keep: Tensor | None = None
    """(batch * width,) tokens that stay"""
    actions: Tensor | None = None
    """(batch * width, steps) decisions made elsewhere, in place of the selector's"""
    shared: Shared | None = None
    """what the options of a question have in common, where they share decisions"""

    def __call__(self, question: Question) -> tuple[Tensor, Tensor | None]:
        """Which tokens go on, and their scores, both (tokens,)."""
        tokens, settings = question.tokens, self.settings
        if self.actions is not None:
            keep, scores = self.actions[tokens.place, question.step], None
        elif settings.min_tokens and max(self.lengths(tokens)) < settings.min_tokens:
            return torch.ones_like(tokens.place, dtype=torch.bool), None
        else:
            scores = self.scores(question)
            keep = self._chosen(scores, question)
            if self.shared is not None:  # nothing was asked about what is a single option's
                scores = scores.masked_fill(~self.shared.is_common(tokens.place), math.nan)
            if settings.min_tokens:  # nor about short rows next to long ones
                scores = scores.masked_fill(self._is_short(tokens), math.nan)
        return self.held(keep, tokens), scores

    def held(self, keep: Tensor, tokens: Tokens) -> Tensor:
        """`keep` and what goes on whatever was decided: first tokens, short rows, and what is never skipped."""
        if self.force_keep is not None:
            keep = keep | self.force_keep[tokens.place]
        if self.settings.min_tokens:
            keep = keep | self._is_short(tokens)
        if self.shared is not None:
            keep = keep | ~self.shared.is_common(tokens.place)
        return keep.index_fill(0, tokens.starts, True)

    def _is_short(self, tokens: Tokens) -> Tensor:
        """(tokens,) True for those of rows that keep all."""
        return tokens.per_token(self.lengths(tokens)) < self.settings.min_tokens

    def limited(self, keep: Tensor, scores: Tensor, tokens: Tokens, ranks: Tensor | None = None) -> Tensor:
        """`keep` with the least and the most tokens of a row, by falling score."""
        least, most = self.settings.min_keep, self.settings.max_keep
        if least <= 1 and most is None:
            return keep
        places = self.ranks(scores, tokens) if ranks is None else ranks
        return (keep | (places < least)) & (places < (most or tokens.width))

    def lengths(self, tokens: Tokens) -> tuple[int, ...]:
        """Of each example, the tokens that there were to decide about."""
        return tokens.lengths if self.shared is None else tuple(self.shared.lengths[row] for row in tokens.rows)

    def ranks(self, scores: Tensor, tokens: Tokens) -> Tensor:
        """(tokens,) place by falling score; the first token before all, what is nobody else's behind all."""
        if self.shared is not None:
            scores = scores.masked_fill(~self.shared.is_common(tokens.place), -math.inf)
        return tokens.ranks(scores.index_fill(0, tokens.starts, math.inf))

    def asked(self, tokens: Tokens) -> Tensor:
        """(tokens,) True for what decisions are about: all, or what the options of a question have in common."""
        everything = torch.ones_like(tokens.place, dtype=torch.bool)
        return everything if self.shared is None else self.shared.is_common(tokens.place)

    def mean(self, values: Tensor, tokens: Tokens) -> Tensor:
        """(tokens,) of values of tokens, the mean over the options where these share decisions."""
        return values if self.shared is None else self.shared.mean(values, tokens.place)

    def scores(self, question: Question) -> Tensor:
        """(tokens,): the higher, the sooner a token goes on."""
        tokens = question.tokens
        position = tokens.place - tokens.place[tokens.starts][tokens.example]  # behind the row's first token
        if self.settings.selector == "policy":
            return torch.sigmoid(self.mean(self.policies[question.step](question.states), question.tokens))
        if self.settings.selector == "first":
            return self.mean(-position.float(), question.tokens)
        if self.settings.selector == "random":
            return self.mean(scattered(position + 7919 * question.step), question.tokens)
        assert question.received is not None
        return self.mean(question.received, question.tokens)

    def _chosen(self, scores: Tensor, question: Question) -> Tensor:
        settings, tokens, step = self.settings, question.tokens, question.step
        if settings.shares is None:
            threshold = settings.thresholds[step] if settings.thresholds else 0.5
            return self.limited(scores >= threshold, scores, tokens)
        ranks = self.ranks(scores, tokens)
        quotas = [math.ceil(settings.shares[step] * length - 1e-9) for length in self.lengths(tokens)]
        return self.limited(ranks < tokens.per_token(quotas), scores, tokens, ranks)


def forced(force_keep: Tensor, valid: Tensor) -> Tensor:
    """(batch, length) True for the tokens that are to stay; padding, of which nothing stays, is warned about."""
    marked = force_keep.bool()
    if bool((marked & ~valid).any()):
        warnings.warn("force_keep marks padding, which is never kept: only tokens can be forced", stacklevel=2)
    return marked & valid


def scattered(numbers: Tensor) -> Tensor:
    """Numbers in [0, 1) that look drawn at random, one for each integer."""
    mixed = (numbers * 2654435761) % (1 << 32)
    mixed = ((mixed ^ (mixed >> 15)) * 2246822519) % (1 << 32)
    return (mixed ^ (mixed >> 13)).double() / (1 << 32)
