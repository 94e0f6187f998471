"""Carrying out a recipe: start, steps, truncated baseline, report; each part skipped if its result is on disk."""

from __future__ import annotations

import dataclasses
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.encoders import check_length, encoder_of
from bertpress.encoders.compact import check_head
from bertpress.engine.loading import load_config, load_for_task, load_tokenizer
from bertpress.engine.run import Runtime, StepRun, check_runtime, default_device, environment, warn_of_slow_precision
from bertpress.errors import RequestError
from bertpress.files import locked, write_json
from bertpress.methods.finetune import Finetune
from bertpress.methods.method import Method, Situation
from bertpress.models import is_reduced
from bertpress.processes import barrier, idle_devices, is_first_process, join, world_size
from bertpress.recipe import Recipe
from bertpress.reports import reporting
from bertpress.runs import planning
from bertpress.runs.exported import check_end, finish_exports
from bertpress.runs.finishing import finish, record_start
from bertpress.runs.run_folder import LOCK, note_recipe, open_run
from bertpress.tasks import load_task
from bertpress.tasks.splits import keep_made
from bertpress.tasks.used import hint_unknown

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from bertpress.tasks.task import Task


@dataclass(frozen=True)
class Job:
    """A recipe with its data opened; nothing trained or written yet."""

    recipe: Recipe
    runtime: Runtime
    config: PretrainedConfig
    """of the start model"""
    tokenizer: PreTrainedTokenizerBase
    task: Task

    @functools.cached_property
    def plans(self) -> list[planning.StepPlan]:
        """All steps; how long they are needs the rows, for which plain text is tokenised now."""
        plans = planning.plan_steps(self.recipe, self.config, self.task, world_size())
        for plan in plans:
            plan.method.check_rows(plan.before, self.task)
        return plans

    @property
    def starts_with_finetuning(self) -> bool:
        """True if the first step makes the model that everything else is compared with."""
        return isinstance(self.recipe.steps[0], Finetune)

    def open_model(self, name: str, new_head: bool = False) -> tuple[PreTrainedModel, Task, list[str]]:
        """A model on the device of this run, and the task in its order of labels."""
        from transformers import set_seed

        set_seed(self.recipe.seed)
        is_start = name == self.recipe.model
        model, task, remarks = load_for_task(
            name, self.task, new_head, self.runtime.trust_remote_code, self.recipe.head_labels if is_start else None
        )
        return model.to(self.runtime.device or default_device()), task, remarks


def prepare(recipe: Recipe, runtime: Runtime) -> Job:
    """Open the data and check all steps; plain text is not read yet.

    Raises:
        RequestError: anything about the request that is wrong, before a file is written.
    """
    quieten(runtime.threads)
    check_runtime(runtime, recipe.precision)
    warn_of_slow_precision(runtime, recipe.precision)
    join(runtime.device)
    config = load_config(recipe.model, runtime.trust_remote_code)
    check_length(recipe.max_length, positions := planning.reading_positions(recipe, config))
    tokenizer = load_tokenizer(recipe.model, runtime.trust_remote_code)
    if positions > encoder_of(config).positions(config):
        tokenizer.model_max_length = positions
    task = load_task(recipe.task, tokenizer, recipe.max_length, recipe.limit, runtime.say).completed(config)
    check_head(config, task.head)
    check_splits(task)
    check_end(recipe, check_steps(recipe, config, task, runtime), task)
    return Job(recipe, runtime, config, tokenizer, task)


def check_splits(task: Task) -> None:
    """Refuse data without rows to train on, or to choose by."""
    for split, remedy in (("train", ""), ("validation", " --make-splits 80/20/0 makes one of the training rows.")):
        if not any(name.startswith(split) for name in task.splits):
            raise RequestError(f"{task.name} has no {split} split; it has {', '.join(task.splits)}.{remedy}")


def check_steps(recipe: Recipe, config: PretrainedConfig, task: Task | None, runtime: Runtime) -> PretrainedConfig:
    """Refuse steps that cannot be made of a start model, whatever the text is; the configuration of their result.

    Args:
        config: of the start model.
        task: None while the start model has no tokenizer.

    Raises:
        RequestError: says which setting does not fit.
    """
    start = config
    for index, method in enumerate(recipe.steps):
        if not method.saves_head and method is not recipe.steps[-1]:
            raise RequestError("encoder_only saves a model without head, so no step can follow it.")
        if method.changes_tokens and method is not recipe.steps[-1]:
            raise RequestError(
                f"{index:02d}-{method.name}: a smaller vocabulary comes last, since every step reads rows that were "
                "encoded once by the start model's tokenizer; move it to the end."
            )
        if index and isinstance(method, Finetune) and method.positions is not None:
            raise RequestError(
                f"{index:02d}-{method.name}: positions extends the model that a recipe begins with, since every step "
                "reads the same inputs; say it in the first step."
            )
        if is_reduced(config) and not method.takes_reduced:
            raise RequestError(
                f"{index:02d}-{method.name}: the model skips tokens between layers, and token reduction comes last; "
                f"run {method.name} on the model that it was made of, and reduce the result."
            )
        if task is not None:
            _check_fits(method, task)
        method.check(Situation(config, start, task, runtime.trust_remote_code))
        config = method.plan(config)
        if method is recipe.steps[0] and isinstance(method, Finetune):
            start = config  # what everything else is compared with, and the teacher
    return config


def _check_fits(method: Method, task: Task) -> None:
    """Refuse a task that has nothing for a method to learn from."""
    if not task.asks and method.needs_head:
        raise RequestError(
            f"Text of kind encoder asks nothing, so {method.name} has no predictions to train; use kind masked-lm, or "
            "tinybert with prediction=null."
        )
    if task.asks and method.needs_labels and not task.has_labels("train"):
        raise RequestError(
            f"{method.name} needs labels, but the training rows have none; tinybert and trbert learn from a teacher."
        )
    for phase, training in method.trainings().items() if method.needs_labels else ():
        if training.batch_size < task.least_batch:
            raise RequestError(
                f"{phase}.batch_size: {task.name} is learned by comparing the rows of a batch, which takes at least "
                f"{task.least_batch}, got {training.batch_size}; accumulation does not make up for it."
            )
    if task.has_labels("train"):
        task.check_training()


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
        RequestError: the folder is taken, the start model does not fit the task, or plain text cannot be read.
        Stopped: only some phases were asked for.
    """
    model, task, remarks = job.open_model(job.recipe.model, new_head=job.starts_with_finetuning)
    _ = job.plans  # what is wrong with a text is told before anything is written
    if not is_first_process():
        del model
        return _carry_out_steps(job, folder)
    open_run(folder, job.recipe, job.task.sources)
    with locked(folder / LOCK) as alone:
        if not alone:
            raise RequestError(f"Another command is working on {folder}; wait for it or choose another --out.")
        note_recipe(folder, job.recipe)
        if _is_unfinished(job, folder):
            write_json(folder / "environment.json", environment(job.runtime, job.recipe.seed))
        if task.made_splits is not None:
            keep_made(folder / "splits.json", task.made_splits)
        for note in (*task.notes, *remarks, *idle_devices(job.runtime.device)):
            job.runtime.say(note)
        hint_unknown(task, task.dev_split, job.runtime.say)
        if not job.starts_with_finetuning:
            record_start(job, model, task, folder)
        del model
        return _carry_out_steps(job, folder)


def _is_unfinished(job: Job, folder: Path) -> bool:
    """Whether a step or an export is still to be made, in the environment of now."""
    places = [*(plan.folder for plan in job.plans), *(f"export/{wanted.folder}" for wanted in job.recipe.exports)]
    return any(not (folder / place / "result.json").is_file() for place in places)


def _carry_out_steps(job: Job, folder: Path) -> dict[str, Any]:
    recipe, runtime = job.recipe, job.runtime
    barrier()
    for plan in job.plans:
        for line in plan.method.warnings(plan.before, plan.steps):
            runtime.say(f"{plan.folder}: {line}")
    source = recipe.model
    start = str(folder / job.plans[0].folder / "model") if job.starts_with_finetuning else recipe.model
    for plan in job.plans:  # the baseline comes last, and begins where the first step of the pressing did
        _step(job, folder, plan, start if plan.folder == "baseline" else source, start)
        if plan.folder != "baseline":
            source = str(folder / plan.folder / "model")
    report = reporting.write(folder) if is_first_process() else None
    if recipe.exports and is_first_process():
        finish_exports(job, folder, source, start)
        report = reporting.write(folder)
    barrier()
    return report or reporting.build(folder)


def _step(job: Job, folder: Path, plan: planning.StepPlan, source: str, start: str) -> None:
    """Carry out one step in all processes, and finish it in the first."""
    # Phases were asked for of the steps; once these are done, the baseline is too.
    runtime = dataclasses.replace(job.runtime, phases=None) if plan.folder == "baseline" else job.runtime
    step = StepRun(folder / plan.folder, job.recipe, runtime, lambda: job.open_model(start)[0])
    done = (step.folder / "result.json").is_file()
    barrier()  # all have looked before the first one may write
    if not done:
        job.runtime.say(f"{plan.folder}: {', '.join(plan.steps or plan.method.active_phases())}")
        model, task, _ = job.open_model(source, new_head=source == job.recipe.model and job.starts_with_finetuning)
        result = plan.method.compress(model, task, step)
        if is_first_process():
            finish(job, step, plan, result, task)
    if is_first_process():
        step.remove_scratch()
    barrier()
