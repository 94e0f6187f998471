"""The distribution over sub-networks: every formula by hand or by a loop, and what the published code got wrong."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from bertpress.methods.yoco.distribution import (
    Distribution,
    Floats,
    entropy_share,
    exploit_probability,
    fisher_norm,
    fisher_root,
    floors,
    natural_gradient,
    project,
    rank_utility,
    uniform,
    upstream_entropy_share,
)
from bertpress.methods.yoco.space import UNUSED, Choice

BERT = (4, *[12] * 12)
MIXED = (3, 4, 1, 2)


def random_theta(sizes: tuple[int, ...], generator: np.random.Generator) -> Floats:
    theta = np.zeros((len(sizes), max(sizes)))
    for row, size in zip(theta, sizes, strict=True):
        row[:size] = generator.dirichlet(np.ones(size))
    return project(theta, sizes)


def random_choices(sizes: tuple[int, ...], count: int, generator: np.random.Generator) -> list[Choice]:
    """With unused variables, but for the first."""
    picks = [generator.integers(sizes) for _ in range(count)]
    return [(int(row[0]), *(UNUSED if generator.random() < 0.4 else int(pick) for pick in row[1:])) for row in picks]


def one_hot(sizes: tuple[int, ...], options: tuple[int, ...]) -> Floats:
    return np.array([[float(option == place) for place in range(max(sizes))] for option in options])


# Utilities


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.3, 0.2], [-1, 1]),
        ([3, 1, 2, 0], [-1, 0, 0, 1]),
        ([5, 4, 3, 2, 1, 0], [-0.5, -0.5, 0, 0, 0.5, 0.5]),
        ([0, 0, 1, 2], [0.5, 0.5, 0, -1]),
        ([0, 1, 1, 1], [1, -1 / 3, -1 / 3, -1 / 3]),
        ([7], [0]),
    ],
)
def test_utilities(losses: list[float], expected: list[float]) -> None:
    assert_allclose(rank_utility(losses), expected)


def test_utilities_are_the_mean_over_all_ways_to_break_ties() -> None:
    generator = np.random.default_rng(0)
    for count in range(1, 7):
        losses = generator.integers(0, 3, size=count).astype(float)
        best = math.ceil(0.25 * count)
        orders = [
            order for order in itertools.permutations(range(count)) if list(losses[list(order)]) == sorted(losses)
        ]
        total = np.zeros(count)
        for order in orders:
            for place, sample in enumerate(order):
                total[sample] += ((place < best) - (place >= count - best)) / best
        assert_allclose(rank_utility(losses), total / len(orders), atol=1e-12)


@pytest.mark.parametrize("value", [-0.9, 0.0, 0.1, -1e9, 1e-3])
@pytest.mark.parametrize("count", [2, 3, 6, 11])
def test_b_6_3_ties_are_found_whatever_the_sign(value: float, count: int) -> None:
    losses = np.full(count, value)
    losses[0] = value - 1e-13 * max(1, abs(value))
    assert_array_equal(rank_utility(losses), np.zeros(count))
    assert rank_utility([1e-3, 2e-3]).tolist() == [1, -1], "small losses differ all the same"


# Gradient


def test_the_gradient_of_a_pair_is_half_of_winner_less_loser() -> None:
    choices = [(1, 3, 0, 1), (0, 2, 0, 1)]
    gradient = natural_gradient(uniform(MIXED), choices, rank_utility([0.1, 0.2]))
    expected = (one_hot(MIXED, choices[0]) - one_hot(MIXED, choices[1])) / 2
    assert_allclose(gradient, expected, atol=1e-16)


def test_the_gradient_is_that_of_a_loop() -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        theta, choices = random_theta(MIXED, generator), random_choices(MIXED, 6, generator)
        utilities = rank_utility(generator.normal(size=6))
        expected = np.zeros_like(theta)
        for variable in range(len(MIXED)):
            active = [sample for sample in range(6) if choices[sample][variable] != UNUSED]
            if len(active) < 2:
                continue
            mean = sum(utilities[sample] for sample in active) / len(active)
            for sample, option in itertools.product(active, range(MIXED[variable])):
                chosen = float(choices[sample][variable] == option)
                expected[variable, option] += (utilities[sample] - mean) * (chosen - theta[variable, option]) / 6
        assert_allclose(natural_gradient(theta, choices, utilities), expected, atol=1e-15)


def test_b_6_2_variables_without_a_comparison_do_not_move() -> None:
    distribution = Distribution(MIXED, random_theta(MIXED, np.random.default_rng(2)))
    before = distribution.theta
    # the second variable is used by one sample, the last by none
    assert distribution.update([(0, 1, 0, UNUSED), (1, UNUSED, 0, UNUSED)], [1.0, 2.0])
    assert_allclose(distribution.theta[1:], before[1:], rtol=1e-14)
    assert distribution.theta[0, 0] > before[0, 0]


def test_the_fisher_norm_by_hand() -> None:
    theta, gradient = np.array([[0.5, 0.25, 0.25]]), np.array([[0.1, -0.1, 0.0]])
    assert fisher_norm(theta, gradient) == pytest.approx(math.sqrt(0.01 / 0.5 + 0.01 / 0.25))
    assert_allclose(fisher_root(theta, gradient, (3,)), [0.1 / math.sqrt(0.5), -0.1 / 0.5])
    gradient = np.array([[0.1, 0.1, -0.2]])
    root, last = math.sqrt(0.5), 0.2 / (0.25 + 0.5)
    assert_allclose(fisher_root(theta, gradient, (3,)), [0.1 / root + root * last, 0.1 / 0.5 + 0.5 * last])


def test_three_ways_to_the_fisher_norm_agree() -> None:
    generator = np.random.default_rng(3)
    for sizes in (BERT, MIXED):
        theta = random_theta(sizes, generator)
        gradient = natural_gradient(theta, random_choices(sizes, 4, generator), rank_utility(generator.normal(size=4)))
        root = fisher_root(theta, gradient, sizes)
        assert root.shape == (sum(sizes) - len(sizes),)
        assert np.linalg.norm(root) == pytest.approx(fisher_norm(theta, gradient), rel=1e-12)
        square = 0.0
        for row, slope, size in zip(theta, gradient, sizes, strict=True):
            matrix = np.diag(1 / row[: size - 1]) + 1 / row[size - 1]
            square += slope[: size - 1] @ matrix @ slope[: size - 1]
        assert square == pytest.approx(fisher_norm(theta, gradient) ** 2, rel=1e-9)


# Floors


def test_floors_of_the_default_space() -> None:
    assert_allclose(floors(BERT), [1 / 39, *[1 / 143] * 12])
    sure = project(one_hot(BERT, (0,) * 13), BERT)
    assert_allclose(sure[:, 0], 12 / 13)
    assert_allclose(sure.sum(1), 1)
    assert_array_equal(sure[0, 4:], 0)


def test_projection_by_hand() -> None:
    assert_allclose(project(np.array([[1.0, 0.0]]), (2,)), [[0.75, 0.25]])
    # floor 1 / (2 * 2) is more than 0.5 / 3; above it lie 0.5 - 1/6 and 0.4 - 1/6
    above = np.array([0.5 - 1 / 6, 0.4 - 1 / 6, 0.0])
    expected = 1 / 6 + 0.5 * above / above.sum()
    assert_allclose(project(np.array([[0.5, 0.4, 0.1], [0.5, 0.5, 0.0]]), (3, 2))[0], expected)


@pytest.mark.parametrize("adapt", [True, False])
@pytest.mark.parametrize("sizes", [(2,), (2, 2), (3,), (4, 1), (12, 1, 1), (1, 1), (1,)])
def test_b_6_4_small_spaces_stay_finite(sizes: tuple[int, ...], adapt: bool) -> None:
    generator, distribution = np.random.default_rng(4), Distribution(sizes, adapt=adapt)
    for _ in range(100):
        choices = [tuple(map(int, generator.integers(sizes))) for _ in range(2)]
        moved = distribution.update(choices, [sum(choice) + 0.5 * generator.normal() for choice in choices])
        assert moved == (choices[0] != choices[1])
        theta = distribution.theta
        assert_allclose(theta.sum(1), 1, rtol=1e-12)
        real = np.arange(max(sizes)) < np.array(sizes)[:, None]
        assert (theta[real] >= np.broadcast_to(floors(sizes)[:, None], theta.shape)[real] - 1e-15).all()
        assert (theta[~real] == 0).all()
    assert all(row[0] == 1 for row, size in zip(theta, sizes, strict=True) if size == 1)


# Entropy


def test_entropy_ends_at_0_and_1() -> None:
    assert entropy_share(uniform(MIXED), MIXED) == pytest.approx(1)
    assert upstream_entropy_share(uniform(BERT), BERT) == pytest.approx(1)
    assert entropy_share(one_hot(MIXED, (0, 0, 0, 0)), MIXED) == 0
    half = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    assert entropy_share(half, (3, 1)) == pytest.approx(math.log(2) / math.log(3)), "a single option does not count"
    for share in (entropy_share, upstream_entropy_share):
        assert share(uniform((1, 1)), (1, 1)) == 1


def test_defect_14_the_entropy_of_the_mean_hides_that_layers_are_sure() -> None:
    theta = project(one_hot(BERT, (0, *range(12))), BERT)
    depth = -(12 / 13) * math.log(12 / 13) + 3 / 39 * math.log(39)
    layer = -(12 / 13) * math.log(12 / 13) + 11 / 143 * math.log(143)
    assert depth + layer == pytest.approx(0.81, abs=0.005)
    assert depth + math.log(12) == pytest.approx(2.84, abs=0.005)
    assert upstream_entropy_share(theta, BERT) == pytest.approx((depth + math.log(12)) / math.log(48))
    assert entropy_share(theta, BERT) == pytest.approx((depth + 12 * layer) / (math.log(4) + 12 * math.log(12)))
    assert Distribution(BERT, theta).entropy_share("upstream") > 0.7 > 0.2 > Distribution(BERT, theta).entropy_share()


def test_upstream_s_entropy_knows_single_options() -> None:
    """One slot that has a choice, one that has none, and a depth that is settled."""
    theta = np.array([[1.0, 0, 0], [0.5, 0.25, 0.25], [1, 0, 0]])
    assert upstream_entropy_share(theta, (1, 3, 1)) == pytest.approx(1.5 * math.log(2) / math.log(3))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("entropy", [0.1, 0.5, 0.9]), ("upstream", [0.02, 0.5, 1]), ("constant", [0.9] * 3), ("off", [1] * 3)],
)
def test_schedules_of_exploiting(schedule: Any, expected: list[float]) -> None:
    assert [exploit_probability(share, schedule) for share in (0.02, 0.5, 1.0)] == expected
    assert exploit_probability(0.0, "entropy", low=0.3, high=0.6) == 0.3
    assert exploit_probability(1.0, "constant", low=0.3, high=0.6) == 0.6


# The step


def test_a_fixed_step_by_hand() -> None:
    distribution = Distribution((4,), adapt=False, step=0.1)
    assert distribution.update([(0,), (1,)], [0.0, 1.0])
    # gradient (1/2, -1/2, 0, 0), norm sqrt(2 * (1/4) / (1/4)); nothing reaches the floor 1/8
    moved = 0.1 / math.sqrt(2) / 2
    assert_allclose(distribution.theta, [[0.25 + moved, 0.25 - moved, 0.25, 0.25]], rtol=1e-8)
    assert distribution.spread == 1
    assert not distribution.s.any()


@pytest.mark.parametrize("sizes", [BERT, MIXED])
def test_the_adapted_step_is_that_of_a_loop(sizes: tuple[int, ...]) -> None:
    generator, distribution = np.random.default_rng(5), Distribution(sizes, step=0.8)
    theta, dimensions = uniform(sizes), sum(sizes) - len(sizes)
    path, gamma, spread = np.zeros(dimensions), 0.0, 1.0
    spreads = []
    for _ in range(300):
        choices = [tuple(map(int, generator.integers(sizes))) for _ in range(4)]
        losses = [sum(choice) + 3 * generator.normal() for choice in choices]
        gradient = natural_gradient(theta, choices, rank_utility(losses))
        if not gradient.any():
            assert not distribution.update(choices, losses)
            continue
        v = fisher_root(theta, gradient, sizes)
        length = math.sqrt(sum(each**2 for each in v))
        delta = 0.8 / spread
        beta = min(1, delta / math.sqrt(dimensions))
        theta = project(theta + delta * gradient / length, sizes)
        path = (1 - beta) * path + math.sqrt(beta * (2 - beta)) * v / length
        gamma = (1 - beta) ** 2 * gamma + beta * (2 - beta)
        spread = max(1.0, spread * math.exp(beta * (gamma - sum(each**2 for each in path) / 1.5)))
        spreads.append(spread)
        assert distribution.update(choices, losses)
        assert_allclose(distribution.theta, theta, atol=1e-6)  # 1e-8 is added to our norm, and it adds up
        assert distribution.spread == pytest.approx(spread, rel=1e-5)
        assert distribution.gamma == pytest.approx(gamma, rel=1e-5)
    assert max(spreads) > 1.2, "the test is about a step that changes"


def test_contradictions_shorten_the_step_and_agreement_does_not() -> None:
    agreeing, torn = Distribution(BERT), Distribution(BERT)
    pair = [(0,) * 13, (1,) * 13]
    for turn in range(200):
        agreeing.update(pair, [0.0, 1.0])
        torn.update(pair, [turn % 2, 1 - turn % 2])
        assert agreeing.spread < 1.2
    assert torn.spread > 2
    assert agreeing.mode() == (0,) * 13
    steps = []
    for distribution in (Distribution(BERT), torn.copy()):
        distribution.theta = uniform(BERT)
        distribution.update(pair, [0.0, 1.0])
        steps.append(fisher_norm(uniform(BERT), distribution.theta - uniform(BERT)))
    assert steps[1] == pytest.approx(steps[0] / torn.spread, rel=1e-6)


@pytest.mark.parametrize("losses", [[1.0, math.nan], [math.inf, 1.0], [2.0, 2.0], [-0.5, -0.5]])
def test_nothing_moves_without_a_comparison(losses: list[float]) -> None:
    distribution = Distribution(MIXED)
    before = distribution.to_arrays()
    assert not distribution.update([(0, 0, 0, 0), (1, 1, 0, 1)], losses)
    for name, array in distribution.to_arrays().items():
        assert_array_equal(array, before[name])


def test_samples_that_do_not_differ_are_no_step() -> None:
    """Round-off in their weights, divided by its own norm, would be one."""
    for count in range(2, 12):
        distribution = Distribution(BERT)
        assert not distribution.update([(0,) * 13] * count, np.arange(count) * 0.1)
        assert_array_equal(distribution.theta, uniform(BERT))


def test_b_6_6_and_b_6_7_nothing_is_kept_of_samples_but_what_was_learned() -> None:
    distribution = Distribution(MIXED)
    distribution.update([(0, 0, 0, 0), (1, 1, 0, 1)], np.array([0.5, 0.25], dtype=np.float32))
    arrays = distribution.to_arrays()
    assert set(arrays) == {"theta", "s", "gamma", "spread"}
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float64)}
    assert set(vars(distribution)) == {"sizes", "adapt", "step", *arrays}


# The state


def test_going_on_from_arrays_is_going_on() -> None:
    generator = np.random.default_rng(7)
    groups = [
        ([tuple(map(int, generator.integers(BERT))) for _ in range(2)], generator.normal(size=2)) for _ in range(9)
    ]
    whole, first, second = Distribution(BERT), Distribution(BERT), Distribution(BERT)
    for number, group in enumerate(groups):
        whole.update(*group)
        (first if number < 4 else second).update(*group)
        if number == 3:
            second.load_arrays({name: array.tolist() for name, array in first.to_arrays().items()})
    for name, array in whole.to_arrays().items():
        assert_array_equal(array, second.to_arrays()[name])
        assert array.shape == Distribution(BERT).to_arrays()[name].shape


def test_a_copy_and_its_arrays_are_its_own() -> None:
    distribution = Distribution(MIXED)
    other, arrays = distribution.copy(), distribution.to_arrays()
    other.update([(0, 0, 0, 0), (1, 1, 0, 1)], [1.0, 2.0])
    arrays["theta"][:] = 0
    assert_array_equal(distribution.theta, uniform(MIXED))
    assert other.spread != distribution.spread or (other.s != distribution.s).any()


def test_arrays_of_other_variables_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected theta of shape \(4, 4\), got \(13, 12\)"):
        Distribution(MIXED).load_arrays(Distribution(BERT).to_arrays())


def test_the_mode_is_of_real_options() -> None:
    theta = project(np.array([[0.1, 0.9, 0], [0.3, 0.3, 0.4], [1, 0, 0]]), (2, 3, 1))
    assert Distribution((2, 3, 1), theta).mode() == (1, 2, 0)
