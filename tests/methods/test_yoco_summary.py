"""What a search writes down for the report: the largest network, and what the strategies of its cells have learned."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bertpress.methods.yoco.answering import Prices, searched_distributions, summary
from bertpress.methods.yoco.costs import Additive
from bertpress.methods.yoco.distribution import Distribution
from bertpress.methods.yoco.sampling import Draws
from bertpress.methods.yoco.searching import Cell
from bertpress.methods.yoco.space import Space
from bertpress.methods.yoco.strategies import EeSng, RandomFeasible
from bertpress.reports.searches import search_of

PAIRS = ((1, 8), (2, 8), (1, 16), (2, 16))
SPACE = Space(((0,), (0, 1)), (PAIRS, PAIRS), False, ((2, 16), (2, 16)))


def search() -> Any:
    """A search with a learning cell for each depth, of which the deeper one was told, and one that never learns."""
    cells = [Cell(1, depth, EeSng(Draws(SPACE), learn_from_explored=True)) for depth in (0, 1)]
    cells[1].strategy.tell(1, [(1, 0, 0), (1, 3, 3), (1, 0, 3), (1, 3, 0)], [4.0, 1.0, 2.0, 3.0])
    cells.append(Cell(2, 1, RandomFeasible(Draws(SPACE))))

    priced = tuple(tuple(10.0 * width for _, width in pairs) for pairs in SPACE.options)
    costs = {"macs": Additive("macs", 0, priced, integral=True)}
    evaluator = SimpleNamespace(ends=[8, 19])
    archive = SimpleNamespace(entries={"a": 1, "b": 2})
    return SimpleNamespace(space=SPACE, cells=cells, costs=costs, evaluator=evaluator, archive=archive, forwards=76)


def test_what_the_cells_learned_is_that_of_their_depth() -> None:
    searched = search()
    found = searched_distributions(searched)
    assert [(each["group"], each["depth"]) for each in found] == [(1, 1), (1, 2)]
    table = searched.cells[1].strategy.state()["tables"][1]["theta"]
    assert found[1]["theta"] == table
    untold, told = (np.array(each["theta"]) for each in found)
    assert untold[1] == pytest.approx([0.25] * 4)
    assert told[1].argmax() == told[2].argmax() == 3


def test_the_report_reads_what_is_written() -> None:
    about = SimpleNamespace(space=SPACE, distribution=Distribution(SPACE.sizes))
    trained: Any = SimpleNamespace(space=SPACE, about=about)
    network = SPACE.smallest.to_list()
    shown = {"network": network, "costs": {"macs": 80, "flops": 160, "encoder_parameters": 5}, "loss": 0.5}
    written = summary(search(), Prices({}, []), {"point 1": shown, "chosen": shown}, trained)
    assert written["largest"] == {"network": SPACE.largest.to_list(), "costs": {"macs": 320, "flops": 640}}
    read = search_of(written)
    [point] = read["points"]
    assert (point["name"], point["macs_share"], point["encoder_share"]) == ("point 1, chosen", 0.25, None)
    assert (read["evaluated"], read["forwards"], read["sub_networks"]) == (2, 76, SPACE.count())
    assert [(learned["depth"], len(learned["slots"])) for learned in read["maps"]] == [(None, 2), (1, 1), (2, 2)]
    assert read["maps"][0]["depths"] == [[1, 0.5], [2, 0.5]]
