from __future__ import annotations

import math

import pytest
import torch

from bertpress.tasks.queries.losses import answer_losses, candidate_pairs, pair_labels, pair_logits, reduced


def naive(logit: float, label: int, gamma: float | None) -> float:
    """The formulas as they are written."""
    q = 1 / (1 + math.exp(-logit))
    if gamma is None:
        return -math.log(q) if label else -math.log(1 - q)
    if label:
        return -((1 - q) ** gamma) * math.log(q + 1e-7)
    return -(q**gamma) * math.log(1 - q + 1e-7)


def test_focal_by_hand() -> None:
    # q = 0.5: 0.5 ** 1.5 * log 2; q = 0.8: 0.2 ** 1.5 * log 1.25 if yes, 0.8 ** 1.5 * log 5 if no
    logits, labels = torch.tensor([0.0, math.log(4), math.log(4)]), torch.tensor([1, 1, 0])
    expected = torch.tensor([0.2450645, 0.0199586, 1.1516197])
    assert answer_losses(logits, labels, 1.5) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("gamma", [1.5, 2.0, 0.5, 0.0, None])
def test_each_decision_equals_a_loop(gamma: float | None) -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * 3
    labels = torch.arange(35).view(5, 7) % 3 % 2
    losses = answer_losses(logits, labels, gamma)
    for row in range(5):
        for place in range(7):
            expected = naive(float(logits[row, place]), int(labels[row, place]), gamma)
            assert float(losses[row, place]) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_one_logit_says_what_a_softmax_over_two_says() -> None:
    both = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(50) % 2
    expected = torch.nn.functional.cross_entropy(both, labels, reduction="none")
    assert answer_losses(both[:, 1] - both[:, 0], labels, None) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 1.5, None])
def test_gradients_are_finite_however_sure_the_model_is(gamma: float | None) -> None:
    logits = torch.tensor([-300.0, -30.0, 0.0, 30.0, 300.0], requires_grad=True)
    for labels in (torch.ones(5), torch.zeros(5)):
        (gradient,) = torch.autograd.grad(answer_losses(logits, labels, gamma).sum(), logits)
        assert gradient.isfinite().all()


def test_what_is_easy_counts_less() -> None:
    logits, yes = torch.tensor([3.0]), torch.tensor([1])
    losses = [float(answer_losses(logits, yes, gamma)) for gamma in (0.0, 1.5, 3.0)]
    assert losses[0] == pytest.approx(float(answer_losses(logits, yes, None)), abs=1e-5)
    assert losses[0] > 10 * losses[1] > 100 * losses[2]


def test_reductions_by_hand() -> None:
    losses = torch.tensor([[1.0, 2.0, 100.0], [4.0, math.nan, math.nan], [math.inf, 7.0, 7.0]])
    counted = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    assert reduced(losses, counted, "token_sum").tolist() == [3.0, 4.0, 0.0]
    assert reduced(losses, counted, "token_mean").tolist() == [1.5, 4.0, 0.0]
    square = torch.ones(2, 2, 2)
    assert reduced(square, square.bool().triu(), "token_sum").tolist() == [3.0, 3.0]


def test_pairs_equal_a_loop() -> None:
    starts, ends = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(2))
    logits = pair_logits(starts, ends)
    candidates = candidate_pairs(starts > 0, ends > 0)
    labels = pair_labels(torch.tensor([[[0, 2], [-1, -1]], [[1, 1], [3, 4]], [[-1, 3], [2, -1]]]), 5)
    for row in range(3):
        for i in range(5):
            for j in range(5):
                assert logits[row, i, j] == starts[row, i] + ends[row, j]
                assert candidates[row, i, j] == (starts[row, i] > 0 and ends[row, j] > 0 and i <= j)
    assert labels.nonzero().tolist() == [[0, 0, 2], [1, 1, 1], [1, 3, 4]]


def test_the_sum_is_one_vector_on_both_states() -> None:
    generator = torch.Generator().manual_seed(3)
    states, vector = torch.randn(1, 6, 4, generator=generator), torch.randn(8, generator=generator)
    logits = pair_logits(states @ vector[:4], states @ vector[4:])
    for i in range(6):
        for j in range(6):
            expected = torch.cat([states[0, i], states[0, j]]) @ vector
            assert float(logits[0, i, j]) == pytest.approx(float(expected), abs=1e-5)
