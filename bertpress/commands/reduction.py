"""The commands for models that skip tokens: `calibrate` and `explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertpress.commands.options import (
    DataOptions,
    InputOption,
    ModelArgument,
    ModelOptions,
    PairOption,
    TaskOption,
    TextOption,
    split_list,
    with_options,
)
from bertpress.errors import RequestError
from bertpress.predictions import own_texts

if TYPE_CHECKING:
    from bertpress.opened.explaining import Explanation

SplitOption = Annotated[str | None, typer.Option(help="split of the task; default: that for development")]
MOST_ROWS = 20
"""Rows printed in the terminal; all are in the page and the trace."""


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(with_options(calibrate))
    app.command()(with_options(explain))


def calibrate(
    model: ModelArgument,
    profile: Annotated[str | None, typer.Option("--profile", help="name to store the thresholds under")] = None,
    macs: Annotated[float | None, typer.Option(help="share of the plain model's multiply-adds that is left")] = None,
    speedup: Annotated[float | None, typer.Option(help="how many times fewer multiply-adds")] = None,
    measured: Annotated[
        bool, typer.Option("--measured", help="the speed-up is that of time, measured on this machine")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="batch size that time is measured at", min=1)] = 32,
    task: TaskOption = None,
    split: SplitOption = None,
    file: InputOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="new folder for a copy of the model with the profile")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    *,
    options: DataOptions,
) -> None:
    """Find the thresholds at which a model that skips tokens costs the wanted share; no labels needed."""
    from bertpress import api

    if profile is None:
        raise RequestError("Name the profile with --profile, such as 3x.")
    found = api.calibrate(
        model,
        profile,
        macs=macs,
        speedup=speedup,
        measured=measured,
        batch_size=batch_size,
        task=options.task_or_none(task),
        texts=own_texts(None, None, file, split_list(options.columns)),
        split=split,
        out=out,
        **options.arguments(),
    )
    if json_output:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for line in _found_lines(found):
        print(line)


def _found_lines(found: dict[str, Any]) -> list[str]:
    from bertpress.costs.latency import describe
    from bertpress.reports.token_summary import after
    from bertpress.tasks.used import in_words

    values = next((name, found[name]) for name in ("thresholds", "shares") if name in found)
    kept = [
        f"{100 * share:.1f} % {after(layers)}" for share, layers in zip(found["kept"], found["layers"], strict=True)
    ]
    size = in_words(found["rows"], found["inputs"])
    lines = [
        f"{found['profile']}: {found['macs']:.3f} of the plain model's multiply-adds on {size}, "
        f"theoretical speed-up {found['theoretical_speedup']:.2f}x",
        f"{values[0]} {', '.join(f'{value:.4g}' for value in values[1])}; tokens kept: {', '.join(kept)}",
    ]
    if found["measured"] is not None:
        lines.append(describe(found["measured"]))
    if found["scores"] is not None:
        whole, own = (found["scores"][name][found["primary_metric"]] for name in ("all_tokens", "profile"))
        lines.append(f"{found['primary_metric']} {100 * whole:.1f} with all tokens, {100 * own:.1f} with this profile")
    return [*lines, f"stored in {found['folder']}; use it with --profile {found['profile']}"]


def explain(
    model: ModelArgument,
    text: TextOption = None,
    text_pair: PairOption = None,
    file: InputOption = None,
    task: TaskOption = None,
    split: SplitOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="page of HTML to write")] = None,
    trace: Annotated[Path | None, typer.Option("--json", help="file of JSON lines to write, one for each row")] = None,
    *,
    options: ModelOptions,
) -> None:
    """Show which tokens a model that skips tokens reads, layer by layer, as shading of the text."""
    from bertpress import api

    explanation = api.explain(
        model,
        task=options.task_or_none(task),
        texts=own_texts(text, text_pair, file, split_list(options.columns)),
        split=split,
        out=out,
        trace=trace,
        **options.arguments(),
    )
    _print_explanation(explanation)
    for path in (out, trace):
        if path is not None:
            print(path)


def _print_explanation(explanation: Explanation) -> None:
    from rich.console import Console
    from rich.text import Text

    from bertpress.reports import token_summary, trace_page

    console = Console(highlight=False)
    colours = console.color_system is not None
    top = len(explanation.layers)
    for level, meaning in enumerate(trace_page.legend(explanation) if colours else []):
        console.print(Text(meaning, style=trace_page.style_of(level, top)), end="  ")
    console.print()
    for record in explanation.rows[:MOST_ROWS]:
        shown = (trace_page.shaded if colours else trace_page.dotted)(record, explanation)
        console.print(shown, soft_wrap=not colours)
    if len(explanation.rows) > MOST_ROWS:
        console.print(f"{len(explanation.rows) - MOST_ROWS:,} more rows are counted below.")
    for section in token_summary.tables(explanation):
        console.print(trace_page.section_table(section))
    for figure in token_summary.figures(explanation):
        console.print(f"{figure.value} {figure.label} ({figure.detail})", markup=False)
