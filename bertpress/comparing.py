"""Two models on the same rows: the paired test of their difference, and the rows on which it shows most."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertpress.statistics import bootstrap_interval, mcnemar
from bertpress.tasks.weighted import WEIGHTED
from bertpress.values import cut, mapping, number, words

RESAMPLES, CONFIDENCE = 2000, 0.95
MOST_EXAMPLES, MOST_CHARACTERS = 10, 500
Array = NDArray[np.float64]
OUTPUTS = {"regression": 1, "masked-lm": 3}
"""Kind of task without classes to how many numbers are kept of a row; the first should have been its label."""


class NotComparable(Exception):
    """Why two results have no paired test, as the end of a sentence."""


@dataclass(frozen=True)
class Predictions:
    """What one model said about the labelled rows of a split."""

    file: Path
    kind: str
    """classification, regression or masked-lm"""
    names: tuple[str, ...]
    """of the classes; empty for regression"""
    positive: int
    """index of the positive class of f1"""
    labels: Array  # (rows,)
    logits: Array  # (rows, outputs)

    @property
    def answers(self) -> Array:
        """Index of the class, the score, or the number of tokens guessed, that the model gives each row."""
        return self.logits.argmax(axis=1).astype(np.float64) if self.names else self.logits[:, 0]

    @property
    def fit(self) -> Array:
        """How well each row was answered: probability of its true class, or minus the absolute error."""
        if not self.names:
            return -np.abs(self.answers - self.labels)
        shares = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        true: Array = shares[np.arange(len(shares)), self.labels.astype(int)] / shares.sum(axis=1)
        return true

    @property
    def right(self) -> NDArray[np.bool_]:
        """Rows answered with their true class."""
        right: NDArray[np.bool_] = self.answers == self.labels
        return right

    def shown(self, value: float) -> str:
        """A label or an answer in words."""
        return cut(self.names[int(value)], 100) if self.names else f"{value:.3g}"


def read_predictions(place: Path, split: str | None, result: dict[str, Any]) -> Predictions:
    """The predictions of a result on a split.

    Args:
        place: the folder of the result.
        result: its ``result.json``, which names the kind of task and the labels.

    Raises:
        NotComparable: the files are of an older run, missing or broken.
    """
    kind, labels = result.get("kind"), result.get("labels")
    if kind not in ("classification", *OUTPUTS):  # a tuple: the kind comes from a file and may be anything
        raise NotComparable(f"{place.name}/result.json names no kind of task that has such a test")
    names = tuple(map(words, labels)) if kind == "classification" and isinstance(labels, list) else ()
    # A split's name comes from a file: it must not lead out of the folder.
    if split is None or not re.fullmatch(r"[\w-][\w.-]{0,99}", split):
        raise NotComparable("no split was scored")
    file = place / "predictions" / f"{split}.parquet"
    row_labels, logits = _columns(file)
    outputs = len(names) if kind == "classification" else OUTPUTS[kind]
    if not len(row_labels) or logits.shape != (len(row_labels), outputs) or not np.isfinite(logits).all():
        raise NotComparable(f"{_name(file)} does not hold {outputs} finite numbers in every row")
    if names and not np.isin(row_labels, np.arange(len(names))).all():
        raise NotComparable(f"{_name(file)} holds labels that are none of the {len(names)} classes")
    positive = number(result, "positive")
    return Predictions(file, kind, names, 1 if positive is None else int(positive), row_labels, logits)


def _columns(file: Path) -> tuple[Array, Array]:
    """Labels and logits of a parquet file, in the order of the column `row`."""
    import pyarrow
    from pyarrow import parquet

    if not file.is_file():
        raise NotComparable(f"{_name(file)} is missing")
    try:
        columns = parquet.ParquetFile(file).read(columns=["row", "label", "logits"]).to_pydict()
        order = np.argsort(columns["row"])
        labels = np.asarray(columns["label"], dtype=np.float64)[order]
        logits = np.asarray(columns["logits"], dtype=np.float64)[order]
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError):
        raise NotComparable(f"{_name(file)} is no file of predictions") from None
    if not np.isfinite(labels).all():
        raise NotComparable(f"{_name(file)} has rows without labels")
    return labels, logits


def _name(file: Path) -> str:
    return "/".join(file.parts[-3:])


def paired_test(result: Predictions, other: Predictions, metric: str | None) -> dict[str, Any]:
    """Difference of a metric, result minus other, with its interval; McNemar's test where rows are right or wrong.

    Returns:
        `difference`, `low` and `high` as shares of 1; `differs` is True if the interval does not cover 0 (and, for
        accuracy, McNemar's test agrees); `examples` counts rows; `only_result` and `only_other` those that one model
        alone got right, with the `p` of McNemar's test (all three None without classes).

    Raises:
        NotComparable: other rows, other classes, or a metric without a weighted form.
    """
    if metric not in WEIGHTED:
        raise NotComparable(f"{words(metric) or 'no metric'} has no such test")
    if result.names != other.names or not np.array_equal(result.labels, other.labels):
        raise NotComparable(f"{_name(result.file)} and {_name(other.file)} hold other rows or classes")
    rows = np.stack([result.labels, result.answers, other.answers], axis=1)
    kinds, repeats = np.unique(rows, axis=0, return_counts=True)
    labels, ours, theirs = kinds.T

    def difference(counts: Array) -> Array:
        score = WEIGHTED[metric]
        return score(counts, labels, ours, result.positive) - score(counts, labels, theirs, result.positive)

    value, low, high = bootstrap_interval(difference, repeats, RESAMPLES, confidence=CONFIDENCE)
    only_result = only_other = p = None
    if result.names:
        only_result, only_other = (int((a.right & ~b.right).sum()) for a, b in ((result, other), (other, result)))
        p = mcnemar(only_result, only_other)
    # With few rows that only one side got right the interval is too narrow; for accuracy McNemar's test is exact.
    agreed = metric != "accuracy" or p is None or p < 1 - CONFIDENCE
    test = {"metric": metric, "examples": len(rows), "resamples": RESAMPLES, "confidence": CONFIDENCE}
    test |= {"difference": value, "low": low, "high": high, "differs": not low <= 0 <= high and agreed}
    return {**test, "only_result": only_result, "only_other": only_other, "p": p}


def changed_rows(result: Predictions, start: Predictions) -> dict[str, Any]:
    """How many rows the result answers worse and better than the start, and the most changed of each.

    Worse means right before and wrong now, better the reverse; without classes, a larger and a smaller error.

    Returns:
        `worse` and `better`, each with `count` and `examples`: row, label, both answers, how well each fits
        (probability of the true class, or minus the error), and the texts by column where the files have them.
    """
    before, after = start.fit, result.fit
    change = after - before
    if result.names:
        chosen = {"worse": start.right & ~result.right, "better": result.right & ~start.right}
    else:
        chosen = {"worse": change < 0, "better": change > 0}
    changed = {}
    for side, where in chosen.items():
        rows = np.flatnonzero(where)
        most = rows[np.argsort(-np.abs(change[rows]), kind="stable")][:MOST_EXAMPLES]
        texts = _texts(result.file, most) or _texts(start.file, most) or [{}] * len(most)
        examples = [
            {
                "row": int(row),
                "label": result.shown(result.labels[row]),
                "start": start.shown(start.answers[row]),
                "result": result.shown(result.answers[row]),
                "start_fit": float(before[row]),
                "result_fit": float(after[row]),
                "texts": text,
            }
            for row, text in zip(most, texts, strict=True)
        ]
        changed[side] = {"count": len(rows), "examples": examples}
    return {"kind": result.kind, "rows": len(change), **changed}


def _texts(file: Path, rows: NDArray[np.intp]) -> list[dict[str, str]]:
    """The texts of some rows, cut short, by column; nothing where the file has none."""
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file).read(columns=["row", "texts"])
        places = np.argsort(table.column("row").to_pylist())[rows]
        found = table.column("texts").take(pyarrow.array(places)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError):
        return []
    return [
        {words(name): cut(text, MOST_CHARACTERS) for name, text in mapping(row).items() if isinstance(text, str)}
        for row in found
    ]
