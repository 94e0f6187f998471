"""Windows cover a text, cut no span that must stay whole, and are kept on disk."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_tokenizer

from bertpress.errors import RequestError
from bertpress.tasks.data import TextData
from bertpress.tasks.stored import stored_rows
from bertpress.tasks.windows import Windowed, cuts


def squad_windows(length: int, size: int, step: int) -> list[tuple[int, int]]:
    """As the original question answering scripts walk over a document."""
    found, start = [], 0
    while start < length:
        taken = min(length - start, size)
        found.append((start, start + taken))
        if start + taken == length:
            break
        start += min(taken, step)
    return found


@pytest.mark.parametrize(
    ("length", "size", "step", "whole", "expected"),
    [
        (0, 4, 2, (), [(0, 0)]),
        (4, 4, 2, (), [(0, 4)]),
        (5, 4, 2, (), [(0, 4), (2, 5)]),
        (9, 4, 4, (), [(0, 4), (4, 8), (8, 9)]),
        (9, 4, 4, ((3, 6),), [(0, 3), (3, 7), (7, 9)]),
        (9, 4, 4, ((2, 5), (3, 6)), [(0, 2), (2, 6), (6, 9)]),  # the second begins inside of the first
        (9, 4, 4, ((1, 8),), [(0, 1), (1, 5), (5, 9)]),  # longer than a window: cut all the same
        (8, 4, 2, ((1, 3),), [(0, 4), (1, 5), (3, 7), (5, 8)]),  # no window begins inside of a span either
    ],
)
def test_cuts(length: int, size: int, step: int, whole: Any, expected: list[tuple[int, int]]) -> None:
    assert cuts(length, size, step, whole) == expected


def test_cuts_are_those_of_the_question_answering_scripts() -> None:
    generator = random.Random(0)
    for _ in range(500):
        length, size = generator.randint(1, 60), generator.randint(1, 20)
        step = generator.randint(1, size)
        assert cuts(length, size, step) == squad_windows(length, size, step)


def test_cuts_cover_the_text_and_leave_spans_whole() -> None:
    generator = random.Random(1)
    for _ in range(500):
        length, size = generator.randint(1, 60), generator.randint(4, 20)
        step = generator.randint(1, size)
        places = sorted(generator.sample(range(length + 1), min(length + 1, 8)))
        spans = [(a, b) for a, b in zip(places[::2], places[1::2], strict=False) if b - a <= size // 2]
        found = cuts(length, size, step, spans)
        assert found[0][0] == 0
        assert found[-1][1] == length
        assert all(0 < stop - start <= size for start, stop in found)
        assert all(later <= stop for (_, stop), (later, _) in itertools.pairwise(found))
        for first, last in spans:
            assert any(start <= first and last <= stop for start, stop in found), (length, size, step, spans, found)


def walked(length: int, size: int, step: int, whole: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same windows by looking at every span at every place."""

    def before(place: int, start: int) -> int:
        moved = min((first for first, last in whole if first < place < last), default=place)
        return place if moved <= start or moved == place else before(moved, start)

    def after(place: int, stop: int) -> int:
        moved = max((last for first, last in whole if first < place < last), default=place)
        return place if moved > stop or moved == place else after(moved, stop)

    windows = [(0, 0)]
    start = 0
    while windows[-1][1] < length:
        stop = length if start + size >= length else before(start + size, start)
        windows.append((start, stop))
        start = after(before(min(start + step, stop), start), stop)
    return windows[1:] or windows


def test_cuts_around_any_spans_are_those_of_a_plain_walk() -> None:
    generator = random.Random(2)
    for _ in range(3000):
        length, size, step = generator.randint(0, 40), generator.randint(1, 12), generator.randint(1, 14)
        borders = (sorted(generator.choices(range(length + 1), k=2)) for _ in range(generator.randint(0, 8)))
        spans = [(first, last) for first, last in borders]
        assert cuts(length, size, step, spans) == walked(length, size, step, spans), (length, size, step, spans)


def test_windows_of_a_very_long_text_take_time_in_proportion() -> None:
    spans = [(place, place + 3) for place in range(0, 1_000_000, 5)]
    start = time.perf_counter()
    found = cuts(1_000_000, 100, 75, spans)
    assert time.perf_counter() - start < 10, "with a look at every span at every place, an hour"
    assert len(found) > 13_000


def test_windows_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        cuts(3, 0, 1)


class Letters(Windowed):
    """Each record is read in windows of two letters."""

    kind, head, labels, truth = "tagging", "token-classification", None, "answer"
    types: Mapping[str, str] = {"place": "int32"}
    made = 0

    @property
    def settings(self) -> dict[str, Any]:
        return {}

    def windows_of(self, records: Mapping[str, list[Any]], split: str) -> Iterator[list[dict[str, Any]]]:
        type(self).made += len(records["text"])
        for text in records["text"]:
            yield [
                {"input_ids": [self.tokenizer.convert_tokens_to_ids(letter) for letter in text[start:stop]],
                 "token_type_ids": [0] * (stop - start), "place": start}
                for start, stop in cuts(len(text), 2, 2)
            ]  # fmt: skip


Letters.__abstractmethods__ = frozenset()


def letters(texts: list[str]) -> Letters:
    from datasets import Dataset

    rows = Dataset.from_dict({"text": texts, "answer": texts})
    data = TextData("letters", {"train": rows, "test": rows.remove_columns("answer")}, ("text",), None, (), "")
    return Letters(data, make_tokenizer("bert"), 8)  # type: ignore[abstract]


def test_records_become_windows_which_are_made_once() -> None:
    task = letters(["abcde", "f", "gh"])
    rows = task.encoded("train")
    assert rows["record"][:] == [0, 0, 0, 1, 2]
    assert rows["row"][:] == [0, 1, 2, 3, 4]
    assert rows["length"][:] == [2, 2, 1, 1, 2]
    assert rows["place"][:] == [0, 2, 4, 0, 0]
    batch = task.collate([rows[0], rows[2]])
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
    made = Letters.made
    assert letters(["abcde", "f", "gh"]).encoded("train")["record"][:] == [0, 0, 0, 1, 2]
    assert Letters.made == made, "the same records were encoded again"
    letters(["abcde", "f", "gi"]).encoded("train")
    assert Letters.made == made + 3
    assert task.has_labels("train")
    assert not task.has_labels("test")
    with pytest.raises(RequestError, match="no labels"):
        task.require_labels("test")
    with pytest.raises(RequestError, match="has no split 'dev'"):
        task.encoded("dev")


def test_condensed_windows_are_given_record_by_record() -> None:
    task = letters(["abcde", "f", "gh"])
    condensed = np.arange(5.0)[:, None]
    found = [
        (record["text"], part[:, 0].tolist(), list(rows)) for record, part, rows in task.by_record(condensed, "train")
    ]
    assert found == [("abcde", [0, 1, 2], [0, 1, 2]), ("f", [3], [3]), ("gh", [4], [4])]


def test_divided_training_rows_keep_their_numbers_and_their_records_stay_together() -> None:
    task = letters(["abcde", "f", "gh"]).divided({"search": [0, 2], "train": [1]})
    assert task.encoded("train")["row"][:] == [3]
    assert [record["text"] for record, *_ in task.by_record(np.zeros((4, 1)), "search")] == ["abcde", "gh"]
    assert [record["text"] for record, *_ in task.by_record(np.zeros((1, 1)), "train")] == ["f"]
    assert task.splits["train"]["text"][:] == ["f"]


def test_rows_are_read_from_disk(cache: Path) -> None:
    rows = [{"number": number, "numbers": [number] * (number % 3)} for number in range(2500)]
    stored = stored_rows("test", ("key",), {"number": "int32", "numbers": "list<int16>"}, lambda: rows)
    assert len(stored) == 2500
    assert stored[1234]["numbers"] == [1234]
    assert stored.cache_files
    assert str(cache) in stored.cache_files[0]["filename"]
    again = stored_rows("test", ("key",), {"number": "int32"}, lambda: pytest.fail("made again"))
    assert again[7]["number"] == 7
    assert torch.is_tensor(stored.with_format("torch")[0]["number"])
