"""What is learned of pairs, by the losses of sentence-transformers, and how far vectors are from a teacher's."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertpress.errors import RequestError
from bertpress.tasks.embedding.settings import Loss

PairLoss = Callable[[list[Tensor], Tensor], Tensor]
"""([first, second], scores), shapes (pairs, width) twice and (pairs,), to (pairs,), or to () for all together"""


def require_library() -> None:
    """Refuse to train where sentence-transformers, whose losses are used, is not installed.

    Raises:
        RequestError: says how to install it.
    """
    if find_spec("sentence_transformers") is None:
        raise RequestError(
            "Training encoders of sentences takes the losses of sentence-transformers, which is not installed; run: "
            'pip install "bertpress[embed]"'
        )


@functools.cache
def pair_loss(name: Loss, scale: float) -> PairLoss:
    """A loss of sentence-transformers for ready vectors."""
    require_library()
    from sentence_transformers.sentence_transformer import losses

    library: Any = losses  # written for the model that it calls, which ready vectors need not
    made = {
        "cosent": lambda: library.CoSENTLoss(None, scale=scale),
        "cosine": lambda: library.CosineSimilarityLoss(None, loss_fct=nn.MSELoss(reduction="none")),
        "ranking": lambda: library.MultipleNegativesRankingLoss(None, scale=scale),
    }[name]()
    computed: PairLoss = made.compute_loss_from_embeddings
    return computed


def pairs_in(records: Tensor, sides: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Where the first and the second texts of pairs stand in a batch, (pairs,) each; a text without the other is none.

    A batch that was repeated has a tuple for each copy: a pair's negatives are of its own copy, where it is not among
    them.

    Args:
        records: (rows,) number of the pair.
        sides: (rows,) 0 of its first text, 1 of its second.
    """
    places: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, key in enumerate(zip(records.tolist(), sides.tolist(), strict=True)):
        places[key].append(place)
    copies: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for (record, side), first in places.items():
        if side == 0:
            for copy, pair in enumerate(zip(first, places.get((record, 1), ()), strict=False)):
                copies[copy].append(pair)
    found = (torch.tensor(pairs, device=records.device) for pairs in copies.values())
    return [(pairs[:, 0], pairs[:, 1]) for pairs in found]


def share_losses(vectors: Tensor, labels: Tensor, copies: list[tuple[Tensor, Tensor]], loss: PairLoss) -> Tensor:
    """(rows,) what each text has of its pair's loss: the mean over all is the loss's own mean over pairs and copies.

    Texts whose other one is not in the batch have 0.

    Args:
        vectors: (rows, width).
        labels: (rows,) score of the row's pair.
        copies: those of `pairs_in`.
    """
    result = vectors[:, 0].float() * 0.0  # so that what has no pairs has a gradient, of 0
    paired = 2 * sum(len(first) for first, _ in copies)
    for first, second in copies:
        found = loss([vectors[first], vectors[second]], labels[first])
        each = found.float().expand(len(first)) * (len(vectors) / paired)
        result = result.index_add(0, first, each).index_add(0, second, each)
    return result


def vector_distances(student: Tensor, teacher: Tensor, kind: str) -> Tensor:
    """(rows,) distance of vectors from a teacher's of the same width.

    The means over rows are those of sentence-transformers' EmbedDistillLoss.

    Args:
        kind: cosine, 1 less the cosine of the angle; or mse, the mean over dimensions of the squared difference.
    """
    own, other = student.float(), teacher.detach().float()
    if kind == "mse":
        return (own - other).square().mean(-1)
    return 1 - functional.cosine_similarity(own, other, dim=-1)


def similarity_distances(student: Tensor, teacher: Tensor) -> Tensor:
    """(rows,) how far similarities to the other rows of the batch are from a teacher's, whatever its width.

    The mean of squared differences of cosines; 0 in a batch of one row.
    """
    own, other = (functional.normalize(side.float(), dim=-1) for side in (student, teacher.detach()))
    squares = (own @ own.T - other @ other.T).square()  # (rows, rows), 0 on the diagonal but for rounding
    apart = ~torch.eye(len(squares), dtype=torch.bool, device=squares.device)
    return (squares * apart).sum(-1) / max(1, len(squares) - 1)
