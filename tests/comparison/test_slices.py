"""Slices by class, type and length: which rows they hold, by naive loops; their scores and intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bertpress.comparison.comparing import Predictions, paired_test
from bertpress.comparison.slices import LEAST_ROWS, length_groups, slices
from bertpress.tasks.metrics import METRICS


def classes(answers: np.ndarray, labels: np.ndarray, lengths: np.ndarray | None = None, count: int = 3) -> Predictions:
    names = tuple("abc"[:count])
    return Predictions(Path("x"), "classification", names, 1, labels.astype(float), np.eye(count)[answers], lengths)


@pytest.mark.parametrize(
    ("lengths", "ranges"),
    [
        ([5, 1, 2, 8, 7, 3, 4, 6], [(1, 2), (3, 4), (5, 6), (7, 8)]),
        ([1, 1, 1, 1, 9], [(1, 1), (9, 9)]),
        ([4, 4, 4], [(4, 4)]),
        ([3], [(3, 3)]),
    ],
)
def test_groups_of_lengths(lengths: list[int], ranges: list[tuple[int, int]]) -> None:
    array = np.array(lengths, dtype=float)
    groups = length_groups(array)
    assert [(array[where].min(), array[where].max()) for where in groups] == ranges
    assert (np.sum(groups, axis=0) == 1).all()


def test_groups_hold_about_as_many_rows_each() -> None:
    lengths = np.random.default_rng(0).integers(5, 200, size=1000).astype(float)
    assert all(200 < where.sum() < 300 for where in length_groups(lengths))


def test_slices_are_those_of_the_naive_loop() -> None:
    generator = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [100, 90, 10])
    lengths = generator.permutation(200).astype(float)
    answers = [np.where(generator.random(200) < share, labels, (labels + 1) % 3) for share in (0.6, 0.9)]
    result, start = (classes(side, labels, lengths) for side in answers)
    found = {(row["by"], row["name"]): row for row in slices(result, start, "f1_macro")}
    assert [name for by, name in found if by == "class"] == ["a", "b", "c"]
    for number, name in enumerate("abc"):
        rows = [row for row in range(200) if labels[row] == number]
        row = found["class", name]
        shares = [sum(side[row] == number for row in rows) / len(rows) for side in answers]
        assert (row["rows"], row["metric"]) == (len(rows), "accuracy")
        assert (row["result"], row["other"], row["difference"]) == pytest.approx((*shares, shares[0] - shares[1]))
    for number in range(4):
        rows = [row for row in range(200) if 50 * number <= lengths[row] < 50 * number + 50]
        row = found["length", f"{50 * number} to {50 * number + 49} tokens"]
        assert row["rows"] == 50
        wanted = [METRICS["f1_macro"](labels[rows], side[rows], 1) for side in answers]
        assert (row["result"], row["other"]) == pytest.approx(wanted)
        test = paired_test(result.rows(np.array(rows)), start.rows(np.array(rows)), "f1_macro")
        assert (row["low"], row["high"], row["differs"]) == (test["low"], test["high"], test["differs"])
    assert found["class", "a"]["differs"] is True
    assert LEAST_ROWS > 10
    assert (found["class", "c"]["low"], found["class", "c"]["differs"]) == (None, None)  # ten rows


def test_a_class_without_rows_and_files_without_lengths_have_no_slices() -> None:
    labels = np.zeros(40, dtype=int)
    found = slices(classes(labels, labels), classes(labels, labels), "accuracy")
    assert [(row["name"], row["rows"], row["difference"], row["differs"]) for row in found] == [("a", 40, 0, False)]


def test_lengths_are_those_of_the_other_side_where_it_has_them() -> None:
    labels = np.arange(4) % 2
    short, long = np.full(4, 3.0), np.full(4, 9.0)
    for ours, theirs, name in ((short, long, "9 tokens"), (short, None, "3 tokens")):
        found = slices(classes(labels, labels, ours), classes(labels, labels, theirs), "accuracy")
        assert [row["name"] for row in found if row["by"] == "length"] == [name]


def spans(parts: dict[str, np.ndarray]) -> Predictions:
    whole = np.sum(list(parts.values()), axis=0)
    return Predictions(Path("x"), "tagging", (), 1, whole[:, 0], whole[:, 1:], None, parts)


def test_types_of_entities_are_judged_by_their_own_counts() -> None:
    person, place = np.zeros((80, 3)), np.zeros((80, 3))
    person[:50] = [2, 2, 2]  # true, right, found
    place[40:60] = [1, 1, 1]
    start = spans({"PER": person, "LOC": place})
    worse = person.copy()
    worse[:40] = [2, 1, 2]
    found = {row["name"]: row for row in slices(spans({"PER": worse, "LOC": place}), start, "span_f1")}
    assert (found["PER"]["rows"], found["PER"]["other"], found["PER"]["differs"]) == (50, 1.0, True)
    assert found["PER"]["result"] == pytest.approx(60 / 100)
    assert (found["LOC"]["rows"], found["LOC"]["difference"], found["LOC"]["differs"]) == (20, 0, None)
    wrong = np.zeros((80, 3))
    wrong[60:] = [0, 0, 1]  # found by the result alone, and never right
    rows = slices(spans({"PER": person, "LOC": place, "ORG": wrong}), start, "span_f1")
    assert [(row["name"], row["rows"], row["result"]) for row in rows][2] == ("ORG", 20, 0.0)
    assert slices(spans({"PER": person}), spans({"PER": place}), "span_f1") == []  # not the same truth
