"""The command line: each command calls a function and prints what it returns.

Exit codes: 0 done; 2 the request was wrong; 3 it ran and the answer is no; 1 anything else.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bertpress.commands import check, data, export, plan, reduction, search, training
from bertpress.commands.options import (
    InputOption,
    ModelArgument,
    ModelOptions,
    PairOption,
    TaskOption,
    TextOption,
    split_list,
    with_options,
)
from bertpress.engine.run import Stopped
from bertpress.errors import AnswerNo, RequestError
from bertpress.recipe import MAX_LENGTH

app = typer.Typer(
    help="Make a fine-tuned encoder smaller and faster, and know exactly what it cost.",
    pretty_exceptions_enable=False,
    add_completion=False,
)
for commands in (training, data, reduction, export, search, plan, check):
    commands.add_to(app)
INTERRUPTED = 130
"""what Typer makes of Ctrl-C"""
NO_MEMORY = ("CUDA out of memory", "DefaultCPUAllocator", "MPS backend out of memory")
"""What PyTorch's errors say that are not Python's MemoryError."""


def main() -> None:
    """Run the command line and turn errors into one sentence and an exit code."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]  # every command takes it
    try:
        code = app(args=arguments, standalone_mode=False)
        if code == INTERRUPTED:
            print("Interrupted; the same command goes on where it was.", file=sys.stderr)
        sys.exit(code or 0)
    except typer.TyperException as error:  # a flag or an argument that there is not
        _fail(RequestError(" ".join(error.format_message().split())), 2)
    except RequestError as error:
        _fail(error, 2)
    except AnswerNo as error:
        _fail(error, 3)
    except Stopped as stop:
        print(stop, file=sys.stderr)
    except Exception as error:  # the last line of defence: a sentence instead of a traceback
        _fail(RuntimeError(_internal(error)), 1, cause=error)


def _internal(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, MemoryError) or any(told in first for told in NO_MEMORY):
        return (
            "Out of memory. A smaller --batch-size or --max-length needs less; with half the batch size and "
            "--accumulation 2 the optimizer steps stay the same (--debug shows where it happened)."
        )
    if isinstance(error, OSError) and error.strerror:
        return f"Writing or reading failed: {error.strerror} ({error.filename or 'unnamed file'})."
    return f"{type(error).__name__}: {first} (run again with --debug for the traceback)"


def _fail(error: Exception, code: int, cause: Exception | None = None) -> None:
    if "--debug" in sys.argv:
        import traceback

        traceback.print_exception(cause or error)
    print(f"bertpress: {error}", file=sys.stderr)
    sys.exit(code)


@app.command()
@with_options
def evaluate(
    model: ModelArgument,
    task: TaskOption = None,
    split: Annotated[str | None, typer.Option(help="default: every development split")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    *,
    options: ModelOptions,
) -> None:
    """Score a model on a task."""
    from bertpress import api

    scores = api.evaluate(model, options.task_spec(task), split, **options.arguments())
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
    split: Annotated[str | None, typer.Option(help="split to predict; default: test, else validation")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder for the predictions")] = None,
    text: TextOption = None,
    text_pair: PairOption = None,
    file: InputOption = None,
    zip_files: Annotated[bool, typer.Option("--zip", help="also pack the leaderboard's files")] = False,
    *,
    options: ModelOptions,
) -> None:
    """Predict a split (for GLUE: the leaderboard's files), a text, or a file of texts."""
    from bertpress import api, predictions

    texts = predictions.own_texts(text, text_pair, file, split_list(options.columns))
    if texts is not None:
        of_task = (task, options.corpus, options.assignments, options.head_labels, options.described())
        if any((out, split, zip_files, options.limit, *of_task)):
            raise RequestError(
                "--text or --input prints predictions; leave out --out, --zip, --split, --limit, and what names or "
                "describes a task."
            )
        length = options.max_length or MAX_LENGTH
        for record in api.predict_texts(model, texts, max_length=length, runtime=options.runtime(), **options.speed()):
            print(json.dumps(record, ensure_ascii=False))
        return
    spec = options.task_spec(task)
    if out is None:
        raise RequestError("Name the folder for the predictions with --out.")
    if zip_files and not spec.name.startswith("glue/"):
        raise RequestError(f"--zip packs the leaderboard's files, which {spec.name} does not have; leave it out.")
    api.predict(model, spec, split, **options.arguments(), out=out, zip_files=zip_files, written=print)


@app.command()
@with_options
def measure(
    model: ModelArgument,
    against: Annotated[str | None, typer.Option(help="the model to compare with, run in turn")] = None,
    task: TaskOption = None,
    batch_size: Annotated[int, typer.Option(help="batch size measured beside batch 1", min=2)] = 32,
    json_output: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    *,
    options: ModelOptions,
) -> None:
    """Measure latency on the task's own lengths, with intervals; two models in turn."""
    from bertpress import api
    from bertpress.costs import latency
    from bertpress.reports.sections import SPEEDUPS

    rows = api.measure(model, against, options.task_spec(task), batch_size=batch_size, **options.arguments())
    if json_output:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(latency.describe(row))
    if any("theoretical_speedup" in row for row in rows):
        print(*SPEEDUPS, sep="\n")


@app.command("report")
def report_command(
    runs: Annotated[list[str], typer.Argument(help="folders of runs")],
    out: Annotated[Path | None, typer.Option("--out", help="one page over all of them")] = None,
) -> None:
    """Write report.json, report.md and report.html of runs, and one page over several."""
    from bertpress import api
    from bertpress.commands.console import print_table

    for built in api.report(*runs, out=out, say=partial(typer.echo, err=True)):
        print_table(built)
    if out is not None:
        print(out)


@app.command("import")
def import_command(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint of an original program: its folder or file")],
    source: Annotated[str, typer.Option("--from", help="which original: theseus, tinybert, trbert or tensorflow")],
    out: Annotated[Path, typer.Option("--out", help="folder of the model")],
    tokenizer: Annotated[str | None, typer.Option(help="where the tokenizer is, if not beside the checkpoint")] = None,
    head_labels: Annotated[str | None, typer.Option(help="label names in the order of the model's head")] = None,
    keep_head: Annotated[bool, typer.Option("--keep-head", help="tinybert: take the classifier as it is")] = False,
    cased: Annotated[bool | None, typer.Option("--cased/--uncased", help="how a bare vocab.txt is read")] = None,
) -> None:
    """Make an ordinary model folder of an original's checkpoint."""
    from bertpress import api

    labels = split_list(head_labels)
    head = None if labels is None else tuple(labels)
    for remark in api.import_model(checkpoint, source, out, tokenizer, head, keep_head, cased):
        print(remark)
    print(out)


@app.command()
def push(
    model: ModelArgument,
    to: Annotated[str, typer.Option("--to", help="owner/name of the repository on the Hub")],
    private: Annotated[bool, typer.Option("--private", help="if it is made, for its owner alone")] = False,
) -> None:
    """Put a finished model on the Hugging Face Hub. No other command sends anything."""
    from bertpress import api

    print(api.push(model, to, private))


@app.command("list")
def list_command(what: Annotated[str, typer.Argument(help="methods, tasks or recipes")]) -> None:
    """List methods, tasks or recipes."""
    from bertpress.commands import catalogue

    for name, text in catalogue.entries(what):
        print(f"{name:24} {text}")


@app.command()
def show(name: Annotated[str, typer.Argument(help="a method, task or recipe")]) -> None:
    """Show a method's fields, a task, or a recipe's YAML."""
    from bertpress.commands import catalogue

    print(catalogue.describe(name))


@app.callback(invoke_without_command=True)
def _version(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="print the version and stop")] = False,
) -> None:
    if context.invoked_subcommand is None and not version:
        print(context.get_help())
        raise typer.Exit(2)
    if version:
        from bertpress import __version__

        print(__version__)
        raise typer.Exit
