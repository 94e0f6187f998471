"""REINFORCE for decisions about tokens, against plain loops over rows and rollouts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from reduced import alone, drawn_actions, gradients, log_likelihood, reinforced

from bertpress.methods.trbert.artefacts import PerRow

UPSTREAM = {"baseline": "mean", "length_norm": "padded", "logprob_eps": 1e-6, "alpha": 0.7}


def formula(objective: Any, batch: Any, actions: torch.Tensor, padded: bool, eps: float) -> tuple[Any, Any]:
    """(policies' loss, mean loss of the answers), by a loop over rows and rollouts with the baseline `mean`."""
    count, width = objective.method.rollouts, objective.task.max_length
    policies, answers = torch.zeros(()), torch.zeros(())
    for row in range(len(batch["input_ids"])):
        passes = [alone(objective.model, objective.task, batch, row, actions[rollout, row]) for rollout in range(count)]
        own = int(batch["attention_mask"][row].sum())
        rewards = []
        for found in passes:
            lengths = [kept / (width if padded else own) for kept in found.kept]
            rewards.append(-float(found.loss.detach()) - objective.method.alpha * sum(lengths) / len(lengths))
        baseline = sum(rewards) / count
        for found, reward in zip(passes, rewards, strict=True):
            policies = policies - (reward - baseline) * log_likelihood(found, eps)
            answers = answers + found.loss
    total = count * len(batch["input_ids"])
    return policies / total, answers / total


def test_the_loss_of_policies_equals_the_formula_of_the_original(task: Any, batch: Any) -> None:
    objective = reinforced(task, rollouts=4, **UPSTREAM)
    actions = drawn_actions(objective, batch)
    objective.impose(actions)
    loss = objective(**batch)["loss"]
    expected, _ = formula(objective, batch, actions, padded=True, eps=1e-6)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6, abs=2e-7)
    loss.backward()
    found = gradients(objective)
    objective.zero_grad()
    expected.backward()
    for name, value in gradients(objective).items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_our_conventions_differ_by_the_baseline_and_the_length(task: Any, batch: Any) -> None:
    objective = reinforced(task, rollouts=4)
    actions = drawn_actions(objective, batch)
    objective.impose(actions)
    expected, _ = formula(objective, batch, actions, padded=False, eps=0.0)
    found = float(objective(**batch)["loss"].detach())
    assert found == pytest.approx(4 / 3 * float(expected.detach()), rel=1e-5, abs=1e-6)


def test_the_joint_loss_adds_the_answers(task: Any, batch: Any) -> None:
    objective = reinforced(task, "joint", rollouts=3, beta=0.25, teacher="none", **UPSTREAM)
    actions = drawn_actions(objective, batch)
    objective.impose(actions)
    loss = objective(**batch)["loss"]
    policies, answers = formula(objective, batch, actions, padded=True, eps=1e-6)
    assert float(loss.detach()) == pytest.approx(float((answers + 0.25 * policies).detach()), rel=1e-5)
    loss.backward()
    found = gradients(objective)
    objective.zero_grad()
    (answers + 0.25 * policies).backward()
    expected = gradients(objective)
    assert found.keys() == expected.keys()
    assert len(found) > 60
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "distilbert", "electra"])
def test_shared_lower_layers_equal_separate_passes(task_of: Any, family: str) -> None:
    """K rollouts at once against K passes of the whole model with the same actions."""
    from conftest import batch_of

    task = task_of(family)
    batch = batch_of(task)
    objective = reinforced(task, "joint", family=family, rollouts=3, teacher="none")
    actions = drawn_actions(objective, batch)
    objective.impose(actions)
    with torch.no_grad():
        together = float(objective(**batch)["loss"])
        shifted = []
        for rollout in range(3):
            outputs = task.forward(objective.model, batch, actions=actions[rollout])
            shifted.append(float(task.example_losses(outputs, batch).mean()))
    logged = objective.progress()
    assert logged["task_loss"] == pytest.approx(sum(shifted) / 3, rel=1e-5)
    assert together != pytest.approx(logged["task_loss"])


def test_layers_below_the_first_decision_run_once(task: Any, batch: Any) -> None:
    objective = reinforced(task, rollouts=8, reduction_layers=(2,))
    sizes: list[int] = []
    for layer in objective.model.bert.encoder.layer.children():
        layer.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[1]))
    objective.impose(torch.ones(64, 1, dtype=torch.bool))
    objective(**batch)
    tokens = int(batch["attention_mask"].sum())
    assert sizes == [tokens, tokens, 8 * tokens, 8 * tokens]


# Draws


def actions_of(objective: Any, batch: Any) -> dict[tuple[int, int], list[list[int]]]:
    """(rollout, row's number) to the positions that each decision keeps."""
    from bertpress.models.walks import Trace

    trace = Trace()
    original = objective.walk

    def walk(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs, trace=trace)

    objective.walk = walk
    with torch.no_grad():
        objective(**batch)
    objective.walk = original
    rows, width = batch["input_ids"].shape
    count = objective.method.rollouts
    trace.valid = batch["attention_mask"].bool().repeat(count, 1)
    alive = trace.alive().view(count, rows, width, -1)
    return {
        (rollout, int(number)): [alive[rollout, row, :, step].nonzero().flatten().tolist() for step in range(2)]
        for rollout in range(count)
        for row, number in enumerate(batch["row"])
    }


def some(task: Any, numbers: list[int]) -> Any:
    rows = task.encoded("train")
    return task.collate([rows[number] for number in numbers])


def test_draws_depend_on_seed_step_and_row_alone(task: Any) -> None:
    objective = reinforced(task, rollouts=3)
    together = actions_of(objective, some(task, [3, 40, 7, 12]))
    for numbers in ([7], [40, 3], [12, 90, 91, 92, 93]):
        for key, kept in actions_of(objective, some(task, numbers)).items():
            assert kept == together.get(key, kept), "neighbours, order and padding change nothing"
    assert len({str(together[rollout, 40]) for rollout in range(3)}) > 1, "rollouts differ"
    objective.step = 1
    assert actions_of(objective, some(task, [3, 40, 7, 12])) != together
    objective.step, objective.seed = 0, 2
    assert actions_of(objective, some(task, [3, 40, 7, 12])) != together
    objective.seed, objective.micro_batch = 1, 3
    assert actions_of(objective, some(task, [3, 40, 7, 12])) == together


def test_a_token_goes_on_as_often_as_its_policy_says(task: Any) -> None:
    objective = reinforced(task, rollouts=400, reduction_layers=(1,), policy_init_bias=-1.0)
    batch = some(task, [5])
    length = int(batch["attention_mask"].sum())
    everything = torch.ones(length, 1, dtype=torch.bool)
    expected = torch.sigmoid(alone(objective.model, task, batch, 0, everything).keep[0].detach())
    sampled: list[torch.Tensor] = []
    walk = objective.walk

    def watched(kind: Any, repeated: Any, decide: Any, **options: Any) -> Any:
        def look(question: Any) -> Any:
            keep, scores = decide(question)
            sampled.append(keep.clone())
            return keep, scores

        return walk(kind, repeated, look, **options)

    objective.walk = watched  # type: ignore[method-assign]
    objective(**batch)
    shares = sampled[0].view(400, length).float().mean(0)
    assert float(shares[0]) == 1.0, "the first token goes on always"
    assert float((shares - expected)[1:].abs().max()) < 4 * 0.5 / 400**0.5
    assert 0.15 < float(expected.min()) < 0.4 < 0.6 < float(expected.max())


# Guided rollouts


class Guide(PerRow):
    """Importance by a rule in place of a file."""

    def __init__(self, rule: Any) -> None:
        self.rule = rule

    def tokens(self, rows: torch.Tensor, width: int, device: torch.device) -> torch.Tensor:
        block = torch.full((2, len(rows), width), torch.nan)
        for index, number in enumerate(rows.tolist()):
            for step in range(2):
                values = self.rule(number, step)
                block[step, index, : len(values)] = torch.tensor(values)
        return block


def late(task: Any) -> Guide:
    """The later a token stands, the more important it is."""
    lengths = task.encoded("train")["length"]
    return Guide(lambda number, step: [float(position) for position in range(lengths[number])])


def test_a_guided_rollout_takes_as_many_as_the_policy_expects_and_the_most_important(task: Any) -> None:
    objective = reinforced(task, rollouts=3, guide=late(task), guide_rate=0.5)
    objective.total_steps = 10
    batch = some(task, [3, 40, 7])
    found = actions_of(objective, batch)
    free = reinforced(task, rollouts=3)
    unguided = actions_of(free, batch)
    for row, number in enumerate((3, 40, 7)):
        length, alive = int(batch["attention_mask"][row].sum()), None
        actions = torch.zeros(length, 2, dtype=torch.bool)
        for step in range(2):
            logits = alone(objective.model, task, batch, row, actions if step else torch.ones_like(actions)).keep[step]
            quota = int(float(torch.sigmoid(logits.detach()).sum()) + 0.5)
            alive = list(range(length)) if alive is None else alive
            best = sorted(alive, reverse=True)[:quota]
            alive = sorted({0, *best})
            actions[alive, step] = True
            assert found[0, number][step] == alive, (number, step)
        for rollout in (1, 2):
            assert found[rollout, number] == unguided[rollout, number], "only the first rollout is guided"


def test_guidance_ends_after_its_share_of_the_run(task: Any) -> None:
    batch = some(task, [3, 40, 7])
    objective = reinforced(task, rollouts=2, guide=late(task), guide_rate=0.5)
    objective.total_steps = 10
    for step, guided in ((0, True), (4, True), (5, False), (9, False)):
        objective.step = step
        free = reinforced(task, rollouts=2)
        free.step = step
        assert (actions_of(objective, batch) != actions_of(free, batch)) == guided
        assert objective.progress()["guided"] == (0.5 if guided else 0.0)


def test_a_guided_action_is_judged_by_the_policys_own_probability(task: Any, batch: Any) -> None:
    """The loss of a guided rollout is that of the same actions had they been drawn."""
    objective = reinforced(task, rollouts=2, guide=late(task), guide_rate=1.0)
    found = float(objective(**batch)["loss"].detach())
    actions = actions_of(objective, batch)
    rows, width = batch["input_ids"].shape
    imposed = torch.zeros(2, rows, width, 2, dtype=torch.bool)
    for (rollout, number), kept in actions.items():
        row = batch["row"].tolist().index(number)
        for step in range(2):
            imposed[rollout, row, kept[step], step] = True
    free = reinforced(task, rollouts=2)
    free.impose(imposed)
    assert float(free(**batch)["loss"].detach()) == pytest.approx(found, rel=1e-6)


# One rollout


def test_one_rollout_falls_back_to_a_running_mean(task: Any, batch: Any) -> None:
    objective = reinforced(task, rollouts=1, alpha=0.5)
    objective(**batch)
    assert bool(objective.running.isnan())
    first = objective.means.sums["reward"].clone()
    objective.before_update()
    assert float(objective.running) == pytest.approx(float(first), rel=1e-6)
    objective.step = 1
    objective(**batch)
    second = float(objective.means.sums["reward"] - first)
    objective.before_update()
    assert float(objective.running) == pytest.approx(0.99 * float(first) + 0.01 * second, rel=1e-6)
    assert "running" in objective.state_dict(), "it survives a restart"


# What a gradient reaches


def skipping(task: Any, batch: Any, **fields: Any) -> Any:
    """A joint objective with a head that reads all tokens, of which half are skipped."""
    objective = reinforced(task, "joint", rollouts=2, teacher="none", beta=0.0, reduction_layers=(2,), **fields)
    objective.model.base_model.token_outputs = True
    positions = torch.arange(64)[:, None] % 2 == 0
    objective.impose(positions)
    return objective


@pytest.mark.parametrize("through", [True, False])
def test_gradients_reach_the_last_states_of_skipped_tokens_or_do_not(task: Any, batch: Any, through: bool) -> None:
    objective = skipping(task, batch, grad_through_skipped=through)
    tables: list[torch.Tensor] = []

    def forward(model: Any, given: Any, **asked: Any) -> Any:
        found = model.base_model(**task.inputs_of(model, given), **asked).last_hidden_state
        odd = torch.arange(found.shape[1]) % 2 == 1
        tables.append(found)
        return (found * odd[:, None] * given["attention_mask"][..., None]).sum((1, 2))  # skipped tokens alone

    objective.task = type(task)(task.data, task.tokenizer, task.max_length)
    objective.task.forward = forward
    objective.task.example_losses = lambda outputs, given: outputs
    objective(**batch)["loss"].backward()
    below = objective.model.bert.encoder.layer[0].output.dense.weight.grad
    reached = below is not None and bool((below.abs() > 1e-6).any())
    assert reached == through
    assert bool((tables[0].abs().sum(-1) > 0).eq(batch["attention_mask"].repeat(2, 1).bool()).all())


@pytest.mark.parametrize("detached", [True, False])
def test_policies_change_what_lies_below_them_or_do_not(task: Any, batch: Any, detached: bool) -> None:
    objective = reinforced(task, "joint", rollouts=4, teacher="none", detach_policy_input=detached)
    objective.impose(drawn_actions(objective, batch))
    answers = objective.answer_losses
    objective.answer_losses = lambda *args: answers(*args).detach()  # type: ignore[method-assign]
    objective(**batch)["loss"].backward()
    found = gradients(objective)
    assert any("policies" in name for name in found)
    assert any("encoder.layer.0." in name for name in found) != detached
    assert not any("classifier" in name for name in found)


def test_the_policy_phase_has_no_dropout_unless_asked_for(task: Any) -> None:
    for asked in (True, False):
        objective = reinforced(task, rollouts=2, policy_dropout=asked)
        assert objective.training
        assert objective.model.training == asked
    assert reinforced(task, "joint", rollouts=2).model.training


def test_only_policies_are_trained_in_their_phase(task: Any, batch: Any) -> None:
    objective = reinforced(task, rollouts=2)
    objective(**batch)["loss"].backward()
    assert {name.split(".")[2] for name in gradients(objective)} == {"policies"}
    assert len(gradients(objective)) == 8


def test_entropy_is_rewarded(task: Any, batch: Any) -> None:
    plain, rewarded = reinforced(task, rollouts=2), reinforced(task, rollouts=2, entropy_weight=0.5)
    losses = [float(objective(**batch)["loss"].detach()) for objective in (plain, rewarded)]
    entropy = rewarded.progress()["entropy"]
    assert 0.3 < entropy < 0.7
    assert losses[1] == pytest.approx(losses[0] - 0.5 * entropy, rel=1e-5)


# Rules of the deployed model


def test_what_stays_when_deployed_stays_in_training(task: Any) -> None:
    batch = some(task, [3, 40, 7, 12])
    sep = task.tokenizer.sep_token_id
    kept = actions_of(reinforced(task, rollouts=8, always_keep=("sep",), policy_init_bias=-3.0), batch)
    rows = zip(batch["row"].tolist(), batch["input_ids"], strict=True)
    places = {number: (ids == sep).nonzero().flatten().tolist() for number, ids in rows}
    for (_, number), steps in kept.items():
        assert all(set(places[number]) <= set(step) for step in steps)
    lengths = dict(zip(batch["row"].tolist(), batch["attention_mask"].sum(1).tolist(), strict=True))
    limit = sorted(lengths.values())[2]
    for (_, number), steps in actions_of(reinforced(task, rollouts=4, min_tokens=limit), batch).items():
        everything = [list(range(lengths[number]))] * 2
        assert (steps == everything) if lengths[number] < limit else True
    for (_, number), steps in actions_of(reinforced(task, rollouts=8, min_keep=3, max_keep=4), batch).items():
        assert all(min(3, lengths[number]) <= len(step) <= 4 for step in steps)
