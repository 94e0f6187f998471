"""Logits and labels of the places of a window: what is learned of them, and what is kept.

Shapes: logits are (batch, length, outputs) with outputs start, end and, for nested entities, match_start and match_end;
marks are (batch, length), with the bits FIRST and LAST, 0 outside of the sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bertpress.tasks.queries.losses import answer_losses, candidate_pairs, pair_labels, pair_logits, reduced
from bertpress.tasks.queries.rows import BITS, OUTSIDE
from bertpress.tasks.queries.settings import QuerySettings

IGNORED = -100
"""label of a place where nothing can start, or end"""


def asked(marks: Tensor, outputs: int) -> Tensor:
    """True where an output says something: starts at first pieces of words, ends at last ones; as logits."""
    return marks[..., None] & torch.tensor(BITS[:outputs], device=marks.device) > 0


def marks_of(rows: Sequence[Mapping[str, Any]], like: Tensor) -> Tensor:
    """The marks of rows by place, in the shape of their token ids."""
    marks = torch.zeros_like(like)
    for line, row in zip(marks, rows, strict=True):
        line[row["begin"] : row["begin"] + len(row["marks"])] = torch.tensor(row["marks"], dtype=marks.dtype)
    return marks


def labels_of(rows: Sequence[Mapping[str, Any]], marks: Tensor) -> tuple[Tensor, Tensor]:
    """Labels of starts and ends, (batch, length, 2), and places of the true pairs, (batch, most, 2)."""
    labels = torch.where(asked(marks, 2), 0, IGNORED)
    pairs = torch.full((len(rows), max(len(row["labels"]) for row in rows), 2), OUTSIDE)
    for number, row in enumerate(rows):
        for place, pair in enumerate(row["labels"]):
            for side, end in enumerate(pair):
                if end != OUTSIDE:
                    labels[number, row["begin"] + end, side] = 1
                    pairs[number, place, side] = row["begin"] + end
    return labels, pairs


def window_losses(logits: Tensor, labels: Tensor, pairs: Tensor | None, options: QuerySettings) -> Tensor:
    """The weighted losses of starts, of ends and, where `pairs` are given, of their matching; (batch,).

    What is asked of matching are pairs of a start and an end that are true or that the model finds itself.
    """
    assert options.reduction is not None
    logits, counted = logits.float(), labels != IGNORED
    losses = answer_losses(logits[..., :2], labels, options.gamma)
    starts, ends = (reduced(losses[..., side], counted[..., side], options.reduction) for side in (0, 1))
    total = options.start_weight * starts + options.end_weight * ends
    if pairs is None:
        return total
    likely = ((logits[..., :2].sigmoid() > options.threshold) | (labels == 1)) & counted
    candidates = candidate_pairs(likely[..., 0], likely[..., 1])
    matches = answer_losses(
        pair_logits(logits[..., 2], logits[..., 3]), pair_labels(pairs, logits.shape[1]), options.gamma
    )
    return total + (options.match_weight or 0.0) * reduced(matches, candidates, options.reduction)


def distances(student: Tensor, teacher: Tensor, marks: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """How far a student's yes or no is from its teacher's: the mean over the places of an output, then over outputs.

    Args:
        loss: distance of two sets of logits of two classes, (n, 2) twice to (n,); a logit z stands for 0 and z.
    """
    where = asked(marks, student.shape[-1])
    found = loss(_two_classes(student[where]), _two_classes(teacher[where]))
    spread = torch.zeros(where.shape, dtype=found.dtype, device=found.device).masked_scatter(where, found)
    return (spread.sum(1) / where.sum(1).clamp(min=1)).mean(-1)


def _two_classes(logits: Tensor) -> Tensor:
    return torch.stack([torch.zeros_like(logits), logits], dim=-1)


def kept(logits: Tensor, marks: Tensor, max_length: int) -> Tensor:
    """Probabilities of starts and ends and logits of matching, 0 where nothing is asked; (batch, outputs * max_length).

    Output after output, each by its place in the row.
    """
    logits = logits.float()
    values = torch.cat([logits[..., :2].sigmoid(), logits[..., 2:]], dim=-1)
    values = values.masked_fill(~asked(marks, logits.shape[-1]), 0)
    return functional.pad(values, (0, 0, 0, max_length - values.shape[1])).transpose(1, 2).flatten(1)
