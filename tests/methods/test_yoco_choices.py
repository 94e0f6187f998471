"""Searches on rows that are compared with each other: questions are looked at as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_model, without_dropout
from token_tasks import token_task, write_token_tasks

from bertpress.engine.evaluation import side_by_side
from bertpress.methods.yoco.evaluating import Evaluator
from bertpress.methods.yoco.ordering import calibration_batches


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return token_task(write_token_tasks(tmp_path_factory.mktemp("choices"))["choice"])


def whole(batches: list[dict[str, torch.Tensor]]) -> list[int]:
    """The rows of batches of which each holds whole questions of four options."""
    for batch in batches:
        assert set(torch.bincount(batch["record"]).tolist()) <= {0, 4}
    return [row for batch in batches for row in batch["row"].tolist()]


def test_groups_side_by_side_by_hand() -> None:
    groups = np.array([7, 7, 3, 3, 3, 5])
    order, ends = side_by_side(np.array([4, 0, 5, 1, 3, 2]), groups, [1, 4, 6])
    assert order.tolist() == [4, 3, 2, 0, 1, 5]
    assert ends == [3, 5, 6]


def test_rungs_hold_whole_questions(task: Any) -> None:
    model = make_model(head="multiple-choice", **without_dropout())
    evaluator = Evaluator(model, task, "train", (6, 30), None, 1)
    assert evaluator.ends == [8, 32, 96]
    rows = [whole(rung) for rung in evaluator.rungs]
    assert [len(each) for each in rows] == [8, 24, 64]
    assert sorted(row for each in rows for row in each) == list(range(96))
    with torch.no_grad():
        outputs = task.forward(model, (batch := evaluator.rungs[0][0]))
        total = float(task.example_losses(outputs, batch).sum())
    assert evaluator.sums([None], 0) == pytest.approx([total], rel=1e-5)


def test_importance_is_measured_on_whole_questions(task: Any) -> None:
    rows = whole(calibration_batches(task, 10, 8, seed=1))
    assert len(rows) == len(set(rows)) == 12
    assert rows != whole(calibration_batches(task, 10, 8, seed=2))
