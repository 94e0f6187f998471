"""The commands that make data: `augment`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bertpress.augmentation import Augmentation
from bertpress.augmentation.telling import told, warnings
from bertpress.commands.options import DataOptions, TaskOption, with_options
from bertpress.config import build
from bertpress.errors import RequestError
from bertpress.processes import is_first_process
from bertpress.recipe import TaskSpec, override


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(help=_help())(with_options(augment))


def _help() -> str:
    lines = [
        f"- {name}: {field.description}" + ("" if field.default is None else f" (default {field.default})")
        for name, field in Augmentation.model_fields.items()
    ]
    return f"{augment.__doc__}\n\nFields for --set:\n\n" + "\n".join(lines)


def augment(
    model: Annotated[
        str | None, typer.Option("--model", help="the fine-tuned teacher: folder, run, or hub name")
    ] = None,
    task: TaskOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder of the data; resumed if it holds the same")] = None,
    masked_lm: Annotated[str | None, typer.Option(help="masked-language model that proposes words")] = None,
    vectors: Annotated[str | None, typer.Option(help="word vectors in GloVe's format")] = None,
    single_piece: Annotated[str | None, typer.Option(help="for words of one token: masked-lm, vectors or keep")] = None,
    multi_piece: Annotated[str | None, typer.Option(help="for words of several tokens: vectors or keep")] = None,
    samples: Annotated[int | None, typer.Option(help="augmented copies of each text; default: TinyBERT's")] = None,
    seed: Annotated[int | None, typer.Option(help="of the draws (default: 42)", show_default=False)] = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="set any field: field=value")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what would be made; write nothing")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    *,
    options: DataOptions,
) -> None:
    """Augment a task's training texts as TinyBERT does; the folder is a --data-dir."""
    from bertpress import api

    if model is None or task is None:
        raise RequestError("Name the fine-tuned model with --model and the task with --task.")
    if options.max_length is not None or options.head_labels is not None:
        raise RequestError("Texts are augmented whole and no head is used; leave out --max-length and --head-labels.")
    given = {"masked_lm": masked_lm, "vectors": vectors, "single_piece": single_piece, "multi_piece": multi_piece,
             "samples": samples, "seed": seed}  # fmt: skip
    values = override({name: value for name, value in given.items() if value is not None}, assignments or [])
    settings = build(Augmentation, values)
    spec = build(TaskSpec, options.task_values(task), where="task")
    if out is None and not dry_run:
        raise RequestError("Name the folder of the augmented data with --out.")
    runtime = options.runtime()
    made = api.augment(spec, model, out, settings, limit=options.limits(), runtime=runtime, dry_run=dry_run)
    if is_first_process():
        _print(made, dry_run, json_output)
        for warning in [] if dry_run else warnings(made):
            runtime.say(warning)


def _print(made: dict[str, Any], is_plan: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps(made, indent=2, ensure_ascii=False))
    elif is_plan:
        _print_plan(made)
    else:
        print(*told(made), sep="\n")


def _print_plan(made: dict[str, Any]) -> None:
    for row in made["sample"]:
        print(f"  {' | '.join(row['original'])}\n> {' | '.join(row['augmented'])}")
    print(f"{made['rows']} rows become at most {made['rows_at_most']}; {made['texts']} different texts")
    print(
        f"eligible words: {made['words_by_masked_lm']} for the masked-language model, "
        f"{made['words_by_vectors']} for word vectors, {made['words_kept']} that stay"
    )
    print(f"about {made['seconds']:.0f} s for the masked-language model on this machine")
