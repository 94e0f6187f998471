"""The formulas of TR-BERT as pure functions, against numbers worked out by hand or in plain loops."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from conftest import make_config

from bertpress.budget import LEAST, MOST, RESOLUTION, TRIES, fitting_power, nearest_power
from bertpress.costs.row_costs import RowCosts, even_shares
from bertpress.encoders.compact import compact_config
from bertpress.methods.trbert.importance import gradient_scores
from bertpress.methods.trbert.rewards import (
    action_losses,
    advantages,
    entropies,
    mean_shares,
    moved_price,
    policy_loss,
    ranks_as_targets,
)

# Log-likelihood of actions


def test_the_loss_of_an_action_is_its_negative_log_likelihood() -> None:
    logits, actions = torch.tensor([0.0, 2.0, -1.0, 2.0]), torch.tensor([True, True, False, False])
    keep = [1 / (1 + math.exp(-value)) for value in logits.tolist()]
    expected = [-math.log(keep[0]), -math.log(keep[1]), -math.log(1 - keep[2]), -math.log(1 - keep[3])]
    assert action_losses(logits, actions).tolist() == pytest.approx(expected, rel=1e-6)


def test_the_original_adds_to_probabilities_before_the_logarithm() -> None:
    logits, actions = torch.tensor([0.5, 0.5, -30.0], dtype=torch.float64), torch.tensor([True, False, True])
    keep = [1 / (1 + math.exp(-value)) for value in logits.tolist()]
    expected = [-math.log(keep[0] + 1e-6), -math.log(1 - keep[1] + 1e-6), -math.log(keep[2] + 1e-6)]
    assert action_losses(logits, actions, eps=1e-6).tolist() == pytest.approx(expected, rel=1e-9)
    assert action_losses(logits, actions)[2] == pytest.approx(30, rel=1e-6), "without it nothing is cut off"


def test_certain_policies_give_finite_losses_and_gradients() -> None:
    logits = torch.tensor([200.0, -200.0], requires_grad=True)
    losses = action_losses(logits, torch.tensor([False, True]))
    assert losses.tolist() == [200.0, 200.0]
    losses.sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [1.0, -1.0]


def test_the_entropy_of_a_decision() -> None:
    logits = torch.tensor([0.0, 1.5, -80.0])
    keep = 1 / (1 + math.exp(-1.5))
    expected = [math.log(2), -keep * math.log(keep) - (1 - keep) * math.log(1 - keep), 0.0]
    assert entropies(logits).tolist() == pytest.approx(expected, abs=1e-6)


# Rewards


def test_rollouts_are_compared_with_the_mean_of_their_row() -> None:
    rewards = torch.tensor([[1.0, 5.0], [2.0, 5.0], [6.0, 8.0]])
    torch.testing.assert_close(advantages(rewards, "mean"), torch.tensor([[-2.0, -1.0], [-1.0, -1.0], [3.0, 2.0]]))


@pytest.mark.parametrize("count", [2, 3, 8])
def test_leaving_a_rollout_out_of_its_own_mean_scales_its_advantage(count: int) -> None:
    rewards = torch.randn(count, 5, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
    found = advantages(rewards, "loo")
    for rollout in range(count):
        others = torch.cat([rewards[:rollout], rewards[rollout + 1 :]]).mean(0)
        torch.testing.assert_close(found[rollout], rewards[rollout] - others)
    torch.testing.assert_close(found, advantages(rewards, "mean") * count / (count - 1))


def test_advantages_in_units_of_the_rows_deviation() -> None:
    rewards = torch.tensor([[1.0, 4.0], [3.0, 4.0]])
    found = advantages(rewards, "mean", normalise=True)
    torch.testing.assert_close(found, torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), atol=1e-5, rtol=0)


def test_one_rollout_is_compared_with_what_came_before() -> None:
    rewards = torch.tensor([[1.0, 3.0]])
    torch.testing.assert_close(advantages(rewards, "loo", running=torch.tensor(0.5)), torch.tensor([[0.5, 2.5]]))
    first = advantages(rewards, "loo", running=torch.tensor(torch.nan))
    assert first.tolist() == [[0.0, 0.0]], "the first step only measures, in whatever batches and processes"


def test_the_loss_of_policies_is_a_mean_over_rollouts_and_rows() -> None:
    advantage = torch.tensor([[1.0, -2.0], [-1.0, 2.0]], requires_grad=True)
    nll = torch.tensor([[0.5, 1.0], [2.0, 4.0]], requires_grad=True)
    loss = policy_loss(advantage, nll)
    assert float(loss.detach()) == pytest.approx((0.5 - 2.0 - 2.0 + 8.0) / 4)
    loss.backward()
    assert advantage.grad is None, "no gradient goes through rewards"
    assert nll.grad is not None
    torch.testing.assert_close(nll.grad, advantage.detach() / 4)


# Importance and ranks


def test_importance_is_the_gradient_times_the_way_that_is_left() -> None:
    generator = torch.Generator().manual_seed(0)
    gradient, reference, first, second = (torch.randn(2, 3, 4, generator=generator) for _ in range(4))
    found = gradient_scores(gradient, reference, [first, second])
    assert found.shape == (2, 2, 3)
    for step, before in enumerate((first, second)):
        for row in range(2):
            for token in range(3):
                product = sum(
                    float(gradient[row, token, i] * (reference[row, token, i] - before[row, token, i]))
                    for i in range(4)
                )
                assert float(found[step, row, token]) == pytest.approx(abs(product), rel=1e-5)


def test_ranks_fall_from_one_by_one_nth() -> None:
    scores = torch.tensor([[0.3, 0.9, 0.1, 0.5], [7.0, 2.0, 99.0, 99.0]])
    found = ranks_as_targets(scores, torch.tensor([4, 2]))
    torch.testing.assert_close(found, torch.tensor([[0.5, 1.0, 0.25, 0.75], [1.0, 0.5, 0.0, 0.0]]))
    tied = ranks_as_targets(torch.zeros(1, 3), torch.tensor([3]))
    torch.testing.assert_close(tied, torch.tensor([[1.0, 2 / 3, 1 / 3]]))  # of equal ones the earlier comes first


# Lengths and costs


def test_lengths_are_shares_of_a_rows_own_tokens_or_of_the_padded_width() -> None:
    lengths, kept = torch.tensor([10.0, 4.0]), torch.tensor([[5.0, 1.0], [4.0, 2.0]])
    torch.testing.assert_close(mean_shares(lengths, kept, "valid", 20), torch.tensor([0.3, 0.75]))
    torch.testing.assert_close(mean_shares(lengths, kept, "padded", 20), torch.tensor([0.15, 0.15]))


def bert_base(layers: list[int], selector: str = "policy") -> RowCosts:
    config = make_config(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072)
    return RowCosts.of(compact_config(config, token_reduction={"layers": layers, "selector": selector}))


def test_the_worked_example_of_multiply_adds() -> None:
    """12 layers of 768 on 400 tokens, of which 120 and then 30 go on; pooler and head of two classes are left out."""
    costs, lengths, top = bert_base([1, 6]), torch.tensor([400.0], dtype=torch.float64), 768 * 768 + 768 * 2
    assert float(costs.full(lengths)) == 36_923_573_760 - top
    share = float(costs.share(lengths, torch.tensor([[120.0, 30.0]], dtype=torch.float64)))
    assert share * (36_923_573_760 - top) == pytest.approx(8_729_941_760 - top, rel=1e-12)


@pytest.mark.parametrize("count", [1, 128, 256, 512, 1024])
def test_a_layer_of_bert_base(count: int) -> None:
    published = {1: 7_079_424, 128: 931_135_488, 256: 1_912_602_624, 512: 4_026_531_840, 1024: 8_858_370_048}
    assert float(bert_base([]).full(torch.tensor([count], dtype=torch.float64))) == 12 * published[count]


@pytest.mark.parametrize(
    ("tokens", "first", "second", "speedup"),
    [(128, 0.5, 0.5, 1.87), (128, 0.5, 0.25, 2.43), (256, 0.3, 0.1, 3.96), (512, 0.1, 0.02, 7.68), (1024, 1, 1, 1.00)],
)
def test_what_speedups_are_possible(tokens: int, first: float, second: float, speedup: float) -> None:
    costs, lengths = bert_base([1, 6]), torch.tensor([float(tokens)], dtype=torch.float64)
    kept = (lengths[:, None] * torch.tensor([[first, second]], dtype=torch.float64)).round()
    full, top = float(costs.full(lengths)), 768 * 768 + 768 * 2
    assert (full + top) / (float(costs.share(lengths, kept)) * full + top) == pytest.approx(speedup, abs=0.005)


def test_rows_in_a_batch_cost_what_they_cost_alone() -> None:
    generator = random.Random(0)
    costs = bert_base([1, 4, 6])
    lengths = torch.tensor([generator.randint(10, 500) for _ in range(6)], dtype=torch.float64)
    kept = (lengths[:, None] * torch.tensor([0.7, 0.4, 0.1])).floor()
    together = costs.share(lengths, kept)
    for row in range(6):
        expected, alive = 0.0, float(lengths[row])
        for layer in range(12):
            if layer in (1, 4, 6):
                expected += alive * (768 * 32 + 32)
                alive = float(kept[row, (1, 4, 6).index(layer)])
            expected += 7_077_888 * alive + 1_536 * alive**2
        full = 12 * (7_077_888 * float(lengths[row]) + 1_536 * float(lengths[row]) ** 2)
        assert float(together[row]) == pytest.approx(expected / full, rel=1e-12)


def test_looking_at_attention_costs_its_scores_once_more() -> None:
    lengths, everything = torch.tensor([100.0], dtype=torch.float64), torch.tensor([[100.0, 100.0]])
    extra = float(bert_base([1, 6], "attention").share(lengths, everything)) - 1
    full = 12 * (7_077_888 * 100 + 1_536 * 100**2)
    assert extra == pytest.approx(2 * 768 * 100**2 / full, rel=1e-9)
    assert float(bert_base([1, 6], "policy").share(lengths, everything)) > 1


@pytest.mark.parametrize("target", [0.3, 0.5, 0.9])
def test_an_even_share_costs_what_was_asked_for(target: float) -> None:
    costs = bert_base([1, 6])
    share = costs.even_share(target, 200)
    lengths = torch.tensor([200.0], dtype=torch.float64)
    assert float(costs.share(lengths, lengths * torch.tensor([[share, share**2]]))) == pytest.approx(target, abs=1e-6)
    assert even_shares(share, 2).tolist() == pytest.approx([share, share**2])


# The price, and what meets the budget afterwards


def test_the_price_follows_the_distance_from_the_budget() -> None:
    assert moved_price(0.5, 0.8, 0.5, 0.1) == pytest.approx(0.53)
    assert moved_price(0.5, 0.3, 0.5, 0.1) == pytest.approx(0.48)
    assert moved_price(0.01, 0.3, 0.5, 0.1) == 0.0, "it is never negative"


def test_the_price_ends_where_the_budget_is_met() -> None:
    """Of a model that keeps less the dearer tokens are."""
    price = 0.0
    for _ in range(2000):
        price = moved_price(price, 1 / (1 + price), 0.4, 0.1)
    assert 1 / (1 + price) == pytest.approx(0.4, abs=1e-3)


def test_the_power_that_meets_the_budget_is_found() -> None:
    ratios = torch.tensor([0.5, 0.25], dtype=torch.float64)

    def cost(power: float) -> float:
        return float((ratios**power).cumprod(0).mean())

    found = fitting_power(cost, 0.2)
    assert cost(found) == pytest.approx(0.2, rel=1e-6)
    assert cost(found) <= 0.2
    assert fitting_power(lambda _: 0.9, 0.5) == MOST, "as few tokens as can be, where nothing is enough"
    assert fitting_power(lambda _: 0.1, 0.5) == pytest.approx(LEAST)


def steps_at(*powers: float) -> Any:
    """A cost that falls from 1 by equal steps at these powers, and how often it was asked."""
    asked: list[float] = []

    def cost(power: float) -> float:
        asked.append(power)
        return 1 - sum(power >= each for each in powers) / (len(powers) + 1)

    return cost, asked


@pytest.mark.parametrize(
    ("target", "reachable"), [(0.5, 0.5), (0.62, 0.5), (0.63, 0.75), (0.05, 0.25), (1.0, 1.0), (0.9, 1.0), (0.26, 0.25)]
)
@pytest.mark.parametrize("exponent", [-1, 0.4, 3])
def test_the_nearest_cost_that_there_is_is_found(target: float, reachable: float, exponent: float) -> None:
    """On steps, wherever they are, and however wrong what was expected is."""
    cost, asked = steps_at(1.7, 2.0, 2.5)
    power, found = nearest_power(cost, lambda power: 2.0 ** -(power**exponent), target)
    assert found == reachable
    assert cost(power) == found
    assert len(asked) <= TRIES + 1


def test_two_steps_at_almost_the_same_power_are_told_apart() -> None:
    cost, _ = steps_at(40.0, 40.0 * RESOLUTION**3)
    assert nearest_power(cost, lambda power: 1 / (1 + power), 2 / 3)[1] == pytest.approx(2 / 3)


def test_what_is_near_enough_ends_the_search() -> None:
    asked: list[float] = []

    def cost(power: float) -> float:
        asked.append(power)
        return 0.5**power

    assert nearest_power(cost, lambda power: 0.5**power, 0.3)[1] == pytest.approx(0.3, rel=1e-6)
    assert len(asked) == 1


def test_a_share_of_what_may_be_skipped_costs_what_was_asked_for() -> None:
    costs, lengths = bert_base([1, 6]), torch.tensor([200.0], dtype=torch.float64)
    share = costs.even_share(0.5, 200, 60)
    kept = 60 + 140 * torch.tensor([[share, share**2]])
    assert float(costs.share(lengths, kept)) == pytest.approx(0.5, abs=1e-6)
    assert share < costs.even_share(0.5, 200)
