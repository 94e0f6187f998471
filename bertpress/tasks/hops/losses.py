"""Losses of an answer over several paragraphs: its start and end, its kind, and each sentence that may support it.

Source: `AUTOQABertForQuestionAnsweringHotpot` of TR-BERT. Each is a cross-entropy; of several places of an answer the
mean, of the sentences the mean over those that there are. Differences: padding takes part in no softmax, and sentences
that are none take part in no sum.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from bertpress.models.multihop import KIND, NOWHERE, SENTENCE, SPAN
from bertpress.tasks.reading.losses import IGNORED, span_distances


def span_losses(logits: Tensor, spans: Tensor, mask: Tensor) -> Tensor:
    """Mean cross-entropy of the starts and of the ends of an answer's places, averaged, (batch,).

    Args:
        logits: of start and end, (batch, length, 2).
        spans: first and last tokens, (batch, places, 2), at least one each, filled up with `IGNORED`.
        mask: 1 for tokens, 0 for padding, (batch, length).
    """
    least = torch.finfo(torch.float32).min
    scores = logits.float().masked_fill(mask[..., None] == 0, least).log_softmax(dim=1)
    found = scores.gather(1, spans.clamp(min=0)).masked_fill(spans == IGNORED, 0.0)
    counts = (spans != IGNORED).sum(dim=1)  # (batch, 2)
    return -(found.sum(dim=1) / counts).mean(dim=1)


def sentence_logits(logits: Tensor, sentences: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of all sentences of a batch, (sentences, 2), and the row of each, (sentences,).

    Args:
        logits: (batch, length, outputs).
        sentences: first and last token of each, (batch, most, 2), filled up with `NOWHERE`.
    """
    rows, places = torch.nonzero(sentences[..., 0] != NOWHERE, as_tuple=True)
    return logits[rows, sentences[rows, places, 0]][:, SENTENCE], rows


def mean_of_rows(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """Means of values by the row that they belong to, (count,); 0 for a row that has none."""
    sums, totals = (values.new_zeros(count).index_add(0, rows, each) for each in (values, torch.ones_like(values)))
    return sums / totals.clamp(min=1)


def multihop_losses(
    logits: Tensor, spans: Tensor, kinds: Tensor, supporting: Tensor, sentences: Tensor, mask: Tensor
) -> Tensor:
    """The sum of the losses of span, kind and sentences, (batch,).

    Args:
        logits: (batch, length, 7), see `models.multihop`.
        spans: as for `span_losses`.
        kinds: 0 for a span, 1 for yes, 2 for no, (batch,).
        supporting: of each sentence 1 if the answer rests on it, else 0, (batch, most), filled up with `IGNORED`.
        sentences: as for `sentence_logits`.
        mask: 1 for tokens, 0 for padding, (batch, length).
    """
    own, rows = sentence_logits(logits, sentences)
    each = functional.cross_entropy(own.float(), supporting[supporting != IGNORED], reduction="none")
    kind = functional.cross_entropy(logits[:, 0, KIND].float(), kinds, reduction="none")
    return span_losses(logits[..., SPAN], spans, mask) + kind + mean_of_rows(each, rows, len(logits))


def multihop_distances(
    student: Tensor,
    teacher: Tensor,
    sentences: Tensor,
    mask: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    sides: float = 1.0,
) -> Tensor:
    """How far a student's distributions are from its teacher's: of starts and ends, of kinds, of sentences, (batch,).

    Args:
        student: logits, (batch, length, 7), padded at the end.
        teacher: likewise.
        sentences: as for `sentence_logits`.
        mask: 1 for tokens, 0 for padding, (batch, length).
        loss: distance of two sets of logits over the same classes, (rows, classes) twice to (rows,).
        sides: what the mean of start and end counts; 2 for their sum.
    """
    span = span_distances(student[..., SPAN], teacher[..., SPAN], mask, loss)
    kind = loss(student[:, 0, KIND].float(), teacher[:, 0, KIND].float())
    (own, rows), (other, _) = (sentence_logits(logits, sentences) for logits in (student, teacher))
    each = loss(own.float(), other.float()) if len(rows) else own.new_zeros(0, dtype=torch.float32)
    return sides * span + kind + mean_of_rows(each, rows, len(student))
