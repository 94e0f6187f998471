"""A run is a directory: every step resumable, every finished step a model folder. The only caller of the trainer."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError, nearest
from bertpress.files import new_file, new_folder, read_json, write_json, write_text
from bertpress.methods.method import Training
from bertpress.processes import is_first_process, local_rank, world_size

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bertpress.engine.objective import Objective
    from bertpress.recipe import Recipe
    from bertpress.tasks.task import Task


class Stopped(Exception):
    """The phases that were asked for are done; the step is not."""


@dataclass(frozen=True)
class Runtime:
    """How a recipe is carried out; none of it changes which run it is."""

    device: str | None = None
    """cpu or cuda; default: a GPU if there is one"""
    threads: int | None = None
    phases: tuple[str, ...] | None = None
    """run only these phases"""
    log: str = "none"
    """a tracker that the Trainer knows, such as tensorboard"""
    signals: Path | None = None
    """folder of stored teacher signals, kept for other students; default inside the step, deleted with its end"""
    trust_remote_code: bool = False
    progress: Callable[[str, int, int, dict[str, float]], None] = field(default=lambda *_: None)
    """(phase, step, total steps, logged numbers)"""
    say: Callable[[str], None] = field(default=lambda _: None)
    """one line for the user"""


@dataclass(frozen=True)
class StepRun:
    """One step's folder, and what a method may ask of the engine."""

    folder: Path
    recipe: Recipe
    runtime: Runtime
    start: Callable[[], PreTrainedModel]
    """loads the recipe's start model: the default teacher"""

    @property
    def seed(self) -> int:
        """The recipe's seed."""
        return self.recipe.seed

    @property
    def device(self) -> str:
        """Where it runs."""
        return self.runtime.device or default_device()

    def is_finished(self, phase: str) -> bool:
        """True if the phase has its result on disk."""
        return (self.folder / phase / "finished.json").is_file()

    def has_begun(self, *phases: str) -> bool:
        """True if one of the phases has left anything on disk."""
        return any((self.folder / phase).is_dir() for phase in phases)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Count what is done inside among the step's seconds, once: what is found done is not counted again."""
        began = time.perf_counter()
        yield
        finished = self.folder / phase / "finished.json"
        if finished.parent.is_dir() and not finished.is_file() and is_first_process():
            write_json(finished, {"seconds": time.perf_counter() - began})

    def enter(self, phase: str | None) -> None:
        """Stop before a phase that was not asked for.

        Raises:
            Stopped: the phase is not among those asked for.
        """
        if phase is not None and self.runtime.phases is not None and phase not in self.runtime.phases:
            raise Stopped(f"Stopped before the phase {phase} of {self.folder.name}.")

    def train(self, objective: Objective, task: Task, training: Training, phase: str) -> None:
        """Train one phase, or go on with it, and leave the objective at the best tenth by the primary metric.

        Returns at once with the phase's weights if it is finished.

        Raises:
            Stopped: the phase is not among those asked for and is not finished.
        """
        from bertpress import processes
        from bertpress.engine import trainer

        folder = self.folder / phase
        finished = folder / "finished.json"
        if finished.is_file():
            trainer.load_checkpoint(objective, folder / read_json(finished)["checkpoint"])
            return
        self.enter(phase)
        best, seconds = trainer.train(
            objective,
            task,
            training,
            folder,
            self.seed,
            report=lambda step, total, logs: self.runtime.progress(phase, step, total, logs),
            precision=self.recipe.precision,
            device=self.device,
            log=self.runtime.log,
        )
        if processes.is_first_process():
            write_json(finished, {"checkpoint": f"checkpoint-{best}", "step": best, "seconds": seconds})
        processes.barrier()

    def seconds(self) -> float:
        """Time spent on the finished phases."""
        return sum(float(read_json(file)["seconds"]) for file in self.folder.glob("*/finished.json"))

    def remove_scratch(self) -> None:
        """Delete what only resuming needs; called when the step's result is on disk."""
        for folder in (*self.folder.glob("*/checkpoint-*"), *self.folder.glob("signals")):
            shutil.rmtree(folder)
        for numbers in self.folder.glob("*/*.npy"):  # of each training row
            numbers.unlink()


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    card: str,
    companions: Mapping[str, Any] | None = None,
) -> None:
    """Write a model folder that `AutoModel` loads, in one step.

    Args:
        companions: names to contents, as JSON, of further files.
    """
    from bertpress.engine.loading import clear_limits

    clear_limits(tokenizer)
    with new_folder(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        write_text(temporary / "README.md", card)
        for name, content in (companions or {}).items():
            write_json(temporary / name, content)


def save_predictions(folder: Path, split: str, task: Task, logits: np.ndarray) -> None:
    """Write ``predictions/<split>.parquet``: row, label, one list of logits, length, and structs of parts and texts.

    The logits are what the task keeps of a record as its result, the length is in tokens. A struct has a field for each
    part of the answers or column of text; where there are none, there is no such struct.
    """
    import pyarrow
    from pyarrow import parquet

    rows, labels = task.splits[split], task.truths(logits, split)
    results = task.results(logits, split)
    columns = {"row": list(range(len(results))), "label": labels, "logits": results.tolist()}
    columns["length"] = task.lengths(split)
    structs = {
        "parts": {name: pyarrow.array(part.tolist()) for name, part in task.parts(logits, split).items()},
        "texts": {column: pyarrow.array(list(rows[column]), pyarrow.large_string()) for column in task.columns},
    }
    for name, fields in structs.items():
        if fields:
            columns[name] = pyarrow.StructArray.from_arrays(list(fields.values()), list(fields))
    table = pyarrow.table(columns)
    with new_file(folder / "predictions" / f"{split}.parquet") as temporary:
        parquet.write_table(table, temporary)


def default_device() -> str:
    """The accelerator if there is one, else the CPU."""
    import torch

    return f"cuda:{local_rank()}" if torch.cuda.is_available() else "cpu"


def check_runtime(runtime: Runtime, precision: str) -> None:
    """Refuse what this machine cannot do.

    Raises:
        RequestError: a device, a tracker or a precision.
    """
    check_device(runtime.device)
    check_tracker(runtime.log)
    if precision == "fp16" and (runtime.device or default_device()) == "cpu":
        raise RequestError("precision fp16 needs a GPU, but the device is the CPU; use fp32 or bf16.")


def warn_of_slow_precision(runtime: Runtime, precision: str) -> None:
    """Say what this machine can do, but only slowly."""
    if precision == "bf16" and (runtime.device or default_device()) == "cpu" and lacks_bf16():
        runtime.say("warning: this processor multiplies bfloat16 in software, far slower than fp32.")


def lacks_bf16() -> bool:
    """Whether kernels for bfloat16 are missing on this processor: torch's for x86 begin with AVX-512."""
    import torch

    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def check_device(name: str | None) -> None:
    """Refuse a device that torch cannot use here.

    Raises:
        RequestError: names those that there are.
    """
    import torch

    try:
        torch.empty(0, device=name or "cpu")
    except (RuntimeError, AssertionError):
        known = ["cpu", *["cuda"] * torch.cuda.is_available()]
        raise RequestError(f"There is no device '{name}' here; there is {' and '.join(known)}.") from None
    number = torch.device(name or "cpu").index
    if number and world_size() == 1:  # the Trainer always takes the first one that it sees
        raise RequestError(f"For '{name}', set CUDA_VISIBLE_DEVICES={number} and give --device cuda.")


def check_tracker(name: str) -> None:
    """Refuse a tracker that the Trainer does not know or that is not installed.

    Raises:
        RequestError: names the tracker.
    """
    from transformers.integrations.integration_utils import (
        INTEGRATION_TO_CALLBACK,
        get_available_reporting_integrations,
    )

    if name == "none" or name in get_available_reporting_integrations():
        return
    if name in INTEGRATION_TO_CALLBACK:
        raise RequestError(f"The tracker '{name}' is not installed; install its package or leave out --log.")
    raise RequestError(f"There is no tracker '{name}'{nearest(name, list(INTEGRATION_TO_CALLBACK))}.")


def environment(runtime: Runtime, seed: int) -> dict[str, Any]:
    """Versions, device, seed and command line of this process."""
    import platform
    import sys
    from importlib.metadata import version

    import torch

    packages = ("bertpress", "torch", "transformers", "accelerate", "datasets", "numpy")
    return {
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "machine": f"{platform.system()} {platform.machine()}",
        "device": runtime.device or default_device(),
        "threads": torch.get_num_threads(),
        "seed": seed,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }
