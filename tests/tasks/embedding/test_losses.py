"""What is learned of pairs against sentence-transformers and by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional

from bertpress.errors import RequestError
from bertpress.tasks.embedding import losses
from bertpress.tasks.embedding.losses import (
    pair_loss,
    pairs_in,
    share_losses,
    similarity_distances,
    vector_distances,
)

GENERATOR = torch.Generator().manual_seed(1)
FIRST, SECOND = torch.randn(2, 6, 4, generator=GENERATOR)
SCORES = torch.tensor([0.0, 0.2, 0.2, 0.5, 0.9, 1.0])
RECORDS = torch.arange(6).repeat_interleave(2)
SIDES = torch.tensor([0, 1]).repeat(6)
VECTORS = torch.stack([FIRST, SECOND], dim=1).flatten(0, 1)
LABELS = SCORES.repeat_interleave(2)


def shared(name: Any, order: torch.Tensor | None = None) -> torch.Tensor:
    order = torch.arange(12) if order is None else order
    pairs = pairs_in(RECORDS[order], SIDES[order])
    found: torch.Tensor = share_losses(VECTORS[order], LABELS[order], pairs, pair_loss(name, 20.0))
    return found


def library(name: str) -> Any:
    from sentence_transformers.sentence_transformer import losses as made

    kinds: Any = made
    cls = {"cosent": "CoSENTLoss", "cosine": "CosineSimilarityLoss", "ranking": "MultipleNegativesRankingLoss"}[name]
    return getattr(kinds, cls)(None).compute_loss_from_embeddings([FIRST, SECOND], SCORES)


@pytest.mark.parametrize("name", ["cosent", "cosine", "ranking"])
def test_the_mean_over_texts_is_the_loss_of_the_library_in_any_order(name: str) -> None:
    torch.testing.assert_close(shared(name).mean(), library(name))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(shared(name, order).mean(), library(name))


def test_by_hand() -> None:
    alike = functional.cosine_similarity(FIRST, SECOND).tolist()
    scores = SCORES.tolist()
    squares = [(one - other) ** 2 for one, other in zip(alike, scores, strict=True)]
    torch.testing.assert_close(shared("cosine"), torch.tensor(squares).repeat_interleave(2))
    terms = [math.exp(20 * (alike[low] - alike[high])) for low in range(6) for high in range(6)
             if scores[low] < scores[high]]  # fmt: skip
    assert shared("cosent").mean().item() == pytest.approx(math.log(1 + sum(terms)), rel=1e-5)
    every = functional.cosine_similarity(FIRST[:, None], SECOND[None], dim=-1) * 20
    expected = functional.cross_entropy(every, torch.arange(6))
    assert shared("ranking").mean().item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["cosent", "cosine", "ranking"])
def test_a_batch_that_was_repeated_loses_what_the_batch_does(name: str) -> None:
    order = torch.arange(12).repeat(3)
    assert len(pairs_in(RECORDS[order], SIDES[order])) == 3
    torch.testing.assert_close(shared(name, order), shared(name).repeat(3))


def test_a_text_without_its_partner_loses_nothing_and_the_others_their_mean() -> None:
    order = torch.tensor([0, 1, 2, 5, 6, 7])  # whole pairs 0 and 3
    found = shared("cosine", order)
    whole = shared("cosine")[[0, 6]]
    assert found[[2, 3]].tolist() == [0, 0]
    torch.testing.assert_close(found.mean(), whole.mean())


def test_a_batch_without_pairs_has_a_gradient_of_nothing() -> None:
    vectors = VECTORS[:2].clone().requires_grad_()
    found = share_losses(vectors, LABELS[:2], pairs_in(RECORDS[[0, 2]], SIDES[[0, 2]]), pair_loss("cosine", 20.0))
    (gradient,) = torch.autograd.grad(found.sum(), vectors)
    assert found.tolist() == [0, 0]
    assert not gradient.any()


@pytest.mark.parametrize("kind", ["cosine", "mse"])
def test_the_mean_distance_is_that_of_the_library(kind: str) -> None:
    from sentence_transformers.sentence_transformer import losses as made

    kinds: Any = made
    expected = kinds.EmbedDistillLoss(None, distance_metric=kind).compute_loss_from_embeddings([FIRST], [SECOND])
    torch.testing.assert_close(vector_distances(FIRST, SECOND, kind).mean(), expected)
    torch.testing.assert_close(vector_distances(FIRST, FIRST, kind), torch.zeros(6), atol=1e-6, rtol=0)


def test_similarities_to_the_others_of_a_batch_by_loops() -> None:
    wide = torch.randn(6, 9, generator=torch.Generator().manual_seed(3))
    found = similarity_distances(FIRST, wide)
    for row in range(6):
        squares = [
            (functional.cosine_similarity(FIRST[row], FIRST[other], dim=0)
             - functional.cosine_similarity(wide[row], wide[other], dim=0)).square()
            for other in range(6) if other != row
        ]  # fmt: skip
        torch.testing.assert_close(found[row], torch.stack(squares).mean())
    assert similarity_distances(FIRST[:1], wide[:1]).tolist() == [0]
    turned = FIRST @ torch.linalg.qr(torch.randn(4, 4, generator=GENERATOR))[0]
    torch.testing.assert_close(similarity_distances(turned, FIRST), torch.zeros(6), atol=1e-6, rtol=0)


def test_without_the_library_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r'pip install "bertpress\[embed\]"'):
        losses.require_library()
