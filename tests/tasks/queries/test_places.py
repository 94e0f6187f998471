from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bertpress.losses.prediction import kl_divergence
from bertpress.tasks.queries import places
from bertpress.tasks.queries.rows import FIRST, LAST, OUTSIDE
from bertpress.tasks.queries.settings import QuerySettings
from queries.test_losses import naive

# two windows of 6 and 5 places: question at 0 and 1; words of 1, 2 and 1 pieces, and of 3
ROWS: list[dict[str, Any]] = [
    {"begin": 2, "marks": [FIRST | LAST, FIRST, LAST, FIRST | LAST], "labels": [[0, 2], [1, 2], [3, OUTSIDE]]},
    {"begin": 2, "marks": [FIRST, 0, LAST], "labels": []},
]
MARKS = torch.tensor([[0, 0, 3, 1, 2, 3], [0, 0, 1, 0, 2, 0]])
IDS = torch.zeros(2, 6, dtype=torch.long)


def logits(outputs: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(2, 6, outputs, generator=torch.Generator().manual_seed(seed))


def test_marks_and_labels_by_hand() -> None:
    assert places.marks_of(ROWS, IDS).equal(MARKS)
    labels, pairs = places.labels_of(ROWS, MARKS)
    none = places.IGNORED
    assert labels[..., 0].tolist() == [[none, none, 1, 1, none, 1], [none, none, 0, none, none, none]]
    assert labels[..., 1].tolist() == [[none, none, 0, none, 1, 0], [none, none, none, none, 0, none]]
    assert pairs.tolist() == [[[2, 4], [3, 4], [5, -1]], [[-1, -1]] * 3]
    assert places.asked(MARKS, 4)[..., 2:].equal(places.asked(MARKS, 2)), "matching is asked where the end itself is"


def test_rows_without_entities() -> None:
    labels, pairs = places.labels_of(ROWS[1:], MARKS[1:])
    assert pairs.shape == (1, 0, 2)
    assert (labels != 1).all()
    for nested in (False, True):
        found = places.window_losses(logits(4)[1:], labels, pairs if nested else None, QuerySettings(nested=nested))
        assert found.isfinite().all()


def naive_losses(given: Tensor, labels: Tensor, pairs: Tensor, options: QuerySettings) -> list[float]:
    """The formulas in loops over windows, outputs and places."""
    totals = []
    for row in range(len(given)):
        sums = {"start": [], "end": [], "match": []}  # type: ignore[var-annotated]
        likely: dict[str, list[int]] = {"start": [], "end": []}
        for side, name in enumerate(("start", "end")):
            for place in range(given.shape[1]):
                label, logit = int(labels[row, place, side]), float(given[row, place, side])
                if label == places.IGNORED:
                    continue
                sums[name].append(naive(logit, label, options.gamma))
                if label == 1 or 1 / (1 + math.exp(-logit)) > options.threshold:
                    likely[name].append(place)
        true = {tuple(pair) for pair in pairs[row].tolist() if -1 not in pair}
        for i in likely["start"]:
            for j in likely["end"]:
                if i <= j and options.nested:
                    logit = float(given[row, i, 2] + given[row, j, 3])
                    sums["match"].append(naive(logit, int((i, j) in true), options.gamma))
        weights = {"start": options.start_weight, "end": options.end_weight, "match": options.match_weight or 0}
        mean = options.reduction == "token_mean"
        totals.append(
            sum(weights[name] * sum(each) / (max(1, len(each)) if mean else 1) for name, each in sums.items())
        )
    return totals


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"gamma": 0.5},
        {"loss": "cross_entropy"},
        {"reduction": "token_mean"},
        {"loss": "cross_entropy", "reduction": "token_sum"},
        {"start_weight": 0.3},
        {"end_weight": 0.3},
        {"nested": True},
        {"nested": True, "match_weight": 0.1},
        {"nested": True, "match_weight": 0.0},
        {"nested": True, "threshold": 0.05},
        {"nested": True, "loss": "cross_entropy"},
    ],
)
def test_losses_equal_loops_and_every_setting_acts(fields: dict[str, Any]) -> None:
    options = QuerySettings(**fields)
    labels, pairs = places.labels_of(ROWS, MARKS)
    given = logits(4 if options.nested else 2)
    found = places.window_losses(given, labels, pairs if options.nested else None, options)
    assert found.tolist() == pytest.approx(naive_losses(given, labels, pairs, options), rel=1e-4)
    default = places.window_losses(
        given, labels, pairs if options.nested else None, QuerySettings(nested=options.nested)
    )
    assert fields in ({}, {"nested": True}) or not torch.allclose(found, default)


def test_what_stands_elsewhere_does_not_matter() -> None:
    labels, pairs = places.labels_of(ROWS, MARKS)
    given, options = logits(4), QuerySettings(nested=True)
    other = torch.where(places.asked(MARKS, 4), given, torch.tensor(1e4))
    for function in (
        lambda values: places.window_losses(values, labels, pairs, options),
        lambda values: places.distances(values, logits(4, 1), MARKS, kl_divergence),
        lambda values: places.kept(values, MARKS, 8),
    ):
        assert function(given).equal(function(other))


@pytest.mark.parametrize("outputs", [2, 4])
def test_distances_equal_a_loop(outputs: int) -> None:
    student, teacher = logits(outputs), logits(outputs, 1)
    asked = places.asked(MARKS, outputs)
    for row in range(2):
        each = []
        for output in range(outputs):
            values = []
            for place in range(6):
                if asked[row, place, output]:
                    p, q = (1 / (1 + math.exp(-float(side[row, place, output]))) for side in (teacher, student))
                    values.append(p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)))
            each.append(sum(values) / len(values))
        found = places.distances(student, teacher, MARKS, kl_divergence)
        assert float(found[row]) == pytest.approx(sum(each) / outputs, rel=1e-4)


def test_distances_of_equal_models_and_of_empty_windows_are_0() -> None:
    student = logits(2).requires_grad_()
    assert places.distances(student, student.detach(), MARKS, kl_divergence).tolist() == pytest.approx([0, 0], abs=1e-6)
    empty = places.distances(student, logits(2, 1), torch.zeros_like(MARKS), kl_divergence)
    assert empty.tolist() == [0, 0]
    empty.sum().backward()
    assert student.grad is not None
    assert not student.grad.any()


def test_what_is_kept_by_hand() -> None:
    given = logits(4)
    found = places.kept(given.half(), MARKS, 8).view(2, 4, 8)
    assert found.dtype == torch.float32
    for row in range(2):
        for place in range(8):
            for output in range(4):
                if place < 6 and bool(places.asked(MARKS, 4)[row, place, output]):
                    logit = given[row, place, output]
                    expected = float(logit.sigmoid() if output < 2 else logit)
                else:
                    expected = 0
                assert float(found[row, output, place]) == pytest.approx(expected, abs=2e-3)
