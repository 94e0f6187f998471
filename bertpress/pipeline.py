"""Carrying out a recipe: start, steps, truncated baseline, report; each part skipped if its result is on disk."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress import cost, planning, reporting
from bertpress.encoders import check_length, encoder_of
from bertpress.errors import RequestError
from bertpress.files import write_json
from bertpress.loading import load_for_task, load_tokenizer
from bertpress.measuring import latency_batch, measured
from bertpress.methods.finetune import Finetune
from bertpress.methods.method import Method
from bertpress.recipe import Recipe
from bertpress.run import (
    Runtime,
    StepRun,
    check_device,
    check_tracker,
    default_device,
    environment,
    open_run,
    save_model,
)
from bertpress.tasks import load_task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bertpress.tasks.task import Task


@dataclass(frozen=True)
class Job:
    """A recipe with its data loaded and its plan made; nothing trained or written yet."""

    recipe: Recipe
    runtime: Runtime
    tokenizer: PreTrainedTokenizerBase
    task: Task
    plans: list[planning.StepPlan]

    @property
    def starts_with_finetuning(self) -> bool:
        """True if the first step makes the model that everything else is compared with."""
        return isinstance(self.recipe.steps[0], Finetune)

    def open_model(self, name: str, new_head: bool = False) -> tuple[PreTrainedModel, Task, str | None]:
        """A model on the device of this run, and the task in its order of labels."""
        from transformers import set_seed

        set_seed(self.recipe.seed)
        is_start = name == self.recipe.model
        model, task, remark = load_for_task(
            name, self.task, new_head, self.runtime.trust_remote_code, self.recipe.head_labels if is_start else None
        )
        return model.to(self.runtime.device or default_device()), task, remark


def prepare(recipe: Recipe, runtime: Runtime) -> Job:
    """Load data and plan all steps.

    Raises:
        RequestError: anything about the request that is wrong, before a file is written.
    """
    quieten(runtime.threads)
    check_device(runtime.device)
    check_tracker(runtime.log)
    from bertpress.loading import load_config
    from bertpress.trainer import world_size

    config = load_config(recipe.model, runtime.trust_remote_code)
    check_length(recipe.max_length, encoder_of(config).positions(config))
    for method in recipe.steps:
        if isinstance(method, Finetune) and method.encoder_only and method is not recipe.steps[-1]:
            raise RequestError("encoder_only saves a model without head, so no step can follow it.")
    tokenizer = load_tokenizer(recipe.model, runtime.trust_remote_code)
    task = load_task(recipe.task, tokenizer, recipe.max_length, recipe.limit)
    if "train" not in task.splits:
        raise RequestError(f"{task.name} has no train split; it has {', '.join(task.splits)}.")
    plans = planning.plan_steps(recipe, config, len(task.splits["train"]), world_size())
    return Job(recipe, runtime, tokenizer, task, plans)


def quieten(threads: int | None = None) -> None:
    """Silence progress bars and loading reports of the libraries; set the number of CPU threads."""
    import logging

    import datasets
    import torch
    import transformers

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if threads is not None:
        torch.set_num_threads(threads)


def carry_out(job: Job, folder: Path) -> dict[str, Any]:
    """Do what is not done yet and write the report.

    Raises:
        RequestError: the folder is taken, or the start model does not fit the task.
        Stopped: only some phases were asked for.
    """
    recipe, runtime = job.recipe, job.runtime
    model, task, remark = job.open_model(recipe.model, new_head=job.starts_with_finetuning)
    open_run(folder, recipe)
    write_json(folder / "environment.json", environment(runtime, recipe.seed))
    for note in (*task.notes, *([remark] if remark else [])):
        runtime.say(note)
    if not job.starts_with_finetuning:
        _record_start(job, model, task, folder)
    for plan in job.plans:
        for line in plan.method.warnings(plan.before, plan.steps):
            runtime.say(f"{plan.folder}: {line}")
    names = [plan.folder for plan in job.plans if plan.folder != "baseline"]
    inputs = [recipe.model, *[str(folder / name / "model") for name in names[:-1]]]
    start = str(folder / names[0] / "model") if job.starts_with_finetuning else recipe.model
    for name, method, source in zip(names, recipe.steps, inputs, strict=True):
        _step(job, folder, name, method, source, start)
    for plan in job.plans:
        if plan.folder == "baseline":
            _step(job, folder, "baseline", plan.method, start, start)
    return reporting.write(folder)


def _record_start(job: Job, model: PreTrainedModel, task: Task, folder: Path) -> None:
    if not (folder / "start" / "result.json").is_file():
        job.runtime.say("scoring the start model")
        result = measured(model, task, folder / "start", latency_batch(job.recipe))
        complete = {**result, "seed": job.recipe.seed, "method": None, "phases": [], "seconds": 0.0}
        write_json(folder / "start" / "result.json", {**complete, "config": {}, "notes": []})
    _warn_near_chance(job, task, json.loads((folder / "start" / "result.json").read_text()))


def _warn_near_chance(job: Job, task: Task, result: dict[str, Any]) -> None:
    score = result["metrics"].get(task.dev_split, {}).get(task.primary)
    chance = task.chance_score(task.dev_split)
    if score is not None:
        job.runtime.say(f"start model: {task.primary} {100 * score:.1f} on {task.dev_split}")
        if score <= chance + 0.02:
            job.runtime.say(f"warning: always answering the commonest way scores {100 * chance:.1f}; check this model.")


def _step(job: Job, folder: Path, name: str, method: Method, source: str, start: str) -> None:
    step = StepRun(folder / name, job.recipe, job.runtime, lambda: job.open_model(start)[0])
    if (step.folder / "result.json").is_file():
        step.remove_checkpoints()
        return
    job.runtime.say(f"{name}: {', '.join(method.trainings())}")
    model, task, _ = job.open_model(source, new_head=source == job.recipe.model and job.starts_with_finetuning)
    result = method.compress(model, task, step)
    is_start = job.starts_with_finetuning and name.startswith("00-")
    scores = measured(result, task, step.folder, latency_batch(job.recipe), None if is_start else step.start())
    card = _card(job, method, scores)
    encoder_only = isinstance(method, Finetune) and method.encoder_only
    save_model(result, job.tokenizer, step.folder / "model", card, encoder_only)
    scores["cost"]["size_bytes"] = cost.size_bytes(step.folder / "model")
    complete = {
        **scores,
        "seed": job.recipe.seed,
        "method": method.name,
        "phases": list(method.trainings()),
        "seconds": step.seconds(),
        "config": method.model_dump(mode="json"),
        "notes": method.warnings(model.config, _steps_of(method, task)),
    }
    if is_start:
        _copy_start(folder, step.folder, complete)
    write_json(step.folder / "result.json", complete)
    step.remove_checkpoints()


def _steps_of(method: Method, task: Task) -> dict[str, int]:
    from bertpress.trainer import world_size

    examples = len(task.splits["train"])
    return {phase: training.steps(examples, world_size()) for phase, training in method.trainings().items()}


def _copy_start(folder: Path, step: Path, result: dict[str, Any]) -> None:
    """A recipe that fine-tunes first compares with that model: `start/` repeats its result."""
    import shutil

    shutil.copytree(step / "predictions", folder / "start" / "predictions", dirs_exist_ok=True)
    write_json(folder / "start" / "result.json", result)


def _card(job: Job, method: Method, result: dict[str, Any]) -> str:
    scores = "\n".join(
        f"- {split}: " + ", ".join(f"{name} {100 * value:.1f}" for name, value in values.items())
        for split, values in result["metrics"].items()
    )
    return (
        f"# A model pressed by bertpress\n\nMade from `{job.recipe.model}` on `{job.task.name}` by `{method.name}` "
        f"(seed {job.recipe.seed}).\n\n{scores}\n- {result['layers']} layers, "
        f"{result['cost']['parameters']['total']:,} parameters\n\n```python\nfrom transformers import "
        "AutoModelForSequenceClassification, AutoTokenizer\n\nmodel = AutoModelForSequenceClassification"
        '.from_pretrained("FOLDER")\ntokenizer = AutoTokenizer.from_pretrained("FOLDER")\n```\n\n'
        "The recipe that made it is `recipe.yaml` in the run's folder:\n\n"
        f"```yaml\n{job.recipe.to_yaml()}```\n"
    )
