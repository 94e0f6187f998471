"""Command lines in processes of their own that begin at once: forked from one that has imported everything.

Such a process can be killed like any other. It measures latency briefly and has one thread.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "bertpress.api",
        "bertpress.cli",
        "bertpress.engine.trainer",
        "bertpress.measurements.measuring",
        "bertpress.methods.theseus",
        "bertpress.runs.pipeline",
        "datasets",
        "transformers.models.bert.modeling_bert",
    ]
)
PAUSE = 0.1
"""Seconds after each call of what is slowed down."""


@dataclass(frozen=True)
class Done:
    """How a process ended: `code` is negative for a signal."""

    code: int
    out: str
    err: str


class Forked:
    """A command line in a process of its own, which has begun.

    Args:
        arguments: after `bertpress`.
        environment: variables of the process beside those of this one.
        killed_at: a function (module:name or module:class.name) after whose so many calls the process is killed.
        slowed: a function after each of whose calls the process pauses.
        limit: called in the process before anything else; a function of a module.
        loads: results are loaded elsewhere too.
    """

    def __init__(
        self,
        arguments: Sequence[object],
        environment: Mapping[str, str] | None = None,
        killed_at: tuple[str, int] | None = None,
        slowed: str | None = None,
        limit: Callable[[], None] | None = None,
        loads: bool = False,
    ) -> None:
        self.folder = tempfile.TemporaryDirectory()
        changes = [
            ("bertpress.costs.latency:measure", briefly),
            *([] if loads else [("bertpress.runs.finishing:check_loads", loading_nothing)]),
            *([] if killed_at is None else [(killed_at[0], Killing(killed_at[1]))]),
            *([] if slowed is None else [(slowed, slowly)]),
        ]
        given = (list(map(str, arguments)), dict(environment or {}), self.folder.name, changes, limit)
        self.process = SERVER.Process(target=_run, args=given)
        self.process.start()

    @property
    def has_ended(self) -> bool:
        """Whether the process is no longer there."""
        return self.process.exitcode is not None

    def kill(self) -> None:
        """End it where it is."""
        self.process.kill()

    def wait(self, seconds: float = 240) -> Done:
        """Let it end.

        Raises:
            TimeoutError: it took longer; it is killed.
        """
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"The process had not ended after {seconds} s.")
        out, err = ((Path(self.folder.name) / name).read_text(encoding="utf-8") for name in ("out", "err"))
        self.folder.cleanup()
        return Done(self.process.exitcode, out, err)


def _run(
    arguments: list[str],
    environment: dict[str, str],
    folder: str,
    changes: list[tuple[str, Callable[[Any], Any]]],
    limit: Callable[[], None] | None,
) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT), number)
    os.environ.update(environment)
    import torch

    from bertpress import cli

    torch.set_num_threads(1)
    for place, change in changes:
        patch(place, change)
    if limit is not None:
        limit()
    sys.argv = ["bertpress", *arguments]
    cli.main()


def patch(place: str, change: Callable[[Any], Any]) -> None:
    """Put a changed function in the place of one."""
    module, _, path = place.partition(":")
    *outer, name = path.split(".")
    holder: Any = importlib.import_module(module)
    for part in outer:
        holder = getattr(holder, part)
    setattr(holder, name, change(getattr(holder, name)))


def briefly(measure: Any) -> Any:
    """Latency measured for a moment."""
    import brief

    return brief.briefly(measure)


def loading_nothing(_: Any) -> Any:
    """In place of loading a result elsewhere."""
    return lambda *_: [{"level": "stock", "class": "AutoModel", "difference": 0.0}]


def slowly(function: Any) -> Any:
    """The function with a pause after each call."""

    def called(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        time.sleep(PAUSE)
        return result

    return called


@dataclass(frozen=True)
class Killing:
    """Makes a function of one that kills its process after so many calls."""

    count: int

    def __call__(self, function: Any) -> Any:
        calls = 0

        def called(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            result = function(*args, **kwargs)
            calls += 1
            if calls == self.count:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return called
