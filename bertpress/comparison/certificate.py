"""What pressing cost, example by example: one result set against another one on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertpress.comparison.calibration import calibration
from bertpress.comparison.comparing import Predictions, changed_rows, paired_test
from bertpress.comparison.slices import slices
from bertpress.statistics import share_interval

Certificate = dict[str, Any]


def certificate(result: Predictions, other: Predictions, metric: str | None) -> Certificate:
    """Everything that the predictions of two models say about their difference.

    Returns:
        `metric`, `rows`, `scores` of both sides, `test` (see `paired_test`), `flips`, `changes` (see `changed_rows`),
        `slices` and `calibration` (see the functions of these names).

    Raises:
        NotComparable: other rows, other classes, or a metric without a weighted form.
    """
    test = paired_test(result, other, metric)
    name = str(metric)
    return {
        "metric": name,
        "rows": len(result.labels),
        "scores": {"result": result.score(name), "other": other.score(name)},
        "test": test,
        "flips": flips(result, other),
        "changes": changed_rows(result, other),
        "slices": slices(result, other, name),
        "calibration": calibration(result, other),
    }


def flips(result: Predictions, other: Predictions) -> dict[str, Any] | None:
    """Rows that changed sides: right before and wrong now (negative), and the reverse; None where nothing is right.

    The negative-flip rate is that of S. Yan et al., "Positive-Congruent Training" (arXiv 2011.09161): of all rows.

    Returns:
        `negative` and `positive`, each with `count`, `rate` and the ends of its exact interval, `low` and `high`.
    """
    if result.right is None or other.right is None:
        return None
    changed = {"negative": other.right & ~result.right, "positive": result.right & ~other.right}
    return {name: share_of_rows(int(where.sum()), len(where)) for name, where in changed.items()}


def share_of_rows(count: int, rows: int) -> dict[str, Any]:
    """`count`, `rate` and the ends of its exact interval, `low` and `high`."""
    low, high = share_interval(count, rows)
    return {"count": count, "rate": count / rows, "low": low, "high": high}


def document(
    about: Mapping[str, Any],
    found: Certificate,
    costs: Sequence[Mapping[str, Any]],
    seeds: Mapping[str, Any] | None = None,
    bounds: Sequence[Mapping[str, Any]] = (),
) -> Certificate:
    """A certificate that stands alone.

    Args:
        about: `result`, `against`, `task`, `split` and whatever else names what was compared.
        found: of `certificate`, or of `unscored`, whose `notes` tell what could not be said.
        costs: rows of costs as a report has them, that of the other side first.
        seeds: the same difference over the cells of a sweep; see `pairing.over_cells`.
        bounds: limits that were asked for, and whether they are kept; see `bounds`.
    """
    own = {name: value for name, value in found.items() if name not in ("name", "against")}
    rest = {"costs": list(costs), "seeds": seeds, "bounds": list(bounds), "notes": list(found.get("notes", ()))}
    return {"schema": 1, **about, **own, **rest}
