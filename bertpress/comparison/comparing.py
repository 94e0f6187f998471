"""Two models on the same rows: the paired test of their difference, and the rows on which it shows most."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertpress.statistics import bootstrap_interval, mcnemar
from bertpress.tasks.judging import KINDS, Array
from bertpress.tasks.weighted import WEIGHTED, score_interval, unstacked
from bertpress.values import cut, mapping, number, words

RESAMPLES, CONFIDENCE = 2000, 0.95
MOST_EXAMPLES, MOST_CHARACTERS = 10, 500
EXACT_BY_ROW = ("accuracy", "exact_match")
"""Metrics that are the share of rows answered without a fault, which is what McNemar's test is about."""


class NotComparable(Exception):
    """Why two results have no paired test, as the end of a sentence."""


@dataclass(frozen=True)
class Predictions:
    """What one model said about the labelled rows of a split."""

    file: Path
    kind: str
    """of the task, a key of `KINDS`"""
    names: tuple[str, ...]
    """of the classes, where there are any"""
    positive: int
    """index of the positive class of f1"""
    labels: Array  # (rows,)
    logits: Array  # (rows, outputs)
    lengths: Array | None = None  # (rows,)
    """tokens that the model read of each row; None in files of older runs"""
    parts: Mapping[str, Array] = field(default_factory=dict)
    """of a part of the answers, such as a type of entity: label and logits of each row, (rows, 1 + outputs)"""

    def rows(self, chosen: NDArray[Any]) -> Predictions:
        """Some of the rows, as a whole of their own."""
        return replace(self, labels=self.labels[chosen], logits=self.logits[chosen], lengths=None, parts={})

    def part(self, name: str) -> Predictions:
        """The same rows, judged by one part of the answers."""
        own = self.parts.get(name, np.zeros((len(self.labels), 1 + self.logits.shape[1])))
        return replace(self, labels=own[:, 0], logits=own[:, 1:], lengths=None, parts={})

    def reordered(self, names: tuple[str, ...]) -> Predictions | None:
        """The same with classes in another order; None where these are other classes."""
        if sorted(self.names) != sorted(names) or len(set(names)) != len(names):
            return self if self.names == names else None
        order = [self.names.index(name) for name in names]
        labels = np.argsort(order)[self.labels.astype(int)].astype(np.float64) if names else self.labels
        logits = self.logits[:, order] if names else self.logits
        positive = names.index(self.names[self.positive]) if self.positive < len(names) else self.positive
        return replace(self, names=names, labels=labels, logits=logits, positive=positive)

    def score(self, metric: str) -> float:
        """A metric of `KINDS` on all rows, best 1."""
        return float(WEIGHTED[metric](np.ones((1, len(self.labels))), self.labels, self.answers, self.positive)[0])

    def score_interval(self, metric: str) -> tuple[float | None, float | None]:
        """The ends of the interval of that metric over resamples of the rows."""
        known = metric in KINDS[self.kind].metrics
        return score_interval(self.labels, self.answers, metric, self.positive) if known else (None, None)

    @property
    def answers(self) -> Array:
        """What metrics count with, (rows,) or (rows, numbers)."""
        return KINDS[self.kind].answers(self.logits)

    @property
    def fit(self) -> Array:
        """How well each row was answered, (rows,)."""
        return KINDS[self.kind].fit(self.logits, self.labels)

    @property
    def right(self) -> NDArray[np.bool_] | None:
        """Rows answered without a fault, (rows,); None where answers are not right or wrong."""
        judge = KINDS[self.kind].right
        return None if judge is None else judge(self.logits, self.labels).astype(np.bool_)

    def shown(self, value: Any, pattern: str) -> str:
        """A label or an answer in words."""
        return cut(self.names[int(value)], 100) if self.names else pattern.format(*np.atleast_1d(value))


def read_predictions(place: Path, split: str | None, result: dict[str, Any]) -> Predictions:
    """The predictions of a result on a split.

    Args:
        place: the folder of the result.
        result: its ``result.json``, which names the kind of task and the labels.

    Raises:
        NotComparable: the files are of an older run, missing or broken.
    """
    kind, labels = result.get("kind"), result.get("labels")
    if not isinstance(kind, str) or kind not in KINDS:
        raise NotComparable(f"{place.name}/result.json names no kind of task that has such a test")
    names = class_names(kind, labels)
    # A split's name comes from a file: it must not lead out of the folder.
    if split is None or not re.fullmatch(r"[\w-][\w.-]{0,99}", split):
        raise NotComparable("no split was scored")
    file = place / "predictions" / f"{split}.parquet"
    row_labels, logits, lengths, parts = _columns(file)
    outputs = KINDS[kind].outputs or len(names)
    if not outputs:
        raise NotComparable(f"{place.name}/result.json names no classes")
    if not len(row_labels) or logits.shape != (len(row_labels), outputs) or not np.isfinite(logits).all():
        raise NotComparable(f"{_name(file)} does not hold {outputs} finite numbers in every row")
    if names and not np.isin(row_labels, np.arange(len(names))).all():
        raise NotComparable(f"{_name(file)} holds labels that are none of the {len(names)} classes")
    positive = number(result, "positive")
    fitting = {name: part for name, part in parts.items() if part.shape == (len(row_labels), 1 + outputs)}
    first = 1 if positive is None else int(positive)
    return Predictions(file, kind, names, first, row_labels, logits, lengths, fitting)


def class_names(kind: str, labels: Any) -> tuple[str, ...]:
    """Names of the classes of a kind of task, in the order of its outputs; of kinds without classes none."""
    return tuple(map(words, labels)) if kind == "classification" and isinstance(labels, list | tuple) else ()


def _columns(file: Path) -> tuple[Array, Array, Array | None, dict[str, Array]]:
    """Labels, logits, lengths and parts of a parquet file, by the column `row`; older ones lack the last two."""
    import pyarrow
    from pyarrow import parquet

    if not file.is_file():
        raise NotComparable(f"{_name(file)} is missing")
    try:
        columns = parquet.ParquetFile(file).read(columns=["row", "label", "logits", "length", "parts"]).to_pydict()
        order = np.argsort(columns["row"])
        labels, logits = (np.asarray(columns[name], dtype=np.float64)[order] for name in ("label", "logits"))
        lengths = np.asarray(columns["length"], dtype=np.float64)[order] if "length" in columns else None
        of_rows = [mapping(row) for row in columns.get("parts", [])]
        names = of_rows[0] if of_rows else ()
        parts = {name: np.asarray([row[name] for row in of_rows], dtype=np.float64)[order] for name in names}
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError):
        raise NotComparable(f"{_name(file)} is no file of predictions") from None
    if not np.isfinite(labels).all():
        raise NotComparable(f"{_name(file)} has rows without labels")
    known = None if lengths is None or not np.isfinite(lengths).all() else lengths
    return labels, logits, known, {words(name): part for name, part in parts.items() if np.isfinite(part).all()}


def _name(file: Path) -> str:
    return "/".join(file.parts[-3:])


def require_same_texts(result: Predictions, other: Predictions) -> None:
    """Refuse predictions on other texts, which may have the same labels; where a file has no texts, nobody knows.

    Raises:
        NotComparable: names the first row that differs.
    """
    ours, theirs = (_texts(side.file, np.arange(len(side.labels)), most=None) for side in (result, other))
    for row, pair in enumerate(zip(ours, theirs, strict=False)):
        if pair[0] != pair[1]:
            raise NotComparable(f"{_name(result.file)} and {_name(other.file)} hold other texts, first in row {row}")


def paired_test(result: Predictions, other: Predictions, metric: str | None) -> dict[str, Any]:
    """Difference of a metric, result minus other, with its interval; McNemar's test where rows are right or wrong.

    Returns:
        `difference`, `low` and `high` as shares of 1; `differs` is True if the interval does not cover 0 (and, for
        accuracy, McNemar's test agrees); `examples` counts rows; `only_result` and `only_other` those that one model
        alone got right, with the `p` of McNemar's test (all three None where answers are not right or wrong).

    Raises:
        NotComparable: other rows, other classes, or a metric without a weighted form.
    """
    if metric not in KINDS[result.kind].metrics or result.kind != other.kind:
        raise NotComparable(f"{words(metric) or 'no metric'} has no such test")
    if result.names != other.names or not np.array_equal(result.labels, other.labels):
        raise NotComparable(f"{_name(result.file)} and {_name(other.file)} hold other rows or classes")
    sides = [result.labels, result.answers, other.answers]
    rows, repeats = np.unique(np.column_stack(sides), axis=0, return_counts=True)
    labels, ours, theirs = unstacked(rows, sides)

    def difference(counts: Array) -> Array:
        score = WEIGHTED[metric]
        return score(counts, labels, ours, result.positive) - score(counts, labels, theirs, result.positive)

    value, low, high = bootstrap_interval(difference, repeats, RESAMPLES, confidence=CONFIDENCE)
    only_result = only_other = p = None
    if result.right is not None and other.right is not None:
        only_result = int((result.right & ~other.right).sum())
        only_other = int((other.right & ~result.right).sum())
        p = mcnemar(only_result, only_other)
    # With few rows that only one side got right the interval is too narrow; for accuracy McNemar's test is exact.
    agreed = metric not in EXACT_BY_ROW or p is None or p < 1 - CONFIDENCE
    test = {"metric": metric, "examples": len(result.labels), "resamples": RESAMPLES, "confidence": CONFIDENCE}
    test |= {"difference": value, "low": low, "high": high, "differs": not low <= 0 <= high and agreed}
    return {**test, "only_result": only_result, "only_other": only_other, "p": p}


def changed_rows(result: Predictions, start: Predictions) -> dict[str, Any]:
    """How many rows the result answers worse and better than the start, and the most changed of each.

    Worse means right before and wrong now, better the reverse; where nothing is right or wrong, a worse fit.

    Returns:
        `worse` and `better`, each with `count` and `examples`: row, label, both answers, how well each fits (see
        `judging`), and the texts by column where the files have them.
    """
    kind = KINDS[result.kind]
    before, after = start.fit, result.fit
    change = after - before
    if result.right is not None and start.right is not None:
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
                "label": result.shown(result.labels[row], kind.shown_label),
                "start": start.shown(start.answers[row], kind.shown_answer),
                "result": result.shown(result.answers[row], kind.shown_answer),
                "start_fit": float(before[row]),
                "result_fit": float(after[row]),
                "texts": text,
            }
            for row, text in zip(most, texts, strict=True)
        ]
        changed[side] = {"count": len(rows), "examples": examples}
    return {"kind": result.kind, "rows": len(change), **changed}


def _texts(file: Path, rows: NDArray[np.intp], most: int | None = MOST_CHARACTERS) -> list[dict[str, str]]:
    """The texts of some rows, cut to `most` characters, by column; nothing where the file has none."""
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file).read(columns=["row", "texts"])
        places = np.argsort(table.column("row").to_pylist())[rows]
        found = table.column("texts").take(pyarrow.array(places)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError):
        return []
    return [
        {
            words(name): text if most is None else cut(text, most)
            for name, text in mapping(row).items()
            if isinstance(text, str)
        }
        for row in found
    ]
