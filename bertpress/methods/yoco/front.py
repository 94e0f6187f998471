"""What a search shows: the networks that nothing beats at their cost, with scores on rows that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bertpress.engine.evaluation import logits_of
from bertpress.engine.objective import choose_attention
from bertpress.methods.yoco.archive import Entry
from bertpress.methods.yoco.elastic import choosing
from bertpress.tasks.judging import KINDS
from bertpress.tasks.weighted import score_interval

if TYPE_CHECKING:
    from bertpress.engine.run import StepRun
    from bertpress.methods.yoco.searching import Search
    from bertpress.methods.yoco.steps import Trained
    from bertpress.tasks.task import Task

MOST_POINTS = 8


def undominated(entries: Sequence[Entry], cost: str) -> list[Entry]:
    """Entries of which no other one costs at most as much and loses at most as much, by rising cost.

    Args:
        entries: all with losses on all rows.
        cost: the name of a cost.
    """
    kept: list[Entry] = []
    for entry in sorted(entries, key=lambda entry: (entry.costs[cost], entry.loss(entry.reached))):
        if not kept or entry.loss(entry.reached) < kept[-1].loss(kept[-1].reached):
            kept.append(entry)
    return kept


def points_of(search: Search, most: int = MOST_POINTS) -> dict[str, Entry]:
    """Some entries of the front, evenly chosen by cost, its ends among them."""
    front = undominated(search.judged, "encoder_parameters")
    if len(front) > most:
        places = np.linspace(front[0].costs["encoder_parameters"], front[-1].costs["encoder_parameters"], most)
        own = np.array([entry.costs["encoder_parameters"] for entry in front])
        front = [front[place] for place in sorted({int(np.abs(own - wanted).argmin()) for wanted in places})]
    return {f"point {number}": entry for number, entry in enumerate(front, start=1)}


def scored(shown: Mapping[str, Entry], trained: Trained, task: Task, run: StepRun) -> dict[str, Any]:
    """Each as plain values, with its score and the interval of that on the development split, which chose nothing."""
    model, split = trained.model, task.dev_split
    choose_attention(model.eval(), training=False)
    found: dict[str, dict[str, Any]] = {}
    by_network: dict[Any, dict[str, Any]] = {}
    for number, (name, entry) in enumerate(shown.items(), start=1):
        if entry.network not in by_network:
            run.runtime.progress("search", number, len(shown), {})
            with choosing(model, entry.network):
                logits = logits_of(model, task, task.encoded(split)) if task.has_labels(split) else None
            by_network[entry.network] = _score(logits, task, split)
        losses = {"loss": entry.loss(entry.reached)} if entry.reached >= 0 else {}
        found[name] = {"network": entry.network.to_list(), "costs": with_flops(entry.costs), **losses}
        found[name] |= by_network[entry.network]
    return found


def with_flops(costs: Mapping[str, float]) -> dict[str, float]:
    """Costs by name, with two floating-point operations for each multiply-add."""
    return {**costs, "flops": 2 * costs["macs"]}


def _score(logits: Any, task: Task, split: str) -> dict[str, Any]:
    if logits is None:
        return {}
    value = task.score(logits, split)[task.primary]
    answers = KINDS[task.kind].answers(task.results(logits, split).astype(np.float64))
    labels = np.asarray(task.truths(logits, split), np.float64)
    low, high = score_interval(labels, answers, task.primary, task.positive)
    return {"split": split, "metric": task.primary, "score": value, "low": low, "high": high}
