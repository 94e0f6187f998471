"""Every command as a function. Results are plain values; nothing is printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from bertpress.advising.advice import plan as plan
from bertpress.checks.checking import broken_bounds as broken_bounds
from bertpress.checks.checking import check as check
from bertpress.config import build
from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.export_requests import export as export
from bertpress.files import check_file
from bertpress.methods.finetune import Finetune
from bertpress.methods.method import Method
from bertpress.opened.explaining import explain as explain
from bertpress.opened.how_opened import OpeningAtSpeed, said_to
from bertpress.opened.opening import asked_of, open_model, open_texts, prepare, where_both_run
from bertpress.opened.profiles import calibrate as calibrate
from bertpress.publishing import push as push
from bertpress.recipe import Recipe, TaskSpec, task_spec
from bertpress.runs.run_folder import check_run, make_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.augmentation import Augmentation


@dataclass(frozen=True)
class Result:
    """A finished run."""

    folder: Path
    report: dict[str, Any]
    runtime: Runtime | None = None
    """what it was carried out with"""

    @property
    def broken_bounds(self) -> list[str]:
        """What of the recipe's budget the result does not keep, a line each; nothing if it keeps all, or has none."""
        return broken_bounds(self.folder, self.runtime)

    @property
    def model(self) -> PreTrainedModel:
        """The pressed model, loaded from the run's folder."""
        from bertpress.engine.loading import auto_class, load_config, loader, model_folder

        folder = model_folder(str(self.folder))
        model: PreTrainedModel = loader(auto_class(load_config(folder).architectures)).from_pretrained(folder)
        return model


def compress(
    model: str,
    task: str | Mapping[str, Any],
    steps: Sequence[Method],
    out: str | Path,
    runtime: Runtime | None = None,
    **fields: Any,
) -> Result:
    """Press a model by a list of methods.

    Args:
        model: folder, run, or hub name.
        task: a task's name, or a mapping that says where your own data are.
        steps: methods, applied one after the other.
        out: the run's folder; resumed if it holds the same recipe.
        runtime: device, threads, progress.
        **fields: further fields of the recipe, such as ``seed=2`` or ``limit={"train": 1000}``.

    Raises:
        RequestError: the request was wrong; nothing was written.
    """
    recipe = build(Recipe, {"model": str(model), "task": task, "steps": tuple(steps), **fields})
    return run_recipe(recipe, out, runtime)


def finetune(model: str, task: str | Mapping[str, Any], out: str | Path, **options: Any) -> Result:
    """Fine-tune a model; `options` are those of `Finetune` and of `compress`."""
    own = {name: options.pop(name) for name in list(options) if name in Finetune.model_fields}
    return compress(model, task, [Finetune(**own)], out, **options)


def run_recipe(recipe: Recipe, out: str | Path, runtime: Runtime | None = None) -> Result:
    """Carry out a recipe, or go on with it."""
    from bertpress.runs.pipeline import carry_out, prepare

    if (Path(out) / "cells").is_dir():
        raise RequestError(f"{out} holds a sweep; choose another --out.")
    check_run(Path(out), recipe)
    job = prepare(recipe, runtime or Runtime())
    return Result(Path(out), carry_out(job, Path(out)), runtime)


def dry_run(recipe: Recipe, runtime: Runtime | None = None) -> list[dict[str, Any]]:
    """What each step would make and cost: layers, parameters, MACs, optimizer steps, predicted seconds, disk."""
    from bertpress.engine.evaluation import mean_tokens
    from bertpress.runs import planning
    from bertpress.runs.pipeline import prepare

    job = prepare(recipe, runtime or Runtime())
    model, task, _ = job.open_model(recipe.model, new_head=job.starts_with_finetuning)
    first = recipe.steps[0]
    model = first.extended(model) if isinstance(first, Finetune) else model
    batch = first.baseline_training().batch_size
    trains = any(plan.layer_passes for plan in job.plans)
    seconds = planning.seconds_per_layer_pass(model, task, batch) if trains else 0.0
    tokens = mean_tokens(task)
    rows = planning.rows(job.plans, tokens, task.positions(tokens), seconds)
    for row, step in zip(rows, job.plans, strict=True):
        row["seconds"] = round(row["seconds"] + step.method.seconds_before(task, job.runtime), 1)
        row["notes"] = [*(task.notes if step is job.plans[0] else ()), *step.method.warnings(step.before, step.steps)]
    return rows


def evaluate(
    model: str,
    task: str | Mapping[str, Any] | TaskSpec,
    split: str | None = None,
    **how: Unpack[OpeningAtSpeed],
) -> dict[str, dict[str, float]]:
    """Every metric of a model on a split, or on all development splits: split to metric to value, best 1.

    Args:
        how: see `OpeningAtSpeed`.
    """
    from bertpress.engine.evaluation import logits_of
    from bertpress.tasks import used

    loaded, data = open_model(model, task, answers=True, **how)
    say, splits = said_to(how), [split] if split else data.scored_splits()
    for name in splits:
        say(f"scoring {name}: {used.size_of(data, name)}")
    used.tell_notes(data, splits, say)
    used.hint_unknown(data, splits[0], say)
    return {name: data.score(logits_of(loaded, data, data.encoded(name)), name) for name in splits}


def predict(
    model: str,
    task: str | Mapping[str, Any] | TaskSpec,
    split: str | None = None,
    *,
    out: str | Path | None = None,
    zip_files: bool = False,
    written: Callable[[str], None] = lambda _: None,
    **how: Unpack[OpeningAtSpeed],
) -> list[dict[str, Any]]:
    """One record per row of a split, with the `row`, its `id` and the answer.

    Args:
        split: default test, or validation where there is none.
        out: a folder to write them to: JSON lines, and the files that the task's own tools take.
        zip_files: of GLUE, pack the leaderboard's files too.
        written: told each file, and remarks on it.
        how: see `OpeningAtSpeed`.
    """
    from bertpress import predictions
    from bertpress.engine.evaluation import logits_of
    from bertpress.tasks import used

    loaded, data = open_model(model, task, answers=True, **how)
    say, split = said_to(how), split or used.split_to_predict(data)
    encoded = data.encoded(split)
    say(f"predicting {split}: {used.size_of(data, split)}")
    used.tell_notes(data, [split], say)
    used.hint_unknown(data, split, say)
    if out is not None:
        make_folder(Path(out))
    logits = logits_of(loaded, data, encoded)
    records = predictions.answered(data, logits, split)
    if out is not None:
        files = data.answer_files(logits, split)
        for line in predictions.write(data.name, split, records, Path(out), files, zip_files):
            written(line)
    return records


def predict_texts(
    model: str,
    texts: Sequence[tuple[str, ...]],
    **how: Unpack[OpeningAtSpeed],
) -> list[dict[str, Any]]:
    """Predictions for texts of your own, each a tuple of one or two; label names are those of the model's head.

    Args:
        how: see `OpeningAtSpeed`; `limit` and `head_labels` describe tasks and are refused.
    """
    from bertpress import predictions
    from bertpress.engine.evaluation import logits_of

    loaded, sample = open_texts(model, texts, **how)
    return predictions.answered(sample.task, logits_of(loaded, sample.task, sample.encoded), sample.split)


def measure(
    model: str,
    against: str | None,
    task: str | Mapping[str, Any] | TaskSpec,
    *,
    batch_size: int = 32,
    seconds: float = 6.0,
    **how: Unpack[OpeningAtSpeed],
) -> list[dict[str, Any]]:
    """Latency at batch 1 and at `batch_size` on the task's own lengths, interleaved with `against`, with intervals.

    Of a model that skips tokens, also the speed-ups by multiply-adds: against `against`, or against itself.

    Args:
        how: see `OpeningAtSpeed`; `against` runs at its own speed.
    """
    from bertpress.measurements.measuring import timed

    runtime = how["runtime"] = where_both_run(how.get("runtime") or Runtime(), model, against)
    spec = asked_of(model, task, runtime)
    loaded, data = open_model(model, spec, **how)
    if against is None:
        return timed(loaded, None, data, batch_size, seconds)
    own_speed: OpeningAtSpeed = {**how, "profile": None, "token_threshold": None}
    other, before = open_model(against, spec, **own_speed)
    return timed(loaded, other, data, batch_size, seconds, before)


def augment(
    task: str | Mapping[str, Any] | TaskSpec,
    model: str,
    out: str | Path | None,
    settings: Augmentation | None = None,
    *,
    limit: Mapping[str, int] | None = None,
    runtime: Runtime | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Write a task with an augmented training split into a folder that serves as its data from then on.

    Args:
        task: a task's name, or a mapping that says where your own data are.
        model: the fine-tuned teacher; its tokenizer splits words and its embeddings serve where no vectors are given.
        out: the folder; resumed if it holds the same augmentation.
        settings: of the augmentation.
        limit: largest number of rows of a split.
        runtime: device, threads, progress.
        dry_run: tell what would be made and how long it would take; write nothing.

    Returns:
        The manifest: rows, words replaced, settings. For `dry_run`: rows at most, words, seconds, a sample.

    Raises:
        RequestError: the request was wrong; nothing was written.
    """
    from bertpress import processes
    from bertpress.augmentation import Augmentation, augmenting, estimating
    from bertpress.augmentation.job import open_job

    runtime = runtime or Runtime()
    prepare(runtime)
    processes.join(runtime.device)
    spec = task_spec(task)
    job = open_job(spec, model, settings or Augmentation(), limit, runtime)
    if dry_run:
        return estimating.estimate(job)
    if out is None:
        raise RequestError("Name the folder of the augmented data with --out.")
    return augmenting.augment(job, Path(out))


def import_model(
    checkpoint: str | Path,
    source: str,
    out: str | Path,
    tokenizer: str | None = None,
    head_labels: tuple[str, ...] | None = None,
    keep_head: bool = False,
    cased: bool | None = None,
) -> list[str]:
    """Make an ordinary model folder of an original's checkpoint; see `importing.import_model`."""
    from bertpress import importing
    from bertpress.runs.pipeline import quieten

    quieten()
    return importing.import_model(Path(checkpoint), source, Path(out), tokenizer, head_labels, keep_head, cased)


def report(
    *runs: str | Path, out: str | Path | None = None, say: Callable[[str], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Rewrite the report of each run, once; with `out`, one HTML page over all of them.

    The page sets the runs on one task side by side, and names folders that hold no finished run with the reason; it is
    refused if none does. Without `out`, so is any such folder. `say` is told which folders are left out.

    Raises:
        RequestError: as said, or `out` is no page.
    """
    from bertpress.reports import reporting

    if not runs:
        raise RequestError("Name at least one run.")
    check_file(None if out is None else Path(out))
    if out is not None and Path(out).suffix != ".html":
        raise RequestError(f"The page over several runs is written as .html, got {out}; give --out such an ending.")
    once = list({Path(run).resolve(): run for run in runs}.values())
    return [reporting.write(run) for run in once] if out is None else reporting.combined(once, Path(out), say)
