"""Draws within limits against the enumeration of whole spaces, and known numbers of the space of BERT-base."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from bertpress.methods.yoco import sampling, sums
from bertpress.methods.yoco.costs import Additive, extremes
from bertpress.methods.yoco.distribution import Distribution, Floats, project
from bertpress.methods.yoco.sampling import Draws, Limit, NothingFits, Window
from bertpress.methods.yoco.space import UNUSED, Choice, Space
from bertpress.methods.yoco.sums import Form, Sums, pick

PAIRS = tuple((heads, width) for width in (2, 4, 8) for heads in (1, 2))
SPACES = {
    "layers": Space(((0, 1), (0, 1, 2)), (PAIRS[:4], PAIRS[:3], PAIRS[:2]), False, ((2, 8),) * 3),
    "uniform": Space(((0,), (0, 2), (0, 1, 2, 3)), (PAIRS,), True, ((2, 8),) * 4),
    "spread": Space(((1,), (0, 2), (0, 1, 2)), (PAIRS, PAIRS[:3], PAIRS[2:3]), False, ((2, 8),) * 3),
    "single": Space(((0, 1),), (PAIRS[:1], PAIRS[:1]), False, ((2, 8),) * 2),
}
WINDOWS = {
    "no limit": Window(),
    "loose": Window(high=1e9),
    "middle": Window(high=40),
    "between": Window(30, 44),
    "from": Window(low=41),
    "tight": Window(high=27),
}


def cost_of(space: Space, seed: int = 0, integral: bool = True, name: str = "parameters") -> Additive:
    """Random costs of all options of every layer."""
    generator = np.random.default_rng(seed)
    slots = [0] * len(space.full) if space.uniform else range(len(space.full))
    layers = [generator.integers(5, 30, size=len(space.options[slot])) for slot in slots]
    noise = 0.0 if integral else 1.0
    costs = tuple(tuple(float(each + noise * generator.random()) for each in layer) for layer in layers)
    return Additive(name, 7, costs, integral)


def theta_of(space: Space, seed: int = 0) -> Floats:
    generator = np.random.default_rng(seed)
    theta = np.zeros((len(space.sizes), max(space.sizes)))
    for row, size in zip(theta, space.sizes, strict=True):
        row[:size] = generator.dirichlet(np.ones(size))
    return project(theta, space.sizes)


def everything(space: Space) -> list[Choice]:
    found = []
    for depth in range(len(space.layer_sets)):
        used = space.slots(depth)
        ranges = [range(len(space.options[slot])) if slot in used else (UNUSED,) for slot in range(len(space.options))]
        found += [(depth, *options) for options in itertools.product(*ranges)]
    assert len(found) == space.count()
    return found


@dataclass
class Truth:
    """What enumeration says: probabilities of what fits, before they are made to sum to 1."""

    space: Space
    limits: list[Limit]
    theta: Floats

    def probability(self, choice: Choice) -> float:
        """Given the depth."""
        slots = self.space.slots(choice[0])
        return math.prod(self.theta[1 + slot, choice[1 + slot]] for slot in slots)

    def fits(self, choice: Choice) -> bool:
        for cost, window in self.limits:
            layers = self.space.sub_network(choice).layers
            total = cost.fixed
            for layer in layers:
                slot = 0 if self.space.uniform else layer.origin
                total += cost.layers[layer.origin][choice[1 + slot]]
            if not window.low - 1e-9 <= total <= window.high + 1e-9:
                return False
        return True

    def fitting(self, depth: int | None = None) -> list[Choice]:
        return [each for each in everything(self.space) if depth in (None, each[0]) and self.fits(each)]

    def mass(self, depth: int) -> float:
        return sum(map(self.probability, self.fitting(depth)))

    def drawn(self, depth: int | None = None) -> dict[Choice, float]:
        shares = {
            each: self.probability(each) * (self.theta[0, each[0]] if depth is None else 1.0)
            for each in self.fitting(depth)
        }
        return {each: share / sum(shares.values()) for each, share in shares.items()}


def compare(draws: Draws, truth: Truth, depth: int | None = None, count: int = 20_000) -> None:
    """Frequencies within 5 standard deviations of the probabilities, and nothing that does not fit."""
    expected = truth.drawn(depth)
    found = Counter(draws.many(count, np.random.default_rng(1), depth))
    assert set(found) <= set(expected)
    for choice, share in expected.items():
        assert abs(found[choice] / count - share) < 5 * math.sqrt(share * (1 - share) / count) + 1e-12, choice


# Against enumeration


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_one_whole_cost(space: Space, window: Window) -> None:
    limits = [(cost_of(space), window)]
    truth = Truth(space, limits, theta_of(space))
    draws = Draws(space, limits, truth.theta)
    for depth in range(len(space.layer_sets)):
        assert draws.mass(depth) == pytest.approx(truth.mass(depth), rel=1e-12, abs=0)
        assert draws.count(depth) == len(truth.fitting(depth))
        if truth.fitting(depth):
            compare(draws, truth, depth)
    assert draws.count() == len(truth.fitting())
    if truth.fitting():
        compare(draws, truth)
    else:
        with pytest.raises(NothingFits):
            draws.draw(np.random.default_rng(0))
    assert [draws.fits(choice) for choice in everything(space)] == list(map(truth.fits, everything(space)))


@pytest.mark.parametrize("space", [SPACES["layers"], SPACES["uniform"]], ids=["layers", "uniform"])
def test_two_whole_costs_are_conditioned_on_together(space: Space) -> None:
    costs = [cost_of(space, seed, name=name) for seed, name in enumerate(("parameters", "macs"))]
    middle = [float(np.median([cost.of(space, choice) for choice in everything(space)])) for cost in costs]
    limits = [(costs[0], Window(high=middle[0])), (costs[1], Window(low=middle[1] * 0.6, high=middle[1]))]
    truth = Truth(space, limits, theta_of(space, 1))
    draws = Draws(space, limits, truth.theta)
    assert 3 < len(truth.fitting()) < space.count() / 2
    assert draws.count() == len(truth.fitting())
    assert sum(map(draws.mass, range(len(space.layer_sets)))) == pytest.approx(
        sum(map(truth.mass, range(len(space.layer_sets))))
    )
    compare(draws, truth)


@pytest.mark.parametrize("most", [3, 6])
def test_limits_that_the_table_cannot_hold_are_kept_by_rejection(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "MOST_SUMS", most)
    space = SPACES["layers"]
    limits = [(cost_of(space, seed), Window(high=high)) for seed, high in ((0, 40), (1, 50))]
    truth = Truth(space, limits, theta_of(space))
    draws = Draws(space, limits, truth.theta)
    forms = [draws._plan(depth).forms for depth in range(2)]
    assert any(len(form) < 2 for form in forms), "the test is about tables that are too large"
    assert 3 < len(truth.fitting()) < space.count() / 2
    compare(draws, truth)


def rounded_up(space: Space, cost: Additive, high: float) -> set[Choice]:
    """Networks that fit though what each slot costs above its least is rounded up to 1/1000 of the room for it."""
    found = set()
    for choice in everything(space):
        depth, total, least = choice[0], 0, cost.fixed
        parts = []
        for slot in space.slots(depth):
            options = [
                sum(cost.layers[layer][option] for layer in space.layers_of(depth, slot))
                for option in range(len(space.options[slot]))
            ]
            parts.append(options[choice[1 + slot]] - min(options))
            least += min(options)
        if high < least:
            continue
        total = sum(math.ceil(part / ((high - least) / 1000) - 1e-6) for part in parts)
        found |= {choice} if total <= 1000 else set()
    return found


@pytest.mark.parametrize("high", [27.0, 35.0, 45.0, 1e9])
@pytest.mark.parametrize("space", [SPACES["layers"], SPACES["uniform"]], ids=["layers", "uniform"])
def test_real_costs_are_rounded_up(space: Space, high: float) -> None:
    cost = cost_of(space, integral=False)
    truth = Truth(space, [(cost, Window(high=high))], theta_of(space))
    fitting, rounded = set(truth.fitting()), rounded_up(space, cost, min(high, 1e4))
    assert rounded <= fitting
    assert len(fitting) - len(rounded) < 3, "what is lost lies within a thousandth per slot of the limit"
    draws = Draws(space, truth.limits, truth.theta)
    assert draws.count() == len(rounded)
    if fitting == rounded:
        compare(draws, truth)
    else:
        assert set(draws.many(5000, np.random.default_rng(0))) <= rounded


def test_a_lower_limit_on_a_real_cost_is_kept() -> None:
    space = SPACES["layers"]
    limits = [(cost_of(space, integral=False), Window(30.0, 44.0)), (cost_of(space, 1), Window(high=60))]
    truth = Truth(space, limits, theta_of(space))
    assert len(truth.fitting()) > 3
    compare(Draws(space, limits, truth.theta), truth)
    cost = limits[0][0]
    for choice in truth.fitting():  # rounded up, what lies a little below the limit is above it
        just_above = Window(low=cost.of(space, choice) + 1e-6)
        found = Draws(space, [(cost, just_above)], truth.theta).many(300, np.random.default_rng(0))
        assert min(cost.of(space, each) for each in found) > just_above.low


@pytest.mark.parametrize("integral", [True, False])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_a_limit_equal_to_the_smallest_leaves_the_smallest(space: Space, integral: bool) -> None:
    cost = cost_of(space, integral=integral)
    totals = {choice: cost.of(space, choice) for choice in everything(space)}
    smallest, largest = extremes(space, cost)
    assert (totals[smallest], totals[largest]) == (min(totals.values()), max(totals.values()))
    for window, wanted in ((Window(high=totals[smallest]), smallest), (Window(low=totals[largest]), largest)):
        draws = Draws(space, [(cost, window)], theta_of(space))
        assert draws.fits(wanted)
        assert set(draws.many(50, np.random.default_rng(0))) == {each for each in totals if draws.fits(each)}
    draws = Draws(space, [(cost, Window(high=totals[largest]))])
    assert draws.count() == space.count(), "a limit equal to the largest cost excludes nothing"


# Nothing fits


def test_below_the_smallest_the_message_names_it() -> None:
    space = BERT
    draws = Draws(space, [(bert_parameters(), Window(high=30_000_000))])
    assert draws.count() == 0
    assert draws.mass(0) == 0
    with pytest.raises(NothingFits) as caught:
        draws.draw(np.random.default_rng(0))
    assert "parameters is to be at most 30,000,000, and the smallest possible is 33,900,288" in str(caught.value)
    assert "0:4x512 1:4x512 2:4x512 3:4x512 4:4x512 5:4x512" in str(caught.value)


def test_every_limit_that_nothing_keeps_is_named() -> None:
    space = SPACES["layers"]
    limits = [(cost_of(space), Window(high=1)), (cost_of(space, 1, False, "latency"), Window(low=1e6))]
    with pytest.raises(NothingFits, match=r"parameters is .* smallest possible is .*; latency is .* the largest"):
        Draws(space, limits).draw(np.random.default_rng(0))


def test_a_combination_that_nothing_keeps_is_said_to_be_one() -> None:
    space = SPACES["single"]
    cost = cost_of(space)
    total = cost.of(space, (0, 0, 0))
    twice = Additive("macs", 0, tuple(tuple(-each for each in layer) for layer in cost.layers), True)
    within = [(cost, Window(high=total)), (twice, Window(high=-(total - cost.fixed)))]
    assert Draws(space, within).draw(np.random.default_rng(0)) == (0, 0, 0)
    space = SPACES["layers"]
    cost, other = cost_of(space), cost_of(space)
    low = cost.of(space, extremes(space, cost)[0])
    with pytest.raises(NothingFits, match="together; each alone is possible"):
        Draws(space, [(cost, Window(high=low)), (other, Window(low=low + 1))]).draw(np.random.default_rng(0))


def test_a_window_between_two_costs_is_empty() -> None:
    space = SPACES["single"]
    cost = cost_of(space)
    several = SPACES["uniform"]
    totals = sorted({cost_of(several).of(several, choice) for choice in everything(several)})
    gap = next((low, high) for low, high in itertools.pairwise(totals) if high - low > 1)
    for each, window in ((several, Window(gap[0] + 0.25, gap[1] - 0.25)), (space, Window(high=0))):
        draws = Draws(each, [(cost_of(each) if each is several else cost, window)])
        assert draws.count() == 0
        with pytest.raises(NothingFits, match="No sub-network"):
            draws.many(3, np.random.default_rng(0))


def test_tries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "MOST_SUMS", 3)
    monkeypatch.setattr(sampling, "TRIES", 7)
    space = SPACES["layers"]
    tried = []
    original = Draws._tried
    monkeypatch.setattr(Draws, "_tried", lambda *args: tried.append(1) or original(*args))
    with pytest.raises(NothingFits):
        Draws(space, [(cost_of(space), Window(50.5, 53.5))]).draw(np.random.default_rng(0))
    assert len(tried) == 7


# The space of BERT-base

BERT = Space(
    tuple(tuple(range(depth)) for depth in (6, 8, 10, 12)),
    (tuple((heads, width) for width in (512, 768, 1024, 3072) for heads in (4, 8, 12)),) * 12,
    False,
    ((12, 3072),) * 12,
)


def bert_cost(name: str, fixed: int, per_head: int, per_neuron: int, more: int) -> Additive:
    layer = tuple(float(heads * per_head + width * per_neuron + more) for heads, width in BERT.options[0])
    return Additive(name, fixed, (layer,) * 12, True)


def bert_parameters() -> Additive:
    """Of the backbone."""
    return bert_cost("parameters", 23_837_184 + 590_592, 196_800, 1_537, 4_608)


def test_numbers_of_the_default_space() -> None:
    cost = bert_parameters()
    assert Draws(BERT, [(cost, Window())]).count() == 8_978_450_780_160
    assert [cost.of(BERT, choice) for choice in extremes(BERT, cost)] == [33_900_288, 109_482_240]
    assert len(Draws(BERT, [(cost, Window())])._plan(3).sums.reached) == 2_625


@pytest.mark.parametrize(("limit", "percent"), [(66_955_008, 82), (60e6, 61), (50e6, 26), (40e6, 1.3)])
def test_shares_of_uniform_samples_that_fit(limit: float, percent: float) -> None:
    draws = Draws(BERT, [(bert_parameters(), Window(high=limit))])
    assert 25 * sum(map(draws.mass, range(4))) == pytest.approx(percent, abs=0.5 if percent > 2 else 0.05)


def test_the_limit_of_the_released_configurations_is_one_network() -> None:
    draws = Draws(BERT, [(bert_parameters(), Window(66_955_008, 66_955_008))])
    assert draws.count() == 1
    assert draws.draw(np.random.default_rng(0)) == (0, *[11] * 6, *[UNUSED] * 6)


def test_parameters_and_multiply_adds_share_one_small_table() -> None:
    macs = bert_cost("macs", 768 * 768 + 2 * 768, 128 * 4 * 768 * 64 + 2 * 128**2 * 64, 128 * 2 * 768, 0)
    assert [macs.of(BERT, choice) for choice in extremes(BERT, macs)] == [1_258_882_560, 11_174_217_216]
    draws = Draws(BERT, [(bert_parameters(), Window(high=50e6)), (macs, Window(high=3e9))])
    plan = draws._plan(3)
    assert (len(plan.sums.reached), plan.exact, len(plan.forms)) == (2_625, True, 2)
    assert all(map(draws.fits, draws.many(200, np.random.default_rng(0))))


def test_rare_networks_are_drawn_at_once() -> None:
    """Far below anything that rejection finds: 42 million parameters with 10 layers."""
    draws = Draws(BERT, [(bert_parameters(), Window(high=40_300_000))])
    assert 0 < draws.mass(2) < 1e-8
    assert all(map(draws.fits, draws.many(100, np.random.default_rng(0), depth=2)))


# Sharing


def test_other_probabilities_and_other_windows_are_like_a_new_object() -> None:
    space = SPACES["layers"]
    for integral in (True, False):
        limits = [(cost_of(space, integral=integral), Window(high=45))]
        draws = Draws(space, limits, theta_of(space))
        draws.count()
        before = draws.many(20, np.random.default_rng(0))
        changed = draws.at(theta_of(space, 5)).within(Window(27, 36))
        fresh = Draws(space, [(limits[0][0], Window(27, 36))], theta_of(space, 5))
        assert changed.count() == fresh.count() < draws.count()
        assert changed.many(50, np.random.default_rng(1)) == fresh.many(50, np.random.default_rng(1))
        assert [changed.mass(depth) for depth in range(2)] == [fresh.mass(depth) for depth in range(2)]
        assert draws.many(20, np.random.default_rng(0)) == before


def test_probabilities_that_change_later_change_no_draws() -> None:
    distribution = Distribution(SPACES["layers"].sizes)
    draws = Draws(SPACES["layers"], theta=distribution.theta)
    distribution.theta[:] = 0
    draws.draw(np.random.default_rng(0))


def test_no_limits_are_the_distribution_itself() -> None:
    space = SPACES["layers"]
    truth = Truth(space, [], theta_of(space))
    draws = Draws(space, theta=truth.theta)
    assert draws.count() == space.count()
    assert [draws.mass(depth) for depth in range(2)] == pytest.approx([1, 1])
    compare(draws, truth)


# Parts


def test_b_6_5_a_draw_is_always_an_option() -> None:
    tenths, last = np.full(10, 0.1), np.nextafter(1.0, 0.0)
    assert np.cumsum(tenths)[-1] < 1
    assert_array_equal(pick(tenths, np.array([0.0, 0.05, 0.95, last])), [0, 0, 9, 9])
    weights = np.array([0.0, 0.5, 0.0, 0.5, 0.0])
    numbers = np.array([0.0, 0.25, 0.5, 0.75, last, 1.0])
    assert_array_equal(pick(weights, numbers), [1, 1, 3, 3, 3, 3])
    assert_array_equal(pick(np.tile(weights, (6, 1)), numbers), [1, 1, 3, 3, 3, 3])


def test_windows_have_both_ends() -> None:
    window = Window(3, 5)
    assert window.admits(np.array([2, 3, 5, 6]), integral=True).tolist() == [False, True, True, False]
    assert window.admits(np.array([3 - 1e-12, 5 + 1e-12, 5.001]), integral=False).tolist() == [True, True, False]
    assert not window.admits(2.9999999999, integral=True)
    assert str(window) == "at least 3 and at most 5"
    assert (str(Window(high=0.25)), str(Window())) == ("at most 0.25", "anything")


def test_sums_are_those_of_all_combinations() -> None:
    slots = [np.array([[1, 10], [2, 20], [3, 5]]), np.array([[1, 10], [5, 0]]), np.array([[0, 0], [1, 10]])]
    found = Sums.of(slots, (7, 10**6))
    assert found is not None
    every = {tuple(sum(rows).tolist()) for rows in itertools.product(*slots)}
    assert set(map(tuple, found.reached.tolist())) == {each for each in every if each[0] <= 7}
    ways = found.weigh([np.ones(len(slot), dtype=object) for slot in slots])[-1][:-1]
    counted = Counter(tuple(sum(rows).tolist()) for rows in itertools.product(*slots))
    assert dict(zip(map(tuple, found.reached.tolist()), ways, strict=True)) == {
        each: counted[each] for each in every if each[0] <= 7
    }


def test_rounding_never_goes_down() -> None:
    generator = np.random.default_rng(0)
    costs = [generator.random(4) + 1 for _ in range(3)]
    high = 2 + sum(each.mean() for each in costs)
    form = Form.rounded(costs, 2.0, high)
    assert form.most == 1000
    for options in itertools.product(range(4), repeat=3):
        exact = 2 + sum(each[option] for each, option in zip(costs, options, strict=True))
        number = sum(each[option] for each, option in zip(form.slots, options, strict=True))
        if number <= form.most:
            assert exact <= high * (1 + 2e-9)
            assert exact <= form.totals(number) * (1 + 1e-12)
            assert form.totals(number) - exact <= 3 * form.unit * (1 + 1e-9)
