"""Rows for training, drawn once from a store and read from it when they are asked for.

The rows of a split, a length and a seed are a folder in the store: `rows.bin` (a record of 20 bytes per row: where its
one or two segments lie), `lengths.bin` (uint16, special tokens included) and `rows.json`. Several stand side by side.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np

from bertpress.corpus import CorpusSpec
from bertpress.corpus.disk import DiskArray
from bertpress.corpus.drawing import Row
from bertpress.corpus.holdout import Split
from bertpress.corpus.plan import composition, draw_rows, part_for
from bertpress.corpus.store import Store
from bertpress.errors import RequestError
from bertpress.files import held, new_folder, read_json, write_json
from bertpress.processes import is_first_process

MANIFEST = "rows.json"
VERSION = 1
"""Goes up when the same composition would give other rows."""
RECORD = np.dtype([("first", "<u8"), ("first_length", "<u2"), ("second", "<u8"), ("second_length", "<u2")])
SHORTEST, LONGEST = 8, 65_535
AT_ONCE = 4096


def check_row_length(max_length: int) -> None:
    """Refuse a length of rows, in tokens, that cannot be.

    Raises:
        RequestError: names the limits.
    """
    if not SHORTEST <= max_length <= LONGEST:
        raise RequestError(f"Expected a length of {SHORTEST} to {LONGEST} tokens, got {max_length}: give another.")


def build_rows(store: Store, max_length: int, spec: CorpusSpec, seed: int, split: Split) -> Rows:
    """The rows of a split of the store: those drawn before for the same composition, or new ones.

    Args:
        max_length: of a row in tokens, special tokens included.
        seed: of all draws of what stands in a row.

    Raises:
        RequestError: the length is out of range, a field has no effect on this text, or nothing is held out.
    """
    check_row_length(max_length)
    made = composition(store, spec, max_length, seed, split)
    facts = json.loads(json.dumps({**asdict(made), "version": VERSION}))
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
    folder = store.folder / "rows" / f"{split}-{max_length}-seed{seed}-{digest}"
    while not (folder / MANIFEST).is_file():
        if not is_first_process():
            time.sleep(1)
            continue
        with held(folder.with_name(".lock")):
            if not (folder / MANIFEST).is_file():  # else another command has made them meanwhile
                part, notes = part_for(store, made)
                with new_folder(folder) as unfinished:
                    count = _write(unfinished, draw_rows(store, part, made, notes), store)
                    if made.format == "documents" and made.next_sentence == "none":
                        notes += _short_rows(np.fromfile(unfinished / "lengths.bin", np.uint16), max_length)
                    write_json(unfinished / MANIFEST, {"rows": count, "notes": notes, "composition": facts})
    return Rows(folder, store)


def _write(folder: Path, rows: Iterator[Row], store: Store) -> int:
    count = 0
    one, two = store.frame.special(pair=False), store.frame.special(pair=True)
    with (folder / "rows.bin").open("wb") as records, (folder / "lengths.bin").open("wb") as lengths:
        while block := list(islice(rows, AT_ONCE)):
            first, first_length, second, second_length = np.array(block, dtype=np.uint64).T
            table = np.empty(len(block), RECORD)
            for name, values in zip(RECORD.names or (), (first, first_length, second, second_length), strict=True):
                table[name] = values
            records.write(table.tobytes())
            special = np.where(second_length > 0, two, one).astype(np.uint64)
            lengths.write((first_length + second_length + special).astype(np.uint16).tobytes())
            count += len(block)
    return count


def _short_rows(lengths: np.ndarray, max_length: int) -> list[str]:
    """A remark if many documents are headings or stubs: batches of such rows are whole steps that teach little."""
    short = float(np.mean(lengths < max_length / 8))
    if short < 0.1:
        return []
    return [
        f"{short:.0%} of the rows have less than {max_length / 8:.0f} of {max_length} tokens, as many documents are "
        "short and share no row; format=lines packs text of several."
    ]


class Rows:
    """Rows as mappings of plain lists, each read from the disk when it is asked for.

    It can be indexed as the encoded split of a task is: `rows[3]` is a row, `rows[[3, 5]]` and `rows[3:5]` are columns,
    `rows["length"]` is the lengths. It can be pickled and forked. Of each row two bytes are in memory.

    Args:
        folder: where `build_rows` put them.
        store: what they are ranges of.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        manifest = read_json(folder / MANIFEST)
        self.notes: tuple[str, ...] = tuple(manifest["notes"])
        """one-line remarks for the user"""
        self.lengths: np.ndarray = np.fromfile(folder / "lengths.bin", np.uint16)
        """tokens of each row, special tokens included; shape (rows,), uint16"""
        self._records = DiskArray(folder / "rows.bin", RECORD)
        self._tokens, self._frame = store.tokens(), store.frame
        if not manifest["rows"] == len(self.lengths) == len(self._records):
            raise RequestError(f"Expected {manifest['rows']} rows in {folder}, found others: delete it.")

    @property
    def column_names(self) -> list[str]:
        """What each row has."""
        segments = ["token_type_ids"] if self._frame.has_segments else []
        return ["input_ids", *segments, "attention_mask", "row", "length"]

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, key: str) -> np.ndarray: ...

    @overload
    def __getitem__(self, key: int | np.integer) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, key: slice | Sequence[int] | np.ndarray) -> dict[str, list[Any]]: ...

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key != "length":
                raise KeyError(f"only the column 'length' is in memory; ask for rows to read '{key}'")
            return self.lengths
        if isinstance(key, int | np.integer):
            return self._row(int(key))
        wanted = range(*key.indices(len(self))) if isinstance(key, slice) else key
        rows = self.__getitems__(wanted)
        return {name: [row[name] for row in rows] for name in self.column_names}

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """Several rows; what a DataLoader asks for."""
        return [self._row(int(index)) for index in indices]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return map(self._row, range(len(self)))

    def _row(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        index %= len(self)
        first, first_length, second, second_length = self._records.read(index, index + 1)[0].item()
        ids, segments = self._frame.fill(
            self._tokens.read(first, first + first_length).tolist(),
            self._tokens.read(second, second + second_length).tolist() if second_length else (),
        )
        kept = {"token_type_ids": segments} if self._frame.has_segments else {}
        return {"input_ids": ids, **kept, "attention_mask": [1] * len(ids), "row": index, "length": len(ids)}
