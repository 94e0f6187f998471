"""The course of TR-BERT: importance, policies, the teacher's answers, everything together, the thresholds."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bertpress.budget import change_settings, check_least, fit, least_kept, settings_of, spread
from bertpress.costs.row_costs import RowCosts, even_shares
from bertpress.encoders import encoder_of
from bertpress.encoders.compact import compact, compact_config
from bertpress.engine.evaluation import batches_by_length, logits_of
from bertpress.engine.loading import load_tokenizer
from bertpress.engine.teachers import check_vocabulary, find_teacher, read_by_both
from bertpress.errors import RequestError
from bertpress.fingerprints import tokenizer_digest, weights_digest
from bertpress.methods.trbert.artefacts import PerRow, stored
from bertpress.methods.trbert.importance import scores_of_rows
from bertpress.methods.trbert.initialising import Initialising
from bertpress.methods.trbert.reducing import Phase, Reducing
from bertpress.methods.trbert.reinforced import Reinforced
from bertpress.methods.trbert.smooth import Smooth
from bertpress.tasks.rows import SomeRows

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from bertpress.engine.run import StepRun
    from bertpress.methods.trbert import TrBert
    from bertpress.tasks.task import Task

FITTED_ROWS = 1000
"""By these, the thresholds of a result are moved."""


def reduce_tokens(method: TrBert, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
    """The model that skips tokens; `model` is left unchanged."""
    task = read_by_both(method.teacher, task, run)
    reduced = prepared(method, model, task, run.seed)
    if not settings_of(reduced).layers:
        return reduced
    if method.learns_from_teacher and method.teacher not in ("start", "input") and not run.has_begun("policy"):
        find_teacher(method.teacher, model, task, run)  # refuses one that does not fit before anything is trained
    guide = important(method, model, task, run)
    trained = method.trainings()
    if "init" in trained:
        freeze(reduced)
        run.train(Initialising(reduced, task, method, run.seed, guide=guide), task, trained["init"], "init")
    taught: dict[str, Any] = {} if task.has_labels("train") else answers_of(method, model, task, run)
    price = None
    if "policy" in trained:
        freeze(reduced, all_but_policies=method.selector != "threshold")
        objective = objective_of(method, reduced, task, run, "policy", guide, **taught)
        run.train(objective, task, trained["policy"], "policy")
        price = objective.price
        settle(objective, method, task)
    if "joint" in trained:
        taught = taught or answers_of(method, model, task, run)
        reduced.requires_grad_(True)
        joint = objective_of(method, reduced, task, run, "joint", **taught)
        if price is not None and method.alpha is None:
            joint.price.copy_(price)
        run.train(joint, task, trained["joint"], "joint")
    calibrate(method, reduced, task, run)
    return reduced


def prepared(method: TrBert, model: PreTrainedModel, task: Task, seed: int) -> PreTrainedModel:
    """The reduced model before any training: new policies, or shares that cost what is asked for."""
    layers = method.layers_of(encoder_of(model.config).depth(model.config))
    settings = settings_on(method, task, layers)
    reduced = compact(model, token_reduction=settings)
    if not layers:
        return reduced.eval()
    encoded = task.encoded(task.dev_split)
    always = _options_tokens(reduced, task) if settings["shared"] else 0.0
    share = RowCosts.of(reduced.config).even_share(method.macs, float(np.mean(encoded["length"][:])), always)
    if settings["shares"] is not None:
        change_settings(reduced, shares=even_shares(share, len(layers)).tolist())
    bias = method.policy_init_bias
    if bias is None:
        bias = 0.0 if method.alpha is not None else float(torch.logit(torch.tensor(share), eps=1e-2))
    draw_policies(reduced, bias, seed)
    return reduced.eval()


def settings_on(method: TrBert, task: Task, layers: list[int]) -> dict[str, object]:
    """What a configuration says about token reduction on a task before anything is trained."""
    shared = method.share_choices and task.head == "multiple-choice"
    return {**method.settings(layers), "always_keep": special_ids(method, task), "shared": shared}


def _options_tokens(reduced: PreTrainedModel, task: Task) -> float:
    """Tokens of an input, on average, that are an option's own and so never skipped."""
    rows = spread(task.encoded(task.dev_split), FITTED_ROWS, task.together)
    batches = (batch for _, batch in batches_by_length(task, rows, torch.device("cpu")))
    return float((least_kept(settings_of(reduced), task, batches)[1] - 1).mean())


def check_budget(method: TrBert, config: PretrainedConfig, task: Task) -> None:
    """Refuse a share of the multiply-adds that the options of the development questions exceed by themselves.

    Raises:
        RequestError: names the smallest share that can be reached.
    """
    layers = method.layers_of(encoder_of(config).depth(config))
    if layers:
        reduced = compact_config(config, token_reduction=settings_on(method, task, layers))
        check_least(method.macs, reduced, task, spread(task.encoded(task.dev_split), FITTED_ROWS, task.together))


def draw_policies(reduced: PreTrainedModel, bias: float, seed: int) -> None:
    """Give new policies weights that depend on the seed alone, as the architecture draws its own, and this bias."""
    generator = torch.Generator().manual_seed(seed)
    encoder: Any = reduced.base_model
    with torch.no_grad():
        for policy in encoder.policies:
            for part in (policy.inner, policy.outer):
                drawn = torch.randn(part.weight.shape, generator=generator) * reduced.config.initializer_range
                part.weight.copy_(drawn)
                part.bias.zero_()
            policy.outer.bias.fill_(bias)


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


def important(method: TrBert, model: PreTrainedModel, task: Task, run: StepRun) -> PerRow | None:
    """Importance of every token of every training row, if a phase that is not finished needs it."""
    needing = [phase for phase in ("init", "policy") if phase in method.trainings()]
    if not method.is_guided or all(map(run.is_finished, needing)):
        return None
    if not run.is_finished("importance"):
        run.enter("importance")
    layers = method.layers_of(encoder_of(model.config).depth(model.config))
    # Of a compact copy that skips nothing the attention can be looked at; a stock one is run as others run it.
    looking = {"layers": layers, "selector": "attention", "thresholds": [-1.0] * len(layers)}
    full = compact(model, token_reduction=looking) if method.importance == "attention" else copy.deepcopy(model)
    full.eval().requires_grad_(False)
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
            lambda rows: scores_of_rows(full, task, method, rows),
            "importance",
        )


def answers_of(method: TrBert, model: PreTrainedModel, task: Task, run: StepRun) -> dict[str, Any]:
    """The teacher's answers to every training row; or the teacher, where rows are not the same in every epoch."""
    if not method.teaches or all(map(run.is_finished, method.trainings())):
        return {}
    if not run.is_finished("logits"):
        run.enter("logits")
    if method.teacher not in ("start", "input"):
        tokenizer = load_tokenizer(method.teacher, run.runtime.trust_remote_code)
        check_vocabulary(task.tokenizer, tokenizer, "the input model", method.teacher)
    teacher = find_teacher(method.teacher, model, task, run)
    if not task.repeats or task.by_token:
        return {"teacher": teacher}
    key = {"teacher": weights_digest(teacher), "tokenizer": tokenizer_digest(task.tokenizer)}

    def answers(rows: list[int]) -> Any:
        chosen = SomeRows(task.encoded("train"), rows)
        return [logits[:, None] for logits in logits_of(teacher, task, chosen)]

    with run.timed("logits"):
        return {"answers": stored(run.folder / "logits", task, key, answers, "logits")}


def objective_of(
    method: TrBert,
    reduced: PreTrainedModel,
    task: Task,
    run: StepRun,
    phase: Phase,
    guide: PerRow | None = None,
    **taught: Any,
) -> Reducing:
    """What trains the decisions, or with a selector that is not trained, the model around them."""
    given = {"phase": phase, "say": run.runtime.say, **taught}
    if method.selector == "policy":
        return Reinforced(reduced, task, method, run.seed, guide=guide, **given)
    if method.selector == "gumbel" or (method.selector == "threshold" and phase == "policy"):
        return Smooth(reduced, task, method, run.seed, **given)
    return Reducing(reduced, task, method, run.seed, **given)


def settle(objective: Reducing, method: TrBert, task: Task) -> None:
    """Let the model keep thresholds that were learned, and meet the budget: the joint phase trains it as they cut."""
    if not isinstance(objective, Smooth) or objective.thresholds is None:
        return
    change_settings(objective.model, thresholds=objective.thresholds.tolist(), shares=None)
    if method.calibrate and method.alpha is None:
        fit(objective.model, task, spread(task.encoded(task.dev_split), FITTED_ROWS, task.together), method.macs)


def calibrate(method: TrBert, reduced: PreTrainedModel, task: Task, run: StepRun) -> None:
    """Move the thresholds or shares of a trained model until the development texts cost what was asked for."""
    if not method.calibrate or method.alpha is not None:
        return
    reached = fit(reduced, task, spread(task.encoded(task.dev_split), FITTED_ROWS, task.together), method.macs)
    run.runtime.say(f"of a development text's multiply-adds in the layers {100 * reached:.1f} % are left, on average")
