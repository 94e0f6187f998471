"""From scores of tokens to answers: the best pairs of a start and an end over all windows of a question.

Source: Devlin et al., "BERT", arXiv 1810.04805, sections 4.2 and 4.3, and the algorithm of its run_squad.py: of each
window the best starts and the best ends, whatever stands there; of their pairs those that lie in the text, are not too
long and begin in the window that sees most around the start; the score of no answer is the least that the first token
of any window has. Differences: the text is cut by the offsets of its tokens, not aligned again, and where no pair is
left the answer is nothing, not the word "empty".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

Ints = NDArray[np.int32]
Floats = NDArray[np.floating]
NOWHERE = -1
"""the place of a start or end where a window has fewer tokens than are kept"""


def width(n_best: int) -> int:
    """How many numbers `keep_best` gives of a window."""
    return 4 * n_best + 2


def keep_best(logits: Tensor, mask: Tensor, n_best: int) -> Tensor:
    """Of each window the best starts (scores, then places), the best ends likewise, and the first token's two scores.

    Args:
        logits: of start and end, (batch, length, 2).
        mask: 1 for tokens, 0 for padding, which is never kept, (batch, length).

    Returns:
        (batch, 4 * n_best + 2), float32; of equal scores the first place comes first.
    """
    logits = logits.float()
    scores = logits.masked_fill(mask[..., None] == 0, -torch.inf).transpose(1, 2)  # (batch, 2, length)
    best, places = scores.sort(dim=-1, descending=True, stable=True)
    best, places = best[..., :n_best], places[..., :n_best]
    missing = best == -torch.inf
    short = (0, n_best - best.shape[-1])
    best = torch.nn.functional.pad(best.masked_fill(missing, 0.0), short)
    places = torch.nn.functional.pad(places.masked_fill(missing, NOWHERE), short, value=NOWHERE)
    kept = torch.stack([best, places.float()], dim=2)  # (batch, 2, 2, n_best)
    return torch.cat([kept.flatten(1), logits[:, 0]], dim=1)


class Window(NamedTuple):
    """Where the text of a window stands."""

    text_at: int
    """place of its first token"""
    most_from: int
    most_to: int
    """places of the tokens that have more context here than in other windows"""
    char_starts: Ints
    char_ends: Ints
    """characters of each token of the text"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible answer."""

    text: str
    """empty for no answer"""
    start: int | None
    """characters of the text, from here"""
    end: int | None
    """to before here"""
    start_logit: float
    end_logit: float
    probability: float = 0.0
    """among the candidates"""

    @property
    def score(self) -> float:
        return self.start_logit + self.end_logit


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answers to a question."""

    candidates: tuple[Candidate, ...]
    """best first; no answer is among them where that is allowed"""
    chosen: Candidate
    span: Candidate | None
    """the best one that is a span"""
    null_odds: float | None
    """score of no answer, less that of the best span (0 if there is none); None where it is not allowed"""


class Pairs(NamedTuple):
    """Possible spans, best first; each of shape (pairs,)."""

    start_logits: Floats
    end_logits: Floats
    char_starts: Ints
    char_ends: Ints


def pairs_of(kept: Floats, windows: Sequence[Window], longest: int) -> Pairs:
    """All pairs that may be answers; of equal scores those of earlier windows, better starts and better ends first.

    Args:
        kept: what `keep_best` gave of each window, (windows, 4 * n_best + 2).
        longest: tokens of an answer at most.
    """
    count = (kept.shape[1] - 2) // 4
    start_logits, starts, end_logits, ends = (kept[:, side * count : (side + 1) * count] for side in range(4))
    starts, ends = starts.astype(np.int64), ends.astype(np.int64)
    at, most_from, most_to, size = np.array(
        [(window.text_at, window.most_from, window.most_to, len(window.char_starts)) for window in windows]
    ).T[..., None]
    start_fits = (starts >= most_from) & (starts < most_to)
    end_fits = (ends >= at) & (ends < at + size)
    length = ends[:, None, :] - starts[:, :, None] + 1
    fits = start_fits[:, :, None] & end_fits[:, None, :] & (length >= 1) & (length <= longest)
    window, first, last = np.nonzero(fits)  # in the order of windows, starts and ends
    found = start_logits[window, first].astype(np.float64), end_logits[window, last].astype(np.float64)
    order = np.argsort(-(found[0] + found[1]), kind="stable")
    window, first, last = window[order], first[order], last[order]
    bases = np.cumsum([0, *size[:-1, 0]]) - at[:, 0]  # from a place in a window to one among all their tokens
    char_starts = np.concatenate([window.char_starts for window in windows])
    char_ends = np.concatenate([window.char_ends for window in windows])
    return Pairs(
        found[0][order],
        found[1][order],
        char_starts[bases[window] + starts[window, first]],
        char_ends[bases[window] + ends[window, last]],
    )


def answer_of(
    context: str,
    kept: Floats,
    windows: Sequence[Window],
    longest: int,
    may_be_nothing: bool,
    threshold: float = 0.0,
) -> Answer:
    """The answer to a question, and the next best ones.

    Args:
        context: the text that the windows go over.
        kept: what `keep_best` gave of each, (windows, 4 * n_best + 2).
        longest: tokens of an answer at most.
        may_be_nothing: the text may hold no answer.
        threshold: nothing is answered where the odds of it exceed this.
    """
    count = (kept.shape[1] - 2) // 4
    spans = list(islice(_distinct(context, pairs_of(kept, windows, longest)), count))
    if not may_be_nothing:
        candidates = _weighed(spans)
        span = candidates[0] if candidates else None
        return Answer(candidates, span or Candidate("", None, None, 0.0, 0.0, 1.0), span, None)
    least = kept[kept[:, -2:].astype(np.float64).sum(axis=1).argmin(), -2:].tolist()
    nothing = Candidate("", None, None, *least)
    ranked = sorted([*spans, nothing], key=lambda candidate: -candidate.score)[:count]
    candidates = _weighed(ranked if nothing in ranked else [*ranked, nothing])
    span = next((candidate for candidate in candidates if candidate.text), spans[0] if spans else None)
    odds = nothing.score - (span.score if span else 0.0)
    chosen = span if span and odds <= threshold else next(candidate for candidate in candidates if not candidate.text)
    return Answer(candidates, chosen, span, odds)


def _distinct(context: str, pairs: Pairs) -> Iterator[Candidate]:
    """The pairs as spans of the text, without white space around them; of equal texts the first."""
    seen = {""}
    for start_logit, end_logit, first, last in zip(*(values.tolist() for values in pairs), strict=True):
        text = context[first:last].strip()
        if text not in seen:
            seen.add(text)
            start = context.index(text, first)
            yield Candidate(text, start, start + len(text), start_logit, end_logit)


def _weighed(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates with probabilities that add to 1."""
    if not candidates:
        return ()
    scores = np.array([candidate.score for candidate in candidates])
    shares = softmax(scores)
    return tuple(
        replace(candidate, probability=share) for candidate, share in zip(candidates, shares.tolist(), strict=True)
    )
