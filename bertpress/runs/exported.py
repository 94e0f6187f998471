"""The exports of a run: what its result is turned into, scored and timed like a step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.engine.loading import load_tokenizer, load_whole
from bertpress.errors import RequestError
from bertpress.files import read_json, write_json
from bertpress.measurements.measuring import latency_batch, measured

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from bertpress.bounds import Bounds
    from bertpress.exports import OnnxExport
    from bertpress.exports.making import Source
    from bertpress.recipe import Recipe
    from bertpress.runs.pipeline import Job
    from bertpress.tasks.task import Task


def check_end(recipe: Recipe, config: PretrainedConfig, task: Task) -> None:
    """Refuse exports and a budget that the end of a run could not give or judge.

    Args:
        config: of the model that is exported, as it is planned.

    Raises:
        RequestError: says what is missing.
    """
    if recipe.exports:
        from bertpress.exports.adapter import require_packages
        from bertpress.exports.exporting import check_request

        require_packages()
        for wanted in recipe.exports:
            check_request(wanted, task if recipe.steps[-1].saves_head else None, config)
    if recipe.budget is not None:
        check_budget(recipe.budget, task)
        if recipe.budget.needs_time and task.asks and not recipe.steps[-1].saves_head:
            raise RequestError("A budget of time needs the head of the result, which encoder_only leaves out.")


def check_budget(budget: Bounds, task: Task) -> None:
    """Refuse a budget of nothing, or one of points where there are no scores.

    Raises:
        RequestError: says what is missing.
    """
    budget.require_one()
    if budget.max_drop is not None and not task.has_labels(task.dev_split):
        raise RequestError(f"max_drop needs labelled rows, but those of {task.dev_split} have none; leave it out.")


def finish_exports(job: Job, folder: Path, result: str, start: str) -> None:
    """Turn the result of a run into what its recipe asks for, as far as that is not done.

    Beside each export that has a head stand its predictions and its `result.json`, in the form of a step's.

    Args:
        result: its model folder.
        start: the model that it is set against.
    """
    from bertpress.exports.exporting import export
    from bertpress.exports.making import Source

    tokenizer, threads = load_tokenizer(result), job.runtime.threads
    if job.recipe.steps[-1].saves_head:
        model, before, _ = job.open_model(result)
        task: Task | None = before.with_tokenizer(tokenizer)
    else:
        model, task = load_whole(result), None
    source = Source(result, model.to("cpu"), tokenizer, task, threads)
    for wanted in job.recipe.exports:
        place = folder / "export" / wanted.folder
        export(source, wanted, place, job.runtime.say)
        if task is not None and not (place / "result.json").is_file():
            _score(job, source, wanted, place, start, before)


def _score(job: Job, source: Source, wanted: OnnxExport, place: Path, start: str, before: Task) -> None:
    """Predictions and result of an export; `before` is the task as the start model reads it."""
    from bertpress.exports import read_record
    from bertpress.exports.session import open_export

    assert source.task is not None
    job.runtime.say(f"scoring and timing {wanted.folder}")
    of = read_json(Path(source.name).with_name("result.json"))
    graph: Any = open_export(str(place), source.model.config, source.threads, None)
    other = job.open_model(start)[0].to("cpu")
    found = measured(graph, source.task, place, latency_batch(job.recipe), other, before)
    record = read_record(place)
    own = {"method": wanted.folder, "phases": [], "notes": [], "config": wanted.model_dump(mode="json")}
    own |= {name: record[name] for name in ("loads", "seconds")}
    write_json(place / "result.json", {**of, **found, **own})
