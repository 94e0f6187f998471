"""Flips by a naive loop, and what a certificate holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bertpress.comparison.certificate import certificate, flips
from bertpress.comparison.comparing import NotComparable, Predictions
from bertpress.statistics import share_interval


def sides() -> tuple[Predictions, Predictions]:
    generator = np.random.default_rng(7)
    labels = generator.integers(2, size=300)
    logits = [np.eye(2)[np.where(generator.random(300) < share, labels, 1 - labels)] * 2 for share in (0.7, 0.9)]
    lengths = generator.integers(4, 60, size=300).astype(float)
    result, start = (
        Predictions(Path("x"), "classification", ("no", "yes"), 1, labels.astype(float), side, lengths)
        for side in logits
    )
    return result, start


def test_flips_are_those_of_the_naive_loop() -> None:
    result, start = sides()
    ours, theirs = (side.logits.argmax(axis=1) == side.labels for side in (result, start))
    negative = sum(1 for one, two in zip(ours, theirs, strict=True) if two and not one)
    positive = sum(1 for one, two in zip(ours, theirs, strict=True) if one and not two)
    found = flips(result, start)
    assert found is not None
    assert (found["negative"]["count"], found["positive"]["count"]) == (negative, positive)
    assert found["negative"]["rate"] == negative / 300
    assert (found["negative"]["low"], found["negative"]["high"]) == share_interval(negative, 300)
    assert (found["positive"]["rate"] - found["negative"]["rate"]) == pytest.approx(ours.mean() - theirs.mean())


def test_nothing_flips_where_nothing_is_right() -> None:
    scores = Predictions(Path("x"), "regression", (), 1, np.arange(40.0), np.arange(40.0)[:, None])
    found = certificate(scores, scores, "pearson")
    assert (found["flips"], found["calibration"], found["slices"]) == (None, [], [])


def test_a_certificate_is_plain_values_that_agree_with_each_other() -> None:
    result, start = sides()
    found = certificate(result, start, "accuracy")
    assert json.loads(json.dumps(found)) == found
    assert found["rows"] == 300
    assert found["test"]["difference"] == pytest.approx(found["scores"]["result"] - found["scores"]["other"])
    assert found["flips"]["negative"]["count"] == found["test"]["only_other"] == found["changes"]["worse"]["count"]
    assert sum(row["rows"] for row in found["slices"] if row["by"] == "class") == 300
    assert sum(row["rows"] for row in found["slices"] if row["by"] == "length") == 300
    assert len(found["calibration"]) == 3
    with pytest.raises(NotComparable):
        certificate(result, start, "span_f1")
