from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import batch_of, make_config, make_model, make_tokenizer, without_dropout
from pydantic import ValidationError
from reduced import made, reinforced
from torch import Tensor

from bertpress import losses
from bertpress.budget import _asked, change_settings, fit, least_kept, settings_of, spread
from bertpress.costs.row_costs import RowCosts
from bertpress.encoders.compact import compact
from bertpress.errors import RequestError
from bertpress.methods.method import Situation, Training
from bertpress.methods.trbert import TrBert
from bertpress.methods.trbert.artefacts import PerRow
from bertpress.methods.trbert.initialising import Initialising
from bertpress.methods.trbert.reducing import Reducing
from bertpress.methods.trbert.steps import freeze, objective_of, prepared, reduce_tokens
from bertpress.models.walks import Trace

# Settings


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"policy": None, "joint": None}, "all phases are switched off"),
        ({"selector": "first", "joint": None}, "all phases are switched off"),
        ({"teacher": "none", "soft_weight": 0.5}, "without a teacher only the labels are learned"),
        ({"soft_weight": 0}, "soft_weight and hard_weight are both 0"),
        ({"cost": "tokens"}, "give alpha to price tokens"),
        ({"temperature": (1.0, 0.0)}, "temperatures must be above 0"),
        ({"macs": 0}, "greater than 0"),
        ({"min_keep": 4, "max_keep": 3}, "max_keep 3 is less than min_keep 4"),
        ({"alpha": (1.0, -1.0)}, "greater than or equal to 0"),
        ({"selector": "best"}, "'policy', 'gumbel', 'threshold', 'attention', 'random' or 'first'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TrBert(**fields)


def test_the_plan_holds_the_decisions() -> None:
    planned = TrBert(min_keep=2).plan(make_config())
    assert planned.model_type == "compact_bert"
    assert planned.token_reduction["layers"] == [1, 2]
    assert planned.token_reduction["min_keep"] == 2
    assert planned.id2label == make_config().id2label
    assert TrBert(selector="threshold").plan(make_config()).token_reduction["layers"] == [1, 2, 3]
    assert TrBert(reduction_layers=(3,), macs=0.9, guide_rate=0).plan(make_config()).token_reduction["layers"] == [3]


@pytest.mark.parametrize(
    ("layers", "fields", "words"),
    [
        (
            4,
            {"reduction_layers": (1, 4)},
            r"at most 3 \(the model has 4 layers\), got \[1, 4\]; leave it out for \[1, 2\]",
        ),
        (3, {"reduction_layers": (1, 3)}, r"at most 2 .* leave it out for \[1\]"),
        (4, {"reduction_layers": (0, 1)}, r"must rise from 1 .* got \[0, 1\]"),
        (4, {"reduction_layers": (2, 1)}, r"must rise from 1 .* got \[2, 1\]"),
        (4, {"reduction_layers": (2, 2)}, r"must rise from 1 .* got \[2, 2\]"),
        (4, {"macs": 0.25}, r"macs 0.25 cannot be reached: 1 of 4 layers always see all tokens, which is 0.25 of"),
        (4, {"macs": 0.5, "reduction_layers": (2,)}, r"macs 0.5 cannot be reached: 2 of 4 layers"),
        (
            2,
            {},
            r"above the last decision \(1\) and at most at 1, and there is none; set guide_rate to 0 to do without",
        ),
        (4, {"importance_layer": 2}, r"above the last decision \(2\) and at most at 3, got 2"),
    ],
)
def test_plans_that_do_not_fit_the_model_are_refused(layers: int, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        TrBert(**fields).plan(make_config(num_hidden_layers=layers))


def test_a_price_of_tokens_needs_no_budget() -> None:
    assert TrBert(macs=0.1, alpha=1.0).plan(make_config()).token_reduction["layers"] == [1, 2]


def test_a_model_that_skips_tokens_already_is_refused() -> None:
    with pytest.raises(RequestError, match="skips tokens already; start from the model that it was made of"):
        TrBert().plan(TrBert().plan(make_config()))


@pytest.mark.parametrize(("family", "reason"), [("modernbert", "sliding windows"), ("deberta-v2", "distance")])
def test_architectures_whose_attention_needs_positions_are_refused(family: str, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        TrBert().plan(make_config(family))


def test_a_model_of_one_layer_stays_as_it_is(task: Any, tmp_path: Path) -> None:
    config = make_config(num_hidden_layers=1)
    (remark,) = TrBert().warnings(config, {"policy": 1, "joint": 1})
    assert "nothing is trained" in remark
    model = make_model(**without_dropout(num_hidden_layers=1))
    run: Any = type("Run", (), {"seed": 1})()
    result = reduce_tokens(TrBert(), model, task, run)
    batch = batch_of(task)
    with torch.no_grad():
        torch.testing.assert_close(task.forward(result, batch).logits, task.forward(model, batch).logits)


def test_warnings_tell_where_tokens_are_skipped() -> None:
    where = "tokens are skipped before layers 1, 2 of 4 (counted from 0)"
    assert TrBert().warnings(make_config(), {}) == [f"{where}, so that about 50 % of the multiply-adds are kept"]
    assert TrBert(alpha=1.0).warnings(make_config(), {}) == [where]
    assert "running mean" in TrBert(rollouts=1).warnings(make_config(), {})[1]


@pytest.mark.parametrize(
    ("fields", "phases"),
    [
        ({}, ["importance", "policy", "logits", "joint"]),
        ({"init": {}}, ["importance", "init", "policy", "logits", "joint"]),
        ({"guide_rate": 0}, ["policy", "logits", "joint"]),
        ({"teacher": "none"}, ["importance", "policy", "joint"]),
        ({"joint": None}, ["importance", "policy"]),
        ({"selector": "gumbel"}, ["policy", "logits", "joint"]),
        ({"selector": "attention"}, ["logits", "joint"]),
        ({"soft_weight": 0, "hard_weight": 1}, ["importance", "policy", "joint"]),
    ],
)
def test_phases_are_those_that_the_settings_need(fields: dict[str, Any], phases: list[str]) -> None:
    assert TrBert(**fields).active_phases() == phases


def test_more_rollouts_take_longer() -> None:
    config = make_config(num_hidden_layers=12)
    passes = [TrBert(rollouts=count).layer_passes(config, "policy", 10) for count in (1, 8)]
    assert passes == [1 + 5.0, 1 + 8 * 5.0]
    assert TrBert(selector="attention").layer_passes(config, "joint", 10) == 3 * 6.0


# The model before training


def test_new_policies_depend_on_the_seed_alone(task: Any) -> None:
    def policies(seed: int) -> dict[str, Tensor]:
        torch.rand(seed)  # the global generator is somewhere else
        reduced = prepared(TrBert(), make_model(), task, seed)
        return {name: value for name, value in reduced.state_dict().items() if "policies" in name}

    first, again, other = policies(1), policies(1), policies(2)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not all(torch.equal(value, other[name]) for name, value in first.items())
    assert len(first) == 8
    weights = torch.cat([value.flatten() for name, value in first.items() if name.endswith("weight")])
    assert float(weights.std()) == pytest.approx(0.02, rel=0.1)
    assert all(float(value.abs().max()) == 0 for name, value in first.items() if name.endswith("inner.bias"))


@pytest.mark.parametrize("macs", [0.4, 0.6, 0.8])
def test_policies_begin_by_keeping_what_the_budget_allows(task: Any, macs: float) -> None:
    reduced = prepared(TrBert(macs=macs), make_model(**without_dropout()), task, 1)
    costs, lengths = RowCosts.of(reduced.config), task.encoded("validation")["length"]
    mean = torch.tensor([sum(lengths) / len(lengths)], dtype=torch.float64)
    share = torch.sigmoid(reduced.bert.policies[0].outer.bias.detach()).double()
    spent = costs.share(mean, torch.stack([mean * share, mean * share**2], 1))
    assert float(spent) == pytest.approx(macs, abs=1e-4)


@pytest.mark.parametrize("fields", [{"alpha": 1.0}, {"policy_init_bias": 0.0}])
def test_policies_begin_at_one_half_as_the_originals(task: Any, fields: dict[str, Any]) -> None:
    reduced = prepared(TrBert(**fields), make_model(), task, 1)
    assert [float(policy.outer.bias.detach()) for policy in reduced.bert.policies] == [0.0, 0.0]


@pytest.mark.parametrize("selector", ["attention", "random", "first"])
def test_fixed_shares_cost_what_was_asked_for(task: Any, selector: str) -> None:
    reduced = prepared(TrBert(selector=selector, macs=0.6), make_model(**without_dropout()), task, 1)
    assert not list(reduced.bert.policies)
    first, second = settings_of(reduced).shares or ()
    assert second == pytest.approx(first**2)
    trace, batch = Trace(), batch_of(task)
    with torch.no_grad():
        task.forward(reduced, batch, trace=trace)
    lengths = batch["attention_mask"].sum(1)
    assert trace.kept()[:, 0].tolist() == [math.ceil(first * int(length) - 1e-9) for length in lengths]


def test_special_tokens_are_named_by_their_role(task: Any) -> None:
    reduced = prepared(TrBert(always_keep=("sep", "mask")), make_model(), task, 1)
    tokenizer = task.tokenizer
    assert settings_of(reduced).always_keep == tuple(sorted((tokenizer.sep_token_id, tokenizer.mask_token_id)))
    with pytest.raises(RequestError, match="always_keep names stop, but the tokenizer has no such special token"):
        prepared(TrBert(always_keep=("stop",)), make_model(), task, 1)


# Towards the order of importance


class Numbers(PerRow):
    """Importance of each token, and logits of each row, from a rule."""

    def __init__(self, of_row: Callable[[int], Tensor]) -> None:
        self.of_row = of_row

    def tokens(self, rows: Tensor, width: int, device: torch.device) -> Tensor:
        found = [torch.nn.functional.pad(self.of_row(int(row)), (0, width))[:, :width] for row in rows]
        return torch.stack(found, 1)

    def rows(self, rows: Tensor, device: torch.device) -> Tensor:
        return torch.stack([self.of_row(int(row)) for row in rows])


def test_policies_learn_the_rank_of_each_token(task: Any, batch: Mapping[str, Tensor]) -> None:
    """The mean over rows of the mean distance to 1 - rank / n, summed over the decisions, on rows kept whole."""
    reduced, method = made(task, max_keep=3)  # the limits of the deployed model are no matter here
    freeze(reduced)
    lengths = task.encoded("train")["length"]

    def importance(row: int) -> Tensor:
        return torch.rand(2, lengths[row], generator=torch.Generator().manual_seed(row))

    objective = Initialising(reduced, task, method, 1, Numbers(importance)).train()
    assert not reduced.training, "no dropout while the order is learned"
    loss = objective(**batch)["loss"]
    stock = make_model(**without_dropout())
    with torch.no_grad():
        states = stock(**task.inputs_of(stock, batch), output_hidden_states=True).hidden_states
    expected = 0.0
    for index, row in enumerate(batch["row"].tolist()):
        length, scores = lengths[row], importance(row)
        for step, layer in enumerate((1, 2)):
            order = sorted(range(length), key=lambda token, step=step, scores=scores: -float(scores[step, token]))
            keep = torch.sigmoid(reduced.bert.policies[step](states[layer][index])).detach()
            distances = [abs(float(keep[token]) - (1 - rank / length)) for rank, token in enumerate(order)]
            expected += sum(distances) / length / len(batch["row"])
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    loss.backward()
    named = {name for name, value in objective.named_parameters() if value.grad is not None and name != "anchor"}
    assert len(named) == 8
    assert all("policies" in name for name in named)
    objective.before_update()
    assert float(objective.price) == 0.7, "nothing is spent yet"


# Answers


def test_the_joint_phase_imitates_the_teacher(task: Any, batch: Mapping[str, Tensor]) -> None:
    answers = Numbers(lambda row: torch.tensor([0.3 * row, -1.0]))
    fields = {"selector": "first", "alpha": None, "kd_temperature": 2.0, "soft_weight": 0.6, "hard_weight": 0.4}
    reduced, method = made(task, **fields)
    objective = Reducing(reduced, task, method, 1, answers=answers).train()
    found = float(objective(**batch)["loss"].detach())
    with torch.no_grad():
        outputs = task.forward(reduced, batch)
        other = answers.rows(batch["row"], torch.device("cpu"))
        soft = -((other / 2).softmax(-1) * (outputs.logits / 2).log_softmax(-1)).sum(-1) * 4
        hard = task.example_losses(outputs, batch)
    assert found == pytest.approx(float((0.6 * soft + 0.4 * hard).mean()), rel=1e-5)
    torch.testing.assert_close(soft, losses.soft_cross_entropy(outputs.logits, other, 2.0))


def test_stored_answers_and_the_teacher_itself_teach_the_same(task: Any, batch: Mapping[str, Tensor]) -> None:
    teacher = make_model(seed=4, **without_dropout())
    with torch.no_grad():
        rows = [task.collate([task.encoded("train")[row]]) for row in range(8)]
        logits = [task.forward(teacher, one).logits[0] for one in rows]
    kept = []
    for given in ({"teacher": teacher}, {"answers": Numbers(lambda row: logits[row])}):
        objective = reinforced(task, "joint", rollouts=3)
        objective.answers = given.get("answers")
        objective.__dict__["teacher"] = given.get("teacher")
        kept.append(float(objective(**batch)["loss"].detach()))
    assert kept[0] == pytest.approx(kept[1], rel=1e-5)


def test_a_loss_that_is_not_finite_names_its_row(task: Any, batch: Mapping[str, Tensor]) -> None:
    objective = reinforced(task, rollouts=2)
    objective.step = 7
    broken = {name: value.clone() for name, value in batch.items()}
    original = task.example_losses

    def losses_of(outputs: Any, given: Any) -> Tensor:
        found: Tensor = original(outputs, given)
        return found.masked_fill(given["row"] == 5, torch.nan)

    objective.task = copy.copy(task)
    objective.task.example_losses = losses_of
    with pytest.raises(FloatingPointError, match="loss of training row 5 is not finite at step 7"):
        objective(**broken)


# Price and watch


def test_the_price_follows_the_budget_once_a_step(task: Any, batch: Mapping[str, Tensor]) -> None:
    objective = reinforced(task, rollouts=2, alpha=None, macs=0.3, control_rate=0.5)
    assert float(objective.price) == 0.0
    for _ in range(2):
        objective(**batch)
    spent = objective.progress()["macs_share"]
    objective.before_update()
    assert float(objective.price) == pytest.approx(0.5 * (spent - 0.3), rel=1e-5)
    assert "price" in objective.state_dict()


@pytest.mark.parametrize(("phase", "price"), [("policy", 2.0), ("joint", 0.5)])
def test_each_phase_has_its_own_fixed_price(task: Any, batch: Mapping[str, Tensor], phase: str, price: float) -> None:
    objective = reinforced(task, phase, rollouts=2, alpha=(2.0, 0.5), teacher="none")
    objective(**batch)
    objective.before_update()
    assert float(objective.price) == price
    assert float(reinforced(task, phase, alpha=3.0).price) == 3.0


@pytest.mark.parametrize(("cost", "by_tokens"), [("auto", True), ("tokens", True), ("macs", False)])
def test_what_the_price_is_asked_for(task: Any, batch: Mapping[str, Tensor], cost: str, by_tokens: bool) -> None:
    objective = reinforced(task, rollouts=1, cost=cost)
    kept = [batch["attention_mask"].sum(1).float(), torch.ones(8)]
    found = objective.priced(batch, kept)
    lengths = batch["attention_mask"].sum(1)
    if by_tokens:
        torch.testing.assert_close(found, (1 + 1 / lengths) / 2)
    else:
        torch.testing.assert_close(found, objective.costs.share(lengths.float(), torch.stack(kept, 1)))
    assert not reinforced(task, alpha=None).method.prices_tokens


@pytest.mark.parametrize(("bias", "percent"), [(-40.0, "1"), (40.0, "100")])
def test_a_collapse_is_told_after_two_hundred_steps(task: Any, bias: float, percent: str) -> None:
    said: list[str] = []
    objective = reinforced(task, rollouts=1)
    objective.say = said.append
    kept = {"1": 0.01, "100": 0.99}[percent]
    for step in range(450):
        objective.spent.add(macs=torch.tensor(kept), kept=torch.tensor(kept), reward=torch.tensor(0.0))
        objective.before_update()
        assert len(said) == (step >= 199)
    assert f"for 200 steps {100 * kept:.0f} % of the tokens that may be skipped were kept: a collapse" in said[0]
    assert "collapsed" in objective.state_dict()


@pytest.mark.parametrize(("min_keep", "extra", "expected"), [(1, 0, 0.0), (3, 0, 0.0), (1, 1, None)])
def test_first_tokens_alone_are_a_collapse_however_short_a_text(
    min_keep: int, extra: int, expected: float | None, task: Any, batch: Mapping[str, Tensor]
) -> None:
    objective = reinforced(task, rollouts=1, min_keep=min_keep)
    lengths = batch["attention_mask"].sum(1).float()
    kept = torch.minimum(lengths, torch.tensor(float(min_keep + extra)))
    objective.priced(batch, [kept, kept])
    found = objective.spent.take()["kept"]
    assert found == pytest.approx(float((kept - 1).sum() / (lengths - 1).sum()) if expected is None else expected)


def test_the_labels_have_their_weight_where_the_teacher_s_is_set_to_nothing(
    task: Any, batch: Mapping[str, Tensor]
) -> None:
    found = {}
    for weight in (1.0, 0.5):
        objective = reinforced(task, "joint", rollouts=1, soft_weight=0.0, hard_weight=weight)
        outputs = task.forward(objective.model.eval(), batch)
        found[weight] = objective.answer_losses(outputs, batch, None)
    torch.testing.assert_close(found[0.5], 0.5 * found[1.0])


def test_settings_that_a_selector_does_not_read_are_told_or_refused() -> None:
    config = make_config()
    method = TrBert(selector="gumbel", rollouts=3, init=Training(epochs=3))
    assert "the selector gumbel does not read init, rollouts." in method.warnings(config, {})
    assert not any("does not read" in line for line in TrBert(rollouts=3).warnings(config, {}))
    with pytest.raises(ValueError, match="selector first keeps fixed shares, which no price moves"):
        TrBert(selector="first", alpha=2.0)


def test_a_single_step_inside_ends_a_collapse(task: Any) -> None:
    said: list[str] = []
    objective = reinforced(task, rollouts=1)
    objective.say = said.append
    for step in range(600):
        kept = torch.tensor(0.5 if step % 150 == 0 else 0.999)
        objective.spent.add(macs=kept, kept=kept, reward=torch.tensor(0.0))
        objective.before_update()
    assert not said


# Scores


def test_checkpoints_are_chosen_by_the_score_within_the_budget(task: Any) -> None:
    objective = reinforced(task, rollouts=1, alpha=None, macs=0.5, calibrate=False).eval()
    assert objective.selection == ("score_in_budget", True)
    found = objective.scores("validation", torch.device("cpu"))
    shares = []
    for row in task.encoded("validation"):
        trace = Trace()
        with torch.no_grad():
            task.forward(objective.model, task.collate([row]), trace=trace)
        shares.append(float(objective.costs.share_of(trace)))
    assert found["macs_share"] == pytest.approx(sum(shares) / len(shares), rel=1e-5)
    assert found["macs_share"] > 0.5
    assert found["score_in_budget"] == pytest.approx(found["accuracy"] - (found["macs_share"] / 0.5 - 1))
    assert reinforced(task, rollouts=1, alpha=0.3).selection == ("accuracy", True)


def test_a_cheap_checkpoint_is_not_better_than_its_score(task: Any) -> None:
    objective = reinforced(task, rollouts=1, alpha=None, macs=0.95, calibrate=False, policy_init_bias=-4.0).eval()
    found = objective.scores("validation", torch.device("cpu"))
    assert found["macs_share"] < 0.95
    assert found["score_in_budget"] == found["accuracy"]


@pytest.mark.parametrize("macs", [0.45, 0.6, 0.8])
def test_thresholds_are_fitted_to_the_budget_without_labels(task: Any, macs: float) -> None:
    reduced, _ = made(task, alpha=None, macs=macs)
    unlabelled = copy.copy(task)
    unlabelled._encoded = {"validation": task.encoded("validation").remove_columns("labels")}
    assert fit(reduced, unlabelled, unlabelled.encoded("validation"), macs) == pytest.approx(macs, abs=0.01)
    assert reduced.config.token_reduction["thresholds"] == list(settings_of(reduced).thresholds or ())


def test_fitted_thresholds_depend_on_the_weights_alone(task: Any) -> None:
    """Whatever was fitted before: a resumed run has fitted other things than an uninterrupted one."""
    found = []
    for before in (None, (0.1, 0.9), (0.7, 0.7)):
        reduced, _ = made(task, alpha=None)
        if before:
            change_settings(reduced, thresholds=before)
        fit(reduced, task, task.encoded("validation"), 0.5)
        found.append(settings_of(reduced).thresholds)
    assert found[0] == found[1] == found[2]


def test_some_rows_are_spread_over_all(task: Any) -> None:
    rows = task.encoded("train")
    assert len(spread(rows, 500)) == 96
    assert spread(rows, 8)["row"][:] == [0, 12, 24, 36, 48, 60, 72, 84]


def test_evaluation_runs_the_model_that_is_shipped(task: Any, batch: Mapping[str, Tensor]) -> None:
    objective = reinforced(task, rollouts=4).eval()
    objective.impose(torch.zeros(64, 2, dtype=torch.bool))  # training alone draws
    with torch.no_grad():
        found = objective(**batch)["logits"]
        torch.testing.assert_close(found, task.forward(objective.model, batch).logits)


# Who trains what


@pytest.mark.parametrize(
    ("selector", "phase", "name"),
    [
        ("policy", "policy", "Reinforced"),
        ("policy", "joint", "Reinforced"),
        ("gumbel", "policy", "Smooth"),
        ("gumbel", "joint", "Smooth"),
        ("threshold", "policy", "Smooth"),
        ("threshold", "joint", "Reducing"),
        ("attention", "joint", "Reducing"),
        ("random", "joint", "Reducing"),
        ("first", "joint", "Reducing"),
    ],
)
def test_each_selector_is_trained_in_its_way(task: Any, selector: str, phase: Any, name: str) -> None:
    reduced, method = made(task, selector=selector, alpha=None)
    run: Any = type("Run", (), {"seed": 1, "runtime": type("Runtime", (), {"say": print})})()
    objective = objective_of(method, reduced, task, run, phase)
    assert type(objective).__name__ == name
    assert objective.phase == phase
    objective.train()
    reduced.requires_grad_(True)
    objective(**batch_of(task))["loss"].backward()


@pytest.mark.parametrize("selector", ["attention", "random", "first"])
def test_selectors_without_training_train_the_model_around_them(
    task: Any, batch: Mapping[str, Tensor], selector: str
) -> None:
    reduced, method = made(task, selector=selector, teacher="none", alpha=None)
    reduced.requires_grad_(True)
    objective = Reducing(reduced, task, method, 1).train()
    loss = objective(**batch)["loss"]
    with torch.no_grad():
        expected = task.example_losses(task.forward(reduced, batch), batch).mean()
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-6)
    loss.backward()
    assert all(value.grad is not None for value in objective.parameters())
    stock = make_model(**without_dropout())
    with torch.no_grad():
        full = task.example_losses(task.forward(stock, batch), batch).mean()
    assert float(full) != pytest.approx(float(expected), rel=1e-4)


def test_a_dense_copy_has_the_weights_of_the_given_model(task: Any) -> None:
    model = make_model(**without_dropout())
    result = compact(model, token_reduction={"layers": [1, 2], "thresholds": [0.0, 0.0]})
    batch = batch_of(task)
    with torch.no_grad():
        torch.testing.assert_close(task.forward(result, batch).logits, task.forward(model, batch).logits)


def test_labels_of_the_development_texts_choose_checkpoints(task: Any, text_data: Any) -> None:
    from bertpress.tasks.classification import Classification

    data = text_data()
    data.splits["validation"] = data.splits["validation"].remove_columns("label")
    unlabelled = Classification(data, make_tokenizer(), 32)
    config = make_model().config
    with pytest.raises(RequestError, match="chooses checkpoints by labels, but the validation rows have none"):
        TrBert().check(Situation(config, config, unlabelled, False))


@pytest.mark.parametrize(
    "fields", [{"selector": "attention"}, {"selector": "first"}, {"selector": "threshold"}, {"selector": "gumbel"}]
)
def test_every_selector_meets_the_budget(task: Any, fields: dict[str, Any]) -> None:
    reduced, _ = made(task, alpha=None, **fields)
    if fields["selector"] == "threshold":
        change_settings(reduced, thresholds=(0.05, 0.06, 0.07))
    for macs in (0.9, 0.5):
        reached = fit(reduced, task, task.encoded("validation"), macs)
        assert reached == pytest.approx(macs, abs=0.03)  # rows are short, and a token is a whole one


def test_rows_too_short_for_any_decision_leave_thresholds_alone(task: Any) -> None:
    reduced, _ = made(task, alpha=None, min_tokens=64)
    assert fit(reduced, task, task.encoded("validation"), 0.5) >= 1
    assert settings_of(reduced).thresholds == (0.5, 0.5)


def test_a_policy_that_is_sure_of_every_token_can_be_made_to_skip_them(task: Any) -> None:
    """Scores of exactly 1 are no reason to keep all."""
    reduced, _ = made(task, alpha=None, policy_init_bias=60.0)
    with torch.no_grad():
        for policy in reduced.base_model.policies:
            policy.outer.weight.zero_()
    lengths, least = least_kept(settings_of(reduced), task, [batch_of(task)])
    assert least.tolist() == [1.0] * 8, "the first token"
    assert lengths.tolist() == task.encoded("train")["length"][:8]
    assert fit(reduced, task, task.encoded("validation"), 0.3) < 0.5
    assert fit(reduced, task, task.encoded("validation"), 0.95) >= 1


def test_scores_of_a_batch_of_short_rows_lie_where_others_lie() -> None:
    decision: Any = SimpleNamespace(scores=None, keep=torch.empty(3, dtype=torch.bool, device="meta"))
    assert _asked(decision).device.type == "meta"


def test_what_is_always_kept_is_counted(task: Any) -> None:
    batch = batch_of(task)
    reduced, _ = made(task, alpha=None, always_keep=("sep",), min_keep=3)
    assert least_kept(settings_of(reduced), task, [batch])[1].tolist() == [3.0] * 8, "two stay anyway"
    reduced, _ = made(task, alpha=None, min_tokens=9)
    lengths, least = least_kept(settings_of(reduced), task, [batch])
    assert least.tolist() == [length if length < 9 else 1 for length in lengths.tolist()]
    assert len(set(least.tolist())) > 1
