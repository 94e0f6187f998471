"""Vectors of texts against loops over their tokens."""

from __future__ import annotations

import pytest
import torch

from bertpress.tasks.embedding.layout import Layout
from bertpress.tasks.embedding.pooling import embeddings

STATES = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
NAIVE = {
    "mean": lambda tokens: sum(tokens) / len(tokens),
    "cls": lambda tokens: tokens[0],
    "max": lambda tokens: torch.tensor([max(token[place] for token in tokens) for place in range(4)]),
}


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pooling", list(NAIVE))
def test_vectors_equal_a_loop_over_the_tokens(pooling: str, normalize: bool) -> None:
    found = embeddings(STATES, MASK, Layout(pooling=pooling, normalize=normalize))  # type: ignore[arg-type]
    for row, vector in enumerate(found):
        expected = NAIVE[pooling]([STATES[row, place] for place in range(5) if MASK[row, place]])
        expected = expected / expected.square().sum().sqrt() if normalize else expected
        torch.testing.assert_close(vector, expected)


@pytest.mark.parametrize("pooling", list(NAIVE))
def test_padding_is_no_matter_whatever_its_states_are(pooling: str) -> None:
    layout = Layout(pooling=pooling)  # type: ignore[arg-type]
    other = torch.where(MASK[..., None] == 1, STATES, 1e6)
    assert torch.equal(embeddings(other, MASK, layout), embeddings(STATES, MASK, layout))


def test_half_precision_is_added_up_in_float32() -> None:
    states = torch.full((1, 3000, 1), 1.001, dtype=torch.bfloat16)
    found = embeddings(states, torch.ones(1, 3000), Layout())
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(states[0, 0, 0].item(), abs=1e-5)
