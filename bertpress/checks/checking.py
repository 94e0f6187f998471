"""Whether a result keeps what was asked of it, against the model it was made of or any other one."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.bounds import Bounds, judged
from bertpress.checks.junit import junit as junit_xml
from bertpress.checks.sides import Side, last_of, over_seeds, side_of
from bertpress.checks.unscored import unscored
from bertpress.comparison.certificate import Certificate, certificate, document
from bertpress.comparison.comparing import NotComparable, Predictions, read_predictions, require_same_texts
from bertpress.comparison.pairing import of_export
from bertpress.config import build
from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.files import best_cell, check_file, is_sweep, write_text
from bertpress.opened.how_opened import Opening
from bertpress.opened.opening import asked_of, open_model, where_both_run
from bertpress.recipe import MAX_LENGTH, TaskSpec, task_spec
from bertpress.reports.certificate_sections import bound_line
from bertpress.reports.recorded import cells_of, read_mapping, row_of, task_words
from bertpress.reports.rendering import certificate_html, certificate_markdown
from bertpress.values import mapping, words

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.tasks.task import Task


def _json(found: Certificate) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


FORMS: dict[str, Callable[[Certificate], str]] = {
    ".html": certificate_html,
    ".md": certificate_markdown,
    ".json": _json,
}
"""How a certificate is written, by the ending of its file."""


def check(
    result: str,
    against: str,
    bounds: Bounds | Mapping[str, Any],
    task: str | Mapping[str, Any] | TaskSpec | None = None,
    *,
    out: str | Path | None = None,
    junit: str | Path | None = None,
    max_length: int = MAX_LENGTH,
    limit: Mapping[str, int] | None = None,
    runtime: Runtime | None = None,
    head_labels: tuple[str, ...] | None = None,
) -> Certificate:
    """Set a result against another model, example by example, and keep it to bounds.

    Without a task both are results of runs: the predictions that they keep are compared, and only time is measured, if
    a bound asks for it. With a task both are scored and measured now.

    Args:
        result: a run, the folder of one of its steps, or, with `task`, any model.
        against: the same; most often the model that the result was made of.
        bounds: fields of `Bounds`, such as ``{"max_drop": 0.5, "min_speedup": 1.5}``.
        task: what to score both on.
        out: file of the certificate: a page, Markdown or JSON, by its ending.
        junit: file of JUnit XML.

    Returns:
        What `certificate.json` holds; of each of its `bounds` whether it is ``kept``.

    Raises:
        RequestError: nothing to check, no such result, or two that were not scored on the same rows.
    """
    for path, flag in ((out, "--out"), (junit, "--junit")):
        check_file(None if path is None else Path(path), flag)
    if out is not None and junit is not None and Path(out).resolve() == Path(junit).resolve():
        raise RequestError(f"--out and --junit are different files, but both name {out}; give each its own.")
    limits = bounds if isinstance(bounds, Bounds) else build(Bounds, bounds)
    limits.require_one()
    if out is not None and Path(out).suffix not in FORMS:
        raise RequestError(f"The certificate is written as {', '.join(FORMS)}, got {out}; give --out such an ending.")
    if task is None and (limit or head_labels):
        raise RequestError(
            "Predictions of runs are compared as they are; name the task with --task, or leave out --limit."
        )
    spec = None if task is None else task_spec(task)
    runtime = runtime or Runtime()
    try:
        if spec is None:
            found = _of_runs(side_of(result), side_of(against), limits, runtime)
            if is_sweep(Path(result)):
                found["seeds"] = over_seeds(found, Path(result))
        else:
            how: Opening = {"max_length": max_length, "limit": limit, "runtime": runtime, "head_labels": head_labels}
            found = _scored_now(last_of(result), last_of(against), limits, spec, how)
    except NotComparable as reason:
        remedy = "" if spec else "; name the task with --task to score both on it now"
        raise RequestError(f"{result} and {against} cannot be compared: {reason}{remedy}.") from None
    if is_sweep(Path(result)):
        count = len(cells_of(Path(result)))
        found["notes"] += [f"the best of {count} cells by its score on the development split, which flatters it there"]
    found = {**found, "bounds": judged(limits, found)}
    if out is not None:
        write_text(Path(out), FORMS[Path(out).suffix](found))
    if junit is not None:
        write_text(Path(junit), junit_xml(found))
    return found


def broken_bounds(run: str | Path, runtime: Runtime | None = None) -> list[str]:
    """What of its recipe's budget the result of a run does not keep, a line each; nothing if it keeps all, or has none.

    A swept run stands for its best cell.

    Args:
        runtime: where times are measured: that of the run, for its own verdict.
    """
    folder = Path(run)
    if is_sweep(folder):
        folder = best_cell(folder)
    budget = read_mapping(folder / "recipe.yaml").get("budget")
    if not budget:
        return []
    if runtime is not None and of_export(
        side_of(str(folder)).place
    ):  # it runs on the CPU, wherever its run was trained
        runtime = dataclasses.replace(runtime, device=None)
    found = check(str(folder), str(folder / "start"), mapping(budget), runtime=runtime)
    return [bound_line(bound) for bound in found["bounds"] if not bound["kept"]]


def _of_runs(ours: Side, theirs: Side, bounds: Bounds, runtime: Runtime) -> Certificate:
    split: str | None = None
    metric: str | None = None
    if (bounds.needs_time or bounds.max_macs is not None) and ours.max_length != theirs.max_length:
        lengths = f"{ours.max_length} tokens of a text, the other {theirs.max_length}"
        raise NotComparable(f"one reads at most {lengths}, and shorter is cheaper")
    if _needs_no_labels(ours.result, theirs.result, bounds):
        if ours.recipe.get("task") != theirs.recipe.get("task"):
            raise NotComparable("their tasks are not the same")
        found = unscored()
    else:
        split, metric = _split(ours.result, theirs.result), words(ours.result.get("primary_metric"))
        sides = [read_predictions(side.place, split, side.result) for side in (ours, theirs)]
        require_same_texts(*sides)
        found = _found(ours, theirs, sides, metric)
    # Times that lie in the results are of other hours, and perhaps of other machines: no basis for a verdict.
    latency = _timed(ours, theirs, bounds.batch_size, runtime) if bounds.needs_time else []
    rows = _costs(theirs, ours, split, metric, latency)
    about = {"task": task_words(ours.recipe.get("task")), "split": split}
    return document({"result": ours.name, "against": theirs.name, **about}, found, rows)


def _needs_no_labels(ours: Mapping[str, Any], theirs: Mapping[str, Any], bounds: Bounds) -> bool:
    """Whether neither result has a score, and no bound is about one."""
    return bounds.max_drop is None and not mapping(ours, "metrics") and not mapping(theirs, "metrics")


def _costs(
    theirs: Side, ours: Side, split: str | None, metric: str | None, latency: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The rows of costs of both sides, the other one first, with the times of their turns."""
    rows = []
    for side, times in ((theirs, _turns(latency)), (ours, latency)):
        costs = {**mapping(side.result, "cost"), "latency": times}
        rows.append(row_of(side.name, side.place.name, {**side.result, "cost": costs}, split, metric))
    return rows


def _found(ours: Side, theirs: Side, sides: list[Predictions], metric: str) -> Certificate:
    if (own := sides[0].reordered(sides[1].names)) is None:
        raise NotComparable(f"{ours.name} knows other labels than {theirs.name}")
    return certificate(own, sides[1], metric)


def _split(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """The split that both were scored on: that for development where there is one."""
    shared = [split for split in mapping(ours, "metrics") if split in mapping(theirs, "metrics")]
    if not mapping(ours, "metrics") and not mapping(theirs, "metrics"):
        raise NotComparable("neither has a score, which max_drop is about, as their rows have no labels")
    if not shared:
        raise NotComparable("there is no split on which both were scored")
    return "validation" if "validation" in shared else shared[0]


def _turns(latency: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The times of the other model, which took turns."""
    return [{**{key: entry[key] for key in ("batch", "threads", "device")}, **entry["against"]} for entry in latency]


def _timed(ours: Side, theirs: Side, batch_size: int, runtime: Runtime) -> list[dict[str, Any]]:
    """Latency of one result, in turns with the other, on the rows of its own recipe."""
    from bertpress.measurements.measuring import timed

    runtime = where_both_run(runtime, ours.model, theirs.model)
    task = task_spec(ours.recipe.get("task") or "")
    length = ours.max_length
    limit = {name: int(rows) for name, rows in mapping(ours.recipe, "limit").items()}
    (loaded, data), (other, others_data) = (
        open_model(side.model, task, max_length=length, limit=limit, runtime=runtime, head_labels=side.head_labels)
        for side in (ours, theirs)
    )
    return timed(loaded, other, data, batch_size, seconds=6, before=others_data)


def _scored_now(result: str, against: str, bounds: Bounds, task: TaskSpec, how: Opening) -> Certificate:
    from bertpress.measurements.measuring import measured
    from bertpress.tasks.used import hint_unknown

    runtime = where_both_run(how.get("runtime") or Runtime(), result, against)
    how = {**how, "runtime": runtime}
    task, answers = asked_of(result, task, runtime), bounds.max_drop is not None
    other, others_task = open_model(against, task, answers=answers, **how)
    own, own_task = open_model(result, task, answers=answers, **how)
    hint_unknown(own_task, own_task.dev_split, runtime.say)
    with tempfile.TemporaryDirectory() as folder:

        def side(name: str, place: str, model: PreTrainedModel, data: Task, start: PreTrainedModel | None) -> Side:
            runtime.say(f"scoring and timing {name}")
            found = measured(model, data, Path(folder) / place, bounds.batch_size, start, before=others_task)
            return Side(name, Path(folder) / place, {}, found)

        theirs = side(against, "against", other, others_task, None)
        ours = side(result, "result", own, own_task, other)
        split = own_task.dev_split
        if _needs_no_labels(ours.result, theirs.result, bounds):
            found = unscored(_answers(own, own_task), _answers(other, others_task))
        else:
            split = _split(ours.result, theirs.result)
            sides = [read_predictions(each.place, split, each.result) for each in (ours, theirs)]
            found = _found(ours, theirs, sides, own_task.primary)
    rows = _costs(theirs, ours, split, own_task.primary, ours.result["cost"]["latency"])
    return document({"result": result, "against": against, "task": own_task.name, "split": split}, found, rows)


def _answers(model: PreTrainedModel, task: Task) -> list[dict[str, Any]]:
    """What a model answers on the development split; nothing where a task asks nothing."""
    from bertpress.engine.evaluation import logits_of

    split = task.dev_split
    return task.decode(logits_of(model, task, task.encoded(split)), split) if task.asks else []
