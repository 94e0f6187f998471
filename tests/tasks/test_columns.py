"""Columns of data sets are read at once: row by row takes minutes where a split has many rows."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from conftest import make_tokenizer
from datasets import Dataset
from datasets.arrow_dataset import Column

from bertpress.engine.evaluation import mean_tokens
from bertpress.measurements.measuring import padded_tokens
from bertpress.tasks.classification import Classification
from bertpress.tasks.rows import SomeRows, groups_of


def forbid_single_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let columns of data sets be sliced, and nothing else."""
    sliced = Column.__getitem__

    def get(self: Column, key: Any) -> Any:
        assert isinstance(key, slice), "a column is read row by row"
        return sliced(self, key)

    def iterate(self: Column) -> None:
        raise AssertionError("a column is read row by row")

    monkeypatch.setattr(Column, "__getitem__", get)
    monkeypatch.setattr(Column, "__iter__", iterate)


def test_no_column_is_read_row_by_row(text_data: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    task = Classification(text_data(), make_tokenizer(), 32)

    forbid_single_rows(monkeypatch)
    split = task.dev_split
    rows = len(task.splits[split])
    assert task.has_labels(split)
    assert len(task.encoded(split)) == len(task.lengths(split)) == rows
    assert mean_tokens(task) <= padded_tokens(task, 4)
    assert task.score(np.eye(2)[np.zeros(rows, dtype=int)], split)


def test_no_row_s_group_is_read_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: Any = Dataset.from_dict({"length": [3, 4, 4], "record": [0, 0, 1]})
    forbid_single_rows(monkeypatch)
    groups = groups_of(rows, "record")
    assert groups is not None
    assert groups.tolist() == [0, 0, 1]
    assert groups_of(rows, None) is None


def test_lengths_of_many_tokens_have_a_mean() -> None:
    """A corpus keeps them in 16 bits, where a plain sum begins again at 65,536."""
    lengths = np.full(1000, 128, dtype=np.uint16)
    assert mean_tokens(cast("Any", SimpleNamespace(dev_split="x", encoded=lambda split: {"length": lengths}))) == 128


@pytest.mark.parametrize("lengths", [np.array([3, 5, 7, 9], dtype=np.uint16), [3, 5, 7, 9]], ids=["array", "list"])
def test_some_rows_are_read_as_all_are(lengths: Any) -> None:
    class Whole:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, key: Any) -> Any:
            if isinstance(key, list):
                return {"length": [int(lengths[number]) for number in key]}
            return lengths if key == "length" else {"length": int(lengths[key])}

    rows = SomeRows(cast("Any", Whole()), [1, 3])
    assert len(rows) == 2
    assert list(rows["length"]) == [5, 9]
    assert type(rows["length"]) is type(lengths)
    assert rows[1] == rows[np.int64(-1)] == {"length": 9}
    assert rows[[1, 0]] == {"length": [9, 5]}
    assert rows[0:1] == {"length": [5]}
    assert rows.__getitems__([0, 1]) == [{"length": 5}, {"length": 9}]
