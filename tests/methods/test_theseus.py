from __future__ import annotations

import copy
import functools
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_model, without_dropout

from bertpress import schedules
from bertpress.config import build
from bertpress.encoders import encoder_of
from bertpress.encoders.surgery import keep_layers
from bertpress.errors import RequestError
from bertpress.methods.method import Training
from bertpress.methods.theseus import Theseus
from bertpress.methods.theseus.modules import Module, describe, even_modules, parse_modules, sources
from bertpress.methods.theseus.rates import Constant, Custom, Linear
from bertpress.methods.theseus.replacing import Hybrid, Replacing, draw_mask

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def layers_of(model: Any) -> list[Any]:
    return list(encoder_of(model.config).layer_list(model).children())


def logits_of(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model(**{name: batch[name] for name in INPUTS}).logits


def replacing(task: Any, model: Any = None, seed: int = 1, **fields: Any) -> Replacing:
    model = make_model(**without_dropout()) if model is None else model
    return Replacing(model, task, Theseus(**{"successor_layers": 2, **fields}), seed)


def values_of(objective: Replacing) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in objective.named_parameters()}


# Rates


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.3), (1, 0.3006), (500, 0.6), (1166, 0.9996), (1167, 1.0), (9999, 1.0)]
)
def test_linear_worked_values(step: int, rate: float) -> None:
    assert schedules.linear(step, 0.3, 0.0006) == pytest.approx(rate)
    assert Linear(base=0.3, slope=0.0006).at(step, 5000, 2) == pytest.approx((rate, rate))
    assert Linear(base=0.3, slope=0.0006, reverse=True).at(step, 5000, 1) == pytest.approx((1 - rate,))


def test_linear_is_clamped_to_exactly_one() -> None:
    assert schedules.linear(1167, 0.3, 0.0006) == 1.0


@pytest.mark.parametrize(("step", "rate"), [(0, 0.5), (1, 0.5), (2, 0.5), (3, 1.0), (100, 1.0)])
def test_constant_worked_values(step: int, rate: float) -> None:
    assert Constant(rate=0.5, switch_after=3).at(step, 100, 2) == (rate, rate)
    assert Constant(rate=0.5, switch_at=0.3).at(step, 10, 2) == (rate, rate)


def test_constant_without_a_number() -> None:
    assert Constant().at(4, 10, 1) == (0.5,)
    assert Constant().at(5, 10, 1) == (1.0,)
    assert Constant(rate=0.7, switch_after="never").at(10**6, 10, 1) == (0.7,)
    assert Constant(switch_after="never").switch(10) == math.inf
    assert Constant(switch_after=0).at(0, 10, 1) == (1.0,)


@pytest.mark.parametrize(
    ("base", "steps", "slope"),
    [
        (0.1, 1000, 9e-4),
        (0.1, 5000, 1.8e-4),
        (0.1, 10000, 9e-5),
        (0.1, 30000, 3e-5),
        (0.3, 1000, 7e-4),
        (0.3, 5000, 1.4e-4),
        (0.3, 10000, 7e-5),
        (0.3, 30000, 0.7 / 30000),
    ],
)
def test_slope_from_the_number_of_steps_until_full(base: float, steps: int, slope: float) -> None:
    assert schedules.slope_until_full(base, steps) == pytest.approx(slope)
    rate = Linear(base=base, full_after=steps)
    assert rate.at(steps // 2, 10**6, 1)[0] == pytest.approx(base + slope * (steps // 2))
    assert rate.at(steps + 1, 10**6, 1) == (1.0,)


def test_linear_is_full_at_half_of_the_run_by_default() -> None:
    assert Linear().at(25, 100, 1) == pytest.approx((0.65,))
    assert Linear().at(50, 100, 1) == pytest.approx((1.0,))
    assert Linear(full_at=1.0).at(50, 100, 1) == pytest.approx((0.65,))


def test_rates_per_module() -> None:
    assert Constant(rate=(0.1, 0.9), switch_after=5).at(0, 10, 2) == (0.1, 0.9)
    assert Linear(base=(0.0, 0.5), full_after=10).at(5, 20, 2) == pytest.approx((0.5, 0.75))
    with pytest.raises(ValueError, match="lists 2 numbers, but 3 modules"):
        Constant(rate=(0.1, 0.9)).at(0, 10, 3)
    with pytest.raises(RequestError, match="lists 3 numbers, but 2 modules"):
        Theseus(rate=Constant(rate=(0.1, 0.2, 0.3))).plan(make_model().config)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rate": {"linear": {"base": 1.5}}}, r"base.*between 0 and 1.*got 1\.5"),
        ({"rate": {"linear": {"base": -0.1}}}, r"base.*between 0 and 1.*got -0\.1"),
        ({"rate": {"linear": {"base": math.nan}}}, "base"),
        ({"rate": {"constant": {"rate": 1.01}}}, "rate"),
        ({"rate": {"constant": {"rate": math.nan}}}, "rate"),
        ({"rate": {"linear": {"slope": 0.1, "full_after": 3}}}, "exactly one of slope, full_after and full_at"),
        ({"rate": {"linear": {"slope": 0.1, "full_at": 0.3}}}, "exactly one"),
        ({"rate": {"linear": {"full_after": 3, "full_at": 0.3}}}, "exactly one"),
        ({"rate": {"linear": {"slope": 0}}}, "never reaches rate 1"),
        ({"rate": {"linear": {"slope": -1e-3}}}, "slope"),
        ({"rate": {"constant": {"switch_after": 3, "switch_at": 0.5}}}, "exactly one"),
        ({"rate": {"constant": {"switch_after": -1}}}, "0 or more"),
        ({"rate": {"constant": {"rate": 0, "switch_after": "never"}}}, "train nothing"),
        ({"rate": {"constant": {"rate": [0, 0], "switch_at": 1}}}, "train nothing"),
        ({"rate": {"linaer": {}}}, "did you mean 'linear'"),
        ({"successor_layers": 0}, "successor_layers"),
        ({"scope": "all"}, "needs a second stage"),
        ({"modules": "0-1|2-3", "successor_layers": 2}, "not both"),
        ({"empty_mask": "ignore"}, "empty_mask"),
        ({"initialisation": "middle"}, "initialisation"),
    ],
)
def test_wrong_settings_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        build(Theseus, fields)


@pytest.mark.parametrize("value", [-0.1, math.nan, (0.5, -1.0)])
def test_a_custom_rate_below_0_names_the_step(value: Any) -> None:
    method = Theseus(successor_layers=2, rate=Custom(function=lambda step, total: value if step == 7 else 0.5))
    layout = method.layout(4)
    assert method.rates(6, 10, layout) == (0.5, 0.5)
    with pytest.raises(RequestError, match="step 7 "):
        method.rates(7, 10, layout)


def test_a_custom_rate_above_1_counts_as_1() -> None:
    assert Custom(function=lambda step, total: 3.0).at(0, 1, 2) == (1.0, 1.0)
    assert Custom(function=lambda step, total: [0.2, 4]).at(0, 1, 2) == (0.2, 1.0)


def test_a_custom_rate_is_known_by_what_it_does() -> None:
    def stored(function: Any) -> str:
        return str(Custom(function=function).model_dump(mode="json")["function"])

    assert stored(lambda step, total: step / total) != stored(lambda step, total: step / total / 2)
    assert stored(lambda step, total: 0.5) == stored(lambda step, total: 0.5)
    with pytest.raises(ValueError, match="made by def or lambda"):
        Custom(function=functools.partial(max, 0))


def test_a_constant_rate_of_0_may_switch_later() -> None:
    assert Theseus(rate=Constant(rate=0, switch_after=10))
    with pytest.raises(ValueError, match="would train nothing"):
        Theseus(rate=Constant(rate=0, switch_at=1))


def test_with_accumulation_a_step_is_empty_only_if_all_its_draws_are() -> None:
    config, rate = make_model().config, Constant(rate=0.2, switch_at=1)
    one = Theseus(rate=rate).warnings(config, {"replacing": 100})
    assert any("about 64 of 100" in remark for remark in one)
    four = Theseus(rate=rate, replacing=Training(accumulation=4)).warnings(config, {"replacing": 100})
    assert not any("replace nothing" in remark for remark in four)


def test_warnings() -> None:
    config = make_model().config
    never = Theseus(rate=Constant(rate=0.5, switch_after="never")).warnings(config, {"replacing": 100})
    assert any("replace rate 0.50" in remark for remark in never)
    zero = Theseus(rate=Linear(base=0, full_at=1)).warnings(config, {"replacing": 100})
    assert any("replace nothing" in remark for remark in zero)
    fine = Theseus().warnings(config, {"replacing": 100})
    assert fine == ["modules 0-1|2-3"]


# Modules


@pytest.mark.parametrize(
    ("layers", "parts", "sizes"),
    [
        (12, 6, [2] * 6),
        (12, 4, [3] * 4),
        (12, 5, [2, 2, 2, 3, 3]),
        (24, 8, [3] * 8),
        (6, 4, [1, 1, 2, 2]),
        (4, 4, [1] * 4),
        (4, 1, [4]),
    ],
)
def test_even_modules(layers: int, parts: int, sizes: list[int]) -> None:
    modules = even_modules(layers, parts)
    assert [len(module.layers) for module in modules] == sizes
    assert list(itertools.chain(*(module.layers for module in modules))) == list(range(layers))
    assert parse_modules(describe(modules), layers) == modules


@pytest.mark.parametrize("layers", [5, 100])
def test_more_successor_layers_than_layers_are_refused(layers: int) -> None:
    with pytest.raises(RequestError, match=f"between 1 and the predecessor's 4 layers, got {layers}"):
        Theseus(successor_layers=layers).plan(make_model().config)


def test_an_explicit_plan() -> None:
    modules = parse_modules("0-0=|1-4:2|5-11:3", 12)
    assert modules == [Module((0,), 1, kept=True), Module((1, 2, 3, 4), 2), Module(tuple(range(5, 12)), 3)]
    assert describe(modules) == "0-0=|1-4:2|5-11:3"
    assert parse_modules(" 0 | 1-3:2 ", 4) == [Module((0,)), Module((1, 2, 3), 2)]
    assert parse_modules("0-1=|2-3", 4)[0].substitutes == 2, "kept groups keep all their layers"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0-1|3-3", "should begin at layer 2"),
        ("0-1|1-3", "should begin at layer 2"),
        ("1-3", "should begin at layer 0"),
        ("0-2", "covers 3 layers, but the predecessor has 4"),
        ("0-4", "covers 5 layers"),
        ("0-1|2-3:3", "of 2 layers cannot have 3"),
        ("0-1|2-3:0", "cannot have 0"),
        ("0-1=|2-3=", "nothing to replace"),
        ("0-1||2-3", "expected groups"),
        ("a-b", "expected groups"),
        ("3-0", "should begin at layer 0"),
    ],
)
def test_a_wrong_plan_is_refused(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Theseus(modules=text).plan(make_model().config)


def test_the_depth_of_the_result() -> None:
    config = make_model(num_hidden_layers=5).config
    assert Theseus().plan(config).num_hidden_layers == 2
    assert Theseus(modules="0=|1-2|3-4:2").plan(config).num_hidden_layers == 4
    assert config.num_hidden_layers == 5


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("bottom", [(0,), (1,), (2,)]),
        ("top", [(3,), (4,), (5,)]),
        ("first_of_module", [(0,), (2,), (4,)]),
        ("last_of_module", [(1,), (3,), (5,)]),
        ("mean_of_module", [(0, 1), (2, 3), (4, 5)]),
        ("random", [(), (), ()]),
        ((5, 5, 0), [(5,), (5,), (0,)]),
    ],
)
def test_sources_of_each_strategy(start: Any, expected: list[tuple[int, ...]]) -> None:
    assert sources(even_modules(6, 3), start) == [[source] for source in expected]


def test_sources_of_modules_with_several_substitutes() -> None:
    modules = parse_modules("0=|1-4:2|5", 6)
    assert sources(modules, "bottom") == [[(0,)], [(1,), (2,)], [(3,)]]
    assert sources(modules, "top") == [[(0,)], [(3,), (4,)], [(5,)]]
    assert sources(modules, "first_of_module") == [[(0,)], [(1,), (3,)], [(5,)]]
    assert sources(modules, "last_of_module") == [[(0,)], [(2,), (4,)], [(5,)]]
    assert sources(modules, "mean_of_module") == [[(0,)], [(1, 2), (3, 4)], [(5,)]]
    assert sources(modules, "random") == [[(0,)], [(), ()], [()]]


@pytest.mark.parametrize("start", [(0,), (0, 1, 2), (0, 4), (0, -1)])
def test_a_wrong_list_of_sources_is_refused(start: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match="initialisation must list 2 layers between 0 and 3"):
        Theseus(successor_layers=2, initialisation=start).plan(make_model().config)


# Draws


def many(rates: tuple[float, ...], empty_mask: str, count: int = 6000) -> np.ndarray:
    return np.array([draw_mask(rates, (1, step, 0), empty_mask) for step in range(count)], dtype=float)


def test_draws_depend_on_seed_step_and_micro_batch_alone() -> None:
    rates = (0.5,) * 8
    assert draw_mask(rates, (1, 2, 3)) == draw_mask(rates, (1, 2, 3))
    state = torch.get_rng_state()
    masks = {draw_mask(rates, key) for key in itertools.product(range(3), range(3), range(3))}
    assert len(masks) > 15
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_of_modules_are_independent() -> None:
    rates = (0.2, 0.5, 0.8)
    masks = many(rates, "skip")
    np.testing.assert_allclose(masks.mean(axis=0), rates, atol=0.025)
    covariance = np.cov(masks.T)
    np.testing.assert_allclose(covariance, np.diag([rate * (1 - rate) for rate in rates]), atol=0.015)


@pytest.mark.parametrize(
    ("empty_mask", "rate", "marginal"),
    [
        ("skip", 0.1, 0.1),
        ("resample", 0.1, 0.213),
        ("resample", 0.3, 0.340),
        ("force_one", 0.1, 0.189),
        ("force_one", 0.3, 0.320),
    ],
)
def test_marginal_rates_of_the_policies_for_empty_draws(empty_mask: str, rate: float, marginal: float) -> None:
    masks = many((rate,) * 6, empty_mask)
    np.testing.assert_allclose(masks.mean(), marginal, atol=0.008)
    empty = (masks.sum(axis=1) == 0).mean()
    assert empty == pytest.approx(0.9**6, abs=0.025) if empty_mask == "skip" else empty == 0


def test_rates_0_and_1() -> None:
    assert draw_mask((1.0, 1.0), (1, 0, 0)) == (True, True)
    assert draw_mask((0.0, 0.0), (1, 0, 0), "resample") == (False, False)
    assert draw_mask((0.0, 1.0), (1, 0, 0)) == (False, True)


# The hybrid model


@pytest.mark.parametrize("fields", [{"successor_layers": 2}, {"modules": "0=|1-2|3:1"}, {"modules": "0-3:2"}])
def test_all_predecessor_is_the_stock_model_and_all_successor_the_result(
    fields: dict[str, Any], batch: dict[str, torch.Tensor]
) -> None:
    model = make_model()
    expected = logits_of(model, batch)
    hybrid = Hybrid(copy.deepcopy(model), Theseus(initialisation="top", **fields), seed=1)
    count = len(hybrid.replaceable)
    hybrid.set((False,) * count)
    assert torch.equal(logits_of(hybrid.model, batch), expected)
    hybrid.set_successor()
    full = logits_of(hybrid.model, batch)
    assert not torch.equal(full, expected)
    successor = hybrid.successor()
    assert torch.equal(logits_of(successor, batch), full)
    assert torch.equal(logits_of(hybrid.model, batch), full), "the hybrid goes on as before"
    assert successor.config.num_hidden_layers == hybrid.method.plan(model.config).num_hidden_layers
    stock = type(model)(successor.config).eval()
    stock.load_state_dict(successor.state_dict())
    assert torch.equal(logits_of(stock, batch), full)


def test_any_mask_equals_a_model_made_by_hand(batch: dict[str, torch.Tensor]) -> None:
    model = make_model(num_hidden_layers=6)
    hybrid = Hybrid(copy.deepcopy(model), Theseus(modules="0=|1-2|3-5:2"), seed=1)
    # bottom initialisation: the substitutes start from layers 1 | 2, 3
    for mask in itertools.product((False, True), repeat=2):
        chosen = [0, *([1] if mask[0] else [1, 2]), *([2, 3] if mask[1] else [3, 4, 5])]
        hybrid.set(mask)
        assert hybrid.mask == mask
        assert torch.equal(logits_of(hybrid.model, batch), logits_of(keep_layers(model, chosen), batch)), mask


def test_a_mask_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a mask of 2 modules, got 3"):
        Hybrid(make_model(), Theseus(), seed=1).set((True, False, True))


def test_hidden_states_are_those_of_the_executed_layers(batch: dict[str, torch.Tensor]) -> None:
    hybrid = Hybrid(make_model(), Theseus(successor_layers=2), seed=1)
    inputs = {name: batch[name] for name in INPUTS}
    for mask, layers in (((False, False), 4), ((True, False), 3), ((False, True), 3), ((True, True), 2)):
        hybrid.set(mask)
        with torch.no_grad():
            assert len(hybrid.model(**inputs, output_hidden_states=True).hidden_states) == layers + 1
    with torch.no_grad():
        assert len(hybrid.successor()(**inputs, output_hidden_states=True).hidden_states) == 3


def test_substitutes_are_real_copies_with_indices_of_their_own() -> None:
    model = make_model()
    hybrid = Hybrid(model, Theseus(initialisation="top"), seed=1)
    old = {value.data_ptr() for value in hybrid.layers.predecessor.parameters()}
    new = {value.data_ptr() for value in hybrid.layers.substitutes.parameters()}
    assert not old & new
    successor = hybrid.successor()
    assert not new & {value.data_ptr() for value in successor.parameters()}
    for index, layer in enumerate(layers_of(successor)):
        assert {module.layer_idx for module in layer.modules() if hasattr(module, "layer_idx")} <= {index}


def test_mean_and_random_initialisation() -> None:
    model = make_model()
    originals = [copy.deepcopy(layer) for layer in layers_of(model)]
    mean = layers_of(Hybrid(copy.deepcopy(model), Theseus(initialisation="mean_of_module"), seed=1).successor())
    for layer, pair in zip(mean, (originals[:2], originals[2:]), strict=True):
        for value, one, two in zip(layer.parameters(), *(part.parameters() for part in pair), strict=True):
            torch.testing.assert_close(value, (one + two) / 2)
    random = layers_of(Hybrid(copy.deepcopy(model), Theseus(initialisation="random"), seed=1).successor())
    first, second = (dict(layer.named_parameters()) for layer in random)
    for name, value in first.items():
        if value.dim() == 2:
            assert not torch.equal(value, second[name])
            assert not any(torch.equal(value, dict(layer.named_parameters())[name]) for layer in originals)


# Training


def test_what_is_frozen_has_no_gradient(task: Any, batch: dict[str, torch.Tensor]) -> None:
    objective = replacing(task, modules="0=|1-2|3", successor_layers=None).train()
    objective.impose((True, True))
    objective(**batch)["loss"].backward()
    substitutes = {id(value) for index in (1, 2) for value in objective.hybrid.substitutes(index).parameters()}
    for name, value in objective.named_parameters():
        trained = id(value) in substitutes or name == "anchor"
        assert value.requires_grad is trained, name
        assert (value.grad is not None) is trained, name
    assert objective.anchor.grad is not None
    assert objective.anchor.grad.item() == 0


def test_a_mixed_mask_trains_the_drawn_module_only(task: Any, batch: dict[str, torch.Tensor]) -> None:
    objective = replacing(task).train()
    objective.impose((False, True))
    objective(**batch)["loss"].backward()
    assert all(value.grad is None for value in objective.hybrid.substitutes(0).parameters())
    assert all(value.grad is not None for value in objective.hybrid.substitutes(1).parameters())


def optimizer_step(objective: Replacing, optimizer: torch.optim.Optimizer, batch: Any, mask: tuple[bool, bool]) -> None:
    objective.impose(mask)
    optimizer.zero_grad(set_to_none=True)
    objective(**batch)["loss"].backward()
    objective.before_update()
    optimizer.step()


@pytest.mark.parametrize("idle_update", ["skip", "zero_grad"])
def test_an_empty_mask_moves_nothing(task: Any, batch: dict[str, torch.Tensor], idle_update: str) -> None:
    objective = replacing(task, idle_update=idle_update).train()
    optimizer = torch.optim.AdamW(objective.parameters(), lr=0.1, weight_decay=0.1)
    optimizer_step(objective, optimizer, batch, (True, True))
    before = values_of(objective)
    optimizer_step(objective, optimizer, batch, (False, False))
    assert all(torch.equal(value, before[name]) for name, value in values_of(objective).items())


@pytest.mark.parametrize(("idle_update", "moves"), [("skip", False), ("zero_grad", True)])
def test_a_module_that_was_not_drawn(task: Any, batch: dict[str, torch.Tensor], idle_update: str, moves: bool) -> None:
    objective = replacing(task, idle_update=idle_update).train()
    optimizer = torch.optim.AdamW(objective.parameters(), lr=0.1, weight_decay=0.0)
    idle = objective.hybrid.substitutes(1)

    def state() -> list[torch.Tensor]:
        return [value.detach().clone() for value in idle.parameters()]

    start = state()
    optimizer_step(objective, optimizer, batch, (True, False))
    assert all(map(torch.equal, state(), start)), "never drawn yet: not moved by either option"
    optimizer_step(objective, optimizer, batch, (True, True))
    before = state()
    optimizer_step(objective, optimizer, batch, (True, False))
    assert any(not torch.equal(*pair) for pair in zip(state(), before, strict=True)) is moves


def test_predecessor_dropout_can_be_switched_off(task: Any) -> None:
    objective = replacing(task, make_model(), modules="0=|1-2|3", successor_layers=None, predecessor_dropout=False)
    objective.train()
    layers = objective.hybrid.layers
    assert not any(module.training for index in (1, 2) for module in layers.predecessor[index].modules())
    assert all(module.training for index in (1, 2) for module in layers.substitutes[index].modules())
    assert all(module.training for module in layers.substitutes[0].modules()), "a kept layer is part of the result"
    assert replacing(task, make_model()).train().hybrid.layers.predecessor[0].training


def test_evaluation_draws_nothing_and_leaves_the_draws_alone(task: Any, batch: dict[str, torch.Tensor]) -> None:
    def masks(evaluate: bool) -> list[tuple[bool, ...]]:
        objective = replacing(task, seed=5, rate=Constant(rate=0.5, switch_after="never")).train()
        seen = []
        for step in range(12):
            objective.step, objective.total_steps = step, 12
            for micro_batch in range(2):
                objective.micro_batch = micro_batch
                objective(**batch)
                seen.append(objective.hybrid.mask)
                if evaluate:
                    objective.eval()
                    state = torch.get_rng_state()
                    objective(**batch)
                    assert objective.hybrid.mask == (True, True)
                    assert torch.equal(torch.get_rng_state(), state)
                    objective.train()
        return seen

    plain = masks(False)
    assert masks(True) == plain
    assert len(set(plain)) > 2
    assert plain == [draw_mask((0.5, 0.5), (5, step, micro)) for step in range(12) for micro in range(2)]


def test_progress_tells_rates_and_shares(task: Any, batch: dict[str, torch.Tensor]) -> None:
    objective = replacing(task, rate=Constant(rate=0.5, switch_after="never")).train()
    for mask in ((True, False), (True, True), (True, False), (True, False)):
        objective.impose(mask)
        objective(**batch)
    assert objective.progress() == {"replace_rate": 0.5, "replaced_0": 1.0, "replaced_1": 0.25}
    assert objective.progress() == {"replace_rate": 0.5}


@pytest.mark.parametrize("mask", [(True, True), (True, False), (False, True)])
def test_gradient_checkpointing_gives_the_same_gradients(
    task: Any, batch: dict[str, torch.Tensor], mask: tuple[bool, bool]
) -> None:
    def gradients(checkpointing: bool) -> tuple[dict[str, torch.Tensor], int]:
        objective = replacing(task)
        if checkpointing:
            objective.model.activation_checkpointing_enable({"use_reentrant": False})
        calls = []
        for layer in objective.hybrid.substitutes(mask.index(True)).children():
            layer.attention.register_forward_pre_hook(lambda *_: calls.append(1))
        objective.train()
        objective.impose(mask)
        objective(**batch)["loss"].backward()
        return {name: value.grad for name, value in objective.named_parameters() if value.grad is not None}, len(calls)

    (plain, once), (recomputed, twice) = gradients(False), gradients(True)
    assert (once, twice) == (1, 2), "the layers did run again"
    assert plain.keys() == recomputed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("scope", ["successor", "all"])
def test_the_second_stage_trains_its_scope(task: Any, scope: str) -> None:
    trained: dict[str, set[str]] = {}

    class Step:
        seed = 1

        def train(self, objective: Any, task: Any, training: Any, phase: str) -> None:
            trained[phase] = {name for name, value in objective.named_parameters() if value.requires_grad}

    method = build(Theseus, {"modules": "0=|1-2|3", "finetuning": {"epochs": 1}, "scope": scope})
    result = method.compress(make_model(), task, Step())  # type: ignore[arg-type]
    names = {f"model.{name}" for name, _ in result.named_parameters()}
    if scope == "successor":
        names = {name for name in names if ".layer.1." in name or ".layer.2." in name}
    assert trained["finetuning"] == {*names, "anchor"}
