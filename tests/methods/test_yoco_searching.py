"""The search by itself: rounds, rungs and depths on made-up losses, its archive, and how it goes on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_config

from bertpress.errors import AnswerNo, RequestError
from bertpress.methods.yoco import Options, Yoco
from bertpress.methods.yoco.answering import answers_already, best, widest_within, within
from bertpress.methods.yoco.archive import Archive, Entry, matching_entries
from bertpress.methods.yoco.budget import Budget
from bertpress.methods.yoco.cells import candidates_of_front, cells_of_front, cells_within
from bertpress.methods.yoco.costs import Additive, parameter_costs
from bertpress.methods.yoco.distribution import uniform
from bertpress.methods.yoco.front import points_of, undominated
from bertpress.methods.yoco.limits import Limit, check, limits
from bertpress.methods.yoco.options import resolve
from bertpress.methods.yoco.searching import Search
from bertpress.methods.yoco.space import Space, SubNetwork
from bertpress.methods.yoco.strategies import Evolution

OPTIONS = Options(depth=(2, 3, 4), heads=(1, 2), widths=(8, 16, 24))
KEY = {"super-network": "a", "rows": "b", "rungs": [8, 16, 32]}
HEAD = "sequence-classification"


class Killed(Exception):
    """Stands for a search that is broken off."""


def true_loss(network: SubNetwork) -> float:
    """Better with width and heads, less so the more there are, and a little with every layer."""
    each = [np.sqrt(layer.intermediate_size) + (1 + layer.origin) * layer.heads for layer in network.layers]
    return float(3 - 0.02 * sum(each) - 0.05 * len(network.layers))


class Pretended:
    """Losses without a model: the true one, and noise that falls with the rows looked at."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.ends, self.forwards, self.kill_at = [8, 16, 32], 0, kill_at
        self.asked: list[tuple[SubNetwork, int]] = []

    def sums(self, networks: Sequence[SubNetwork], rung: int) -> list[float]:
        if self.kill_at is not None and len(self.asked) >= self.kill_at:
            raise Killed
        rows = self.ends[rung] - ([0, *self.ends][rung])
        self.asked += [(network, rung) for network in networks]
        self.forwards += rows * len(networks)
        return [rows * (true_loss(network) + self._noise(network, rung)) for network in networks]

    @staticmethod
    def _noise(network: SubNetwork, rung: int) -> float:
        seed = [rung, *(number for layer in network.to_list() for number in layer.values())]
        return float(np.random.default_rng(seed).normal(0, 0.01))


@pytest.fixture(scope="module")
def space() -> Space:
    return resolve(OPTIONS, make_config())


def searching(
    folder: Path, space: Space, method: Yoco, evaluator: Any = None, rounds: int = 6, candidates: int = 12, **more: Any
) -> Search:
    config = make_config()
    costs = {
        "parameters": parameter_costs(space, config, HEAD),
        "encoder_parameters": parameter_costs(space, config, HEAD, "encoder"),
    }
    if method.given():
        cells = cells_within(method, space, limits(method, space, config, HEAD, 16), None)
    else:
        cells = cells_of_front(method, space, costs["encoder_parameters"], None)
    archive = Archive(folder, KEY)
    archive.begin()
    return Search(space, *cells, costs, evaluator or Pretended(), archive, 1, rounds, candidates, **more)


def numbers(search: Search) -> list[Any]:
    return [(entry.network, entry.round, entry.sums) for entry in search.archive.entries.values()]


@pytest.mark.parametrize("strategy", ["ee-sng", "random", "evolution"])
def test_everything_is_within_the_budget_and_nothing_is_looked_at_twice(
    strategy: str, space: Space, tmp_path: Path
) -> None:
    method = Yoco(parameters="55%", search={"strategy": strategy})
    search = searching(tmp_path, space, method)
    search.run()
    limited = limits(method, space, make_config(), HEAD, 16)
    assert len(search.archive.entries) > 20
    assert all(within(network, space, limited) for network in search.archive.entries)
    assert len(set(search.evaluator.asked)) == len(search.evaluator.asked)


def test_few_candidates_see_all_rows(space: Space, tmp_path: Path) -> None:
    search = searching(tmp_path, space, Yoco(parameters="55%"))
    search.run()
    reached = [entry.reached for entry in search.archive.entries.values()]
    assert reached.count(2) < reached.count(1) < reached.count(0)
    assert search.evaluator.forwards < 0.6 * 32 * len(reached)


def test_what_is_found_is_among_the_best_within_the_budget(space: Space, tmp_path: Path) -> None:
    method = Yoco(parameters="55%")
    limited = limits(method, space, make_config(), HEAD, 16)
    search = searching(tmp_path, space, method, rounds=8)
    search.run()
    found = true_loss(best(search, limited).network)
    everything = sorted(true_loss(each) for each in all_networks(space) if within(each, space, limited))
    assert found <= everything[len(everything) // 50]


def all_networks(space: Space) -> list[SubNetwork]:
    found = []
    for depth in range(len(space.layer_sets)):
        slots = space.slots(depth)
        for picks in itertools.product(*(range(len(space.options[slot])) for slot in slots)):
            chosen = dict(zip(slots, picks, strict=True))
            found.append(space.sub_network((depth, *(chosen.get(slot, -1) for slot in range(len(space.options))))))
    return found


def test_all_networks_are_as_many_as_the_space_says(space: Space) -> None:
    assert len(set(all_networks(space))) == space.count()


@pytest.mark.parametrize("strategy", ["ee-sng", "random", "evolution"])
@pytest.mark.parametrize("rounds", [1, 3, 5])
def test_a_search_that_stopped_goes_on_as_if_it_had_not(
    strategy: str, rounds: int, space: Space, tmp_path: Path
) -> None:
    method = Yoco(parameters="55%", search={"strategy": strategy})
    whole = searching(tmp_path / "whole", space, method)
    whole.run()

    def stop(done: int, total: int) -> None:
        if done == rounds:
            raise Killed

    with pytest.raises(Killed):
        searching(tmp_path / "parts", space, method, progress=stop).run()
    again = searching(tmp_path / "parts", space, method)
    again.run()
    assert numbers(again) == numbers(whole)
    assert (tmp_path / "parts" / "state.json").read_text() == (tmp_path / "whole" / "state.json").read_text()
    assert (tmp_path / "parts" / "archive.jsonl").read_text() == (tmp_path / "whole" / "archive.jsonl").read_text()


@pytest.mark.parametrize("kill_at", [1, 13, 20, 40])
def test_a_search_killed_inside_of_a_round_goes_on_as_if_it_had_not(kill_at: int, space: Space, tmp_path: Path) -> None:
    method = Yoco(parameters="55%")
    whole = searching(tmp_path / "whole", space, method)
    whole.run()
    with pytest.raises(Killed):
        searching(tmp_path / "parts", space, method, Pretended(kill_at)).run()
    again = searching(tmp_path / "parts", space, method)
    known = {(entry.network, rung) for entry in again.archive.entries.values() for rung in range(len(entry.sums))}
    assert known
    again.run()
    assert numbers(again) == numbers(whole)
    assert not known & set(again.evaluator.asked)


def test_depths_are_given_up_half_by_half(space: Space, tmp_path: Path) -> None:
    seen = []
    search = searching(tmp_path, space, Yoco(parameters="80%"))
    search.progress = lambda done, total: seen.append(len(search.alive))
    search.run()
    assert seen == [3, 2, 2, 1, 1, 1]


def test_the_first_share_of_the_evaluations_is_equal_for_each_depth(space: Space, tmp_path: Path) -> None:
    search = searching(tmp_path, space, Yoco(parameters="80%"), rounds=1)
    search.run()
    depths = [len(network.layers) for network in search.archive.entries]
    assert {depths.count(depth) for depth in (2, 3, 4)} == {4}


def test_a_network_that_costs_exactly_as_much_as_allowed_is_found(space: Space, tmp_path: Path) -> None:
    config = make_config()
    cost = parameter_costs(space, config, HEAD)
    smallest = int(cost.of(space, space.choice_of(space.smallest)))
    method = Yoco(parameters=smallest)
    search = searching(tmp_path, space, method, rounds=1)
    search.run()
    assert best(search, limits(method, space, config, HEAD, 16)).network == space.smallest


def test_a_space_of_one_network_is_answered_by_it(tmp_path: Path) -> None:
    single = resolve(Options(depth=(2,), heads=(1,), widths=(8,)), make_config())
    method = Yoco(parameters="100%")
    search = searching(tmp_path, single, method, rounds=3)
    search.run()
    assert list(search.archive.entries) == [single.largest]
    assert len(search.evaluator.asked) == 3  # once for each rung


def test_nothing_that_was_looked_at_fits_is_an_answer(space: Space, tmp_path: Path) -> None:
    method = Yoco(parameters="55%")
    search = searching(tmp_path, space, method, rounds=0)
    search.run()
    with pytest.raises(AnswerNo, match=r"looked at no sub-network within 55%.*--rounds"):
        best(search, limits(method, space, make_config(), HEAD, 16))


def test_the_front_reaches_from_the_smallest_to_the_largest(space: Space, tmp_path: Path) -> None:
    search = searching(tmp_path, space, Yoco(), rounds=3)
    search.look_at([space.smallest, space.largest])
    search.run()
    points = list(points_of(search).values())
    assert points[0].network == space.smallest
    assert [point.costs["encoder_parameters"] for point in points] == sorted(
        point.costs["encoder_parameters"] for point in points
    )
    losses = [point.loss(2) for point in points]
    assert losses == sorted(losses, reverse=True)
    assert 5 <= len(points) <= 8


def test_a_search_learns_after_a_training_that_did_not(space: Space, tmp_path: Path) -> None:
    search = searching(tmp_path, space, Yoco(parameters="80%", learning="off"))
    search.run()
    tables = [cell.strategy.state()["tables"][cell.depth] for cell in search.cells]
    assert any(table["gamma"] > 0 for table in tables)
    assert "search.strategy" in str(Yoco.model_fields["learning"].description)


def test_evolution_has_children_all_over_the_front(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, born = Yoco(search={"strategy": "evolution"}), set[Any]()
    draw = Evolution._children

    def children(self: Evolution, *args: Any) -> list[Any]:
        found = draw(self, *args)
        born.update(map(space.sub_network, found))
        return found

    monkeypatch.setattr(Evolution, "_children", children)
    search = searching(tmp_path, space, method, rounds=3, candidates=candidates_of_front(method))
    search.run()
    later = [entry.network for entry in search.archive.entries.values() if entry.round > 0]
    assert sum(network in born for network in later) > len(later) / 2


def entry(cost: float, loss: float) -> Entry:
    return Entry(
        SubNetwork.of([{"origin": 0, "heads": 1, "intermediate_size": int(cost)}]), {"c": cost}, 0, (loss,), (1,)
    )


def test_entries_that_another_one_beats_are_not_on_the_front() -> None:
    entries = [entry(3, 1.0), entry(1, 2.0), entry(2, 2.5), entry(2, 1.5), entry(4, 1.0)]
    assert [(e.costs["c"], e.loss(0)) for e in undominated(entries, "c")] == [(1, 2.0), (2, 1.5), (3, 1.0)]


def test_an_archive_of_something_else_is_refused_with_the_difference(tmp_path: Path) -> None:
    Archive(tmp_path, KEY).begin()
    with pytest.raises(RequestError, match="other super-network and other rungs"):
        Archive(tmp_path, {**KEY, "super-network": "z", "rungs": [8]})


def test_only_a_search_of_the_same_rows_is_gone_on_with(space: Space, tmp_path: Path) -> None:
    search = searching(tmp_path, space, Yoco(parameters="55%"), rounds=1)
    search.run()
    assert len(matching_entries(tmp_path, KEY)) == len(search.archive.entries)
    assert matching_entries(tmp_path, {**KEY, "rows": "c"}) == []
    assert matching_entries(tmp_path / "nothing", KEY) == []


def test_what_was_found_for_a_small_budget_is_no_answer_to_a_larger_one(space: Space, tmp_path: Path) -> None:
    search = searching(tmp_path, space, Yoco(parameters="30%"), rounds=2)
    search.run()
    entries = list(search.archive.entries.values())

    def answered(**budget: Any) -> bool:
        limited = limits(Yoco(**budget), space, make_config(), HEAD, 16)
        assert any(within(entry.network, space, limited) for entry in entries)
        return answers_already(entries, search.evaluator, space, limited)

    assert answered(parameters="30%")
    assert answered(parameters="35%")
    assert not answered(parameters="70%")
    assert not answered(parameters=10**9, scope="encoder")  # more than the largest has: its share counts
    assert answered(parameters="70%", macs="35%")  # the second one leaves no room for more parameters
    search.look_at([space.largest])
    entries = list(search.archive.entries.values())
    assert answered(parameters=10**9, scope="encoder")


@pytest.mark.parametrize("strategy", ["ee-sng", "random", "evolution"])
@pytest.mark.parametrize("budget", [{"parameters": "90%"}, {}])
def test_only_what_learns_begins_with_what_the_training_learned(
    strategy: str, budget: dict[str, Any], space: Space
) -> None:
    theta = uniform(space.sizes)
    theta[1:] = [0.01, 0.01, 0.01, 0.01, 0.95, 0.01]
    method = Yoco(search={"strategy": strategy}, exploit="off", **budget)
    limited, cost = limits(method, space, make_config(), HEAD, 16), parameter_costs(space, make_config(), HEAD)
    cells, _ = cells_within(method, space, limited, theta) if budget else cells_of_front(method, space, cost, theta)
    (cell,) = (cell for cell in cells if cell.depth == 2 and cell.group == (0 if budget else 5))
    asked = cell.strategy.ask(2, 20, np.random.default_rng(0))
    share = sum(choice.count(4) for choice in asked) / (4 * len(asked))
    assert (share > 0.4) == (strategy == "ee-sng"), "evenly it is a sixth"
    explored = cell.strategy.draws.many(200, np.random.default_rng(0), 2)
    assert sum(choice.count(4) for choice in explored) / (4 * len(explored)) < 0.4


def test_where_the_second_limit_binds_every_depth_is_looked_at() -> None:
    """What no table holds is kept by rejection, which finds nothing near a limit that does not bind."""
    space = resolve(Options(depth=(8, 10, 12)), bert_base())
    generator = np.random.default_rng(0)
    times = tuple(
        tuple((heads / 12 + 2 * width / 3072) * generator.uniform(0.97, 1.03) for heads, width in space.options[0])
        for _ in range(12)
    )
    parameters, latency = parameter_costs(space, bert_base(), HEAD), Additive("latency_ms", 1.0, times, False)
    limited = [
        Limit(cost, share * cost.of(space, space.choice_of(space.largest)), f"{share:.0%}")
        for cost, share in ((parameters, 0.9), (latency, 0.5))
    ]
    assert check(limited, space) == []
    cells, _ = cells_within(Yoco(), space, limited, None)
    assert [cell.depth for cell in cells] == [0, 1, 2]
    for cell in cells:
        asked = cell.strategy.ask(cell.depth, 8, np.random.default_rng(1))
        assert len(asked) == 8
        assert all(within(space.sub_network(choice), space, limited) for choice in asked)


def bert_base() -> Any:
    from transformers import BertConfig

    return BertConfig()


def test_the_widest_network_that_fits_is_a_candidate(space: Space) -> None:
    def widest(**budget: Any) -> list[SubNetwork]:
        return widest_within(space, limits(Yoco(**budget), space, make_config(), HEAD, 16))

    assert widest(parameters="100%") == widest(parameters="10G") == [space.largest]
    assert [str(each) for each in widest(parameters="80%")] == ["0:2x24 1:2x24 2:2x24"]
    assert widest(parameters="30%") == []


def test_forwards_are_those_of_the_archive_whatever_stopped_the_search(space: Space, tmp_path: Path) -> None:
    whole = searching(tmp_path / "whole", space, Yoco(parameters="55%"))
    whole.run()
    assert whole.forwards == whole.evaluator.forwards > 0
    with pytest.raises(Killed):
        searching(tmp_path / "parts", space, Yoco(parameters="55%"), Pretended(kill_at=13)).run()
    parts = searching(tmp_path / "parts", space, Yoco(parameters="55%"))
    parts.run()
    assert parts.forwards == whole.forwards > parts.evaluator.forwards
    later = searching(tmp_path / "whole", space, Yoco(parameters="55%"), known=list(whole.archive.entries.values()))
    assert later.forwards == 0


def test_budgets_are_the_only_thing_that_limits(space: Space) -> None:
    assert Budget(parameters="55%").given() == Yoco(parameters="55%").given()
