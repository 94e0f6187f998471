"""The command for build servers: `check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bertpress.commands.options import ModelArgument, TaskOption, TaskOptions, with_options
from bertpress.config import build
from bertpress.errors import AnswerNo, RequestError


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(with_options(check))


def check(
    result: ModelArgument,
    against: Annotated[str | None, typer.Option("--against", help="the model it has to stand up to")] = None,
    max_drop: Annotated[float | None, typer.Option(help="most points of the primary metric that may be lost")] = None,
    confident: Annotated[
        bool,
        typer.Option("--confident", help="the unfavourable end of the loss's interval has to keep --max-drop, too"),
    ] = False,
    min_speedup: Annotated[
        float | None, typer.Option(help="least measured speed-up; the unfavourable end of its interval counts")
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="most milliseconds of a batch; the unfavourable end of the interval counts")
    ] = None,
    max_parameters: Annotated[
        str | None, typer.Option(help="most parameters: 15M, or 40% of the other model's")
    ] = None,
    max_macs: Annotated[str | None, typer.Option(help="most multiply-adds: 1.2G, or 40% of the other model's")] = None,
    batch_size: Annotated[int, typer.Option(help="batch size that is timed", min=1)] = 1,
    task: TaskOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="file of the certificate: .html, .md or .json")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="file of JUnit XML for a build server")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print the certificate as JSON")] = False,
    *,
    options: TaskOptions,
) -> None:
    """Set a result against another model and keep it to bounds: exit code 0 if all are kept, 3 if one is broken."""
    from bertpress import api
    from bertpress.bounds import Bounds
    from bertpress.reports.certificate_sections import bound_line

    if against is None:
        raise RequestError("Name the model to compare with with --against.")
    asked = {
        "max_drop": max_drop,
        "confident": confident,
        "min_speedup": min_speedup,
        "max_latency_ms": max_latency_ms,
        "max_parameters": max_parameters,
        "max_macs": max_macs,
        "batch_size": batch_size,
    }
    bounds = build(Bounds, {name: value for name, value in asked.items() if value is not None})
    named = options.task_or_none(task)
    for flag, value in (("--columns", options.columns), ("--max-length", options.max_length)):
        if named is None and value is not None:
            raise RequestError(f"{flag} is about scoring anew; name the task with --task, or leave it out.")
    found = api.check(result, against, bounds, named, out=out, junit=junit, **options.arguments())
    if json_output:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        from bertpress.commands.console import print_bounds

        print_bounds(found)
    broken = [bound_line(bound) for bound in found["bounds"] if not bound["kept"]]
    if broken:
        raise AnswerNo("\n".join(broken))
