"""Flags shared by several commands, each defined once: a dataclass of options that a command takes as one parameter."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from bertpress.config import build
from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.processes import is_first_process
from bertpress.recipe import TaskSpec, override, renamed_task

if TYPE_CHECKING:
    from bertpress.recipe import TaskSpec


def _option(text: str, *names: str, **settings: Any) -> Any:
    return typer.Option(*names, help=text, show_default=False, **settings)


@dataclass(frozen=True)
class CommonOptions:
    """Every command that loads a model."""

    device: Annotated[str | None, _option("cpu or cuda; default: a GPU if there is one")] = None
    threads: Annotated[int | None, _option("CPU threads", min=1)] = None
    trust_remote_code: Annotated[bool, _option("run modelling code that comes with the model")] = False
    quiet: Annotated[bool, _option("print results only")] = False
    debug: Annotated[bool, _option("show the traceback of an error")] = False

    def runtime(self) -> Runtime:
        """How the command is carried out; remarks and progress go to the screen unless `quiet`."""
        runtime = Runtime(device=self.device, threads=self.threads, trust_remote_code=self.trust_remote_code)
        if self.quiet or not is_first_process():
            return runtime
        from bertpress.commands.console import Screen

        screen = Screen()
        return dataclasses.replace(runtime, progress=screen.progress, say=screen.say)


@dataclass(frozen=True)
class DataOptions(CommonOptions):
    """Every command that reads a task."""

    data_dir: Annotated[
        str | None, _option("folder with train|validation|test as parquet, jsonl, csv or tsv, or one file")
    ] = None
    columns: Annotated[str | None, _option("text columns of your own data: sentence1,sentence2")] = None
    label: Annotated[str | None, _option("label column of your own data (default: label)")] = None
    kind: Annotated[
        str | None,
        _option(
            "what is asked: classification or regression (default: seen from the labels), tagging, mrc, qa, multihop, "
            "candidates, choice or embedding; of a trained model that is known"
        ),
    ] = None
    queries: Annotated[str | None, _option("mrc: YAML or JSON file, entity type to question")] = None
    unlabelled: Annotated[bool, _option("your training rows have no labels (tinybert, trbert)", "--unlabelled")] = False
    make_splits: Annotated[
        str | None, _option("make missing splits of the training rows; percentages, such as 80/10/10")
    ] = None
    head_labels: Annotated[
        str | None, _option("label names in the order of the model's head, where its config does not tell")
    ] = None
    max_length: Annotated[int | None, _option("longest input in tokens (default: 128)", min=4)] = None
    limit: Annotated[list[str] | None, _option("at most that many rows of a split: train=10000")] = None

    def task_values(self, task: str | None, known: Any = None) -> Any:
        """The recipe's task as plain values: `known`, named `task` if that is given, with what these flags change."""
        given = {
            "data_dir": self.data_dir,
            "columns": split_list(self.columns),
            "label": self.label,
            "kind": self.kind,
            "unlabelled": self.unlabelled or None,
            "make_splits": self.make_splits,
        }
        given = {name: value for name, value in given.items() if value is not None}
        if task is None and (known is None or not (given or self.queries)):
            return known
        if task is not None:
            before = renamed_task(known, task)
        else:
            before = {"name": known} if isinstance(known, str) else dict(known)
        asked = {"mrc": {**(before.get("mrc") or {}), "queries": self.queries}} if self.queries else {}
        return {**before, **given, **asked}

    def task_spec(self, task: str | None) -> TaskSpec:
        """The task of the name `task` with these flags."""
        from bertpress.config import build
        from bertpress.recipe import TaskSpec

        if task is None:
            raise RequestError("Name the task with --task (bertpress list tasks).")
        return build(TaskSpec, self.task_values(task), where="task")

    def task_or_none(self, task: str | None) -> TaskSpec | None:
        """The task, for commands that take texts instead.

        Raises:
            RequestError: flags that describe a task without one.
        """
        if task is not None:
            return self.task_spec(task)
        if described := self.described():
            raise RequestError(f"--{described[0]} describes a task, which is missing; name it with --task.")
        return None

    def described(self) -> list[str]:
        """Flags that say something of a task, but its columns, which texts have too."""
        names = sorted(set(self.task_values("")) - {"name", "columns"})
        return ["queries" if name == "mrc" else name.replace("_", "-") for name in names]

    def arguments(self) -> dict[str, Any]:
        """What the functions of `api` that read a task take."""
        from bertpress.recipe import MAX_LENGTH

        labels = split_list(self.head_labels)
        return {
            "max_length": self.max_length or MAX_LENGTH,
            "limit": self.limits(),
            "runtime": self.runtime(),
            "head_labels": None if labels is None else tuple(labels),
        }

    def limits(self) -> dict[str, int]:
        """Split to largest number of rows."""
        pairs = [item.partition("=") for entry in self.limit or [] for item in entry.split(",")]
        for name, sign, number in pairs:
            if not sign or not number.isdigit() or int(number) < 1:
                raise RequestError(f"--limit expects split=rows, such as train=10000, got '{name}{sign}{number}'.")
        return {name: int(number) for name, _, number in pairs}


@dataclass(frozen=True)
class TaskOptions(DataOptions):
    """Every command that asks a model about a task."""

    corpus: Annotated[list[str] | None, _option("plain text: files, folders, patterns (repeatable)")] = None
    assignments: Annotated[
        list[str] | None, _option("set any field of the task: task.masking.probability=0.3 (repeatable)", "--set")
    ] = None

    def task_spec(self, task: str | None) -> TaskSpec:
        """The task that is meant; `text` where a corpus is given."""
        if task is None and not self.corpus:
            raise RequestError("Name the task with --task (bertpress list tasks).")
        for assignment in self.assignments or []:
            if not assignment.startswith("task."):
                raise RequestError(f"--set takes fields of the task here (task.FIELD=VALUE), got '{assignment}'.")
        values = self.task_values(task or "text")
        if self.corpus:
            values["corpus"] = {"files": self.corpus}
        return build(TaskSpec, override({"task": values}, self.assignments or [])["task"], where="task")

    def task_or_none(self, task: str | None) -> TaskSpec | None:
        if task is None and not self.corpus and self.assignments:
            raise RequestError("--set describes a task, which is missing; name it with --task.")
        return self.task_spec(task) if self.corpus else super().task_or_none(task)


@dataclass(frozen=True)
class ModelOptions(TaskOptions):
    """Every command that runs a finished model."""

    profile: Annotated[str | None, _option("a stored speed of a model that skips tokens (bertpress calibrate)")] = None
    token_threshold: Annotated[
        str | None, _option("skip tokens that score less: a number, or one for each decision: 0.5,0.7")
    ] = None

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), **self.speed()}

    def speed(self) -> dict[str, Any]:
        """The speed of a model that skips tokens, as the functions of `api` take it."""
        try:
            thresholds = [float(number) for number in split_list(self.token_threshold) or []]
        except ValueError:
            raise RequestError(
                f"--token-threshold expects numbers, such as 0.5 or 0.5,0.7, got '{self.token_threshold}'."
            ) from None
        if self.token_threshold is not None and not (thresholds and all(map(math.isfinite, thresholds))):
            raise RequestError(f"--token-threshold expects finite numbers, got '{self.token_threshold}'.")
        return {
            "profile": self.profile,
            "token_threshold": thresholds[0] if len(thresholds) == 1 else thresholds or None,
        }


@dataclass(frozen=True)
class TrainOptions(DataOptions):
    """Every command that trains."""

    seed: Annotated[int | None, _option("same seed and machine, same weights (default: 1)", min=0)] = None
    seeds: Annotated[int | None, _option("run seeds 1 to N and report median and range", min=1)] = None
    sweep: Annotated[list[str] | None, _option("try several values: path=a,b (repeatable: a grid)")] = None
    assignments: Annotated[list[str] | None, _option("set any field: path=value (repeatable)", "--set")] = None
    epochs: Annotated[float | None, _option("epochs of the first phase")] = None
    learning_rate: Annotated[float | None, _option("learning rate of the first phase")] = None
    batch_size: Annotated[int | None, _option("batch size of the first phase, per process")] = None
    accumulation: Annotated[int | None, _option("micro-batches per optimizer step, first phase")] = None
    precision: Annotated[str | None, _option("fp32, bf16 or fp16")] = None
    phases: Annotated[str | None, _option("run only these phases: replacing,finetuning")] = None
    teacher: Annotated[
        str | None, _option("the model to learn from: start, input, or a folder (tinybert, trbert, yoco)")
    ] = None
    signals: Annotated[Path | None, _option("folder of stored teacher signals, kept for other students")] = None
    no_baseline: Annotated[bool, _option("leave out the truncated baseline", "--no-baseline")] = False
    log: Annotated[str, _option("also log to a tracker: tensorboard")] = "none"
    dry_run: Annotated[bool, _option("print what would be done and what it costs; train nothing")] = False
    print_recipe: Annotated[bool, _option("print the recipe as YAML and stop", "--print")] = False
    json_output: Annotated[bool, _option("print JSON", "--json")] = False

    def runtime(self) -> Runtime:
        phases = None if self.phases is None else tuple(split_list(self.phases) or ())
        return dataclasses.replace(super().runtime(), phases=phases, log=self.log, signals=self.signals)

    def recipe_fields(self) -> dict[str, Any]:
        """The recipe's own fields that these flags set."""
        given = {
            "seed": self.seed,
            "max_length": self.max_length,
            "precision": self.precision,
            "limit": self.limits() or None,
            "head_labels": split_list(self.head_labels),
            "baseline": False if self.no_baseline else None,
        }
        return {name: value for name, value in given.items() if value is not None}

    def training_fields(self) -> dict[str, Any]:
        """Fields of the first phase's training that these flags set."""
        names = ("epochs", "learning_rate", "batch_size", "accumulation")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


ModelArgument = Annotated[str, typer.Argument(help="model folder, run, or hub name")]
TextOption = Annotated[list[str] | None, typer.Option("--text", help="a text of your own (repeatable)")]
PairOption = Annotated[list[str] | None, typer.Option("--text-pair", help="the second text of each --text")]
InputOption = Annotated[Path | None, typer.Option("--input", help="texts in a csv, tsv, jsonl, parquet or txt file")]
TaskOption = Annotated[str | None, typer.Option("--task", help="task name (bertpress list tasks), or files")]
OutOption = Annotated[Path | None, typer.Option("--out", help="folder of the run; resumed if it holds the same recipe")]


def split_list(text: str | None) -> list[str] | None:
    """``a,b`` to a list; None stays None."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let Typer see the fields of a command's options dataclass as flags of their own."""
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    grouped: dict[str, type[Any]] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        hint = hints[name]
        if not dataclasses.is_dataclass(hint):
            parameters.append(parameter.replace(annotation=hint))
            continue
        grouped[name] = hint  # type: ignore[assignment]
        field_hints = get_type_hints(hint, include_extras=True)
        for field in dataclasses.fields(hint):
            parameters.append(
                inspect.Parameter(
                    field.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=field.default,
                    annotation=field_hints[field.name],
                )
            )

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        for name, cls in grouped.items():
            fields = {field.name: values.pop(field.name) for field in dataclasses.fields(cls)}
            values[name] = cls(**fields)
        command(**values)

    del wrapper.__wrapped__
    ordered = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    wrapper.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in ordered}
    return wrapper
