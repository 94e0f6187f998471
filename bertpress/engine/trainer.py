"""The only file that knows the inside of the Hugging Face Trainer: arguments, order of batches, clock, checkpoints.

A checkpoint counts only with its marker ``complete``, written last. A resumed training equals an uninterrupted one bit
for bit, because the order of batches and all draws are functions of the seed and the step.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainingArguments

from bertpress.engine.kernels import fastest_kernels
from bertpress.engine.length_batches import LengthBatches
from bertpress.engine.objective import Objective
from bertpress.errors import RequestError
from bertpress.files import read_json, sync_folder, write_json, write_text
from bertpress.methods.method import Training
from bertpress.processes import barrier, is_first_process, world_size
from bertpress.tasks.rows import groups_of

if TYPE_CHECKING:
    from bertpress.tasks.task import Task

Report = Callable[[int, int, dict[str, float]], None]
"""(step, total steps, logged numbers) -> None; called at each step, with numbers when something was logged."""
MARKER = "complete"
EVALUATIONS = 10
"""Times that a training is scored and saved."""


class Clock(TrainerCallback):
    """Tells the objective the time, marks checkpoints, and reports progress."""

    def __init__(
        self, objective: Objective, sampler: LengthBatches, folder: Path, report: Report, spent: float
    ) -> None:
        self.objective, self.sampler, self.folder, self.report = objective, sampler, folder, report
        self.began = time.perf_counter() - spent

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.objective.total_steps = state.max_steps

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.sampler.set_epoch(int(state.epoch or 0))

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.objective.step, self.objective.micro_batch = state.global_step, 0

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.objective.micro_batch += 1

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.objective.before_update()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.report(state.global_step, state.max_steps, {})
        if control.should_save:  # so that what is saved was looked at
            control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        losses = {name: value for name, value in (logs or {}).items() if name.endswith(("loss", "distance"))}
        if wrong := {name: value for name, value in losses.items() if not math.isfinite(value)}:
            named = ", ".join(f"{name} is {value}" for name, value in wrong.items())
            raise FloatingPointError(
                f"{named} in {self.folder.name} at step {state.global_step}; lower the learning rate "
                f"(now {args.learning_rate:g}) or raise warmup"
            )
        self.report(state.global_step, state.max_steps, dict(logs or {}))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        barrier()
        if state.is_world_process_zero:
            checkpoint = self.folder / f"checkpoint-{state.global_step}"
            sync_folder(checkpoint)
            write_log(self.folder, state.log_history)
            spent = time.perf_counter() - self.began
            write_json(checkpoint / MARKER, {"seconds": spent, "processes": args.world_size})
            self._rotate(state.best_global_step)
        barrier()

    def _rotate(self, best: int | None) -> None:
        checkpoints = complete_checkpoints(self.folder)
        keep = {*[step for step, _ in checkpoints[-2:]], best}
        for step, checkpoint in checkpoints:
            if step not in keep:
                (checkpoint / MARKER).unlink()
                shutil.rmtree(checkpoint)


class LengthTrainer(Trainer):
    """The stock Trainer with our order of batches, our evaluation, and the objective's numbers in the log."""

    def __init__(
        self, objective: Objective, task: Task, sampler: LengthBatches, clock: Clock, args: TrainingArguments
    ) -> None:
        self.objective, self.task, self.sampler = objective, task, sampler
        rows = {"train_dataset": task.encoded("train"), "eval_dataset": task.encoded(task.dev_split)}
        super().__init__(model=objective, data_collator=self._collate, args=args, callbacks=[clock], **rows)
        self.remove_callback(PrinterCallback)

    def _collate(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        # What is drawn for a row depends on seed, epoch and row alone, as the order of batches does on the first two.
        return self.task.collate(rows, (self.sampler.seed, self.sampler.epoch))

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthBatches:
        return self.sampler

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        with fastest_kernels(self.args.device):
            loss: torch.Tensor = super().training_step(*args, **kwargs)
        return loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        self.objective.eval()
        scores = self.objective.scores(self.task.dev_split, self.args.device)
        metrics = {f"eval_{name}": value for name, value in scores.items()}
        self.log(metrics)
        self.control: TrainerControl = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs |= self.objective.progress()
        super().log(logs, start_time)


def training_arguments(
    training: Training,
    objective: Objective,
    folder: Path,
    total: int,
    seed: int,
    precision: str,
    device: str,
    log: str,
) -> TrainingArguments:
    """The Trainer's settings for one phase."""
    between = max(1, math.ceil(total / EVALUATIONS))
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=total,
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.accumulation,
        learning_rate=training.learning_rate,
        lr_scheduler_type="constant_with_warmup" if training.decay == "constant" else training.decay,
        warmup_steps=math.ceil(training.warmup * total),
        weight_decay=training.weight_decay,
        max_grad_norm=training.clip,
        optim="adamw_torch_fused",
        eval_strategy="steps",
        save_strategy="steps",
        logging_strategy="steps",
        eval_steps=between,
        save_steps=between,
        logging_steps=max(1, between // 5),
        save_total_limit=None,
        load_best_model_at_end=False,
        metric_for_best_model=objective.selection[0],
        greater_is_better=objective.selection[1],
        seed=seed,
        data_seed=seed,
        label_names=["labels"],
        remove_unused_columns=False,
        logging_nan_inf_filter=False,
        # a bare encoder may have a pooler, which nothing that it is trained for reaches
        ddp_find_unused_parameters=objective.unused_parameters or objective.task.head is None,
        dataloader_pin_memory=device != "cpu",
        report_to=log,
        disable_tqdm=True,
        use_cpu=device == "cpu",
        bf16=precision == "bf16",
        fp16=precision == "fp16",
    )
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def train(
    objective: Objective,
    task: Task,
    training: Training,
    folder: Path,
    seed: int,
    report: Report,
    precision: str = "fp32",
    device: str = "cpu",
    log: str = "none",
) -> tuple[int, float]:
    """Train `objective` in `folder`, going on from its last complete checkpoint, and leave it at its best tenth.

    Returns:
        the step whose weights were kept, and the seconds spent (earlier runs of the same phase included).

    Raises:
        RequestError: it was begun with another number of processes, and so with other batches and steps.
    """
    rows = task.encoded("train")
    processes = world_size()
    total = training.steps(len(rows), processes)
    remove_unfinished(folder)
    checkpoints = complete_checkpoints(folder)
    last = checkpoints[-1] if checkpoints else None
    begun = read_json(last[1] / MARKER) if last else {"seconds": 0.0, "processes": processes}
    if begun["processes"] != processes:
        raise RequestError(
            f"The training in {folder} was begun with another number of processes, {begun['processes']} and not "
            f"{processes}, which makes other batches: go on with as many, or choose another --out."
        )
    spent = begun["seconds"]
    if last is None or last[0] < total:
        global_batch = training.batch_size * training.accumulation * processes
        groups = groups_of(rows, task.together)
        sampler = LengthBatches(rows["length"][:], global_batch, seed, groups, training.batch_size)
        clock = Clock(objective, sampler, folder, report, spent)
        arguments = training_arguments(training, objective, folder, total, seed, precision, device, log)
        arguments.dataloader_drop_last = len(rows) >= global_batch
        trainer = LengthTrainer(objective, task, sampler, clock, args=arguments)
        trainer.train(resume_from_checkpoint=str(last[1]) if last else None)
        last = complete_checkpoints(folder)[-1]
        spent = read_json(last[1] / MARKER)["seconds"]
    state = read_json(last[1] / "trainer_state.json")
    best = int(state["best_global_step"] or last[0])
    load_checkpoint(objective, folder / f"checkpoint-{best}")
    return best, spent


def load_checkpoint(objective: Objective, checkpoint: Path) -> None:
    """Put a checkpoint's weights into the objective."""
    from safetensors.torch import load_file

    objective.load_state_dict(load_file(checkpoint / "model.safetensors"))


def complete_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of every checkpoint with its marker, by step."""
    found = [path for path in folder.glob("checkpoint-*") if (path / MARKER).exists()]
    return sorted((int(path.name.removeprefix("checkpoint-")), path) for path in found)


def remove_unfinished(folder: Path) -> None:
    """Delete checkpoints that a kill cut off; one process does it, the others wait."""
    if is_first_process():
        for checkpoint in folder.glob("checkpoint-*"):
            if not (checkpoint / MARKER).exists():
                shutil.rmtree(checkpoint)
    barrier()


def write_log(folder: Path, history: list[dict[str, Any]]) -> None:
    """Write the whole log, one JSON object per line; rewritten, so a resumed run has no line twice."""
    write_text(folder / "log.jsonl", "".join(json.dumps(entry) + "\n" for entry in history))
