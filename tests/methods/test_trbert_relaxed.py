"""Decisions with a gradient: relaxed draws and soft thresholds, against finite differences and plain formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import batch_of, make_model, without_dropout
from reduced import gradients, made
from torch import Tensor

from bertpress.methods.trbert.sampling import Relaxed, RelaxedPolicy
from bertpress.methods.trbert.smooth import Smooth
from bertpress.methods.trbert.steps import freeze
from bertpress.models.packed_attention import attend
from bertpress.models.walks import Trace


def smooth(task: Any, phase: str = "policy", selector: str = "gumbel", **fields: Any) -> Smooth:
    """What trains a tiny model by relaxed decisions, in training mode."""
    reduced, method = made(task, selector=selector, **fields)
    freeze(reduced, all_but_policies=phase == "policy" and selector == "gumbel")
    return Smooth(reduced, task, method, seed=1, phase=phase).train()


def test_the_gradient_at_a_draw_is_what_its_token_would_have_changed(task: Any, batch: Any) -> None:
    """Against finite differences of the loss in each token's weight, in double precision."""
    objective = smooth(task, reduction_layers=(2,), policy_init_bias=-2.5)
    model = objective.model.double()
    decide = RelaxedPolicy(objective.rules(batch), objective.drawn(batch), 0.7)
    shares: list[Tensor] = []

    def watched(question: Any) -> tuple[Tensor, Tensor]:
        keep, share = decide(question)
        share.retain_grad()
        shares.append(share)
        return keep, share

    def loss_of(decision: Any) -> Tensor:
        walk = objective.walk(Relaxed, batch, decision)
        logits = task.forward(model, batch, walk=walk).logits
        return torch.nn.functional.cross_entropy(logits, batch["labels"])

    loss_of(watched).backward()
    slope, drawn = shares[0].grad, shares[0].detach()
    assert slope is not None
    assert set(drawn.tolist()) == {0.0, 1.0}

    def shifted(token: int, change: float) -> float:
        moved = drawn.clone()
        moved[token] += change
        with torch.no_grad():
            return float(loss_of(lambda _: (moved > 0.5, moved)))

    kept, skipped = (drawn == 1).nonzero().flatten().tolist(), (drawn == 0).nonzero().flatten().tolist()
    assert min(len(kept), len(skipped)) >= 25
    for token in (*kept[1:30:5], *skipped[1:30:5]):
        low = 0.0 if token in skipped else -1e-4  # below 0 there is no weight
        numeric = (shifted(token, 1e-4) - shifted(token, low)) / (1e-4 - low)
        assert float(slope[token]) == pytest.approx(numeric, rel=2e-2, abs=1e-4)


def test_the_gradient_of_a_policy_is_that_of_the_soft_draw(task: Any, batch: Any) -> None:
    """With one decision: chain rule through sigmoid((logit + logistic noise) / temperature)."""
    objective = smooth(task, reduction_layers=(2,), policy_init_bias=0.0, alpha=2.0)
    found: dict[str, Tensor] = {}
    original = RelaxedPolicy.__call__

    def watched(self: Any, question: Any) -> Any:
        keep, share = original(self, question)
        share.retain_grad()
        found.update(share=share, states=question.states.detach(), place=question.tokens.place, keep=keep)
        found["starts"] = question.tokens.starts
        return keep, share

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RelaxedPolicy, "__call__", watched)
        objective.step, objective.total_steps = 5, 10
        objective(**batch)["loss"].backward()
    policy = objective.model.bert.policies[0]
    reached = {name: value.clone() for name, value in gradients(objective).items()}
    objective.zero_grad()
    temperature = 1.0 * (0.3 / 1.0) ** 0.5
    drawn = objective.drawn(batch)(0)[found["place"]].clamp(1e-6, 1 - 1e-6).float()
    soft = torch.sigmoid((policy(found["states"]) + torch.log(drawn / (1 - drawn))) / temperature)
    first = torch.zeros(len(soft), dtype=torch.bool).index_fill(0, found["starts"], True)
    torch.testing.assert_close(found["keep"], (soft > 0.5) | first)
    # what keeping more tokens costs reaches the draws as well: it is part of the gradient at `share`
    (soft * found["share"].grad).masked_fill(first, 0.0).sum().backward()
    for name, value in gradients(objective).items():
        torch.testing.assert_close(reached[name], value, rtol=1e-4, atol=1e-7, msg=name)


def test_dearer_tokens_lower_the_policies(task: Any, batch: Any) -> None:
    """The price's part of the gradient alone, against finite differences of the expected cost's formula."""
    objective = smooth(task, reduction_layers=(2,), alpha=1.0, cost="tokens")
    objective.answer_losses = lambda outputs, *_: outputs.logits.sum(1) * 0.0  # type: ignore[method-assign]
    objective(**batch)["loss"].backward()
    bias = objective.model.bert.policies[0].outer.bias
    assert bias.grad is not None
    assert float(bias.grad) > 0, "a smaller bias keeps fewer tokens"


@pytest.mark.parametrize("cost", ["tokens", "macs"])
def test_an_earlier_decision_pays_for_what_a_later_one_keeps(cost: str, task: Any, batch: Any) -> None:
    """A token that the first decision skips costs nothing at the second, so the price's gradient has both."""
    objective = smooth(task, reduction_layers=(1, 2), alpha=1.0, cost=cost, policy_init_bias=1.0)
    objective.answer_losses = lambda outputs, *_: outputs.logits.sum(1) * 0.0  # type: ignore[method-assign]
    torch.nn.init.zeros_(objective.model.bert.policies[1].inner.weight)  # which the first decision would change
    decisions: list[tuple[Tensor, Tensor, Tensor]] = []
    counts: list[Tensor] = []
    original = RelaxedPolicy.__call__

    def watched(self: Any, question: Any) -> Any:
        keep, share = original(self, question)
        share.retain_grad()
        decisions.append((question.tokens.place, keep, share))
        counts.append(self.kept[-1].detach().requires_grad_())
        return keep, share

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RelaxedPolicy, "__call__", watched)
        objective(**batch)["loss"].backward()
    objective.priced(batch, counts).mean().backward()
    (place, _, share), (later, kept, _) = decisions
    first, second = (count.grad for count in counts)
    assert share.grad is not None
    assert first is not None
    assert second is not None
    goes_on = torch.zeros(batch["input_ids"].numel()).index_put((later,), kept.float())[place]
    assert 0 < goes_on.sum() < len(later), "some are skipped by the second decision"
    row = place // batch["input_ids"].shape[1]
    torch.testing.assert_close(share.grad, first[row] + goes_on * second[row], rtol=1e-4, atol=1e-7)


def test_forward_a_relaxed_pass_is_the_pass_of_its_actions(task: Any, batch: Any) -> None:
    objective = smooth(task)
    actions = torch.rand(8, 64, 2, generator=torch.Generator().manual_seed(2)) < 0.5
    objective.impose(actions)
    losses: list[Tensor] = []
    original = objective.answer_losses
    objective.answer_losses = lambda *args: losses.append(original(*args)) or losses[-1]  # type: ignore
    objective(**batch)
    width = batch["input_ids"].shape[1]
    with torch.no_grad():
        outputs = task.forward(objective.model, batch, actions=actions[:, :width])
        expected = task.example_losses(outputs, batch)
    torch.testing.assert_close(losses[0].detach(), expected, rtol=1e-5, atol=1e-5)
    trace = Trace()
    with torch.no_grad():
        task.forward(objective.model, batch, actions=actions[:, :width], trace=trace)
    kept = objective.progress()
    shares = trace.kept() / batch["attention_mask"].sum(1, keepdim=True)
    assert [kept["kept_0"], kept["kept_1"]] == pytest.approx(shares.mean(0).tolist(), rel=1e-5)


def test_temperature_falls_from_start_to_end(task: Any) -> None:
    objective = smooth(task, temperature=(2.0, 0.5))
    objective.total_steps = 100
    found = []
    for step in (0, 25, 50, 75, 100):
        objective.step = step
        found.append(objective._temperature())
    assert found == pytest.approx([2.0, 2.0 * 0.25**0.25, 1.0, 2.0 * 0.25**0.75, 0.5])


def test_the_price_follows_what_relaxed_draws_spend(task: Any, batch: Any) -> None:
    objective = smooth(task, alpha=None, macs=0.3, control_rate=0.5)
    objective(**batch)
    spent = objective.progress()["macs_share"]
    objective.before_update()
    assert spent > 0.3
    assert float(objective.price) == pytest.approx(0.5 * (spent - 0.3), rel=1e-5)
    objective.before_update()
    assert float(objective.price) == pytest.approx(0.5 * (spent - 0.3), rel=1e-5), "without a batch nothing moves"


# Thresholds on attention


def test_thresholds_start_rising_and_belong_to_the_checkpoint(task: Any) -> None:
    objective = smooth(task, selector="threshold")
    assert objective.costs.layers == (1, 2, 3)
    assert objective.thresholds is not None
    assert objective.thresholds.tolist() == pytest.approx([0.0025, 0.005, 0.0075])
    assert "thresholds" in objective.state_dict()
    objective.thresholds.data.mul_(2)
    objective.eval()
    assert objective.model.bert.settings.thresholds == pytest.approx((0.005, 0.01, 0.015))
    assert objective.model.config.token_reduction["thresholds"] == pytest.approx([0.005, 0.01, 0.015])


def received(model: Any, task: Any, batch: Any, row: int) -> list[Tensor]:
    """Before layers 1, 2 and 3: mean over heads and queries of the attention to each token, from stock maps."""
    length = int(batch["attention_mask"][row].sum())
    one = {name: batch[name][row : row + 1, :length] for name in task.inputs}
    with torch.no_grad():
        maps = model(**one, output_attentions=True).attentions
    return [found[0].mean((0, 1)) for found in maps[:3]]


def test_attention_received_is_the_mean_over_heads_and_queries(task: Any, batch: Any) -> None:
    stock = make_model(**without_dropout())
    stock.set_attn_implementation("eager")
    objective = smooth(task, selector="threshold")
    trace = Trace()
    with torch.no_grad():
        task.forward(objective.model, batch, trace=trace, token_threshold=-1.0)
    for row in range(8):
        length = int(batch["attention_mask"][row].sum())
        for step, expected in enumerate(received(stock, task, batch, row)):
            torch.testing.assert_close(trace.scores()[row, :length, step], expected, rtol=1e-4, atol=1e-6)
            assert float(expected.sum()) == pytest.approx(1.0, rel=1e-5)


def test_soft_thresholds_scale_states_by_a_sigmoid(task: Any, batch: Any) -> None:
    """The first decision's shares by hand; what is left later is the product."""
    stock = make_model(**without_dropout())
    stock.set_attn_implementation("eager")
    objective = smooth(task, selector="threshold", temperature=(3.0, 1.0))
    objective(**batch)
    found = objective.progress()
    shares = []
    for row in range(8):
        length = int(batch["attention_mask"][row].sum())
        share = torch.sigmoid((received(stock, task, batch, row)[0] - 0.0025) / (3.0 * 0.002))
        share[0] = 1.0
        shares.append(float(share.sum()) / length)
    assert found["kept_0"] == pytest.approx(sum(shares) / 8, rel=1e-4)
    assert 1 > found["kept_0"] > found["kept_1"] > found["kept_2"] > 0


def test_thresholds_get_a_gradient_from_answers_and_price(task: Any, batch: Any) -> None:
    """Against finite differences of the loss in each threshold."""
    objective = smooth(task, selector="threshold", alpha=0.5, temperature=(5.0, 5.0))
    objective.model.double()
    assert objective.thresholds is not None
    objective.thresholds.data = objective.thresholds.data.double()
    objective(**batch)["loss"].backward()
    slope, start = objective.thresholds.grad, objective.thresholds.detach().clone()
    assert slope is not None

    def loss_at(step: int, change: float) -> float:
        with torch.no_grad():
            objective.thresholds.copy_(start)
            objective.thresholds[step] += change
            return float(objective(**batch)["loss"])

    for step in range(3):
        numeric = (loss_at(step, 5e-4) - loss_at(step, -5e-4)) / 1e-3
        assert float(slope[step]) == pytest.approx(numeric, rel=1e-2)  # attention is computed in single precision
        assert abs(numeric) > 1e-3


def test_weights_of_keys_are_weights_in_the_softmax() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 4, generator=generator) for _ in range(3))
    weights = torch.tensor([[1.0, 1.0, 0.0, 1.0, 0.25], [1.0, 0.0, 0.0, 0.5, 1.0]])
    found, _ = attend(torch.nn.Module(), query, key, value, None, key_weights=weights)
    scores = (query @ key.mT) / 2.0
    for row in range(2):
        exponents = scores[row].exp() * weights[row]
        expected = (exponents / exponents.sum(-1, keepdim=True)) @ value[row]
        torch.testing.assert_close(found[row], expected.transpose(0, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "distilbert", "electra"])
@pytest.mark.parametrize("selector", ["gumbel", "threshold"])
def test_other_architectures_learn_by_relaxed_decisions(task_of: Any, family: str, selector: str) -> None:
    task = task_of(family)
    reduced, method = made(task, family, selector=selector)
    objective = Smooth(reduced.requires_grad_(True), task, method, seed=1, phase="policy").train()
    objective(**batch_of(task))["loss"].backward()
    assert all(value.grad is not None for value in objective.parameters())
