"""What is computed once of every training row and read in later phases: importance of tokens, a teacher's answers.

Stored in the step's folder by row, with what it depends on; an artefact of another model, text or order is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bertpress.errors import RequestError
from bertpress.files import read_json, write_json
from bertpress.processes import barrier, is_first_process, rank, world_size

if TYPE_CHECKING:
    from bertpress.tasks.rows import Rows
    from bertpress.tasks.task import Task

Floats = NDArray[np.float32]
Compute = Callable[[list[int]], list[Floats]]
"""positions of training rows -> for each, (values, length)"""


class PerRow:
    """Numbers of every training row: for each `values` numbers, times its tokens where `tokens` says so."""

    def __init__(self, folder: Path) -> None:
        self.numbers = np.load(folder / "rows.npy")
        self.offsets = np.load(folder / "offsets.npy")
        self.values: Floats = np.load(folder / "values.npy", mmap_mode="r")  # (values, all tokens or rows)

    def tokens(self, rows: Tensor, width: int, device: torch.device) -> Tensor:
        """(values, rows, width), nan for padding."""
        block = np.full((self.values.shape[0], len(rows), width), np.nan, np.float32)
        for index, place in enumerate(self._places(rows)):
            start, stop = self.offsets[place], self.offsets[place + 1]
            block[:, index, : stop - start] = self.values[:, start:stop]
        return torch.from_numpy(block).to(device)

    def rows(self, rows: Tensor, device: torch.device) -> Tensor:
        """(rows, values)."""
        return torch.from_numpy(self.values[:, self.offsets[self._places(rows)]].T.copy()).to(device)

    def _places(self, rows: Tensor) -> NDArray[np.int64]:
        wanted = rows.cpu().numpy()
        places = np.searchsorted(self.numbers, wanted).clip(max=len(self.numbers) - 1)
        if not np.array_equal(self.numbers[places], wanted):
            raise ValueError("a row is asked about of which nothing is stored")
        return places


def stored(folder: Path, task: Task, key: Mapping[str, Any], compute: Compute, stage: str) -> PerRow:
    """What `compute` gives of every training row; computed by all processes together, or read if it is there.

    Args:
        key: what the numbers depend on, by name; texts are added here.
        stage: what the phase is called, for messages.

    Raises:
        RequestError: the folder holds numbers that depend on something else (names it), or some are not finite.
    """
    key = {**key, "text": text_digest(task)}
    if not (folder / "finished.json").is_file():
        barrier()  # all have looked before the first one may write
        folder.mkdir(parents=True, exist_ok=True)
        encoded = task.encoded("train")
        shares = _shares(encoded, task.together)
        part = folder / f"part-{rank()}.npz"
        np.savez(part, *compute(shares[rank()]))
        barrier()
        if is_first_process():
            _merge(folder, encoded, shares, stage)
            write_json(folder / "key.json", key)
        barrier()
    found = read_json(folder / "key.json")
    if differing := [name for name, value in key.items() if found.get(name) != value]:
        raise RequestError(
            f"{folder} holds the {stage} of another {' and another '.join(differing)}; delete that folder to compute "
            "it again."
        )
    return PerRow(folder)


def _shares(encoded: Rows, together: str | None) -> list[list[int]]:
    """Positions of the rows that each process computes, in turn; rows that belong together are one's."""
    groups = np.arange(len(encoded)) if together is None else np.unique(encoded[together][:], return_inverse=True)[1]
    return [np.flatnonzero(groups % world_size() == process).tolist() for process in range(world_size())]


def _merge(folder: Path, encoded: Rows, shares: Sequence[Sequence[int]], stage: str) -> None:
    """One file of what each process has computed of its rows, in the order of the rows' numbers."""
    parts = [np.load(folder / f"part-{process}.npz") for process in range(len(shares))]
    computed = {
        row: part[f"arr_{index}"] for part, rows in zip(parts, shares, strict=True) for index, row in enumerate(rows)
    }
    pieces = [computed[row] for row in range(len(encoded))]
    numbers = np.concatenate([np.asarray(some["row"]) for some in pieces_of(encoded)])
    order = np.argsort(numbers, kind="stable")
    if wrong := [int(numbers[row]) for row in order if not np.isfinite(pieces[row]).all()]:
        shown = ", ".join(map(str, wrong[:5]))
        raise RequestError(f"The {stage} of training rows {shown} is not finite; the model's weights may be broken.")
    lengths = [pieces[row].shape[1] for row in order]
    np.save(folder / "rows.npy", numbers[order])
    np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]))
    np.save(folder / "values.npy", np.concatenate([pieces[row] for row in order], axis=1).astype(np.float32))
    for process in range(len(shares)):
        (folder / f"part-{process}.npz").unlink()


def pieces_of(rows: Rows) -> Iterator[Mapping[str, Sequence[Any]]]:
    """All rows in order, a thousand at a time, as columns; what lies on disk has no whole ones."""
    for start in range(0, len(rows), 1000):
        yield rows[list(range(start, min(start + 1000, len(rows))))]


def text_digest(task: Task) -> str:
    """Equal for training rows of equal tokens, labels and order."""
    import hashlib

    found = hashlib.sha256()
    for some in pieces_of(task.encoded("train")):
        for number, ids in zip(some["row"], some["input_ids"], strict=True):
            found.update(np.asarray([number, *ids], np.int64).tobytes() + b";")
        found.update(repr(some.get("labels")).encode())
    return found.hexdigest()
