"""Recipes for a budget, in order, with what each would cost and take; and the best one as YAML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bertpress import cost, planning
from bertpress.advising import Candidate, candidates, fitting
from bertpress.advising.foreseeing import Costs, Known, foreseen, shortfall
from bertpress.advising.timing import int8_factor, layers_of
from bertpress.bounds import Bounds
from bertpress.config import build
from bertpress.encoders import encoder_of
from bertpress.errors import RequestError
from bertpress.evaluation import mean_tokens
from bertpress.exports import OnnxExport
from bertpress.methods.method import Method, Situation
from bertpress.methods.vocabulary import Vocabulary
from bertpress.methods.vocabulary.steps import staying
from bertpress.models import is_reduced
from bertpress.opening import open_model
from bertpress.pipeline import check_steps
from bertpress.recipe import MAX_LENGTH, Recipe, TaskSpec, task_values
from bertpress.run import Runtime
from bertpress.shapes import shape_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.tasks.task import Task

SHOWN = 10
"""Recipes that are told; of those that would not meet the budget, the nearest."""
NEAREST = 3


@dataclass(frozen=True)
class Advice:
    """What could meet a budget, for one model and task on this machine."""

    start: dict[str, Any]
    """what the start model costs"""
    baselines: list[dict[str, Any]]
    """what costs next to nothing to try, and whether it would keep to the budget"""
    rows: list[dict[str, Any]]
    """recipes that would meet it, the best first; or the nearest ones, where none would"""
    recipe: Recipe | None
    """the first of them with the budget, None where none would meet it"""
    refused: dict[str, str]
    """methods that this model or task does not take, and why"""
    tokens: int
    """mean length of a text, which costs are of"""
    batch_size: int
    """texts in the batch that times are of"""


def advise(
    model: str,
    task: str | Mapping[str, Any] | TaskSpec,
    budget: Bounds,
    max_length: int = MAX_LENGTH,
    limit: Mapping[str, int] | None = None,
    runtime: Runtime | None = None,
    head_labels: tuple[str, ...] | None = None,
) -> Advice:
    """Recipes whose result would meet a budget, by how much of the model they keep; nothing is trained.

    Which score they will have is not known before, so `max_drop` only stands in the recipe, for `compress` to measure.

    Raises:
        RequestError: the budget has no limit on costs, or the model no trained head for the task.
    """
    if all(getattr(budget, name) is None for name in ("max_parameters", "max_macs", "max_latency_ms", "min_speedup")):
        raise RequestError("Name what is to be saved: --parameters, --macs, --latency-ms or --speedup.")
    runtime = runtime or Runtime()
    loaded, data = open_model(model, task, max_length, limit, runtime, head_labels, answers=True)
    if is_reduced(loaded.config):
        raise RequestError(f"{model} skips tokens already, which comes last; plan from the model that it was made of.")
    config, tokens = loaded.config, mean_tokens(data)
    fields = {"model": model, "max_length": max_length, "limit": dict(limit or {}), "head_labels": head_labels}
    spec = task if isinstance(task, TaskSpec) else build(TaskSpec, task_values(task), where="task")

    def recipe_of(each: Candidate) -> Recipe:
        exports = (OnnxExport(precision="int8"),) * each.int8
        return Recipe(task=spec, steps=each.steps, budget=budget, exports=exports, **fields)

    def refusal(steps: tuple[Method, ...]) -> str | None:
        try:
            if not steps:
                return None
            check_steps(Recipe(task=spec, steps=steps, **fields), config, data, runtime)
        except RequestError as error:
            return str(error)
        return None

    known, refused = known_of(loaded, data, budget, tokens)
    found, unfit = fitting(candidates(known.depth, known.embeddings > 0, "int8" not in refused), refusal)
    priced = [(each, foreseen(each, known)) for each in found]
    meeting = in_order([(each, costs) for each, costs in priced if shortfall(budget, known.start, costs) <= 1])
    chosen = meeting[:SHOWN] or sorted(priced, key=lambda pair: shortfall(budget, known.start, pair[1]))[:NEAREST]
    layer_pass = planning.seconds_per_layer_pass(loaded, data, batch_size=32)

    def row_of(each: Candidate, costs: Costs) -> dict[str, Any]:
        plans = planning.plan_steps(recipe_of(each), config, data)
        times = round(layer_pass * sum(plan.layer_passes for plan in plans), 1)
        disk = max(plan.disk_bytes for plan in plans) + 4 * sum(plan.parameters for plan in plans)
        return {"recipe": each.name, **_told(costs, known.start), "seconds": times, "disk_bytes": disk}

    return Advice(
        start=_told(known.start, known.start),
        baselines=[
            {"recipe": name, **_told(costs := foreseen(each, known), known.start)}
            | {"meets": shortfall(budget, known.start, costs) <= 1}
            for name, each in baselines(known.depth, "int8" not in refused).items()
        ],
        rows=[row_of(*pair) for pair in chosen],
        recipe=recipe_of(meeting[0][0]) if meeting else None,
        refused={**refused, **unfit},
        tokens=tokens,
        batch_size=budget.batch_size,
    )


def known_of(model: PreTrainedModel, task: Task, budget: Bounds, tokens: int) -> tuple[Known, dict[str, str]]:
    """What plans rest on, measured where need be; and why there is no int8, if there is none."""
    refused = {}
    try:
        int8 = int8_factor(model, task, budget.batch_size, tokens)
    except RequestError as error:
        int8, refused["int8"] = 1.0, str(error)
    depth = encoder_of(model.config).depth(model.config)
    timed = layers_of(model, task, budget.batch_size, tokens)
    start, layers_macs = start_costs(model, task, tokens, timed.base_ms + depth * timed.layer(1.0))
    unused = 0
    if budget.max_parameters is not None and vocabulary_fits(model, task):
        table = model.get_input_embeddings().weight
        unused = (len(table) - len(staying(Vocabulary(), task, model.config))) * table.shape[1]
    return Known(start, layers_macs, depth, timed, tokens, budget.batch_size, int8, unused), refused


def vocabulary_fits(model: PreTrainedModel, task: Task) -> bool:
    """True if the vocabulary can be cut."""
    try:
        Vocabulary().check(Situation(model.config, model.config, task, trust_remote_code=False))
    except RequestError:
        return False
    return True


def baselines(depth: int, int8: bool) -> dict[str, Candidate]:
    """What costs next to nothing to try, by name: export alone, the lower half alone, both."""
    half = math.ceil(depth / 2)
    found = {f"the {half} bottom layers, fine-tuned": Candidate((), half, 1.0, 1.0)} if half < depth else {}
    if int8:
        exported = {f"{name}, int8": replace(each, int8=True) for name, each in found.items()}
        found = {"int8 alone (bertpress export)": Candidate((), depth, 1.0, 1.0, int8=True), **found, **exported}
    return found


def start_costs(model: PreTrainedModel, task: Task, tokens: int, milliseconds: float) -> tuple[Costs, float]:
    """What the start model costs, and the multiply-adds of its layers."""
    parameters = cost.parameters(model.config, head=task.head)
    whole = cost.macs(model.config, tokens, head=task.head, positions=task.positions(tokens))
    layers = sum(layer.macs(tokens) for layer in shape_of(model.config).layers)
    return Costs(parameters.total, parameters.encoder, whole, milliseconds), layers


def in_order(priced: list[tuple[Candidate, Costs]]) -> list[tuple[Candidate, Costs]]:
    """One of each shape, the best first: the more multiply-adds are kept, and then the fewer the steps.

    A tenth more or less counts as the same. Of equal ones the first in the list is taken.
    """
    shapes = {each.shape: (each, costs) for each, costs in reversed(priced)}

    def preference(pair: tuple[Candidate, Costs]) -> tuple[int, int]:
        return -round(math.log(pair[1].macs) / math.log(1.1)), len(pair[0].steps) + pair[0].int8

    return sorted(shapes.values(), key=preference)


def _told(costs: Costs, start: Costs) -> dict[str, Any]:
    return {
        "parameters": costs.parameters,
        "encoder": costs.encoder,
        "macs": costs.macs,
        "milliseconds": costs.milliseconds,
        "speedup": start.milliseconds / costs.milliseconds,
    }
