"""The command for super-networks: `search`."""

from __future__ import annotations

from typing import Annotated

import typer

from bertpress.commands.options import OutOption, TaskOption, TrainOptions, with_options


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(with_options(search))


def search(
    run: Annotated[str, typer.Argument(help="a run of bertpress yoco, or the folder of its super-network")],
    parameters: Annotated[str | None, typer.Option(help="at most: 15M, or 40% of the encoder's")] = None,
    macs: Annotated[str | None, typer.Option(help="at most so many multiply-adds: 1.2G, or 40%")] = None,
    flops: Annotated[str | None, typer.Option(help="at most so many FLOPs, two for each multiply-add: 2.4G")] = None,
    latency_ms: Annotated[str | None, typer.Option(help="at most so many milliseconds, measured here: 7.8")] = None,
    scope: Annotated[str | None, typer.Option(help="which parameters count: total, backbone or encoder")] = None,
    servable: Annotated[str, typer.Option(help="compact, stock (search stock shapes only) or padded")] = "compact",
    rounds: Annotated[int | None, typer.Option(help="rounds of search; 0 answers from earlier ones", min=0)] = None,
    task: TaskOption = None,
    out: OutOption = None,
    *,
    options: TrainOptions,
) -> None:
    """Find the best sub-network of a trained super-network within a budget, without training.

    Several limits hold together; without any, the whole front is searched, and the result is the sub-network with half
    of the encoder's parameters. Further fields with --set (bertpress show yoco).
    """
    from bertpress.commands.training import carry_out
    from bertpress.search_requests import recipe_values

    limits = {"parameters": parameters, "macs": macs, "flops": flops, "latency_ms": latency_ms, "scope": scope}
    fields = {name: limit for name, limit in limits.items() if limit is not None}
    if rounds is not None:
        fields["search"] = {"rounds": rounds}  # type: ignore[assignment]
    values = recipe_values(run, servable=servable, **fields)
    carry_out({**values, "task": options.task_values(task, values["task"])}, "steps.0.yoco", out, options)
