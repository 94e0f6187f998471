"""Every sub-network that a search has looked at, with what it costs and loses: nothing is evaluated twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bertpress.errors import RequestError
from bertpress.files import read_json, reading, write_json, write_text
from bertpress.methods.yoco.space import SubNetwork

ANEW = "delete the folder of the search, which then begins anew"


@dataclass(frozen=True)
class Entry:
    """One sub-network."""

    network: SubNetwork
    costs: Mapping[str, float]
    """by name: parameters, macs, latency_ms"""
    round: int
    """in which it was proposed first"""
    sums: tuple[float, ...] = ()
    """sum of its losses over the rows of each rung that it has seen, from the first one on"""
    rows: tuple[int, ...] = field(default=(), repr=False)
    """how many rows these were, together with those of the rungs before"""

    def loss(self, rung: int) -> float:
        """Mean loss over all rows up to that rung."""
        return sum(self.sums[: rung + 1]) / self.rows[rung]

    @property
    def reached(self) -> int:
        """The last rung that it has seen; -1 before the first."""
        return len(self.sums) - 1

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "network": self.network.to_list()}


class Archive:
    """Entries by sub-network, in the order in which they were proposed, as JSON lines in a file.

    Args:
        folder: of the search.
        key: what the losses depend on, by name: the super-network, the rows and their order.

    Raises:
        RequestError: the folder holds an archive of something else; names what differs.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self.file, self.key = folder / "archive.jsonl", dict(key)
        self.entries: dict[SubNetwork, Entry] = {}
        about = folder / "archive.json"
        if about.is_file():
            with reading(about, ANEW):
                found = dict(read_json(about))
            if differing := [name for name in {**found, **self.key} if found.get(name) != self.key.get(name)]:
                raise RequestError(
                    f"{folder} holds a search of other {' and other '.join(differing)}; choose another --out."
                )
            self.take(read_entries(self.file))

    def begin(self) -> None:
        """Note what this archive is of; one process does it."""
        write_json(self.file.with_suffix(".json"), self.key)

    def take(self, entries: Sequence[Entry]) -> None:
        """Add what is known already."""
        self.entries.update({entry.network: entry for entry in entries})

    def propose(self, network: SubNetwork, costs: Mapping[str, float], round: int) -> Entry:
        """The entry of a network, a new one if there is none."""
        return self.entries.setdefault(network, Entry(network, dict(costs), round))

    def add(self, network: SubNetwork, total: float, rows: int) -> None:
        """Note what a network has lost on the rows of its next rung, which bring what it has seen to `rows`."""
        entry = self.entries[network]
        self.entries[network] = replace(entry, sums=(*entry.sums, total), rows=(*entry.rows, rows))

    def write(self) -> None:
        """Put everything on disk, in one step."""
        write_text(self.file, "".join(json.dumps(entry.to_json()) + "\n" for entry in self.entries.values()))


def read_entries(file: Path) -> list[Entry]:
    """What an archive's file holds; nothing if there is none."""
    if not file.is_file():
        return []
    with reading(file, ANEW):
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [
            Entry(
                SubNetwork.of(line["network"]), line["costs"], line["round"], tuple(line["sums"]), tuple(line["rows"])
            )
            for line in lines
        ]


def matching_entries(folder: Path, key: Mapping[str, Any]) -> list[Entry]:
    """What another search has found out, if it was of the same; else nothing."""
    about = folder / "archive.json"
    if not about.is_file():
        return []
    with reading(about, ANEW):
        if read_json(about) != dict(key):
            return []
    return read_entries(folder / "archive.jsonl")
