"""A certificate in sentences and tables: slices, flips, calibration, cells of a sweep, bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertpress.comparison.calibration import BINS
from bertpress.comparison.certificate import Certificate
from bertpress.comparison.slices import LEAST_ROWS
from bertpress.reports.tables import Section
from bertpress.values import shown, shown_amount, shown_interval, shown_points, words

MOST_SLICES = 30
"""of one sort in a table: those that lost most; a certificate as JSON holds all"""
READING = (
    f"A slice is tested like the whole, on its own rows; with fewer than {LEAST_ROWS} it has no verdict. The intervals "
    "of slices are not corrected for their number: of twenty slices that did not change, one is marked on average. A "
    "class is judged by the share of its rows that was answered right. The negative-flip rate is the share of all rows "
    "that were right in start and are wrong now, with its exact interval. Calibration error is the mean distance of "
    f"confidence and share of right answers in {BINS} bins of equal width; Brier score is the squared distance of all "
    "probabilities from the truth, log loss the negative logarithm of the probability of the true answer: less is "
    "better in all three."
)


def reading(test: Mapping[str, Any]) -> str:
    """What a paired test reads as; `differs` is None where there is no verdict."""
    if test["differs"] is None:
        return "too few rows"
    return "no difference shown" if not test["differs"] else "gain" if test["difference"] > 0 else "loss"


def finding(certificate: Certificate) -> list[str]:
    """What to know besides the paired test: rows that broke, slices that lost."""
    said = []
    against = words(certificate["against"])
    if flips := certificate["flips"]:
        said.append(f"{_share(flips['negative'])} were right in {against} and are wrong now")
    if changed := certificate.get("changed_answers"):  # counted where there are no labels
        said.append(f"{_share(changed)} are answered in another way than by {against}")
    judged = [row for row in certificate["slices"] if row["differs"] is not None]
    lost = [row for row in judged if reading(row) == "loss"]
    if judged:
        named = ", ".join(f"{row['by']} {words(row['name'])}" for row in sorted(lost, key=_loss)[:5])
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        said.append(f"a loss is shown in {len(lost)} of {len(judged)} slices" + f": {named}{more}" * bool(lost))
    return said


def _share(found: dict[str, Any]) -> str:
    ends = " to ".join(shown(found[end], 1, 100) for end in ("low", "high"))
    return f"{shown(found['rate'], 1, 100)} % of the rows ({ends})"


def tables(certificates: Sequence[Certificate]) -> list[Section]:
    """The tables of certificates that have `name` and `against`; empty ones among them."""
    return [_flips(certificates), *map(_slices, certificates), _calibration(certificates)]


def _pair(certificate: Certificate) -> str:
    return f"{words(certificate['name'])} against {words(certificate['against'])}"


def _flips(certificates: Sequence[Certificate]) -> Section:
    body = []
    for certificate in certificates:
        cells = []
        for side in ("negative", "positive") if certificate["flips"] else ():
            flip = certificate["flips"][side]
            cells += [shown(flip["rate"], 1, 100), " to ".join(shown(flip[end], 1, 100) for end in ("low", "high"))]
        body += [[_pair(certificate), *cells]] if cells else []
    head = ["pair", "negative flips %", "95 % interval", "positive flips %", "95 % interval "]
    return Section("Flips: right before and wrong now, and the reverse", head, body)


def _loss(row: dict[str, Any]) -> float:
    return float(row["difference"])


def _slices(certificate: Certificate) -> Section:
    body = []
    for by in dict.fromkeys(row["by"] for row in certificate["slices"]):
        rows = [row for row in certificate["slices"] if row["by"] == by]
        shown_rows = rows if len(rows) <= MOST_SLICES else sorted(rows, key=_loss)[:MOST_SLICES]
        for row in shown_rows:
            scores = [shown(row[side], 1, 100) for side in ("other", "result")]
            cells = [f"{by}: {words(row['name'])}", f"{row['rows']:,}", *scores, shown_points(row["difference"])]
            body.append([*cells, shown_interval(row), reading(row)])
    left = len(certificate["slices"]) - len(body)
    caption = f"Slices: {_pair(certificate)}, intervals not corrected" + f"; {left} more in JSON" * bool(left)
    head = ["slice", "rows", words(certificate["against"]), words(certificate["name"]), "points", "95 % interval"]
    return Section(caption, [*head, "reads as"], body, folded=len(body) > 12)


def _calibration(certificates: Sequence[Certificate]) -> Section:
    body = []
    for certificate in certificates:
        for row in certificate["calibration"]:
            low, high = row["low"], row["high"]
            reads = "worse" if low > 0 else "better" if high < 0 else "no difference shown"
            numbers = [f"{row[side]:.4f}" for side in ("other", "result")]
            ends = f"{low:+.4f} to {high:+.4f}"
            body.append([f"{_pair(certificate)}: {row['measure']}", *numbers, f"{row['difference']:+.4f}", ends, reads])
    head = ["measure", "before", "now", "difference", "95 % interval", "reads as"]
    return Section("Calibration: how far probabilities can be believed; less is better", head, body)


def seeds(found: dict[str, Any] | None) -> Section:
    """The differences of a sweep's cells, and how far they lie apart."""
    body = []
    for cell in found["cells"] if found else ():
        scores = [shown(cell[side], 1, 100) for side in ("other", "result")]
        body.append([words(cell["settings"]), *scores, shown_points(cell["difference"])])
    if found:
        body += [[name, "-", "-", shown_points(found[name])] for name in ("median", "low", "high")]
    return Section("Difference from cell to cell", ["settings", "start", "result", "points"], body)


def bounds(found: Sequence[dict[str, Any]]) -> Section:
    """What was asked of a result, and whether it is kept."""
    body = []
    for bound in found:
        limit, value, *ends = amounts(bound)
        cells = [limit, value, " to ".join(ends) or "-", bound["unit"]]
        body.append([bound["bound"], *cells, "kept" if bound["kept"] else "broken"])
    return Section("Bounds", ["bound", "limit", "value", "95 % interval", "unit", "verdict"], body)


def bound_line(bound: dict[str, Any]) -> str:
    """A bound in a line: limit, verdict, value, interval."""
    limit, value, *ends = amounts(bound)
    interval = f" ({' to '.join(ends)})" if ends else ""
    return f"{bound['bound']} {limit} is {'kept' if bound['kept'] else 'broken'}: {value}{interval} {bound['unit']}"


def amounts(bound: dict[str, Any]) -> list[str]:
    """Limit, value and the ends of its interval, if it has one; with more digits where one only rounds to the limit."""
    limit, *others = (bound[name] for name in ("limit", "value", "low", "high") if bound[name] is not None)
    for digits in range(2, 5):
        shown_limit, *texts = (shown_amount(number, digits) for number in (limit, *others))
        if not any(text == shown_limit and other != limit for text, other in zip(texts, others, strict=True)):
            break
    return [shown_limit, *texts]
