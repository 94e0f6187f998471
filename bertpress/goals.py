"""What a recipe's result has to meet: limits on costs, a least speed-up, a largest drop; and what of it is missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, model_validator

from bertpress.methods.yoco.budget import Budget


class Goal(Budget):
    """Limits on a result; all have to hold. Shares are of the start model. What is measured counts by the unfavourable
    end of its interval, so that a limit that is met once is met again."""

    speedup: float | None = Field(None, gt=1, allow_inf_nan=False)
    """times as fast as the start model, at least"""
    max_drop: float | None = Field(None, ge=0, allow_inf_nan=False)
    """points of the primary metric that may be lost, of 100"""
    batch_size: int = Field(1, ge=1)
    """texts in the batch that latency_ms and speedup are of"""

    @model_validator(mode="after")
    def _is_something(self) -> Goal:
        if self.scope == "backbone":
            raise ValueError("a result's parameters are told in total or of the encoder; use scope total or encoder")
        if not self.given() and self.speedup is None and self.max_drop is None:
            raise ValueError("a budget needs a limit: parameters, macs, flops, latency_ms, speedup or max_drop")
        return self

    @property
    def counts_all(self) -> bool:
        """True if the limit on parameters is one of the whole model; of the encoder's layers else."""
        amount = self.parameters
        return self.scope == "total" or (self.scope is None and amount is not None and not amount.is_share)


def missed(goal: Goal, start: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """What a result lacks, a sentence each; nothing if it meets the goal.

    Args:
        start: `result.json` of the start model.
        result: that of the result.
    """
    return [*_costs(goal, start, result), *_speed(goal, start, result), *_drop(goal, start, result)]


def measured_at(result: Mapping[str, Any], batch_size: int) -> Mapping[str, Any] | None:
    """The row of a result's latencies at that batch size, if there is one."""
    return next((row for row in result["cost"]["latency"] if row["batch"] == batch_size), None)


def _costs(goal: Goal, start: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[str]:
    kind = "total" if goal.counts_all else "encoder"
    units = {"parameters": "parameters" if goal.counts_all else "parameters of the encoder", "flops": "FLOPs"}

    def cost(name: str, of: Mapping[str, Any]) -> float:
        if name == "parameters":
            return float(of["cost"]["parameters"][kind])
        return float(of["cost"]["macs"]["value"]) * (2 if name == "flops" else 1)

    for name, amount in goal.given().items():
        if name != "latency_ms":
            limit, value = amount.of(cost(name, start)), cost(name, result)
            if value > limit:
                yield f"{value:,.0f} {units.get(name, 'multiply-adds')}, at most {float(limit):,.0f} were asked for."


def _speed(goal: Goal, start: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[str]:
    if goal.latency_ms is None and goal.speedup is None:
        return
    row, own = measured_at(result, goal.batch_size), measured_at(start, goal.batch_size)
    if row is None or own is None:
        yield f"Nothing was measured at batch {goal.batch_size}."
        return
    if goal.latency_ms is not None:
        limit = float(goal.latency_ms.of(own["median_ms"]))
        if row["high"] > limit:
            yield (
                f"{row['median_ms']:.2f} ms ({row['low']:.2f}-{row['high']:.2f}) at batch {goal.batch_size}, at most "
                f"{limit:.2f} were asked for."
            )
    if goal.speedup is not None and row.get("speedup_low", 1.0) < goal.speedup:
        interval = f"{row.get('speedup', 1):.2f}x ({row.get('speedup_low', 1):.2f}-{row.get('speedup_high', 1):.2f})"
        yield f"A speed-up of {interval} at batch {goal.batch_size}, at least {goal.speedup:g}x was asked for."


def _drop(goal: Goal, start: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[str]:
    if goal.max_drop is None:
        return
    metric = result["primary_metric"]
    before = {split: scores[metric] for split, scores in start["metrics"].items()}
    if not before:
        yield "There is no score of the start model to tell what was lost."
    for split in before:
        drop = 100 * (before[split] - result["metrics"][split][metric])
        if drop > goal.max_drop + 1e-9:  # differences of scores are not exact
            yield f"{drop:.2f} points of {metric} lost on {split}, at most {goal.max_drop:g} were allowed."


def shown(goal: Goal) -> str:
    """A goal in words."""
    limits: list[str] = [f"{name} at most {amount}" for name, amount in goal.given().items()]
    limits += [f"at least {goal.speedup:g}x as fast"] if goal.speedup is not None else []
    limits += [f"at most {goal.max_drop:g} points lost"] if goal.max_drop is not None else []
    return ", ".join(limits)
