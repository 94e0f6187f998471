"""Paired comparisons of hand-made predictions, against the naive loop and by hand; files that cannot be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from bertpress.comparison.comparing import NotComparable, Predictions, changed_rows, paired_test, read_predictions
from bertpress.tasks.judging import KINDS
from bertpress.tasks.metrics import METRICS

CLASSES: dict[str, Any] = {"kind": "classification", "labels": ["no", "yes"], "positive": 1}
SCORES: dict[str, Any] = {"kind": "regression", "labels": None, "positive": 1}
SPANS: dict[str, Any] = {"kind": "tagging", "labels": ["O", "B-PER"], "positive": 1}
ANSWERS: dict[str, Any] = {"kind": "qa", "labels": None, "positive": 1}


def save(place: Path, labels: Any, logits: Any, split: str = "validation", **columns: Any) -> Path:
    """A predictions file in the folder of a result."""
    file = place / "predictions" / f"{split}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    table = {"row": list(range(len(labels))), "label": list(labels), "logits": np.asarray(logits).tolist(), **columns}
    parquet.write_table(pyarrow.table(table), file)
    return place


def classes(right: list[int], labels: list[int]) -> np.ndarray:
    """Logits that answer with the label where `right`, else with the other class."""
    answers = np.where(np.array(right) == 1, labels, 1 - np.array(labels))
    return np.eye(2)[answers] * 2


def read(place: Path, result: dict[str, Any] = CLASSES) -> Predictions:
    return read_predictions(place, "validation", result)


def test_a_pair_by_hand(tmp_path: Path) -> None:
    labels = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    start = read(save(tmp_path / "start", labels, classes([1, 1, 1, 1, 1, 1, 1, 0, 0, 0], labels)))
    result = read(save(tmp_path / "step", labels, classes([1, 1, 0, 0, 0, 0, 0, 1, 0, 0], labels)))
    test = paired_test(result, start, "accuracy")
    assert test["difference"] == pytest.approx(0.3 - 0.7)
    assert (test["only_result"], test["only_other"], test["examples"]) == (1, 5, 10)
    assert test["p"] == pytest.approx(14 / 64)
    assert test["low"] <= -0.4 <= test["high"]
    same = paired_test(start, start, "accuracy")
    assert (same["difference"], same["low"], same["high"], same["differs"], same["p"]) == (0, 0, 0, False, 1)


def test_few_rows_that_differ_show_no_difference_of_accuracy(tmp_path: Path) -> None:
    labels = [0, 1] * 50
    start = read(save(tmp_path / "start", labels, classes([1] * 100, labels)))
    result = read(save(tmp_path / "step", labels, classes([0] * 4 + [1] * 96, labels)))
    test = paired_test(result, start, "accuracy")
    assert test["high"] < 0  # all four rows are left out of 1.8 % of the draws, under the 2.5 % of a tail
    assert test["p"] == 0.125  # 2 / 2^4
    assert not test["differs"]


@pytest.mark.parametrize("metric", [*KINDS["classification"].metrics, *KINDS["regression"].metrics])
def test_the_interval_is_that_of_the_naive_loop(tmp_path: Path, metric: str) -> None:
    generator = np.random.default_rng(4)
    scores = metric in ("pearson", "spearmanr", "pearson_spearmanr")
    labels = np.round(generator.uniform(0, 5, 60), 1) if scores else generator.integers(2, size=60)
    noise = [generator.normal(size=(60, 1 if scores else 2)) * size for size in (0.5, 2)]
    target = labels[:, None] if scores else np.eye(2)[labels]
    meta = SCORES if scores else CLASSES
    start, step = (read(save(tmp_path / f"{n}", labels, target + extra), meta) for n, extra in enumerate(noise))
    test = paired_test(step, start, metric)

    def difference(rows: np.ndarray) -> float:
        ours, theirs = (METRICS[metric](labels[rows], side.answers[rows], 1) for side in (step, start))
        return ours - theirs

    assert test["difference"] == pytest.approx(difference(np.arange(60)))
    naive = [difference(generator.integers(60, size=60)) for _ in range(100)]
    assert (test["low"], test["high"]) == pytest.approx(np.percentile(naive, [2.5, 97.5]), abs=0.1)
    assert test["differs"] is (test["high"] < 0 and (metric != "accuracy" or test["p"] < 0.05))
    assert (test["p"] is None) is scores


def test_entities_and_answers_are_compared_record_by_record(tmp_path: Path) -> None:
    labels = np.array([2.0, 1, 0, 3] * 10)
    start = np.stack([labels, labels], axis=1)  # all found, nothing else
    worse = np.stack([np.maximum(labels - 1, 0), labels], axis=1)
    files = [read(save(tmp_path / name, labels, sides), SPANS) for name, sides in (("a", start), ("b", worse))]
    test = paired_test(files[1], files[0], "span_f1")
    assert test["difference"] == pytest.approx(2 * 30 / 120 - 1)
    assert test["differs"]
    assert (test["only_result"], test["only_other"]) == (0, 30)
    changed = changed_rows(files[1], files[0])
    assert changed["worse"]["count"] == 30
    assert changed["worse"]["examples"][0]["start"] == "1 right of 1 found"
    answers = np.array([[1.0, 1.0], [0.5, 0.0]] * 10)
    right, half = (read(save(tmp_path / name, np.ones(20), side), ANSWERS) for name, side in
                   (("c", np.ones((20, 2))), ("d", answers)))  # fmt: skip
    assert paired_test(half, right, "answer_f1")["difference"] == pytest.approx(-0.25)
    assert changed_rows(half, right)["worse"]["examples"][0]["result"] == "F1 0.50"
    assert paired_test(half, right, "exact_match")["difference"] == pytest.approx(-0.5)
    with pytest.raises(NotComparable, match="has no such test"):
        paired_test(half, right, "span_f1")


def test_two_equal_models_differ_as_rarely_as_promised(tmp_path: Path) -> None:
    generator, differing = np.random.default_rng(5), 0
    for _ in range(100):
        labels = generator.integers(2, size=200)
        pair = [
            Predictions(tmp_path, "classification", ("no", "yes"), 1, labels.astype(float), np.eye(2)[answers])
            for answers in np.where(generator.random((2, 200)) < 0.8, labels, 1 - labels)
        ]
        differing += paired_test(pair[0], pair[1], "accuracy")["differs"]
    assert differing <= 12  # 5 expected; a count over 12 has a chance of 0.2 %


def test_the_rows_that_changed_most(tmp_path: Path) -> None:
    labels = [0, 0, 1, 1]
    texts = [{"text": f"row {n}" + "x" * 600 * n} for n in range(4)]
    start = save(tmp_path / "start", labels, [[2, 0], [1, 0], [3, 0], [0, 1]], texts=texts)
    step = save(tmp_path / "step", labels, [[0, 1], [0, 4], [0, 2], [0, 5]])
    changed = changed_rows(read(step), read(start))
    assert (changed["kind"], changed["rows"]) == ("classification", 4)
    assert (changed["worse"]["count"], changed["better"]["count"]) == (2, 1)
    first, second = changed["worse"]["examples"]
    assert (first["row"], second["row"]) == (1, 0)  # probability falls from 0.73 to 0.02, and from 0.88 to 0.27
    assert (first["label"], first["start"], first["result"]) == ("no", "no", "yes")
    assert first["start_fit"] == pytest.approx(1 / (1 + np.exp(-1)))
    assert first["result_fit"] == pytest.approx(1 / (1 + np.exp(4)))
    assert second["texts"] == {"text": "row 0"}
    assert first["texts"]["text"] == "row 1" + "x" * 495 + "…"
    assert changed["better"]["examples"][0]["row"] == 2


def test_at_most_ten_rows_and_none_without_texts(tmp_path: Path) -> None:
    labels = [1] * 30
    start, step = (save(tmp_path / str(right), labels, classes([right] * 30, labels)) for right in (1, 0))
    changed = changed_rows(read(step), read(start))
    assert [example["row"] for example in changed["worse"]["examples"]] == list(range(10))
    assert changed["worse"]["count"] == 30
    assert changed["worse"]["examples"][0]["texts"] == {}


def test_the_errors_of_a_regression(tmp_path: Path) -> None:
    start = save(tmp_path / "start", [1.0, 2.0, 3.0], [[1.5], [2.0], [5.0]])
    step = save(tmp_path / "step", [1.0, 2.0, 3.0], [[1.0], [4.0], [3.5]])
    changed = changed_rows(read(step, SCORES), read(start, SCORES))
    assert [(changed[side]["count"], changed[side]["examples"][0]["row"]) for side in ("worse", "better")] == [
        (1, 1),
        (2, 2),
    ]
    example = changed["better"]["examples"][0]
    assert (example["label"], example["start"], example["result"]) == ("3", "5", "3.5")
    assert (example["start_fit"], example["result_fit"]) == (-2.0, -0.5)


def test_rows_in_another_order_are_the_same_rows(tmp_path: Path) -> None:
    labels, logits = np.array([0, 1, 1]), np.array([[2.0, 0], [0, 2], [2, 0]])
    start = read(save(tmp_path / "start", labels, logits))
    order = [2, 0, 1]
    texts = [{"text": str(row)} for row in order]
    step = read(save(tmp_path / "step", labels[order], -logits[order], row=order, texts=texts))
    assert (step.logits == -start.logits).all()
    assert {example["texts"]["text"] for example in changed_rows(step, start)["worse"]["examples"]} == {"0", "1"}


@pytest.mark.parametrize(
    ("labels", "logits", "meta", "message"),
    [
        ([0, 1], [[1, 0], [0, 1]], {}, "names no kind of task"),
        ([0, 1], [[1, 0], [0, 1]], {"kind": "drawing"}, "names no kind of task"),
        ([0, 1], [[1, 0, 0], [0, 1, 0]], CLASSES, "does not hold 2 finite numbers"),
        ([0, 1], [[1, float("nan")], [0, 1]], CLASSES, "does not hold 2 finite numbers"),
        ([0, 1], [[1, 0], [1]], CLASSES, "is no file of predictions"),
        ([0, 2], [[1, 0], [0, 1]], CLASSES, "none of the 2 classes"),
        ([0, None], [[1, 0], [0, 1]], CLASSES, "rows without labels"),
        ([], [], CLASSES, "does not hold 2 finite"),
    ],
)
def test_what_has_no_test_says_why(
    tmp_path: Path, labels: Any, logits: Any, meta: dict[str, Any], message: str
) -> None:
    file = tmp_path / "predictions" / "validation.parquet"
    file.parent.mkdir()
    parquet.write_table(pyarrow.table({"row": list(range(len(labels))), "label": labels, "logits": logits}), file)
    with pytest.raises(NotComparable, match=message):
        read(tmp_path, meta)


def test_files_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(NotComparable, match="is missing"):
        read(tmp_path)
    (save(tmp_path, [0], [[1, 0]]) / "predictions" / "validation.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(NotComparable, match="no file of predictions"):
        read(tmp_path)
    save(tmp_path, [0, 1], [[], []])
    with pytest.raises(NotComparable, match="names no classes"):
        read(tmp_path, {**CLASSES, "labels": None})
    for split in (None, "../start/predictions/validation", "a\0b", "x" * 5000):
        with pytest.raises(NotComparable, match="no split"):
            read_predictions(tmp_path, split, CLASSES)


def test_other_rows_classes_or_metrics_are_not_compared(tmp_path: Path) -> None:
    start = read(save(tmp_path / "start", [0, 1], [[1, 0], [0, 1]]))
    others = [save(tmp_path / "a", [0, 0], [[1, 0], [0, 1]]), save(tmp_path / "b", [0], [[1, 0]])]
    for other in (*map(read, others), read(tmp_path / "start", {**CLASSES, "labels": ["yes", "no"]})):
        with pytest.raises(NotComparable, match="other rows or classes"):
            paired_test(other, start, "accuracy")
    for metric in (None, "exact_match", "<b>"):
        with pytest.raises(NotComparable, match="has no such test"):
            paired_test(start, start, metric)
