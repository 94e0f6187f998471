"""Calibration errors, Brier scores and log losses by hand and against naive loops."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from bertpress.comparison.calibration import brier_scores, calibration, calibration_error, log_losses
from bertpress.comparison.comparing import Predictions


def naive_error(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    total = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        rows = [(c, r) for c, r in zip(confidence, right, strict=True) if (low < c <= high) or (number == 0 and c == 0)]
        if rows:
            total += len(rows) * abs(sum(c for c, _ in rows) / len(rows) - sum(r for _, r in rows) / len(rows))
    return total / len(confidence)


def classes(labels: np.ndarray, logits: np.ndarray) -> Predictions:
    names = tuple(f"class {number}" for number in range(logits.shape[1]))
    return Predictions(Path("x"), "classification", names, 1, labels.astype(float), logits)


def test_a_calibration_error_by_hand() -> None:
    confidence, right = np.array([0.95, 0.95, 0.55, 0.5]), np.array([1.0, 0.0, 1.0, 0.0])
    # bins of a tenth: (0.9, 1] is off by 0.95 - 0.5 over two rows, (0.5, 0.6] by 0.45, (0.4, 0.5] by 0.5
    assert calibration_error(np.ones((1, 4)), confidence, right, bins=10) == pytest.approx([(0.9 + 0.45 + 0.5) / 4])
    assert calibration_error(np.array([[1.0, 0, 0, 0]]), confidence, right, bins=10) == pytest.approx([0.05])


@pytest.mark.parametrize("bins", [1, 7, 10, 15])
def test_the_calibration_error_is_that_of_the_naive_loop_for_any_weights(bins: int) -> None:
    generator = np.random.default_rng(bins)
    confidence = np.concatenate([generator.random(50), np.arange(bins + 1) / bins])  # the borders too
    right = (generator.random(len(confidence)) < 0.6).astype(float)
    counts = generator.integers(3, size=(4, len(confidence)))
    wanted = [naive_error(np.repeat(confidence, draw), np.repeat(right, draw), bins) for draw in counts]
    assert calibration_error(counts.astype(float), confidence, right, bins) == pytest.approx(wanted)


def test_brier_scores_and_log_losses_by_hand() -> None:
    shares = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])
    assert brier_scores(shares, np.array([0.0, 2.0])) == pytest.approx([0.09 + 0.04 + 0.01, 2.0])
    assert log_losses(np.array([0.5, 1.0, 0.0])) == pytest.approx([math.log(2), 0, -math.log(1e-12)])


def test_an_overconfident_copy_is_worse_in_every_measure() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(600, 3))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([generator.choice(3, p=row) for row in shares])  # so these probabilities are right
    start, sure = classes(labels, logits), classes(labels, 6 * logits)
    found = {row["measure"]: row for row in calibration(sure, start)}
    assert list(found) == ["calibration error", "Brier score", "log loss"]
    for row in found.values():
        assert 0 < row["low"] < row["difference"] < row["high"]
        assert row["difference"] == pytest.approx(row["result"] - row["other"])
    assert found["log loss"]["other"] == pytest.approx(-np.log(shares[np.arange(600), labels]).mean())
    assert found["calibration error"]["other"] == pytest.approx(
        naive_error(shares.max(1), shares.argmax(1) == labels, 15)
    )
    assert all(row["difference"] == row["low"] == row["high"] == 0 for row in calibration(start, start))


def test_the_interval_is_that_of_the_naive_loop() -> None:
    generator = np.random.default_rng(2)
    labels, logits = generator.integers(2, size=80), generator.normal(size=(2, 80, 2))
    found = {row["measure"]: row for row in calibration(classes(labels, logits[0]), classes(labels, logits[1]))}
    losses = [-np.log((np.exp(side) / np.exp(side).sum(1, keepdims=True))[np.arange(80), labels]) for side in logits]
    naive = []
    for _ in range(400):
        rows = generator.integers(80, size=80)
        naive.append((losses[0] - losses[1])[rows].mean())
    row = found["log loss"]
    assert (row["low"], row["high"]) == pytest.approx(np.percentile(naive, [2.5, 97.5]), abs=0.06)


def test_where_only_the_true_answer_has_a_probability_there_is_a_log_loss_and_elsewhere_nothing() -> None:
    chosen = Predictions(Path("x"), "choice", (), 1, np.ones(4), np.array([[0.5, 1.0]] * 4))
    [row] = calibration(chosen, chosen)
    assert (row["measure"], row["result"]) == ("log loss", pytest.approx(math.log(2)))
    scores = Predictions(Path("x"), "regression", (), 1, np.arange(4.0), np.ones((4, 1)))
    assert calibration(scores, scores) == []
