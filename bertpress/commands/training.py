"""The commands that train: one per method, `compress` and `demo`."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertpress.commands.options import CommonOptions, OutOption, TaskOption, TrainOptions, split_list, with_options
from bertpress.errors import AnswerNo, RequestError
from bertpress.files import read_json
from bertpress.methods import METHODS
from bertpress.methods.method import Method
from bertpress.processes import is_first_process

if TYPE_CHECKING:
    from bertpress.engine.run import Runtime
    from bertpress.recipe import Recipe

ModelOption = Annotated[str | None, typer.Option("--model", help="model folder, run, or hub name")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for method in METHODS:
        app.command(method.name, help=_help(method))(with_options(_method_command(method)))
    app.command()(with_options(compress))
    app.command()(with_options(pretrain))
    app.command()(with_options(demo))


def _method_command(method: type[Method]) -> Any:
    """The one-step command of a method."""

    def command(model: ModelOption = None, task: TaskOption = None, out: OutOption = None,
                *, options: TrainOptions) -> None:  # fmt: skip
        values = {"model": model, "task": options.task_values(task), "steps": [{method.name: {}}]}
        carry_out(values, f"steps.0.{method.name}", out, options)

    return command


def _help(method: type[Method]) -> str:
    lines = [
        f"- {name}: {text}" + ("" if default is None else f" (default {_shown(default)})")
        for name, text, default in method.help()
    ]
    return f"{method.__doc__}\n\nFields for --set:\n\n" + "\n".join(lines)


def _shown(default: Any) -> str:
    return str(default) if not hasattr(default, "model_dump") else type(default).__name__.lower()


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
    values["task"] = options.task_values(task, values.get("task"))
    carry_out(values, "", out, options)


def pretrain(
    corpus: Annotated[list[str] | None, typer.Option(help="text: files, folders, patterns (repeatable)")] = None,
    objective: Annotated[str, typer.Option(help="masked-lm, or distill (needs --teacher)")] = "masked-lm",
    model: Annotated[str | None, typer.Option("--model", help="where it starts; for distill: the student")] = None,
    shape: Annotated[str | None, typer.Option(help="start from random weights: LAYERSxWIDTH[xHEADS[xINNER]]")] = None,
    vocabulary: Annotated[str | None, typer.Option(help="masked-lm with --shape: wordpiece or characters")] = None,
    vocabulary_size: Annotated[int | None, typer.Option(help="largest number of its entries (default: 30522)")] = None,
    cased: Annotated[bool, typer.Option("--cased", help="its letters keep their case")] = False,
    train: Annotated[str, typer.Option(help="masked-lm: all, or head")] = "all",
    out: OutOption = None,
    *,
    options: TrainOptions,
) -> None:
    """Pre-train on plain text: masked language modelling, or general distillation into a small encoder.

    How rows are made of the text is set with --set task.corpus.FIELD=VALUE, masking with --set task.masking.FIELD=VALUE
    (for distill nothing is masked by default). Other fields: bertpress show finetune, bertpress show tinybert.
    """
    from bertpress import pretraining

    asked = pretraining.Request(
        tuple(corpus or ()), objective, model, options.teacher, shape, vocabulary, vocabulary_size, cased, train
    )
    asked.check()
    if set(options.task_values("")) - {"name"}:
        raise RequestError(
            "pretrain reads the text of --corpus; leave out --data-dir, --columns, --label, --kind, --queries, "
            "--unlabelled and --make-splits."
        )
    if asked.makes_model and (out is None or options.dry_run):
        raise RequestError("With --shape the model is made under --out first, so it needs --out and no --dry-run.")
    values, prefix = asked.values(out)
    options = dataclasses.replace(options, teacher=None)  # it stands in the recipe
    carry_out(values, prefix, out, options, asked.make_model if asked.makes_model else None)


def demo(
    method: Annotated[str | None, typer.Argument(help="method to show, or composed (default: theseus)")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder (default: runs/demo, of all runs/demo-all)")] = None,
    every: Annotated[bool, typer.Option("--all", help="show all of them, in one report")] = False,
    *,
    options: CommonOptions,
) -> None:
    """Fine-tune the packaged MiniLM on docstrings of the standard library, press it, compare the two."""
    from bertpress.commands.console import print_table
    from bertpress.commands.demo import run_all, run_demo

    if every and method is not None:
        raise RequestError(f"--all shows every method; leave out {method} or --all.")
    out = out or Path("runs/demo-all" if every else "runs/demo")
    if every:
        reports, failures = run_all(out, options.runtime())
    else:
        report, failures = run_demo(method or "theseus", out, options.runtime())
        reports = [report]
    for report in reports:
        print_table(report)
    print(f"{out}/report.html")
    if failures:
        raise AnswerNo(" ".join(failures))


def carry_out(
    values: dict[str, Any],
    prefix: str,
    out: Path | None,
    options: TrainOptions,
    before: Callable[[Recipe, Runtime], None] | None = None,
) -> None:
    """Carry out, plan or print a recipe; the common end of every command here.

    Args:
        before: makes what the recipe begins with, once it is known to be right.
    """
    from bertpress import api
    from bertpress.runs import sweeping

    recipe, values = _recipe(values, prefix, options)
    _check_phases(options.phases, recipe.steps)
    if options.signals is not None:
        from bertpress.methods.tinybert.checks import check_store

        check_store(options.signals, recipe.steps)
    grid = _grid(options, prefix)
    if grid and options.print_recipe:
        raise RequestError("--print shows one recipe; leave out --sweep and --seeds.")
    if options.print_recipe:
        print(recipe.to_yaml(), end="")
        return
    runtime = options.runtime()
    if options.dry_run:
        _print_plan(api.dry_run(recipe, runtime), options.json_output, math.prod(map(len, grid.values())))
        return
    if out is None:
        raise RequestError("Name the folder of the run with --out.")
    if before is not None:
        before(recipe, runtime)
    summary = sweeping.sweep(values, grid, out, runtime) if grid else None
    if not grid:
        api.run_recipe(recipe, out, runtime)
    if is_first_process():
        _print_report(read_json(out / "report.json"), options, summary)
        if not options.json_output:
            print(f"{out}/report.html")
        if broken := api.broken_bounds(out, runtime):
            raise AnswerNo("\n".join(broken))


def _recipe(values: dict[str, Any], prefix: str, options: TrainOptions) -> tuple[Recipe, dict[str, Any]]:
    """The recipe that flags make of these values, and its plain values."""
    from bertpress.recipe import make_recipe, override

    assignments = [*([f"teacher={options.teacher}"] if options.teacher else []), *(options.assignments or [])]
    of_task = [assignment for assignment in assignments if assignment.startswith("task.")]
    of_step = [assignment for assignment in assignments if assignment not in of_task]

    def assigned(values: dict[str, Any]) -> dict[str, Any]:
        return override(override(values, of_task), of_step, prefix)

    values = override({**values, **options.recipe_fields()}, [])
    if training := options.training_fields():
        ((name, fields),) = _only_step(values).items()
        (method,) = make_recipe(assigned(values)).steps  # which phase comes first depends on its settings
        if not (phases := list(method.trainings())):
            remedy = ", or have the result trained with --set export.epochs=1" * ("export" in method.phases)
            flag = next(iter(training)).replace("_", "-")
            raise RequestError(f"Nothing is trained here, so --{flag} sets nothing; leave it out{remedy}.")
        phase = phases[0]
        fields[phase] = {**(fields.get(phase) or {}), **training}
        values["steps"] = [{name: fields}]
    values = assigned(values)
    return make_recipe(values), values


def _only_step(values: dict[str, Any]) -> dict[str, Any]:
    steps = values.get("steps") or []
    if not isinstance(steps, list) or len(steps) != 1:
        raise RequestError(
            "--epochs, --learning-rate, --batch-size and --accumulation set the first phase of a one-step recipe; "
            "this one has not one step: use --set steps.0.METHOD.PHASE.FIELD=VALUE."
        )
    step = {steps[0]: {}} if isinstance(steps[0], str) else steps[0]
    if not isinstance(step, dict) or len(step) != 1:
        raise RequestError(f"A step should be a method's name or a mapping with that one key, got {step}.")
    steps[0] = {name: fields or {} for name, fields in step.items()}
    return dict(steps[0])


def _check_phases(phases: str | None, steps: Sequence[Method]) -> None:
    from bertpress.errors import nearest

    known = [phase for method in steps for phase in method.active_phases()]
    for phase in split_list(phases) or []:
        if phase not in known:
            raise RequestError(f"There is no phase '{phase}' in this recipe{nearest(phase, known)}.")


def _grid(options: TrainOptions, prefix: str) -> dict[str, list[Any]]:
    from bertpress.recipe import parse_yaml

    grid: dict[str, list[Any]] = {}
    for entry in options.sweep or []:
        path, sign, values = entry.partition("=")
        if not sign or not values:
            raise RequestError(f"--sweep expects path=a,b, got '{entry}'.")
        seed = path == "seed"  # --seeds in another form
        whole = seed or not prefix or path.startswith("task.")
        grid[path if whole else f"{prefix}.{path}"] = parse_yaml(f"[{values}]", entry)
    if options.seeds is not None:
        grid["seed"] = list(range(1, options.seeds + 1))
    return grid


def _print_report(report: dict[str, Any], options: TrainOptions, extra: dict[str, Any] | None = None) -> None:
    from bertpress.commands.console import print_table

    if options.json_output:
        print(json.dumps(extra or report, indent=2, ensure_ascii=False))
        return
    print_table(report)
    if extra:
        median, low, high = (f"{100 * extra[name]:.1f}" for name in ("median", "low", "high"))
        print(f"{report['primary_metric']} of {len(extra['cells'])} cells: median {median}, range {low} to {high}")
        print(f"best: {extra['best']}")


def _print_plan(rows: list[dict[str, Any]], as_json: bool, cells: int) -> None:
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    from bertpress.commands.console import duration

    table = Table("step", "layers", "parameters (M)", "MACs (M)", "optimizer steps", "time", "disk (MB)")
    for row in rows:
        steps = ", ".join(f"{phase} {count}" for phase, count in row["optimizer_steps"].items())
        table.add_row(
            row["step"],
            str(row["layers"]),
            f"{row['parameters'] / 1e6:.1f}",
            f"{row['macs'] / 1e6:.0f}",
            steps,
            duration(row["seconds"]),
            f"{row['disk_bytes'] / 1e6:.0f}",
        )
    Console(highlight=False).print(table)
    print(f"MACs at {rows[0]['tokens']} tokens, the mean length; time predicted from three training steps here.")
    if cells > 1:
        print(f"{cells} cells, each about as above with its own settings.")
    for row in rows:
        for note in row["notes"]:
            print(f"{row['step']}: {note}")
