"""Recipes for a budget, in order, with what each would cost and take; and the best one as YAML."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bertpress.advising import Candidate, candidates, fitting
from bertpress.advising.foreseeing import Costs, Known, foreseen, shortfall
from bertpress.bounds import Bounds
from bertpress.config import build
from bertpress.costs import cost
from bertpress.costs.shapes import shape_of
from bertpress.encoders import encoder_of
from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.exports import OnnxExport, is_export
from bertpress.methods.finetune import Finetune
from bertpress.methods.method import Method, Situation
from bertpress.methods.vocabulary import Vocabulary
from bertpress.models import is_reduced
from bertpress.opened.how_opened import Opening
from bertpress.opened.opening import asked_of, open_model
from bertpress.recipe import MAX_LENGTH, Recipe, TaskSpec
from bertpress.runs import planning

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.tasks.task import Task

SHOWN = 10
"""Recipes that are told."""
INT8 = "onnx int8"
NEAREST = 3
"""Recipes that are told where none would keep to the budget."""
Priced = tuple[Candidate, Costs]


@dataclass(frozen=True)
class Advice:
    """What could meet a budget, for one model and task on this machine."""

    start: dict[str, Any]
    """what the start model costs, and whether it keeps to the budget already"""
    baselines: list[dict[str, Any]]
    """what is easily tried: int8 alone, the lower half of the layers alone, both"""
    rows: list[dict[str, Any]]
    """recipes that would meet it, the best first; or the nearest ones, where none would"""
    recipe: Recipe | None
    """the first of them with the budget, None where none would meet it"""
    fits: list[str]
    """methods and exports that this model and task take, whether or not they are in a row"""
    refused: dict[str, str]
    """those that they do not take, and why"""
    tokens: int
    """mean length of a text, which multiply-adds are of"""
    batch_size: int
    """texts in the batch that times are of"""
    padded: int
    """length of that batch: of its longest text, as the mean over batches of real rows"""


@dataclass(frozen=True)
class Asked:
    """What a plan is for, opened."""

    recipe: dict[str, Any]
    """fields of every recipe, but its steps"""
    budget: Bounds
    model: PreTrainedModel
    task: Task
    runtime: Runtime

    def recipe_of(self, candidate: Candidate) -> Recipe:
        """The recipe of a candidate, with the budget."""
        exports = (OnnxExport(precision="int8"),) * candidate.int8
        return Recipe(steps=candidate.steps, budget=self.budget, exports=exports, **self.recipe)

    def refusal(self, steps: tuple[Method, ...]) -> str | None:
        """Why steps cannot be carried out; None if they can, or if there are none."""
        from bertpress.runs.pipeline import check_steps

        try:
            if steps:
                check_steps(Recipe(steps=steps, **self.recipe), self.model.config, self.task, self.runtime)
        except RequestError as error:
            return str(error)
        return None

    def row_of(self, candidate: Candidate, costs: Costs, start: Costs, layer_pass: float) -> dict[str, Any]:
        """A candidate with what it would cost.

        Args:
            layer_pass: seconds of a layer forward of one example in training.
        """
        plans: list[planning.StepPlan] = []
        if candidate.steps:
            plans = planning.plan_steps(self.recipe_of(candidate), self.model.config, self.task)
        disk = max((plan.disk_bytes for plan in plans), default=0) + 4 * sum(plan.parameters for plan in plans)
        seconds = round(layer_pass * sum(plan.layer_passes for plan in plans), 1)
        meets = shortfall(self.budget, start, costs) <= 1
        return {"recipe": candidate.name, **_told(costs, start), "seconds": seconds, "disk_bytes": disk, "meets": meets}


def plan(
    model: str,
    task: str | Mapping[str, Any] | TaskSpec,
    budget: Bounds | Mapping[str, Any],
    *,
    max_length: int = MAX_LENGTH,
    limit: Mapping[str, int] | None = None,
    runtime: Runtime | None = None,
    head_labels: tuple[str, ...] | None = None,
) -> Advice:
    """Recipes whose result would keep to a budget, by how much of the model they keep; nothing is trained.

    Which score they will have is not known before, so `max_drop` only stands in the recipe, for `compress` to measure.

    Args:
        budget: fields of `Bounds`, such as ``{"min_speedup": 3}``.

    Raises:
        RequestError: the budget has no limit on costs, or the model no trained head for the task.
    """
    from bertpress.runs.exported import check_budget
    from bertpress.runs.pipeline import check_splits

    limits = budget if isinstance(budget, Bounds) else build(Bounds, budget)
    if all(getattr(limits, name) is None for name in ("max_parameters", "max_macs", "max_latency_ms", "min_speedup")):
        raise RequestError("Name what is to be saved: --parameters, --macs, --latency-ms or --speedup.")
    runtime = runtime or Runtime()
    spec = asked_of(model, task, runtime)
    how: Opening = {"max_length": max_length, "limit": limit, "runtime": runtime, "head_labels": head_labels}
    loaded, data = open_model(model, spec, answers=True, **how)
    check_splits(data)
    check_budget(limits, data)
    if is_export(model) or is_reduced(loaded.config):
        raise RequestError(f"{model} is what comes last, an export or a model that skips tokens; plan from its start.")
    fields = {"model": model, "task": spec, "max_length": max_length, "limit": dict(limit or {})}
    return _advice(Asked({**fields, "head_labels": head_labels}, limits, loaded, data, runtime))


def _advice(asked: Asked) -> Advice:
    from bertpress.measurements.measuring import padded_tokens

    padded = padded_tokens(asked.task, asked.budget.batch_size)
    known, refused = known_of(asked.model, asked.task, asked.budget, padded)
    found, unfit = fitting(candidates(known.depth, known.embeddings > 0, INT8 not in refused), asked.refusal)
    easy, hard = fitting(baselines(known.depth, INT8 not in refused), asked.refusal)
    alone, unfit_alone = fitting([Candidate((Vocabulary(),), known.depth, 1.0, 1.0)], asked.refusal)
    priced = [(each, foreseen(each, known)) for each in found]
    meeting = in_order([(each, costs) for each, costs in priced if shortfall(asked.budget, known.start, costs) <= 1])
    chosen = meeting[:SHOWN] or nearest(priced, lambda costs: shortfall(asked.budget, known.start, costs))
    layer_pass = planning.seconds_per_layer_pass(asked.model, asked.task, batch_size=32)

    def rows(pairs: Iterable[Priced]) -> list[dict[str, Any]]:
        return [asked.row_of(each, costs, known.start, layer_pass) for each, costs in pairs]

    return Advice(
        start=_told(known.start, known.start) | {"meets": shortfall(asked.budget, known.start, known.start) <= 1},
        baselines=rows((each, foreseen(each, known)) for each in easy),
        rows=rows(chosen),
        recipe=asked.recipe_of(meeting[0][0]) if meeting else None,
        fits=[*sorted({step.name for each in (*easy, *found, *alone) for step in each.steps}), *_exports(refused)],
        refused={**refused, **hard, **unfit, **unfit_alone},
        tokens=known.tokens,
        batch_size=known.batch_size,
        padded=padded,
    )


def _exports(refused: Mapping[str, str]) -> list[str]:
    """The exports that fit: in fp32 wherever the packages are, as it is made on the CPU."""
    from bertpress.exports.adapter import require_packages

    try:
        require_packages()
    except RequestError:
        return []
    return ["onnx fp32", *[INT8] * (INT8 not in refused)]


def known_of(model: PreTrainedModel, task: Task, budget: Bounds, padded: int) -> tuple[Known, dict[str, str]]:
    """What plans rest on, measured where need be; and why there is no int8 and no smaller vocabulary, if there is none.

    Args:
        padded: tokens of the longest text of the batch that is timed.
    """
    from bertpress.advising.timing import int8_factor, layers_of
    from bertpress.engine.evaluation import mean_tokens
    from bertpress.methods.vocabulary.steps import staying

    refused = {}
    try:
        int8 = int8_factor(model, task, budget.batch_size, padded)
    except RequestError as error:
        int8, refused[INT8] = 1.0, str(error)
    depth = encoder_of(model.config).depth(model.config)
    timed, tokens = layers_of(model, task, budget.batch_size, padded), mean_tokens(task)
    start, layers_macs = start_costs(model, task, tokens, timed.base_ms + depth * timed.layer(1.0))
    unused = 0
    if budget.max_parameters is not None:
        try:
            Vocabulary().check(Situation(model.config, model.config, task, trust_remote_code=False))
            table = model.get_input_embeddings().weight
            unused = (len(table) - len(staying(Vocabulary(), task, model.config))) * table.shape[1]
        except RequestError as error:
            refused["vocabulary"] = str(error)
    return Known(start, layers_macs, depth, timed, tokens, budget.batch_size, int8, unused), refused


def baselines(depth: int, int8: bool) -> list[Candidate]:
    """What is easily tried: the export alone, the lower half alone, both."""
    half = math.ceil(depth / 2)
    found = [Candidate((Finetune(layers=half),), half, 1.0, 1.0)] if half < depth else []
    exported = [replace(each, int8=True) for each in (Candidate((), depth, 1.0, 1.0), *found)] if int8 else []
    return [*exported[:1], *found, *exported[1:]]


def start_costs(model: PreTrainedModel, task: Task, tokens: int, milliseconds: float) -> tuple[Costs, float]:
    """What the start model costs, and the multiply-adds of its layers."""
    parameters = cost.parameters(model.config, head=task.head)
    whole = cost.macs(model.config, tokens, head=task.head, positions=task.positions(tokens))
    layers = sum(layer.macs(tokens) for layer in shape_of(model.config).layers)
    return Costs(parameters.total, parameters.encoder, whole, milliseconds), layers


def in_order(priced: list[Priced]) -> list[Priced]:
    """One of each shape, the best first: the more multiply-adds are kept, and then the fewer the steps.

    A tenth more or less counts as the same. Of equal ones the first in the list is taken.
    """

    def preference(pair: Priced) -> tuple[int, int]:
        return -round(math.log(pair[1].macs) / math.log(1.1)), len(pair[0].steps) + pair[0].int8

    return sorted(one_each(priced), key=preference)


def nearest(priced: list[Priced], missing: Callable[[Costs], float]) -> list[Priced]:
    """One of each shape, those first that come closest to a budget that none keeps."""
    return sorted(one_each(priced), key=lambda pair: missing(pair[1]))[:NEAREST]


def one_each(priced: list[Priced]) -> Iterable[Priced]:
    """The first of each shape."""
    return {each.shape: (each, costs) for each, costs in reversed(priced)}.values()


def _told(costs: Costs, start: Costs) -> dict[str, Any]:
    return {
        "parameters": costs.parameters,
        "encoder": costs.encoder,
        "macs": costs.macs,
        "milliseconds": costs.milliseconds,
        "speedup": start.milliseconds / costs.milliseconds,
    }
