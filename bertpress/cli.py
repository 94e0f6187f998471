"""The command line: each command calls one function of `api` and prints what it returns.

Exit codes: 0 done; 2 the request was wrong; 3 it ran and the answer is no; 1 anything else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertpress.errors import AnswerNo, RequestError
from bertpress.methods import METHODS
from bertpress.methods.method import Method
from bertpress.options import CommonOptions, DataOptions, OutOption, TrainOptions, split_list, with_options
from bertpress.run import Runtime, Stopped

if TYPE_CHECKING:
    from bertpress.recipe import TaskSpec

app = typer.Typer(
    help="Make a fine-tuned encoder smaller and faster, and know exactly what it cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
ModelArgument = Annotated[str, typer.Argument(help="model folder, run, or hub name")]
ModelOption = Annotated[str | None, typer.Option("--model", help="model folder, run, or hub name")]
TaskOption = Annotated[str | None, typer.Option("--task", help="task name (bertpress list tasks), or files")]


def main() -> None:
    """Run the command line and turn errors into one sentence and an exit code."""
    try:
        app()
    except RequestError as error:
        _fail(error, 2)
    except AnswerNo as error:
        _fail(error, 3)
    except Stopped as stop:
        print(stop, file=sys.stderr)
    except SystemExit as stop:
        if stop.code == 130:  # what Typer makes of Ctrl-C
            print("Interrupted; the same command goes on from the last checkpoint.", file=sys.stderr)
        raise
    except Exception as error:  # the last line of defence: a sentence instead of a traceback
        _fail(RuntimeError(_internal(error)), 1, cause=error)


def _internal(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, OSError) and error.strerror:
        return f"Writing or reading failed: {error.strerror} ({error.filename or 'unnamed file'})."
    return f"{type(error).__name__}: {first} (run again with --debug for the traceback)"


def _fail(error: Exception, code: int, cause: Exception | None = None) -> None:
    if "--debug" in sys.argv:
        import traceback

        traceback.print_exception(cause or error)
    print(f"bertpress: {error}", file=sys.stderr)
    sys.exit(code)


def _runtime(options: CommonOptions, phases: str | None = None, log: str = "none") -> Runtime:
    from bertpress.console import Screen

    chosen = split_list(phases)
    shared: dict[str, Any] = {
        "device": options.device,
        "threads": options.threads,
        "trust_remote_code": options.trust_remote_code,
        "phases": None if chosen is None else tuple(chosen),
        "log": log,
    }
    if options.quiet:
        return Runtime(**shared)
    screen = Screen()
    return Runtime(**shared, progress=screen.progress, say=screen.say)


def _train(values: dict[str, Any], prefix: str, out: Path | None, options: TrainOptions) -> None:
    """Carry out, plan or print a recipe; the common end of every training command."""
    from bertpress import api
    from bertpress.recipe import make_recipe, override

    values = override({**values, **options.recipe_fields()}, [])
    training = options.training_fields()
    if training:
        ((name, fields),) = _only_step(values).items()
        phase = _first_phase(name)
        fields[phase] = {**(fields.get(phase) or {}), **training}
    values = override(values, options.assignments or [], prefix)
    recipe = make_recipe(values)
    _check_phases(options.phases, recipe.steps)
    if options.print_recipe:
        print(recipe.to_yaml(), end="")
        return
    runtime = _runtime(options, options.phases, options.log)
    if options.dry_run:
        _print_plan(api.dry_run(recipe, runtime), options.json_output)
        return
    if out is None:
        raise RequestError("Name the folder of the run with --out.")
    grid = _grid(options, prefix)
    if grid:
        summary = api.sweep(values, grid, out, runtime)
        _print_report(api.report(out)[0], options, extra=summary)
        return
    _print_report(api.run_recipe(recipe, out, runtime).report, options)
    if not options.json_output:
        print(f"{out}/report.html")


def _only_step(values: dict[str, Any]) -> dict[str, Any]:
    steps = values.get("steps") or []
    if len(steps) != 1:
        raise RequestError(
            "--epochs, --learning-rate, --batch-size and --accumulation set the first phase of a one-step recipe; "
            f"this one has {len(steps)} steps: use --set steps.0.METHOD.PHASE.FIELD=VALUE."
        )
    step = steps[0]
    steps[0] = {step: {}} if isinstance(step, str) else {name: fields or {} for name, fields in step.items()}
    return dict(steps[0])


def _first_phase(name: str) -> str:
    from bertpress.methods import method_named

    return method_named(name).phases[0]


def _check_phases(phases: str | None, steps: Sequence[Method]) -> None:
    from bertpress.config import nearest

    known = [phase for method in steps for phase in method.phases]
    for phase in split_list(phases) or []:
        if phase not in known:
            raise RequestError(f"There is no phase '{phase}' in this recipe{nearest(phase, known)}.")


def _grid(options: TrainOptions, prefix: str) -> dict[str, list[Any]]:
    from bertpress.recipe import Recipe, parse_yaml

    grid: dict[str, list[Any]] = {}
    for entry in options.sweep or []:
        path, sign, values = entry.partition("=")
        if not sign or not values:
            raise RequestError(f"--sweep expects path=a,b, got '{entry}'.")
        whole = path if path.partition(".")[0] in Recipe.model_fields or not prefix else f"{prefix}.{path}"
        grid[whole] = [parse_yaml(value, entry) for value in values.split(",")]
    if options.seeds is not None:
        grid["seed"] = list(range(1, options.seeds + 1))
    return grid


def _print_report(report: dict[str, Any], options: TrainOptions, extra: dict[str, Any] | None = None) -> None:
    from rich.console import Console

    from bertpress import reporting

    if options.json_output:
        print(json.dumps(extra or report, indent=2, ensure_ascii=False))
        return
    Console(highlight=False).print(reporting.table(report))
    if extra:
        median, low, high = (f"{100 * extra[name]:.1f}" for name in ("median", "low", "high"))
        print(f"{report['primary_metric']} of {len(extra['cells'])} cells: median {median}, range {low} to {high}")
        print(f"best: {extra['best']}")


def _print_plan(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("step", "layers", "parameters (M)", "MACs (M)", "optimizer steps", "seconds", "disk (MB)")
    for row in rows:
        steps = ", ".join(f"{phase} {count}" for phase, count in row["optimizer_steps"].items())
        table.add_row(
            row["step"],
            str(row["layers"]),
            f"{row['parameters'] / 1e6:.1f}",
            f"{row['macs'] / 1e6:.0f}",
            steps,
            f"{row['seconds']:.0f}",
            f"{row['disk_bytes'] / 1e6:.0f}",
        )
    Console(highlight=False).print(table)
    print(f"MACs at {rows[0]['tokens']} tokens, the mean length; seconds predicted from three training steps here.")
    for row in rows:
        for note in row["notes"]:
            print(f"{row['step']}: {note}")


def _method_command(method: type[Method]) -> None:
    """Add the one-step command of a method."""

    def command(model: ModelOption = None, task: TaskOption = None, out: OutOption = None,
                *, options: TrainOptions) -> None:  # fmt: skip
        values = {"model": model, "task": options.task_values(task), "steps": [{method.name: {}}]}
        _train(values, f"steps.0.{method.name}", out, options)

    lines = [f"- {name}: {text}" + ("" if default is None else f" (default {_shown(default)})")
             for name, text, default in method.help()]  # fmt: skip
    command.__doc__ = f"{method.__doc__}\n\nFields for --set:\n\n" + "\n".join(lines)
    app.command(method.name, help=command.__doc__)(with_options(command))


def _shown(default: Any) -> str:
    return str(default) if not hasattr(default, "model_dump") else type(default).__name__.lower()


for _method in METHODS:
    _method_command(_method)


@app.command()
@with_options
def compress(
    recipe: Annotated[str, typer.Argument(help="recipe file, or a shipped one (bertpress list recipes)")],
    model: ModelOption = None,
    task: TaskOption = None,
    out: OutOption = None,
    *,
    options: TrainOptions,
) -> None:
    """Carry out a recipe: press a model by one or several methods and report what it cost."""
    from bertpress.recipe import read_recipe

    values = read_recipe(recipe)
    if model is not None:
        values["model"] = model
    if task is not None:
        values["task"] = options.task_values(task)
    _train(values, "", out, options)


@app.command()
@with_options
def demo(
    method: Annotated[str, typer.Argument(help="method to show")] = "theseus",
    out: Annotated[Path, typer.Option("--out", help="folder of the run")] = Path("runs/demo"),
    *,
    options: CommonOptions,
) -> None:
    """Fine-tune the packaged MiniLM on docstrings of the standard library, press it to 3 layers, compare the two."""
    from rich.console import Console

    from bertpress import reporting
    from bertpress.demo import run_demo

    report, failures = run_demo(method, out, _runtime(options))
    Console(highlight=False).print(reporting.table(report))
    print(f"{out}/report.html")
    if failures:
        raise AnswerNo(" ".join(failures))


def _task_spec(task: str | None, options: DataOptions) -> TaskSpec:
    from bertpress.config import build
    from bertpress.recipe import TaskSpec

    if task is None:
        raise RequestError("Name the task with --task (bertpress list tasks).")
    return build(TaskSpec, options.task_values(task), where="task")


def _data_arguments(options: DataOptions) -> dict[str, Any]:
    labels = split_list(options.head_labels)
    return {
        "max_length": options.max_length or 128,
        "limit": options.limits(),
        "runtime": _runtime(options),
        "head_labels": None if labels is None else tuple(labels),
    }


@app.command()
@with_options
def evaluate(
    model: ModelArgument,
    task: TaskOption = None,
    split: Annotated[str | None, typer.Option(help="default: every development split")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    *,
    options: DataOptions,
) -> None:
    """Score a model on a task."""
    from bertpress import api

    scores = api.evaluate(model, _task_spec(task, options), split, **_data_arguments(options))
    if json_output:
        print(json.dumps(scores, indent=2))
        return
    for name, metrics in scores.items():
        print(name + "".join(f"  {metric} {100 * value:.1f}" for metric, value in metrics.items()))


@app.command()
@with_options
def predict(
    model: ModelArgument,
    task: TaskOption = None,
    split: Annotated[str, typer.Option(help="split to predict")] = "test",
    out: Annotated[Path | None, typer.Option("--out", help="folder for the predictions")] = None,
    text: Annotated[list[str] | None, typer.Option("--text", help="a text of your own (repeatable)")] = None,
    text_pair: Annotated[list[str] | None, typer.Option("--text-pair", help="the second text of each --text")] = None,
    file: Annotated[
        Path | None, typer.Option("--input", help="texts in a csv, tsv, jsonl, parquet or txt file")
    ] = None,
    zip_files: Annotated[bool, typer.Option("--zip", help="also pack the leaderboard's files")] = False,
    *,
    options: DataOptions,
) -> None:
    """Predict a split (for GLUE: the leaderboard's files), a text, or a file of texts."""
    from bertpress import api, predictions

    if text is not None or file is not None:
        texts = (
            predictions.typed_texts(text, text_pair)
            if file is None
            else predictions.texts_of(file, split_list(options.columns))
        )
        for record in api.predict_texts(model, texts, max_length=options.max_length or 128, runtime=_runtime(options)):
            print(json.dumps(record, ensure_ascii=False))
        return
    spec = _task_spec(task, options)
    if out is None:
        raise RequestError("Name the folder for the predictions with --out.")
    records = api.predict(model, spec, split, **_data_arguments(options))
    paths, notes = predictions.write(spec.name, split, records, out, zip_files)
    for line in [*notes, *map(str, paths)]:
        print(line)


@app.command()
@with_options
def measure(
    model: ModelArgument,
    against: Annotated[str | None, typer.Option(help="the model to compare with, run in turn")] = None,
    task: TaskOption = None,
    batch_size: Annotated[int, typer.Option(help="batch size measured beside batch 1", min=2)] = 32,
    json_output: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    *,
    options: DataOptions,
) -> None:
    """Measure latency on the task's own lengths, with intervals; two models in turn."""
    from bertpress import api, latency

    arguments = {name: value for name, value in _data_arguments(options).items() if name != "head_labels"}
    rows = api.measure(model, against, _task_spec(task, options), batch_size=batch_size, **arguments)
    if json_output:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(latency.describe(row))


@app.command("report")
def report_command(
    runs: Annotated[list[str], typer.Argument(help="folders of runs")],
    out: Annotated[Path | None, typer.Option("--out", help="one page over all of them")] = None,
) -> None:
    """Write report.json, report.md and report.html of runs, and one page over several."""
    from rich.console import Console

    from bertpress import api, reporting

    for built in api.report(*runs, out=out):
        Console(highlight=False).print(reporting.table(built))


@app.command("list")
def list_command(what: Annotated[str, typer.Argument(help="methods, tasks or recipes")]) -> None:
    """List methods, tasks or recipes."""
    from bertpress import catalogue

    for name, text in catalogue.entries(what):
        print(f"{name:24} {text}")


@app.command()
def show(name: Annotated[str, typer.Argument(help="a method, task or recipe")]) -> None:
    """Show a method's fields, a task, or a recipe's YAML."""
    from bertpress import catalogue

    print(catalogue.describe(name))


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="print the version and stop")] = False) -> None:
    if version:
        from bertpress import __version__

        print(__version__)
        raise typer.Exit
