"""The command that comes first: `plan`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bertpress.commands.options import ModelArgument, TaskOption, TaskOptions, with_options
from bertpress.errors import AnswerNo

if TYPE_CHECKING:
    from bertpress.advising.advice import Advice


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(with_options(plan))


def plan(
    model: ModelArgument,
    task: TaskOption = None,
    parameters: Annotated[str | None, typer.Option(help="at most: 15M, or 40% of the model's")] = None,
    macs: Annotated[str | None, typer.Option(help="at most so many multiply-adds: 1.2G, or 40% of the model's")] = None,
    latency_ms: Annotated[float | None, typer.Option(help="at most so many milliseconds")] = None,
    speedup: Annotated[float | None, typer.Option(help="at least so many times as fast")] = None,
    max_drop: Annotated[float | None, typer.Option(help="points of the metric that may be lost")] = None,
    batch_size: Annotated[int, typer.Option(help="texts in the batch that times are of", min=1)] = 1,
    out: Annotated[Path | None, typer.Option("--out", help="file for the best recipe")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    *,
    options: TaskOptions,
) -> None:
    """Say which recipes would meet a budget, and what they would cost, before anything is trained.

    The best one is written for bertpress compress, which measures its result against the budget.
    """
    from bertpress import api
    from bertpress.bounds import Bounds
    from bertpress.config import build
    from bertpress.files import check_file, write_text

    check_file(out)
    limits = {
        "max_parameters": parameters,
        "max_macs": macs,
        "max_latency_ms": latency_ms,
        "min_speedup": speedup,
        "max_drop": max_drop,
    }
    given = {name: limit for name, limit in limits.items() if limit is not None}
    budget = build(Bounds, {**given, "batch_size": batch_size})
    advice = api.plan(model, options.task_spec(task), budget, **options.arguments())
    if json_output:
        recipe = None if advice.recipe is None else advice.recipe.model_dump(mode="json")
        print(json.dumps({**dataclasses.asdict(advice), "recipe": recipe}, indent=2, ensure_ascii=False))
    else:
        _print(advice)
    if advice.recipe is None:
        raise AnswerNo("No recipe would keep to the budget; the nearest ones are above.")
    if out is not None:
        write_text(out, advice.recipe.to_yaml())
        if not json_output:
            print(f"{out}: bertpress compress {out} --out FOLDER")


def _print(advice: Advice) -> None:
    from rich.console import Console
    from rich.table import Table

    from bertpress.commands.console import duration

    table = Table("recipe", "M params", "M MACs", "ms", "faster", "training", "MB")
    table.columns[0].min_width = 18
    for column in table.columns[1:]:
        column.no_wrap = True
    start = {"recipe": "as it is", "seconds": 0, "disk_bytes": 0, **advice.start}
    for row in (start, *advice.baselines, *advice.rows):
        table.add_row(
            row["recipe"],
            _millions(row["parameters"]),
            _millions(row["macs"]),
            f"{row['milliseconds']:.2f}",
            f"{row['speedup']:.2f}x",
            duration(row["seconds"]),
            _millions(row["disk_bytes"]),
        )
    Console(highlight=False).print(table)
    print(
        f"Foreseen, not measured: multiply-adds of a text of {advice.tokens} tokens (the mean), times of batches of "
        f"{advice.batch_size}, padded to {advice.padded} (the mean over batches of these rows). The first recipe keeps "
        "most of the model; what score it will have, nobody knows before it is trained. In place of tinybert, theseus "
        "gives the same shape in less time."
    )
    if advice.start["meets"]:
        print("The model keeps to the budget as it is.")
    if enough := [row["recipe"] for row in advice.baselines if row["meets"]]:
        print(f"Easily tried, and would keep to the budget, too: {'; '.join(enough)} (bertpress export, finetune).")
    if advice.fits:
        print(f"Fit this model and task: {', '.join(advice.fits)}.")
    for name, reason in advice.refused.items():
        print(f"{name} does not fit: {reason}")


def _millions(value: float) -> str:
    """A number in millions, with three digits at least."""
    return f"{value / 1e6:,.0f}" if value >= 1e8 else f"{value / 1e6:.3g}"
