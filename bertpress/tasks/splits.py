"""Which rows stand in which split: splits that the data lack, made of the training rows, and limits.

What is made depends on the labels and on one fixed seed, so every run and every evaluation of the same rows makes the
same splits. Each holds the classes in their shares; rows with scores are drawn without regard to them.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bertpress.errors import RequestError, nearest
from bertpress.files import write_text
from bertpress.tasks.data import TextData, as_number

if TYPE_CHECKING:
    from datasets import Dataset

SEED = 1
HELD_OUT = 0.1  # share of the training rows that becomes the validation split where nobody says how to make one
SHOWN = 5  # rare classes in a remark


def parse_shares(text: str) -> dict[str, float]:
    """Percentages of train, validation and test.

    Raises:
        ValueError: not three numbers that add to 100; only that of test may be 0.
    """
    numbers = [as_number(part) for part in text.split("/")]
    shares = [number for number in numbers if number is not None and 0 <= number <= 100]
    if len(numbers) != 3 or len(shares) != 3 or 0 in shares[:2]:
        raise ValueError("expected percentages of train, validation and test such as 80/10/10 (only test may be 0)")
    if abs(sum(shares) - 100) > 1e-6:
        raise ValueError(f"expected percentages that add to 100, got {text}, which add to {sum(shares):g}")
    return dict(zip(("train", "validation", "test"), shares, strict=True))


def make_splits(data: TextData, shares: str) -> TextData:
    """The data with the validation and test split that they lack, taken from the training rows.

    Args:
        shares: as `parse_shares` takes them. Where only one split is missing, the ratio of train to it counts.

    Raises:
        RequestError: nothing is missing, or there are no or too few training rows.
    """
    share, there = parse_shares(shares), ", ".join(data.splits)
    if "train" not in data.splits:
        raise RequestError(
            f"Expected training rows to make splits of, but {data.name} has {there}: name the file with all rows train."
        )
    missing = [
        split for split in ("validation", "test") if share[split] and not any(s.startswith(split) for s in data.splits)
    ]
    if not missing:
        raise RequestError(
            f"Expected a missing split to make, but {data.name} has {there}: leave out --make-splits, or put all rows "
            "into one file."
        )
    whole = share["train"] + sum(share[split] for split in missing)
    made = _divided(data, {split: share[split] / whole for split in missing})
    assert made.made is not None
    sizes = ", ".join(f"{split} {len(rows)}" for split, rows in made.made.items())
    return _with_notes(made, f"made of {len(data.splits['train'])} training rows (seed {SEED}): {sizes}")


def hold_out(data: TextData) -> TextData:
    """The data with a tenth of the training rows as validation split, if they have training rows and no such split."""
    if "train" not in data.splits or any(split.startswith("validation") for split in data.splits):
        return data
    made = _divided(data, {"validation": HELD_OUT})
    held, rows = len(made.splits["validation"]), len(data.splits["train"])
    return _with_notes(
        made, f"no validation split: {held} of {rows} training rows (seed {SEED}) are held out for validation"
    )


def _with_notes(data: TextData, first: str) -> TextData:
    return dataclasses.replace(data, notes=(*data.notes, first, *_rare_classes(data)))


def _divided(data: TextData, shares: Mapping[str, float]) -> TextData:
    """The data with the splits in `shares`, which are parts of the training rows, and the rest as training rows."""
    train = data.splits["train"]
    counts = {split: max(1, round(share * len(train))) for split, share in shares.items()}
    if sum(counts.values()) >= len(train):
        raise RequestError(
            f"Expected enough training rows to take {' and '.join(counts)} from, got {len(train)}: add rows."
        )
    order = iter(spread(_classes(data, train)))
    taken = {split: sorted(itertools.islice(order, count)) for split, count in counts.items()}
    rows = {"train": sorted(order), **taken}
    made = {split: train.select(numbers) for split, numbers in rows.items()}
    return dataclasses.replace(data, splits={**made, **data.splits, **made}, made=rows)


def _classes(data: TextData, split: Dataset) -> Sequence[int]:
    """The class of each row; one for all where there are no classes or no labels."""
    has_classes = data.labels is not None and "label" in split.column_names
    classes: Sequence[int] = split["label"][:] if has_classes else [0] * len(split)
    return classes


def spread(classes: Sequence[int], seed: int = SEED) -> list[int]:
    """All rows in a random order of which every stretch holds the classes in their shares, as far as it can."""
    rows = list(range(len(classes)))
    random.Random(f"{seed} validation").shuffle(rows)
    groups: dict[int, list[int]] = {}
    for row in rows:
        groups.setdefault(classes[row], []).append(row)
    rank = {row: (index + 0.5) / len(group) for group in groups.values() for index, row in enumerate(group)}
    return sorted(rows, key=rank.__getitem__)


def _rare_classes(data: TextData) -> list[str]:
    """A remark on the classes that have too few rows to stand in every split that was made."""
    found = {split: Counter(_classes(data, data.splits[split])) for split in data.made or ()}
    total: Counter[int] = sum(found.values(), Counter())
    rare = []
    for label, count in sorted(total.items()):
        if without := [split for split, counter in found.items() if not counter[label]]:
            rare.append(f"{(data.labels or ())[label]} ({count}, none in {' and '.join(without)})")
    if not rare:
        return []
    more = f" and {len(rare) - SHOWN} more" if len(rare) > SHOWN else ""
    return [f"classes with too few rows for every split: {', '.join(rare[:SHOWN])}{more}"]


def keep_made(file: Path, made: Mapping[str, Sequence[int]]) -> None:
    """Write the rows of each split that was made, so that the splits can be made elsewhere.

    Args:
        made: numbers of rows, counted from 0 in the training rows as they were read.

    Raises:
        RequestError: the file holds other rows.
    """
    value = {"made_of": "train", "counted_from": 0, "seed": SEED, "rows": {split: list(made[split]) for split in made}}
    text = json.dumps(value) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8") != text:
        raise RequestError(f"{file} holds other rows, so the data have changed since; choose another --out.")
    write_text(file, text)


def limit(splits: Mapping[str, Dataset], sizes: Mapping[str, int], seed: int) -> dict[str, Dataset]:
    """The splits, those in `sizes` cut to that many rows: a random subset in the order of the file."""
    limited = dict(splits)
    for split, size in sizes.items():
        if split not in splits:
            raise RequestError(f"Expected a split to limit, got '{split}'{nearest(split, list(splits))}: name a split.")
        if size < 1:
            raise RequestError(f"Expected at least 1 row for '{split}', got {size}: give a positive limit.")
        rows = len(splits[split])
        if size < rows:
            limited[split] = splits[split].select(sorted(random.Random(f"{seed} {split}").sample(range(rows), size)))
    return limited


def limited(data: TextData, sizes: Mapping[str, int]) -> TextData:
    """The data cut by `limit`; a remark on a split that was cut says that it counts more rows than are left."""
    kept = limit(data.splits, sizes, seed=0)
    cut = [split for split in sizes if len(kept[split]) < len(data.splits[split])]
    return dataclasses.replace(data, splits=kept, notes=tuple(_before_limit(note, cut) for note in data.notes))


def _before_limit(note: str, cut: Sequence[str]) -> str:
    split, colon, text = note.partition(": ")
    return f"{split} (before --limit): {text}" if colon and split in cut else note
