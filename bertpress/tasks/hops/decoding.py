"""From scores of tokens and sentences to an answer: its kind, the best span of one text, the sentences it rests on.

Source: run_hotpot.py of TR-BERT: if the kind is a span, the best pair of a start and an end that is not too long and
crosses nothing that is no text. Of equal pairs the shorter counts, then the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bertpress.models.multihop import KIND, NOWHERE, SENTENCE, SPAN

Floats = NDArray[np.floating]
HEAD = 5
"""Numbers before those of the sentences: the kind's three scores, the span's first and last token."""
ABSENT = -torch.inf
"""in place of the score of a sentence that there is not"""


def best_spans(logits: Tensor, paragraphs: Tensor, longest: int) -> Tensor:
    """First and last token of the best span of each row, (batch, 2); `NOWHERE` where no token is text.

    Args:
        logits: of start and end, (batch, length, 2).
        paragraphs: of each token the paragraph in whose text it stands, below 0 for none, (batch, length).
        longest: tokens of a span at most.
    """
    scores = logits.float()
    batch, length = paragraphs.shape
    best = scores.new_full((batch,), -torch.inf)
    found = torch.full((batch, 2), NOWHERE, device=logits.device)
    for more in range(min(longest, length)):
        last = length - more
        # Tokens of one paragraph's text stand side by side, so nothing lies between two of them.
        fits = (paragraphs[:, :last] == paragraphs[:, more:]) & (paragraphs[:, :last] >= 0)
        sums = (scores[:, :last, 0] + scores[:, more:, 1]).masked_fill(~fits, -torch.inf)
        value, place = sums.max(dim=1)
        better = value > best
        best = torch.where(better, value, best)
        found = torch.where(better[:, None], torch.stack([place, place + more], dim=1), found)
    return found


def condensed(logits: Tensor, paragraphs: Tensor, sentences: Tensor, longest: int, most: int) -> Tensor:
    """All that an answer needs of each row: kinds, best span, and how much speaks for each sentence, (batch, 5 + most).

    Args:
        logits: (batch, length, 7), see `models.multihop`.
        paragraphs: as for `best_spans`.
        sentences: first and last token of each, filled up with `NOWHERE`, (batch, at most `most`, 2).
        longest: tokens of a span at most.
        most: sentences of a row at most.
    """
    scores = logits.float()
    rows, places = torch.nonzero(sentences[..., 0] != NOWHERE, as_tuple=True)
    own = scores[rows, sentences[rows, places, 0]][:, SENTENCE]
    margins = scores.new_full((len(logits), most), ABSENT)
    margins[rows, places] = own[:, 1] - own[:, 0]
    return torch.cat([scores[:, 0, KIND], best_spans(scores[..., SPAN], paragraphs, longest).float(), margins], dim=1)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a model says about an input."""

    kind: int
    """0 for a span, 1 for yes, 2 for no"""
    span: tuple[int, int] | None
    """its first and last token, if there is text"""
    supporting: tuple[int, ...]
    """numbers of the sentences of the input that are more likely than not to support the answer"""


def decision_of(row: Floats) -> Decision:
    """What `condensed` says of an input, (5 + most,)."""
    first, last = (int(place) for place in row[3:HEAD])
    span = None if first == NOWHERE else (first, last)
    return Decision(int(row[:3].argmax()), span, tuple(np.flatnonzero(row[HEAD:] > 0).tolist()))
