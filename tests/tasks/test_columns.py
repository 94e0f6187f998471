"""Columns of data sets are read at once: row by row takes minutes where a split has many rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import make_tokenizer
from datasets.arrow_dataset import Column

from bertpress.engine.evaluation import mean_tokens
from bertpress.measurements.measuring import padded_tokens
from bertpress.tasks.classification import Classification


def test_no_column_is_read_row_by_row(text_data: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    task = Classification(text_data(), make_tokenizer(), 32)

    def fail(self: Column) -> None:
        raise AssertionError("a column is read row by row")

    monkeypatch.setattr(Column, "__iter__", fail)
    split = task.dev_split
    rows = len(task.splits[split])
    assert task.has_labels(split)
    assert len(task.encoded(split)) == len(task.lengths(split)) == rows
    assert mean_tokens(task) <= padded_tokens(task, 4)
    assert task.score(np.eye(2)[np.zeros(rows, dtype=int)], split)
