"""What a recipe will do, before anything trains: shapes, parameters, MACs, seconds, disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bertpress.costs import cost
from bertpress.encoders import encoder_of
from bertpress.methods.finetune import Finetune
from bertpress.methods.method import Method

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from bertpress.recipe import Recipe
    from bertpress.tasks.task import Task


@dataclass(frozen=True)
class StepPlan:
    """One step's result and work."""

    folder: str
    method: Method
    before: PretrainedConfig
    after: PretrainedConfig
    steps: dict[str, int]
    """optimizer steps of each phase"""
    layer_passes: float
    """cost of all steps, in layer forwards of one example"""
    head: str | None
    """kind of the model's head"""

    @property
    def layers(self) -> int:
        """Layers of the result."""
        return encoder_of(self.after).depth(self.after)

    @property
    def disk_bytes(self) -> int:
        """Most that lies on disk at a time: four checkpoints of weights and two Adam moments, the model, float32."""
        checkpoints = 4 if self.steps else 0
        return (3 * checkpoints + 1) * 4 * self.parameters

    @property
    def parameters(self) -> int:
        """Parameters of the result."""
        return cost.parameters(self.after, head=self.head).total


def reading_positions(recipe: Recipe, config: PretrainedConfig) -> int:
    """Longest input of the model that reads texts first: the start model, or what a first fine-tuning extends it to."""
    first = recipe.steps[0]
    return encoder_of(config).positions(first.plan(config) if isinstance(first, Finetune) else config)


def plan_steps(recipe: Recipe, config: PretrainedConfig, task: Task, processes: int = 1) -> list[StepPlan]:
    """Plan every step of `recipe` on `task`, the truncated baseline last.

    Raises:
        RequestError: a step that does not fit the model it would get.
    """
    plans = []
    for index, method in enumerate(recipe.steps):
        plans.append(_plan(f"{index:02d}-{method.name}", method, config, task, processes))
        config = plans[-1].after
    baseline = _baseline(recipe, plans, task, processes)
    return [*plans, baseline] if baseline else plans


def _plan(folder: str, method: Method, config: PretrainedConfig, task: Task, processes: int) -> StepPlan:
    after = method.plan(config)
    trainings = method.trainings()
    rows = method.rows(task)
    steps = {phase: training.steps(rows, processes) for phase, training in trainings.items()}
    passes = sum(
        count * trainings[phase].accumulation * trainings[phase].batch_size * method.layer_passes(config, phase, count)
        for phase, count in steps.items()
    )
    return StepPlan(folder, method, config, after, steps, passes, task.head)


def _baseline(recipe: Recipe, plans: Sequence[StepPlan], task: Task, processes: int) -> StepPlan | None:
    """The bottom layers of the start model, trained as long as all steps together that change the depth."""
    changing = [
        plan
        for plan in plans
        if not isinstance(plan.method, Finetune)
        and plan.method.truncated_layers(plan.before) < encoder_of(plan.before).depth(plan.before)
    ]
    if not recipe.baseline or not changing or not task.has_labels("train"):
        return None
    training = changing[-1].method.baseline_training()
    total = sum(sum(plan.steps.values()) for plan in changing)
    if not total:  # something trained before is searched
        return None
    layers = changing[-1].method.truncated_layers(changing[-1].before)
    method = Finetune(layers=layers, training=training.model_copy(update={"max_steps": total}))
    start = plans[0].after if isinstance(plans[0].method, Finetune) else plans[0].before
    return _plan("baseline", method, start, task, processes)


def seconds_per_layer_pass(model: PreTrainedModel, task: Task, batch_size: int) -> float:
    """Measured seconds of a layer forward of one example of middling length; two training steps after one warm-up."""
    from bertpress.costs.latency import synchronize
    from bertpress.engine.kernels import fastest_kernels
    from bertpress.engine.objective import choose_attention

    rows = task.encoded("train")
    middle = np.argsort(rows["length"][:], kind="stable")[len(rows) // 2 :][:batch_size].tolist()
    batch = {name: value.to(model.device) for name, value in task.collate([rows[row] for row in middle]).items()}
    choose_attention(model.train(), training=True)
    times = []
    for _ in range(3):
        synchronize(model.device)
        began = time.perf_counter()
        with fastest_kernels(model.device):
            outputs = task.forward(model, batch)
            (outputs.logits if task.asks else outputs.last_hidden_state).float().square().mean().backward()
        synchronize(model.device)
        times.append(time.perf_counter() - began)
    model.zero_grad(set_to_none=True)
    return min(times[1:]) / (3 * encoder_of(model.config).depth(model.config) * len(middle))


def rows(
    plans: Sequence[StepPlan], tokens: int, positions: cost.HeadRows, layer_pass_seconds: float
) -> list[dict[str, Any]]:
    """The plan as records: step, layers, parameters, MACs, optimizer steps, predicted seconds, disk.

    Args:
        tokens: what MACs are counted at.
        positions: number of these that the head is applied to.
    """
    return [
        {
            "step": plan.folder,
            "layers": plan.layers,
            "parameters": plan.parameters,
            "macs": cost.macs(plan.after, tokens, head=plan.head, positions=positions),
            "tokens": tokens,
            "optimizer_steps": plan.steps,
            "seconds": round(plan.layer_passes * layer_pass_seconds, 1),
            "disk_bytes": plan.disk_bytes,
        }
        for plan in plans
    ]
