"""The command that writes a finished model for another runtime: `export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bertpress.commands.options import ModelArgument, ModelOptions, TaskOption, with_options
from bertpress.errors import RequestError


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(with_options(export))


def export(
    model: ModelArgument,
    format_name: Annotated[str, typer.Option("--format", help="runtime to write it for: onnx")] = "onnx",
    precision: Annotated[str, typer.Option(help="fp32 or int8")] = "fp32",
    calibration: Annotated[
        str | None, typer.Option(help="int8: ranges measured in each pass (dynamic) or on training rows (static)")
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="int8: most points lost; sensitive parts stay fp32 (needs --task)")
    ] = None,
    execution: Annotated[
        str | None, typer.Option(help="skipped tokens: left out (gather), or only hidden, for static shapes (masked)")
    ] = None,
    task: TaskOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder of the export")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    *,
    options: ModelOptions,
) -> None:
    """Write a model for ONNX Runtime, compared with the model; in int8 if wanted."""
    from bertpress import api

    if out is None:
        raise RequestError("Name the folder of the export with --out.")
    if task is None and not options.corpus and options.max_length is not None:
        raise RequestError("--max-length is about the rows of a task; name it with --task, or leave it out.")
    given = {"precision": precision, "calibration": calibration, "max_drop": max_drop, "execution": execution}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    record = api.export(
        model, out, format=format_name, task=options.task_or_none(task), **options.arguments(), **settings
    )
    print(json.dumps(record, indent=2) if json_output else f"{out}: {record['size_bytes'] / 1e6:.1f} MB")
