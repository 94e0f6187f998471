"""The search: rounds of candidates, each compared on few rows with the others of its group, the best on all.

A *cell* is one depth within the limits of its group; a group is a budget. Every round each group gets as many
candidates, evenly from the cells that are still in it. All of them see the first rung of rows, by which a cell's
strategy learns; the best third of a group, and the best of each cell, see the next one, and so on. In the course of
the rounds the worse half of a group's cells is given up, until one is left.

Source: the specification of successive halving is that of K. Jamieson and A. Talwalkar, "Non-stochastic Best Arm
Identification and Hyperparameter Optimization", arXiv 1502.07943.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertpress.files import read_json, reading, write_json
from bertpress.methods.yoco.archive import ANEW, Archive, Entry
from bertpress.methods.yoco.costs import Additive
from bertpress.methods.yoco.evaluating import Evaluator
from bertpress.methods.yoco.space import Choice, Space, SubNetwork
from bertpress.methods.yoco.strategies import Strategy
from bertpress.processes import barrier, is_first_process

KEPT = 3
"""One of so many candidates goes on to the next rung."""
BEFORE = -1
"""The round of networks that were looked at before the first one."""


@dataclass(frozen=True)
class Cell:
    """Candidates of one depth within one budget."""

    group: int
    depth: int
    """number of the depth option"""
    strategy: Strategy


class Search:
    """Everything that a search needs, and what it has done so far.

    Args:
        costs: by name, what entries of the archive are noted with.
        seen: what strategies need not ask for again; kept up to date here.
        rounds: how many there will be.
        candidates: of each group in each round.
        progress: told (finished rounds, rounds).
        known: what an earlier search has put into the archive.
    """

    def __init__(
        self,
        space: Space,
        cells: Sequence[Cell],
        seen: set[Choice],
        costs: Mapping[str, Additive],
        evaluator: Evaluator,
        archive: Archive,
        seed: int,
        rounds: int,
        candidates: int,
        progress: Callable[[int, int], None] = lambda *_: None,
        known: Sequence[Entry] = (),
    ) -> None:
        self.space, self.cells, self.seen, self.costs = space, cells, seen, costs
        self.evaluator, self.archive = evaluator, archive
        self.seed, self.rounds, self.candidates, self.progress = seed, rounds, candidates, progress
        self.known = rows_seen(known)
        self.alive = list(range(len(cells)))
        self.done = 0
        self.state = archive.file.with_name("state.json")
        if self.state.is_file():
            with reading(self.state, ANEW):
                self._load(read_json(self.state))

    def run(self) -> None:
        """Carry out the rounds that are left."""
        while self.done < self.rounds:
            self._round(self.done)
            self.done += 1
            self._save()
            self.progress(self.done, self.rounds)

    def _round(self, number: int) -> None:
        proposed = self._proposed(number)
        left = {cell: [self.space.sub_network(choice) for choice in choices] for cell, choices in proposed.items()}
        for networks in left.values():
            for network in networks:
                self.archive.propose(network, costs_of(network, self.space, self.costs), number)
        for rung in range(len(self.evaluator.ends)):
            self.look(dict.fromkeys(network for networks in left.values() for network in networks), rung)
            if rung == 0:
                for cell, choices in proposed.items():
                    found = [self._loss(network, 0) for network in left[cell]]
                    self.cells[cell].strategy.tell(self.cells[cell].depth, choices, found)
            if rung == min(1, len(self.evaluator.ends) - 1):
                best = {cell: min(self._loss(network, rung) for network in left[cell]) for cell in left if left[cell]}
            left = self._better(left, rung)
        if (number + 1) % self._patience() == 0:
            self.alive = self._kept_cells(best)

    def _proposed(self, number: int) -> dict[int, list[Choice]]:
        """Choices of each cell that is still looked at."""
        generator = np.random.default_rng((self.seed, number))
        earlier = (entry.network for entry in self.archive.entries.values() if entry.round < number)
        self.seen.clear()
        self.seen.update(map(self.space.choice_of, earlier))
        found = {}
        for place in self.alive:
            cell = self.cells[place]
            rivals = sum(self.cells[other].group == cell.group for other in self.alive)
            count = max(1, self.candidates // rivals)
            found[place] = cell.strategy.ask(cell.depth, count, generator)
        return found

    def _better(self, left: dict[int, list[SubNetwork]], rung: int) -> dict[int, list[SubNetwork]]:
        """The best third of each group, and the best of each cell before the last rung."""
        last = rung + 2 >= len(self.evaluator.ends)
        kept: set[SubNetwork] = set()
        for group in {self.cells[cell].group for cell in left}:
            own = [network for cell in left if self.cells[cell].group == group for network in left[cell]]
            ordered = sorted(dict.fromkeys(own), key=lambda network: self._loss(network, rung))
            kept.update(ordered[: math.ceil(len(ordered) / KEPT)])
        if not last:
            kept.update(min(own, key=lambda n: self._loss(n, rung)) for own in left.values() if own)
        return {cell: [network for network in own if network in kept] for cell, own in left.items()}

    def _patience(self) -> int:
        """Rounds between two halvings of the cells."""
        groups = [cell.group for cell in self.cells]
        most = max((groups.count(group) for group in set(groups)), default=1)
        return max(1, self.rounds // (math.ceil(math.log2(most)) + 1)) if most > 1 else self.rounds + 1

    def _kept_cells(self, best: Mapping[int, float]) -> list[int]:
        kept: list[int] = []
        for group in {self.cells[cell].group for cell in self.alive}:
            own = [cell for cell in self.alive if self.cells[cell].group == group]
            own.sort(key=lambda cell: best.get(cell, math.inf))
            kept += own[: math.ceil(len(own) / 2)]
        return sorted(kept)

    def look_at(self, networks: Sequence[SubNetwork]) -> None:
        """Put networks into the archive with their losses on all rows."""
        for network in networks:
            self.archive.propose(network, costs_of(network, self.space, self.costs), BEFORE)
        self.look(networks, len(self.evaluator.ends) - 1)

    def look(self, networks: Sequence[SubNetwork] | Mapping[SubNetwork, Any], rung: int) -> None:
        """See to it that these networks have seen all rows up to a rung."""
        for place in range(rung + 1):
            new = [network for network in networks if self.archive.entries[network].reached < place]
            if new:
                sums = self.evaluator.sums(new, place)
                for network, total in zip(new, sums, strict=True):
                    self.archive.add(network, total, self.evaluator.ends[place])
        if is_first_process():
            self.archive.write()

    def _loss(self, network: SubNetwork, rung: int) -> float:
        return self.archive.entries[network].loss(rung)

    @property
    def forwards(self) -> int:
        """Rows that this search has run sub-networks on, whether or not it was stopped meanwhile."""
        return rows_seen(self.archive.entries.values()) - self.known

    @property
    def judged(self) -> list[Entry]:
        """Entries that have seen all rows, the least loss first."""
        last = len(self.evaluator.ends) - 1
        found = [entry for entry in self.archive.entries.values() if entry.reached == last]
        return sorted(found, key=lambda entry: entry.loss(last))

    def _save(self) -> None:
        if is_first_process():
            strategies = [cell.strategy.state() for cell in self.cells]
            write_json(self.state, {"done": self.done, "alive": self.alive, "strategies": strategies})
        barrier()

    def _load(self, state: Mapping[str, Any]) -> None:
        self.done, self.alive = state["done"], list(state["alive"])
        for cell, own in zip(self.cells, state["strategies"], strict=True):
            cell.strategy.load(own)


def rows_seen(entries: Iterable[Entry]) -> int:
    """On how many rows sub-networks were run for the losses of these entries."""
    return sum(entry.rows[-1] for entry in entries if entry.rows)


def costs_of(network: SubNetwork, space: Space, costs: Mapping[str, Additive]) -> dict[str, float]:
    """What a sub-network of a space costs, by name."""
    choice = space.choice_of(network)
    return {name: cost.of(space, choice) for name, cost in costs.items()}
