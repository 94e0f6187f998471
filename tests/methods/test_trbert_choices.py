"""TR-BERT on options: those of a question share decisions in training too; and the recipes, on files as published."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROWS, make_model, without_dropout
from token_tasks import choice_of, token_task, write_token_tasks

from bertpress.budget import fit, spread
from bertpress.costs.row_costs import RowCosts
from bertpress.engine.loading import load_config
from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.methods.trbert import TrBert
from bertpress.methods.trbert.artefacts import _shares
from bertpress.methods.trbert.importance import scores_of_rows
from bertpress.methods.trbert.initialising import Initialising
from bertpress.methods.trbert.reinforced import Reinforced
from bertpress.methods.trbert.sampling import Rollouts
from bertpress.methods.trbert.steps import freeze, prepared
from bertpress.models.walks import Trace
from bertpress.recipe import make_recipe, override, read_recipe
from bertpress.runs import pipeline

FIXED = {"alpha": 0.7, "policy_init_bias": 0.3, "rollouts": 3}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return token_task(write_token_tasks(tmp_path_factory.mktemp("choices"))["choice"])


@pytest.fixture
def batch(task: Any) -> Any:
    """Three questions, not in the order of their rows."""
    rows = task.encoded("train")
    return task.collate([rows[row] for row in (9, 8, 10, 11, 3, 0, 1, 2, 20, 21, 22, 23)])


def reduced(task: Any, phase: str = "policy", guide: Any = None, **fields: Any) -> Reinforced:
    method = TrBert(**{**FIXED, **fields})
    model = prepared(method, make_model(head="multiple-choice", **without_dropout("bert")), task, 1)
    with torch.no_grad():
        for policy in model.base_model.policies:
            policy.inner.weight.mul_(20)
            policy.outer.weight.mul_(20)
    if phase == "policy":
        freeze(model)
    return Reinforced(model, task, method, seed=1, phase=phase, guide=guide).train()


def rollouts(objective: Reinforced, batch: Any, **fields: Any) -> tuple[Trace, Any]:
    """What the rollouts of a batch do."""
    count, trace = objective.method.rollouts, Trace()
    repeated = {name: value.repeat(count, *[1] * (value.dim() - 1)) for name, value in batch.items()}
    sampled = objective._sampled(batch, repeated)
    walk = objective.walk(Rollouts, repeated, sampled, rollouts=count, trace=trace)
    objective.task.forward(objective.model, repeated, walk=walk)
    trace.valid = repeated["attention_mask"].bool()
    return trace, sampled


def test_options_share_decisions_unless_told_otherwise(task: Any) -> None:
    assert reduced(task).model.config.token_reduction["shared"] is True
    assert reduced(task, share_choices=False).model.config.token_reduction["shared"] is False


def test_a_rollout_draws_one_action_for_all_options(task: Any, batch: Any) -> None:
    trace, sampled = rollouts(reduced(task), batch)
    alive = trace.alive().view(3, 12, -1, 2)
    different = set()
    for rollout in range(3):
        for start in (0, 4, 8):
            rows = slice(start, start + 4)
            common = int((batch["input_ids"][rows] == batch["input_ids"][start]).all(0).long().cumprod(0).sum())
            assert common > 5
            own = alive[rollout, rows]
            assert (own[:, :common] == own[:1, :common]).all()
            own_tokens = batch["attention_mask"][rows, common:].bool()
            assert own[:, common:][own_tokens].all(), "an option's own tokens go on"
            different.add(tuple(own[0, :common, 0].tolist()))
    assert len(different) > 5
    for nll in sampled.nll:
        by_question = nll.view(3, 3, 4)
        torch.testing.assert_close(by_question, by_question[..., :1].expand(-1, -1, 4))


def test_the_log_likelihood_is_a_mean_over_what_options_have_in_common(task: Any, batch: Any) -> None:
    objective = reduced(task)
    trace, sampled = rollouts(objective, batch)
    states = objective.task.forward(objective.model, batch, output_hidden_states=True).hidden_states[1]
    verdicts = objective.model.base_model.policies[0](states)
    alive = trace.alive().view(3, 12, -1, 2)
    for start in (0, 4, 8):
        rows = slice(start, start + 4)
        common = int((batch["input_ids"][rows] == batch["input_ids"][start]).all(0).long().cumprod(0).sum())
        logits = verdicts[rows, :common].mean(0)
        for rollout in range(3):
            taken = alive[rollout, start, :common, 0].float()
            expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, taken)
            torch.testing.assert_close(sampled.nll[0].view(3, 12)[rollout, start], expected, atol=1e-5, rtol=1e-5)


def test_draws_do_not_depend_on_neighbours(task: Any, batch: Any) -> None:
    objective = reduced(task)
    whole = rollouts(objective, batch)[0].alive().view(3, 12, -1, 2)
    few = {name: value[4:8] for name, value in batch.items()}
    width = whole.shape[2]
    assert torch.equal(rollouts(objective, few)[0].alive().view(3, 4, width, 2), whole[:, 4:8])


class Importance:
    """Stands for what is stored: the number of a row and of its token."""

    def tokens(self, rows: torch.Tensor, width: int, device: Any) -> torch.Tensor:
        place = torch.arange(width)
        return torch.stack([((7 * rows[:, None] + 3 * place) % 11).float(), (rows[:, None] * place % 5).float()])


def test_a_guided_rollout_takes_what_is_important_to_all_options_together(task: Any, batch: Any) -> None:
    objective = reduced(task, guide=Importance(), guide_rate=1.0)
    objective.total_steps = 10
    alive = rollouts(objective, batch)[0].alive().view(3, 12, -1, 2)[0, :, :, 0]
    scores = Importance().tokens(batch["row"], alive.shape[1], None)[0]
    for start in (0, 4, 8):
        rows = slice(start, start + 4)
        common = int((batch["input_ids"][rows] == batch["input_ids"][start]).all(0).long().cumprod(0).sum())
        total = scores[rows, :common].sum(0)
        kept = alive[start, :common]
        assert (alive[rows, :common] == kept).all()
        most = total[1:][kept[1:]].min() if kept[1:].any() else torch.inf
        assert most >= (total[1:][~kept[1:]].max() if (~kept[1:]).any() else -torch.inf)


@pytest.mark.parametrize("fields", [{}, {"phase": "joint"}, {"share_choices": False}], ids=str)
def test_training_has_a_gradient(task: Any, batch: Any, fields: dict[str, Any]) -> None:
    objective = reduced(task, **fields)
    objective(**batch)["loss"].backward()
    for policy in objective.model.base_model.policies:
        assert policy.outer.weight.grad.abs().sum() > 0


def test_policies_begin_with_what_is_important_to_all_options_together(task: Any, batch: Any) -> None:
    method = TrBert(**FIXED)
    model = prepared(method, make_model(head="multiple-choice", **without_dropout("bert")), task, 1)
    objective = Initialising(model, task, method, 1, Importance()).train()  # type: ignore[arg-type]
    found = objective(**batch)["loss"]
    states = task.forward(model, batch, token_threshold=0.0, output_hidden_states=True).hidden_states
    losses = []
    for start in (0, 4, 8):
        rows = slice(start, start + 4)
        common = int((batch["input_ids"][rows] == batch["input_ids"][start]).all(0).long().cumprod(0).sum())
        for step, layer in enumerate((1, 2)):
            scores = Importance().tokens(batch["row"], states[0].shape[1], None)[step, rows, :common].sum(0)
            order = scores.argsort(descending=True, stable=True)
            target = torch.empty(common)
            target[order] = 1 - torch.arange(common) / common
            keep = torch.sigmoid(model.base_model.policies[step](states[layer][rows, :common]).mean(0))
            losses.append((keep - target).abs().mean())
    torch.testing.assert_close(found, torch.stack(losses).view(3, 2).sum(1).mean(), atol=1e-5, rtol=1e-5)


def test_importance_looks_at_whole_questions(task: Any) -> None:
    model = make_model(head="multiple-choice", **without_dropout("bert"))
    model.requires_grad_(False)
    method = TrBert(**FIXED)
    rows = list(range(24))
    whole = scores_of_rows(model, task, method, rows)
    turned = scores_of_rows(model, task, method, rows[::-1])[::-1]
    alone = scores_of_rows(model, task, method, [4, 5, 6, 7])
    for own, other in zip([*whole, *whole[4:8]], [*turned, *alone], strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-6)


def test_processes_share_questions(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertpress.methods.trbert.artefacts.world_size", lambda: 3)
    encoded = task.encoded("train")
    shares = _shares(encoded, "record")
    assert sorted(row for share in shares for row in share) == list(range(96))
    records = [{encoded["record"][row] for row in share} for share in shares]
    assert not records[0] & records[1]
    assert _shares(encoded, None)[1] == list(range(1, 96, 3))


def test_thresholds_are_moved_by_whole_questions(task: Any) -> None:
    encoded = task.encoded("train")
    chosen = spread(encoded, 24, "record")
    assert len(chosen) == 24
    assert chosen["record"] == [record for record in range(0, 24, 4) for _ in range(4)]


@pytest.fixture(scope="module")
def race(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen questions as the original has them."""
    folder = tmp_path_factory.mktemp("race")
    for split, own in (("train", "train"), ("dev", "validation")):
        for number, each in enumerate(ROWS[own][:12]):
            row = choice_of(number, *each)
            place = folder / split / ("high" if number % 3 else "middle")
            place.mkdir(parents=True, exist_ok=True)
            content = {"id": f"{place.name}{number}.txt", "article": row["context"], "questions": [row["question"]]}
            content |= {"options": [row["options"]], "answers": ["ABCD"[row["answer"]]]}
            (place / f"{number}.txt").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["race", "race-together"])
def test_the_recipes_run_on_the_originals_files(
    name: str, race: Path, folder_of: Callable[..., Path], quick_latency: None, tmp_path: Path
) -> None:
    values = read_recipe(f"trbert-{name}")
    small = [f"steps.0.finetune.training.{field}" for field in ("epochs=2", "learning_rate=1e-3")]
    small += [f"steps.1.trbert.{phase}.epochs=1" for phase in ("policy", "joint")] + ["steps.1.trbert.rollouts=2"]
    changed = override(values, [f"task.data_dir={race}", "max_length=32", "baseline=false", *small])
    recipe = make_recipe({**changed, "model": str(folder_of("bert"))})
    pipeline.carry_out(pipeline.prepare(recipe, Runtime(device="cpu")), tmp_path / "run")
    result = tmp_path / "run" / "01-trbert"
    saved = json.loads((result / "result.json").read_text())
    assert saved["metrics"]["validation"].keys() == {"accuracy", "accuracy_high", "accuracy_middle"}
    assert saved["kind"] == "choice"
    reduction = load_config(str(result / "model")).token_reduction
    assert reduction["shared"] is (name == "race-together")
    kept = [step["mean"] for step in saved["cost"]["token_reduction"]["kept"]]
    assert 0 < kept[1] <= kept[0] <= 1
    if name == "race-together":
        assert saved["cost"]["token_reduction"]["theoretical_speedup"] > 1.2
    phases = {path.name for path in result.iterdir() if path.is_dir()}
    assert {"importance", "policy", "logits", "joint", "model", "predictions"} <= phases


def least_share(task: Any) -> float:
    """What is left of the multiply-adds if of all options their own tokens and the first one are read, in a loop."""
    costs = RowCosts.of(reduced(task).model.config)
    rows, shares = task.encoded("validation"), []
    for start in range(0, len(rows), 4):
        ids = [rows[start + option]["input_ids"] for option in range(4)]
        common = next(place for place, tokens in enumerate(zip(*ids, strict=False)) if len(set(tokens)) > 1)
        for own in ids:
            kept = torch.full((1, 2), float(len(own) - common + 1), dtype=torch.float64)
            shares.append(costs.mean(torch.tensor([float(len(own))], dtype=torch.float64), kept))
    return sum(shares) / len(shares)


def test_a_budget_below_what_options_cost_by_themselves_is_refused(task: Any) -> None:
    config, least = make_model(head="multiple-choice").config, least_share(task)
    assert 0.3 < least < 0.8
    with pytest.raises(RequestError, match=r"macs 0\.3 cannot be reached on files") as refused:
        TrBert(macs=0.3).check_rows(config, task)
    named = float(re.findall(r"give at least ([\d.]+),", str(refused.value))[0])
    assert least <= named < least + 0.0011
    TrBert(macs=named).check_rows(config, task)
    TrBert(macs=0.3, share_choices=False).check_rows(config, task)
    TrBert(macs=0.3, alpha=0.5).check_rows(config, task)


def test_a_budget_is_met_although_options_keep_their_tokens(task: Any) -> None:
    method = TrBert(macs=0.75)
    model = prepared(method, make_model(head="multiple-choice", **without_dropout("bert")), task, 1)
    with torch.no_grad():
        for policy in model.base_model.policies:
            policy.inner.weight.mul_(20)
            policy.outer.weight.mul_(20)
    assert fit(model, task, task.encoded("validation"), 0.75) == pytest.approx(0.75, abs=0.02)
    assert fit(model, task, task.encoded("validation"), 0.1) == pytest.approx(least_share(task), abs=0.02)
