"""The demo: a whole run on embedded data and the packaged model, judged by two conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bertpress.errors import RequestError, nearest
from bertpress.recipe import make_recipe, read_recipe, shipped_recipes
from bertpress.run import Runtime

_PREFIX = "demo-"


def run_demo(method: str, out: Path, runtime: Runtime) -> tuple[dict[str, Any], list[str]]:
    """Carry out the demo of a method.

    Returns:
        the run's report, and what failed: a result under twice the majority class, or no measured
        speed-up at any batch size (short texts one at a time leave nothing to skip).

    Raises:
        RequestError: there is no demo of that method, or the packaged model is not installed.
    """
    from bertpress.pipeline import carry_out, prepare

    known = [name.removeprefix(_PREFIX) for name in shipped_recipes() if name.startswith(_PREFIX)]
    if method not in known:
        raise RequestError(f"There is no demo of '{method}'{nearest(method, known)}.")
    job = prepare(make_recipe(read_recipe(_PREFIX + method)), runtime)
    report = carry_out(job, out)
    return report, judge(report, job.task.chance_score(job.task.dev_split))


def judge(report: dict[str, Any], majority: float) -> list[str]:
    """What speaks against the last result of a demo's report, as sentences."""
    row = [row for row in report["rows"] if row["folder"] != "baseline"][-1]
    failures = []
    if row["score"] < 2 * majority:
        failures.append(
            f"The result scores {100 * row['score']:.1f}, under twice the majority class ({100 * majority:.1f})."
        )
    lows = [entry.get("speedup_low") or 0.0 for entry in row["latency"]]
    if not any(low > 1 for low in lows):
        failures.append("The result is not measurably faster than the start model at any batch size.")
    return failures
