"""What the strategies ask for, and what they make of what they are told."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from bertpress.methods.yoco.costs import Additive
from bertpress.methods.yoco.distribution import Distribution, uniform
from bertpress.methods.yoco.sampling import Draws, Window
from bertpress.methods.yoco.space import UNUSED, Choice, Space
from bertpress.methods.yoco.strategies import EeSng, Evolution, RandomFeasible, Strategy, ranked, sizes_of_depth

PAIRS = tuple((heads, width) for width in (2, 4, 8) for heads in (1, 2))
SPACE = Space(((0, 1), (0, 1, 2, 3)), (PAIRS,) * 4, False, ((2, 8),) * 4)
UNIFORM = Space(((0, 1), (0, 1, 2, 3)), (PAIRS,), True, ((2, 8),) * 4)
STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "ee-sng": EeSng,
    "random": RandomFeasible,
    "evolution": lambda *args: Evolution(*args, population=8),
}


def draws_of(space: Space = SPACE, high: float = math.inf) -> Draws:
    """An option costs its number and 1, in every layer."""
    layers = tuple(tuple(float(1 + option) for option in range(6)) for _ in range(4))
    return Draws(space, [(Additive("parameters", 0, layers, True), Window(high=high))])


def loss(choice: Choice) -> float:
    """Least where all options are the third."""
    return float(sum((option - 2) ** 2 for option in choice[1:] if option != UNUSED))


def run(strategy: Strategy, turns: range, seen: set[Choice], depth: int = 1) -> list[Choice]:
    """Asks and tells, with a generator of each turn's own; all that was asked for."""
    asked = []
    for turn in turns:
        choices = strategy.ask(depth, 4, np.random.default_rng([9, turn]))
        strategy.tell(depth, choices, [loss(choice) for choice in choices])
        seen |= set(choices)
        asked += choices
    return asked


@pytest.fixture(params=list(STRATEGIES))
def make(request: pytest.FixtureRequest) -> Callable[..., Strategy]:
    """A strategy."""
    return STRATEGIES[request.param]


# All of them


@pytest.mark.parametrize("space", [SPACE, UNIFORM], ids=["layers", "uniform"])
def test_what_is_asked_for_fits_and_is_new(make: Callable[..., Strategy], space: Space) -> None:
    draws, seen = draws_of(space, high=13), set[Choice]()
    strategy = make(draws, seen)
    for depth in (0, 1):
        before = len(seen)
        asked = run(strategy, range(30), seen, depth)
        assert len(asked) == len(set(asked)) == len(seen) - before == min(120, draws.count(depth))
        assert all(map(draws.fits, asked))
        assert {choice[0] for choice in asked} == {depth}
        for choice in asked:
            space.sub_network(choice)  # it is one
            assert all((option == UNUSED) == (slot not in space.slots(depth)) for slot, option in enumerate(choice[1:]))


def test_a_single_network_is_asked_for_once(make: Callable[..., Strategy]) -> None:
    seen = set[Choice]()
    strategy = make(draws_of(high=2), seen)
    assert run(strategy, range(3), seen, depth=0) == [(0, 0, 0, UNUSED, UNUSED)]


def test_an_infeasible_limit_ends(make: Callable[..., Strategy]) -> None:
    strategy = make(draws_of(high=1), set())
    assert strategy.ask(0, 4, np.random.default_rng(0)) == []
    strategy.tell(0, [], [])
    deep = make(draws_of(high=3), set())
    assert deep.ask(1, 4, np.random.default_rng(0)) == []
    assert deep.ask(0, 2, np.random.default_rng(0)) != []


def test_stopped_and_resumed_is_not_stopped(make: Callable[..., Strategy]) -> None:
    """Stopped after a question and before its answer."""
    found = []
    for stopped in (False, True):
        seen = set[Choice]()
        strategy = make(draws_of(high=20), seen)
        asked = run(strategy, range(5), seen)
        asked += (question := strategy.ask(0, 8, np.random.default_rng(1)))
        if stopped:
            stored = json.dumps(strategy.state())
            strategy = make(draws_of(high=20), seen)
            strategy.load(json.loads(stored))
        strategy.tell(0, question, [loss(choice) for choice in question])
        asked += run(strategy, range(5, 12), seen) + run(strategy, range(5, 12), seen, depth=0)
        found.append((asked, strategy.state()))
    assert found[0] == found[1]


def test_asking_changes_nothing_but_what_is_open(make: Callable[..., Strategy]) -> None:
    strategy = make(draws_of(high=20), set())
    run(strategy, range(4), set())
    one, other = (strategy.ask(1, 6, np.random.default_rng(3)) for _ in range(2))
    assert one == other


def test_losses_that_are_not_finite_rank_last() -> None:
    assert ranked([3.0, math.nan, -1.0, math.inf]) == [3.0, 7.0, -1.0, 7.0]
    assert ranked([math.nan, math.nan]) == [1.0, 1.0]
    assert ranked([-5.0, math.nan])[1] > -5


def test_sizes_of_a_depth_leave_out_what_it_does_not_use() -> None:
    assert sizes_of_depth(SPACE, 0) == (1, 6, 6, 1, 1)
    assert sizes_of_depth(SPACE, 1) == (1, 6, 6, 6, 6)
    assert sizes_of_depth(UNIFORM, 0) == (1, 6)


# Exploit-explore


def test_ee_sng_finds_the_best_of_a_depth_and_leaves_the_others_alone() -> None:
    strategy = EeSng(draws_of(), schedule="off")
    assert (1, 2, 2, 2, 2) in run(strategy, range(100), set())
    assert strategy.tables[1].mode()[1:] == (2, 2, 2, 2)
    assert_array_equal(strategy.tables[0].theta, Distribution(sizes_of_depth(SPACE, 0), uniform(SPACE.sizes)).theta)
    assert strategy.explored == set()


def test_ee_sng_updates_by_the_distribution_s_rule() -> None:
    strategy = EeSng(draws_of(), schedule="off")
    choices = [(0, 1, 2, UNUSED, UNUSED), (0, 3, 2, UNUSED, UNUSED), (0, 0, 0, UNUSED, UNUSED)]
    strategy.tell(0, choices, [1.0, math.nan, 0.5])
    table = Distribution(sizes_of_depth(SPACE, 0), uniform(SPACE.sizes))
    table.update([(0, *choice[1:]) for choice in choices], [1.0, 2.0, 0.5])
    assert_array_equal(strategy.tables[0].theta, table.theta)
    assert_array_equal(table.theta[[0, 3, 4], 0], 1)


def test_ee_sng_learns_from_networks_that_come_one_by_one() -> None:
    together, single = EeSng(draws_of(), schedule="off"), EeSng(draws_of(), schedule="off")
    choices, losses = [(0, 1, 2, UNUSED, UNUSED), (0, 3, 2, UNUSED, UNUSED)], [1.0, 0.5]
    together.tell(0, choices, losses)
    single.tell(0, choices[:1], losses[:1])
    again = EeSng(draws_of(), schedule="off")
    again.load(json.loads(json.dumps(single.state())))
    again.tell(0, choices[1:], losses[1:])
    assert_array_equal(again.tables[0].theta, together.tables[0].theta)
    assert again.waiting == [[] for _ in again.tables]


def test_ee_sng_begins_with_what_was_learned_before() -> None:
    theta = np.zeros((5, 6))
    theta[0, :2] = 0.5
    theta[1:] = [0.05, 0.05, 0.75, 0.05, 0.05, 0.05]
    strategy = EeSng(draws_of(), theta=theta, schedule="off")
    asked = strategy.ask(1, 200, np.random.default_rng(0))
    assert sum(choice.count(2) for choice in asked) > 250, "a third and more of all genes, though all networks differ"
    assert_allclose(strategy.tables[1].theta[1:], theta[1:])
    assert_array_equal(theta[0, :2], 0.5)


def test_defect_15_uniform_draws_are_not_learned_from_as_if_they_were_not() -> None:
    for learn in (False, True):
        strategy = EeSng(draws_of(), schedule="constant", high=0.0, learn_from_explored=learn)
        asked = strategy.ask(1, 6, np.random.default_rng(0))
        assert strategy.explored == set(asked)
        strategy.tell(1, asked, [loss(choice) for choice in asked])
        assert strategy.explored == set()
        moved = not np.array_equal(strategy.tables[1].theta[1:], uniform(SPACE.sizes)[1:])
        assert moved == learn


def test_ee_sng_explores_more_as_it_learns() -> None:
    sharp = np.zeros((5, 6))
    sharp[:, 0] = 1
    shares = []
    for theta in (uniform(SPACE.sizes), sharp):
        strategy = EeSng(draws_of(), theta=theta)
        for turn in range(100):
            strategy.ask(1, 2, np.random.default_rng(turn))
        shares.append(len(strategy.explored))
    assert shares[0] < 50 < shares[1]


def test_ee_sng_goes_on_uniformly_where_all_that_is_probable_was_seen() -> None:
    sharp = np.zeros((5, 6))
    sharp[:, 0] = 1
    strategy = EeSng(draws_of(), theta=sharp, schedule="off")
    seen = set(draws_of().at(strategy.tables[1].theta).many(50_000, np.random.default_rng(0), 1))
    strategy.seen = seen
    assert 100 < len(seen) < 1296, "it is sure of one option in each layer"
    asked = strategy.ask(1, 20, np.random.default_rng(2))
    assert len(asked) == 20
    assert strategy.explored
    assert not set(asked) & seen


# Evolution


def test_evolution_has_children_of_the_best_quarter() -> None:
    strategy = Evolution(draws_of(), set(), population=8)
    first = (1, 2, 2, 2, 2)
    second = (1, 2, 2, 2, 1)
    others = draws_of().many(30, np.random.default_rng(0), 1)
    strategy.tell(1, [first, second, *others], [0.0, 0.5, *[9.0 + number for number in range(30)]])
    assert len(strategy.members[1]) == 8
    children = [child for turn in range(50) for child in strategy.ask(1, 4, np.random.default_rng(turn))]
    distances = [sum(gene != own for gene, own in zip(child, first, strict=True)) for child in children]
    assert np.mean(distances) < 1.5, "a random network differs in more than 3 genes"
    assert strategy.members[0] == []


def test_evolution_s_mutations_change_a_tenth_of_the_genes() -> None:
    strategy = Evolution(draws_of(), set(), population=1)
    parent = (1, 2, 2, 2, 2)
    children = strategy._children([parent, parent], 20_000, np.random.default_rng(0))
    changed = np.mean([[gene != own for gene, own in zip(child, parent, strict=True)][1:] for child in children])
    # half of the children are crossed with the same parent; a mutation is the old option in a sixth of the cases
    assert changed == pytest.approx(0.5 * 0.1 * 5 / 6, rel=0.1)


def test_evolution_never_uses_what_a_depth_does_not() -> None:
    strategy = Evolution(draws_of(high=8), set(), population=2)
    parents = [(0, 1, 2, UNUSED, UNUSED), (0, 2, 0, UNUSED, UNUSED)]
    children = strategy._children(parents, 500, np.random.default_rng(0))
    assert 100 < len(children) < 500, "those that are too large are left out"
    assert {child[3:] for child in children} == {(UNUSED, UNUSED)}


def test_evolution_forgets_what_had_no_loss() -> None:
    strategy = Evolution(draws_of(), set(), population=4)
    choices = draws_of().many(3, np.random.default_rng(0), 1)
    strategy.tell(1, choices, [math.nan, 2.0, 1.0])
    assert [loss for loss, _ in strategy.members[1]] == [1.0, 2.0]
    json.dumps(strategy.state(), allow_nan=False)


@pytest.mark.parametrize("name", ["ee-sng", "evolution"])
def test_learning_beats_chance(name: str) -> None:
    """On the space of BERT-base's size, at 400 evaluations of one depth."""
    options = tuple((heads, width) for width in range(1, 5) for heads in range(1, 4))
    space = Space((tuple(range(12)),), (options,) * 12, False, ((3, 4),) * 12)
    best = {}
    for kind in (name, "random"):
        seen = set[Choice]()
        strategy = STRATEGIES[kind](Draws(space), seen)
        asked = run(strategy, range(100), seen, depth=0)
        best[kind] = min(map(loss, asked))
    assert best[name] < 0.5 * best["random"]
