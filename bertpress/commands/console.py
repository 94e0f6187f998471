"""What a user sees during a run: one bar per phase with the remaining time, or a line per tenth in a log file."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bertpress.reports import rendering


def print_table(report: dict[str, Any]) -> None:
    """A report's tables on standard output."""
    console = Console(highlight=False)
    console.print(rendering.table(report))
    for table in rendering.search_tables(report):
        console.print("", table)
    for note in report.get("notes", []):
        console.print(note, markup=False)


def print_bounds(certificate: dict[str, Any]) -> None:
    """A certificate's bounds on standard output."""
    Console(highlight=False).print(rendering.bounds_table(certificate))


class Screen:
    """Remarks and progress on standard error; results go to standard output."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.phase: tuple[str, int] | None = None
        self.began, self.first_step = 0.0, 0
        self.shown = ""
        self.bar: Progress | None = None
        self.bar_task = TaskID(0)

    def say(self, text: str) -> None:
        """One line of remark; ends the bar of a phase."""
        self.close()
        self.phase = None
        self.console.print(text, markup=False, soft_wrap=True)

    def progress(self, phase: str, step: int, total: int, logs: dict[str, float]) -> None:
        """Show where a phase is; called at each step."""
        if self.phase != (phase, total):
            self.close()
            self.phase, self.began, self.first_step = (phase, total), time.perf_counter(), step
            self.shown = ""
            if self.console.is_terminal:
                self._open(phase, total)
        self._remember(logs)
        if self.bar is not None:
            self.bar.update(self.bar_task, completed=step, shown=self.shown, left=self._remaining(step, total))
        elif _is_evaluation(logs):
            left = self._remaining(step, total)
            self.console.print(f"{phase} {step}/{total} {self.shown}, {left}", markup=False, soft_wrap=True)
        if step >= total and _is_evaluation(logs):
            self.close()

    def close(self) -> None:
        """End the bar, if there is one."""
        if self.bar is not None:
            self.bar.stop()
        self.bar = None

    def _open(self, phase: str, total: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bar = Progress(
            *columns, TextColumn("{task.fields[left]}"), TextColumn("{task.fields[shown]}"), console=self.console
        )
        self.bar.start()
        self.bar_task = self.bar.add_task(phase, total=total, shown="", left="")

    def _remember(self, logs: dict[str, float]) -> None:
        parts = dict(part.split(" ", 1) for part in self.shown.split(", ") if part)
        if "loss" in logs:
            parts["loss"] = f"{logs['loss']:.3f}"
        if "replace_rate" in logs:
            parts["rate"] = f"{logs['replace_rate']:.2f}"
        for name, value in logs.items():
            if name.startswith("eval_") and "." not in name:  # those of single types would fill the line
                short = name.removeprefix("eval_")
                parts[short] = f"{value:.4g}" if short == "distance" else f"{100 * value:.1f}"
        self.shown = ", ".join(f"{name} {value}" for name, value in parts.items())

    def _remaining(self, step: int, total: int) -> str:
        done = step - self.first_step
        if not done:
            return "..."
        seconds = (time.perf_counter() - self.began) / done * (total - step)
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} left"


def duration(seconds: float) -> str:
    """A time in the largest unit of which there are two or more: ``90 s``, ``45 min``, ``12.5 h``."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _is_evaluation(logs: dict[str, float]) -> bool:
    return any(name.startswith("eval_") for name in logs)
