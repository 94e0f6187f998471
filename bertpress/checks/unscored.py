"""Two results on rows without labels: what can be said of their answers all the same. Costs need no labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertpress.comparison.certificate import Certificate, share_of_rows

Answers = Sequence[Mapping[str, Any]]
"""One for each row, as `predict` gives them"""
KEPT_NONE = (
    "the rows have no labels and runs keep no predictions of such rows, so nothing is said of scores, flips, slices "
    "and calibration; with --task the answers that changed are counted"
)
NOT_SAID = "the rows have no labels, so nothing is said of scores, right answers, slices and calibration"


def unscored(ours: Answers | None = None, theirs: Answers | None = None) -> Certificate:
    """What a certificate says where there are no labels.

    Args:
        ours: of the result, none where a task asks nothing; None where its answers are not known.
        theirs: of the other one.

    Returns:
        The fields of `certificate.certificate`, None or empty; `changed_answers`, None where answers are not known, or
        are numbers, which always differ; and in `notes` what is not said.
    """
    nothing: Certificate = dict.fromkeys(("metric", "rows", "test", "flips", "changes", "changed_answers"))
    nothing |= {"scores": {"result": None, "other": None}, "slices": [], "calibration": []}
    if ours is None or theirs is None:
        return {**nothing, "notes": [KEPT_NONE]}
    changed = changed_answers(ours, theirs)
    return {**nothing, "rows": len(ours) or None, "changed_answers": changed, "notes": [NOT_SAID]}


def changed_answers(ours: Answers, theirs: Answers) -> dict[str, Any] | None:
    """Rows that two models answer in different ways, as `certificate.flips` counts; None where answers are numbers."""
    pairs = [(plain_answer(one), plain_answer(two)) for one, two in zip(ours, theirs, strict=True)]
    if not pairs or any(None in pair for pair in pairs):
        return None
    return share_of_rows(sum(one != two for one, two in pairs), len(pairs))


def plain_answer(answer: Mapping[str, Any]) -> Any:
    """What is answered, without how sure it is; None where that is a number or a vector."""
    if "entities" in answer:
        return [{name: value for name, value in found.items() if name != "probability"} for found in answer["entities"]]
    prediction = answer.get("prediction")
    return prediction if isinstance(prediction, str) else None
