"""What a finished step leaves beside its weights: scores, times, its card, and the word that all of it is there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.costs import cost
from bertpress.engine.loading import tokenizer_for
from bertpress.engine.run import StepRun, save_model
from bertpress.files import read_json, write_json
from bertpress.measurements.measuring import latency_batch, measured
from bertpress.reloading import LEVELS, check_loads
from bertpress.runs.model_card import model_card

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.runs.pipeline import Job
    from bertpress.runs.planning import StepPlan
    from bertpress.tasks.task import Task


def record_start(job: Job, model: PreTrainedModel, task: Task, folder: Path) -> None:
    """Score and time the model that a recipe begins with, once."""
    if not (folder / "start" / "result.json").is_file():
        job.runtime.say("scoring and timing the start model")
        result = measured(model, task, folder / "start", latency_batch(job.recipe))
        complete = {**result, "seed": job.recipe.seed, "method": None, "phases": [], "seconds": 0.0}
        write_json(folder / "start" / "result.json", {**complete, "config": {}, "notes": _remarks(task, result)})
    _warn_near_chance(job, task, "start model", read_json(folder / "start" / "result.json"))


def finish(job: Job, step: StepRun, plan: StepPlan, result: PreTrainedModel, task: Task) -> None:
    """Score and save a step's result; its result.json is written last."""
    job.runtime.say(f"{step.folder.name}: scoring and timing the result")
    method = plan.method
    is_start = job.starts_with_finetuning and plan is job.plans[0]
    read, changes = method.reread(task, step)
    start = None if is_start else step.start()
    scores = measured(result, read, step.folder, latency_batch(job.recipe), start, before=task)
    task = read
    saved = result if method.saves_head else result.base_model
    card = model_card(job.recipe, job.task.name, method, scores, saved)
    companions = task.companions(result.config)
    save_model(saved, tokenizer_for(result, task.tokenizer), step.folder / "model", card, companions)
    loads = check_loads(saved, task, step.folder / "model")
    job.runtime.say(f"{step.folder.name}: loads {' and '.join(LEVELS[way['level']] for way in loads)}")
    scores["cost"]["size_bytes"] = cost.size_bytes(step.folder / "model")
    complete = {
        **scores,
        "seed": job.recipe.seed,
        "method": method.name,
        "loads": loads,
        "phases": list(plan.steps),
        "seconds": step.seconds(),
        "config": method.model_dump(mode="json"),
        "notes": [*plan.method.warnings(plan.before, plan.steps), *changes, *_remarks(task, scores)],
    }
    if is_start:
        _copy_start(step.folder, complete)
    write_json(step.folder / "result.json", complete)
    _warn_near_chance(job, task, step.folder.name, complete)


def _copy_start(step: Path, result: dict[str, Any]) -> None:
    """A recipe that fine-tunes first compares with that model: `start/` repeats its result."""
    start = step.parent / "start"
    shutil.copytree(step / "predictions", start / "predictions", dirs_exist_ok=True)
    write_json(start / "result.json", result)


def _remarks(task: Task, result: dict[str, Any]) -> list[str]:
    """What the task has to say about the headline metrics, where there are any."""
    metrics = result["metrics"].get(task.dev_split)
    return task.remarks(metrics) if metrics else []


def _warn_near_chance(job: Job, task: Task, name: str, result: dict[str, Any]) -> None:
    score = result["metrics"].get(task.dev_split, {}).get(task.primary)
    if score is not None:
        chance = task.chance_score(task.dev_split)
        job.runtime.say(f"{name}: {task.primary} {100 * score:.1f} on {task.dev_split}")
        if score <= chance + 0.02:
            job.runtime.say(f"warning: always answering the commonest way scores {100 * chance:.1f}; check this model.")
