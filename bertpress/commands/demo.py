"""The demos: whole runs on embedded data and the packaged model, judged by two conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bertpress.engine.run import Runtime
from bertpress.errors import RequestError, nearest
from bertpress.recipe import make_recipe, read_recipe, shipped_recipes

_PREFIX = "demo-"
SCORED = 500
"""Rows that models are scored on where all demos are carried out."""
TRUNCATED = "theseus"
"""The demo that then trains a truncated model too, of half of the layers; one stands for all."""


def run_demo(method: str, out: Path, runtime: Runtime) -> tuple[dict[str, Any], list[str]]:
    """Carry out the demo of a method.

    Returns:
        the run's report, and what failed: a result under twice the majority class, or no measured
        speed-up at any batch size (short texts one at a time leave nothing to skip).

    Raises:
        RequestError: there is no demo of that method, or the packaged model is not installed.
    """
    if method not in demos():
        raise RequestError(f"There is no demo of '{method}'{nearest(method, demos())}.")
    return _run(read_recipe(_PREFIX + method), out, runtime)


def demos() -> list[str]:
    """What there are demos of."""
    return [name.removeprefix(_PREFIX) for name in shipped_recipes() if name.startswith(_PREFIX)]


def run_all(out: Path, runtime: Runtime) -> tuple[list[dict[str, Any]], list[str]]:
    """Carry out every demo in a folder of its own, all from one fine-tuned model, and write one page over them.

    So that it does not take long, scores are of some of the rows, and one truncated model stands for all.

    Returns:
        the runs' reports, and what failed, as `run_demo` says it.
    """
    from bertpress.reports import reporting

    recipes = {name: {**read_recipe(_PREFIX + name), "limit": {"validation": SCORED}} for name in demos()}
    own = {"finetune", "report.html", *recipes}
    if out.is_file() or (out.is_dir() and {entry.name for entry in out.iterdir()} - own):
        raise RequestError(f"{out} holds other files than demos; choose a new or an empty folder for --out.")
    first = next(iter(recipes.values()))
    teacher = out / "finetune"
    _run({**first, "steps": first["steps"][:1], "exports": []}, teacher, runtime)
    reports: list[dict[str, Any]] = []
    failures: list[str] = []
    for name, recipe in recipes.items():
        runtime.say(f"the demo of {name}")
        changed = {"model": str(teacher), "steps": recipe["steps"][1:], "baseline": name == TRUNCATED}
        report, failed = _run({**recipe, **changed}, out / name, runtime)
        reports.append(report)
        failures += [f"{name}: {sentence}" for sentence in failed]
    reporting.combined([out / name for name in recipes], out / "report.html")
    return reports, failures


def _run(recipe: dict[str, Any], out: Path, runtime: Runtime) -> tuple[dict[str, Any], list[str]]:
    """A run's report, and what speaks against it."""
    from bertpress.runs.pipeline import carry_out, prepare

    job = prepare(make_recipe(recipe), runtime)
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
