"""How far a table of latencies is off for sub-networks that are timed from end to end, and what these cost by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import make_config, make_masked_task, make_model
from made_tables import SHAPES, pretending, table_of

from bertpress.config import build as checked
from bertpress.costs import cost
from bertpress.costs.latency_table import LatencyTable
from bertpress.encoders import encoder_of
from bertpress.encoders.compact import compact
from bertpress.engine.loading import AUTO_CLASSES
from bertpress.errors import AnswerNo, RequestError
from bertpress.measurements import layer_timing
from bertpress.methods.yoco.budget import Budget
from bertpress.methods.yoco.costs import extremes, latency_costs, shapes_in
from bertpress.methods.yoco.limits import check, limits
from bertpress.methods.yoco.options import Options, resolve
from bertpress.methods.yoco.space import UNUSED, Space, SubNetwork
from bertpress.methods.yoco.validating import random_choices, standalone, validate
from bertpress.models import COMPACT

OPTIONS = Options(depth=(2, 4), heads=(1, 2), widths=(12, 24))
NETWORK = SubNetwork.of([{"origin": 0, "heads": 2, "intermediate_size": 12},
                         {"origin": 2, "heads": 1, "intermediate_size": 24}])  # fmt: skip
each_family = pytest.mark.parametrize("family", COMPACT)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
    return pretending(monkeypatch)


def build(model: Any, task: Any, space: Space, *args: Any, **options: Any) -> LatencyTable:
    return layer_timing.build(model, task, shapes_in(space), *args, **options)


def test_a_sub_network_costs_the_sum_of_its_parts(task: Any, pretended: Callable[..., list[float]]) -> None:
    pretended()
    model = make_model()
    space = resolve(OPTIONS, model.config)
    table = build(model, task, space, batch_size=2, tokens=9)
    expected = 0.25 + table.layers_ms["2x12"].median + table.layers_ms["1x24"].median
    by_hand = resolve(Options(depth=(2,), heads=(1, 2), widths=(12, 24), depth_policy="uniform"), model.config)
    additive = latency_costs(by_hand, table)
    assert (additive.name, additive.integral) == ("latency_ms", False)
    assert additive.of(by_hand, by_hand.choice_of(NETWORK)) == pytest.approx(expected)


def test_a_uniform_space_has_the_same_costs(task: Any) -> None:
    table = table_of(dict(zip(SHAPES, (1.0, 2.0, 3.0, 5.0), strict=True)), base=0.5)
    space = resolve(OPTIONS.model_copy(update={"uniform": True}), make_config())
    additive = latency_costs(space, table)
    for depth, layers in enumerate((2, 4)):
        for option, (heads, width) in enumerate(space.options[0]):
            expected = 0.5 + layers * table.layers_ms[f"{heads}x{width}"].median
            assert additive.of(space, (depth, option)) == expected


@each_family
def test_every_family_is_timed_and_left_as_it_was(family: str, task_of: Any) -> None:
    model = make_model(family=family)
    model.train()
    layers = encoder_of(model.config).layer_list(model)
    before, random = [module.training for module in model.modules()], torch.get_rng_state()
    space = resolve(OPTIONS, model.config)
    table = build(model, task_of(family), space, batch_size=2, tokens=9, seconds=0)
    assert list(table.layers_ms) == SHAPES
    assert all(each.median > 0 for each in (table.base_ms, *table.layers_ms.values()))
    assert table.rounds == layer_timing.FEWEST
    table = validate(table, model, task_of(family), space, count=2, seconds=0)
    assert table.validation is not None
    assert len(table.validation.measured_ms) == 2
    assert encoder_of(model.config).layer_list(model) is layers
    assert [module.training for module in model.modules()] == before
    assert torch.equal(torch.get_rng_state(), random)


def test_a_language_model_s_head_is_timed_too(pretended: Callable[..., list[float]]) -> None:
    pretended()
    model, task = make_model(head="masked-lm"), make_masked_task()
    table = build(model, task, resolve(OPTIONS, model.config), batch_size=2, tokens=20)
    assert table.settings.head == "masked-lm"
    assert validate(table, model, task, resolve(OPTIONS, model.config), count=2).validation is not None


def test_the_time_is_shared_by_the_groups(task: Any, pretended: Callable[..., list[float]]) -> None:
    asked, model = pretended(), make_model()
    space = resolve(OPTIONS, model.config)
    table = build(model, task, space, 2, 9, seconds=12)
    validate(table, model, task, space, count=7, seconds=14)
    assert asked == [0, 12, 0, pytest.approx(10), pytest.approx(4)]  # a first call, then all parts or a group


def test_a_slower_machine_does_not_count_as_an_error(task: Any, pretended: Callable[..., list[float]]) -> None:
    pretended()
    model = make_model()
    space = resolve(OPTIONS, model.config)
    table = build(model, task, space, 2, 9)
    pretended(slower=3)
    table = validate(table, model, task, space)
    assert table.validation is not None
    assert table.validation.error == pytest.approx(0, abs=1e-9)
    assert table.validation.drift == pytest.approx(3)
    assert "off by 0.0% on average over 20 networks; the machine itself then took 3.00 times as long" in table.remark()


@each_family
@pytest.mark.parametrize("head", [*AUTO_CLASSES])
def test_timed_networks_are_those_that_would_be_exported(family: str, head: str | None) -> None:
    import transformers

    model = getattr(transformers, "AutoModel" if head is None else AUTO_CLASSES[head]).from_config(make_config(family))
    made = standalone(model, NETWORK)
    assert made.config.layer_shapes == NETWORK.to_list()
    assert type(made).__name__ == f"Compact{type(model).__name__}"
    assert made.config._attn_implementation == model.config._attn_implementation
    counted = sum(parameter.numel() for parameter in made.parameters())
    assert counted == cost.parameters(made.config, head=head).total
    assert len(list(encoder_of(made.config).layer_list(made).children())) == 2


def test_sub_networks_of_a_compact_model_are_timed(task: Any) -> None:
    shapes = [{"heads": 2, "intermediate_size": 24, "origin": layer} for layer in range(4)]
    model = compact(make_model(), layer_shapes=shapes)
    assert type(standalone(model, NETWORK)) is type(model)
    space = resolve(OPTIONS, model.config)
    assert build(model, task, space, 2, 9, seconds=0).settings.architecture == "bert"


def test_random_sub_networks_are_of_the_space_and_repeat() -> None:
    space = resolve(OPTIONS, make_config())
    choices = random_choices(space, 40, seed=1)
    assert choices == random_choices(space, 40, seed=1) != random_choices(space, 40, seed=2)
    assert {choice[0] for choice in choices} == {0, 1}
    for choice in choices:
        assert space.choice_of(space.sub_network(choice)) == choice
        unused = tuple(slot for slot, option in enumerate(choice[1:]) if option == UNUSED)
        assert unused == ((1, 3) if choice[0] == 0 else ())
    uniform = resolve(OPTIONS.model_copy(update={"uniform": True}), make_config())
    assert {len(choice) for choice in random_choices(uniform, 4, seed=1)} == {2}


def test_a_table_that_is_right_is_found_right(task: Any, pretended: Callable[..., list[float]]) -> None:
    pretended()
    model = make_model()
    space = resolve(OPTIONS, model.config)
    table = validate(build(model, task, space, 2, 9), model, task, space)
    assert table.validation is not None
    assert table.validation.error == pytest.approx(0, abs=1e-9)
    assert len(table.validation.predicted_ms) == 20
    assert table.validation.correction is None
    assert table.remark() == "Latencies by the table are off by 0.0% on average over 20 networks."


def test_a_table_that_is_off_is_corrected(task: Any, pretended: Callable[..., list[float]]) -> None:
    pretended(lambda total: 0.5 + 1.5 * total)
    model = make_model()
    space = resolve(OPTIONS, model.config)
    plain = build(model, task, space, 2, 9)
    table = validate(plain, model, task, space)
    assert table.validation is not None
    assert table.validation.error > 0.1
    made = table.validation.correction
    assert made is not None
    assert (made.intercept_ms, made.slope) == pytest.approx((0.5, 1.5))
    assert made.error == pytest.approx(0, abs=1e-9)
    before, after = latency_costs(space, plain), latency_costs(space, table)
    for choice in random_choices(space, 5, seed=3):
        assert after.of(space, choice) == pytest.approx(0.5 + 1.5 * before.of(space, choice))
    assert "as 0.5 ms + 1.5 x the sum, which is used, by 0.0%" in table.remark()
    again = validate(table, model, task, space)  # the correction of before plays no part
    assert again.validation == table.validation


def test_a_table_of_other_settings_is_not_validated(task: Any) -> None:
    model = make_model()
    with pytest.raises(RequestError, match="machine Z80"):
        validate(table_of(dict.fromkeys(SHAPES, 1.0)), model, task, resolve(OPTIONS, model.config))


def test_options_that_were_not_measured_are_refused() -> None:
    space = resolve(OPTIONS, make_config())
    with pytest.raises(RequestError, match="has layers of HEADSxWIDTH 1x12, 2x24, but none of 1x24, 2x12; measure it"):
        latency_costs(space, table_of({"1x12": 1.0, "2x24": 2.0}))


def test_a_limit_on_latency() -> None:
    config = make_config()
    space = resolve(OPTIONS, config)
    table = table_of(dict(zip(SHAPES, (1.0, 2.0, 3.0, 5.0), strict=True)), base=0.5)

    def asked(amount: Any) -> Any:
        budget = checked(Budget, {"latency_ms": amount})
        return limits(budget, space, config, "sequence-classification", 64, table=table)

    (share,) = asked("50%")
    assert share.most == (0.5 + 4 * 5.0) / 2
    (number,) = asked(7.8)
    assert (number.most, str(number)) == (7.8, "7.8 ms")
    assert str(share) == "50% (10.25 ms)"
    assert check([share, number], space) == []
    with pytest.raises(AnswerNo, match=r"limit 2 ms: smallest reachable 2.5 \(2 layers, 1 head, width 12\)"):
        check(asked(2), space)
    assert check(asked("2.5"), space) == []
    (warning,) = check(asked(21), space)
    assert "limit 21 ms does not bind: the largest network of the space has 20.5." in warning
    assert latency_costs(space, table).of(space, extremes(space, latency_costs(space, table))[1]) == 20.5
