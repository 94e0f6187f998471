"""The course of TR-BERT: importance, policies, the teacher's answers, everything together, the thresholds."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

from bertpress.encoders import encoder_of
from bertpress.encoders.compact import compact
from bertpress.errors import RequestError
from bertpress.fingerprints import tokenizer_digest, weights_digest
from bertpress.methods.trbert.artefacts import PerRow, stored
from bertpress.methods.trbert.calibrating import change_settings, fit
from bertpress.methods.trbert.costs import RowCosts, even_shares
from bertpress.methods.trbert.importance import scores_of_rows
from bertpress.methods.trbert.objectives import Initialising, Reducing, Reinforced, Smooth
from bertpress.teachers import find_teacher

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.methods.trbert import TrBert
    from bertpress.run import StepRun
    from bertpress.tasks.task import Task

FITTED_ROWS = 1000
"""By these, the thresholds of a result are moved."""


def reduce_tokens(method: TrBert, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
    """The model that skips tokens; `model` is left unchanged."""
    reduced = prepared(method, model, task)
    layers = method.layers_of(encoder_of(model.config).depth(model.config))
    if not layers:
        return reduced
    guide = important(method, model, reduced, task, run)
    trained = method.trainings()
    if "init" in trained and guide is not None:
        freeze(reduced)
        run.train(Initialising(reduced, task, method, run.seed, guide=guide), task, trained["init"], "init")
    price = None
    if "policy" in trained:
        freeze(reduced, all_but_policies=method.selector != "threshold")
        objective = objective_of(method, reduced, task, run, joint=method.selector == "threshold", guide=guide)
        run.train(objective, task, trained["policy"], "policy")
        price = objective.price
        settle(objective, reduced)
        calibrate(method, reduced, task, run)
    if "joint" in trained:
        answers, teacher = taught(method, model, task, run)
        reduced.requires_grad_(True)
        joint = objective_of(method, reduced, task, run, joint=True, answers=answers, teacher=teacher)
        if price is not None:
            joint.price.copy_(price)
        run.train(joint, task, trained["joint"], "joint")
        calibrate(method, reduced, task, run)
    return reduced


def prepared(method: TrBert, model: PreTrainedModel, task: Task) -> PreTrainedModel:
    """The reduced model before any training: new policies, or shares that cost what is asked for."""
    encoder = encoder_of(model.config)
    layers = method.layers_of(encoder.depth(model.config))
    settings = {**method.settings(layers, model.config), "always_keep": special_ids(method, task)}
    reduced = compact(model, token_reduction=settings)
    costs = RowCosts.of(reduced.config)
    encoded = task.encoded(task.dev_split)
    tokens = sum(encoded["length"]) / len(encoded)
    share = costs.even_share(method.macs, tokens) if layers else 1.0
    if settings["shares"] is not None:
        change_settings(reduced, shares=even_shares(share, len(layers)).tolist())
    bias = method.policy_init_bias
    if bias is None:
        bias = 0.0 if method.alpha is not None else float(torch.logit(torch.tensor(share), eps=1e-2))
    wrapped: Any = reduced.base_model
    for policy in wrapped.policies:
        torch.nn.init.constant_(policy.outer.bias, bias)
    return reduced.eval()


def special_ids(method: TrBert, task: Task) -> list[int]:
    """Ids of the special tokens that are never skipped.

    Raises:
        RequestError: the tokenizer has no such token.
    """
    found = {role: getattr(task.tokenizer, f"{role}_token_id", None) for role in method.always_keep}
    if missing := [role for role, number in found.items() if number is None]:
        raise RequestError(f"always_keep names {missing[0]}, but the tokenizer has no such special token.")
    return sorted({int(number) for number in found.values() if number is not None})


def freeze(model: PreTrainedModel, all_but_policies: bool = True) -> None:
    """Let the policies alone be trained, or everything."""
    model.requires_grad_(not all_but_policies)
    encoder: Any = model.base_model
    encoder.policies.requires_grad_(True)


def important(
    method: TrBert, model: PreTrainedModel, reduced: PreTrainedModel, task: Task, run: StepRun
) -> PerRow | None:
    """Importance of every token of every training row, if a phase that is not finished needs it."""
    needing = [phase for phase in ("init", "policy") if phase in method.trainings()]
    if not method.is_guided or all(map(run.is_finished, needing)):
        return None
    if not run.is_finished("importance"):
        run.enter("importance")
    full = copy.deepcopy(model).eval().requires_grad_(False)
    looked_at = compact(model, token_reduction=_looking(method, reduced)).eval().requires_grad_(False)
    layers = method.layers_of(encoder_of(model.config).depth(model.config))
    key = {
        "model": weights_digest(model),
        "tokenizer": tokenizer_digest(task.tokenizer),
        "maximum length": task.max_length,
        "kind of importance": [method.importance, method.importance_layer, layers],
    }
    with run.timed("importance"):
        return stored(
            run.folder / "importance",
            task,
            key,
            lambda rows: scores_of_rows(full, looked_at, task, method, rows),
            "importance",
        )


def _looking(method: TrBert, reduced: PreTrainedModel) -> dict[str, Any]:
    """Settings that skip nothing and look at the attention that tokens receive."""
    encoder: Any = reduced.base_model
    layers = list(encoder.settings.layers)
    return {"layers": layers, "selector": "attention", "thresholds": [-1.0] * len(layers)}


def taught(
    method: TrBert, model: PreTrainedModel, task: Task, run: StepRun
) -> tuple[PerRow | None, PreTrainedModel | None]:
    """The teacher's answers to every training row; or the teacher, where rows are not the same in every epoch."""
    if not method.learns_from_teacher or run.is_finished("joint"):
        return None, None
    if not run.is_finished("logits"):
        run.enter("logits")
    teacher = find_teacher(method.teacher, model, task, run)
    if not task.repeats or task.head != "sequence-classification":
        return None, teacher
    key = {"teacher": weights_digest(teacher), "tokenizer": tokenizer_digest(task.tokenizer)}

    def answers(rows: list[int]) -> Any:
        chosen = task.encoded("train").select(rows)  # type: ignore[attr-defined]
        from bertpress.evaluation import logits_of

        return [logits[:, None] for logits in logits_of(teacher, task, chosen)]

    with run.timed("logits"):
        return stored(run.folder / "logits", task, key, answers, "logits"), None


def objective_of(
    method: TrBert, reduced: PreTrainedModel, task: Task, run: StepRun, joint: bool, **given: Any
) -> Reducing:
    """What trains the decisions, or with a selector that is not trained, the model around them."""
    guide = given.pop("guide", None)
    given["say"] = run.runtime.say
    if method.selector == "policy":
        return Reinforced(reduced, task, method, run.seed, joint=joint, guide=guide, **given)
    learns_thresholds = method.selector == "threshold" and "answers" not in given
    if method.selector == "gumbel" or learns_thresholds:
        return Smooth(reduced, task, method, run.seed, joint=joint, **given)
    return Reducing(reduced, task, method, run.seed, **given)


def settle(objective: Reducing, reduced: PreTrainedModel) -> None:
    """Let the model keep thresholds that were learned."""
    if isinstance(objective, Smooth) and objective.thresholds is not None:
        change_settings(reduced, thresholds=objective.thresholds.tolist(), shares=None)


def calibrate(method: TrBert, reduced: PreTrainedModel, task: Task, run: StepRun) -> None:
    """Move the thresholds or shares of a trained model until the development texts cost what was asked for."""
    if not method.calibrate or method.alpha is not None:
        return
    costs = RowCosts.of(reduced.config)
    reached = fit(reduced, task, costs, method.macs, task.dev_split, FITTED_ROWS)
    run.runtime.say(f"the development texts cost {100 * reached:.1f} % of the multiply-adds of the full model")
