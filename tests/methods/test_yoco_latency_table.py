"""The table of measured latencies: what is timed, what sub-networks cost by it, and when it may not be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import batch_of as plain_batch
from conftest import make_config, make_masked_task, make_model
from torch import nn

from bertpress import cost, latency
from bertpress.config import build as checked
from bertpress.encoders import encoder_of
from bertpress.encoders.compact import compact
from bertpress.errors import AnswerNo, RequestError
from bertpress.loading import AUTO_CLASSES
from bertpress.methods.yoco import timing
from bertpress.methods.yoco.budget import Budget
from bertpress.methods.yoco.costs import check, extremes, limits
from bertpress.methods.yoco.latency_table import (
    LatencyTable,
    Timing,
    check_table,
    latency_costs,
    linear_fit,
    load_table,
    mean_error,
    validation_of,
)
from bertpress.methods.yoco.options import Options, resolve
from bertpress.methods.yoco.space import UNUSED, SubNetwork
from bertpress.methods.yoco.timing import (
    COPIES,
    Stack,
    Whole,
    batch_of,
    build,
    random_choices,
    settings_of,
    standalone,
    validate,
)
from bertpress.models import COMPACT

OPTIONS = Options(depth=(2, 4), heads=(1, 2), widths=(12, 24))
SHAPES = ["1x12", "1x24", "2x12", "2x24"]
NETWORK = SubNetwork.of([{"origin": 0, "heads": 2, "intermediate_size": 12},
                         {"origin": 2, "heads": 1, "intermediate_size": 24}])  # fmt: skip
each_family = pytest.mark.parametrize("family", COMPACT)


def layer_ms(layer: nn.Module) -> float:
    """What a layer is pretended to take, by its real size."""
    linears = [module for module in layer.modules() if isinstance(module, nn.Linear)]
    return 0.001 * sum(module.in_features * module.out_features for module in linears)


def seconds_of(module: nn.Module, distort: Callable[[float], float]) -> float:
    if isinstance(module, Stack):
        return sum(map(layer_ms, module.layers)) / 1000
    assert isinstance(module, Whole)
    layers = list(encoder_of(module.model.config).layer_list(module.model).children())
    total = 0.25 + sum(map(layer_ms, layers))
    return (distort(total) if layers else total) / 1000


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
    """Times as they would be where a network's is a function of the sum of its parts'; gives the time asked for."""

    def use(distort: Callable[[float], float] = float, slower: float = 1) -> list[float]:
        asked: list[float] = []

        def measure(modules: Any, batches: Any, repeats: int, warmup: int, seconds: float, forward: Any) -> Any:
            with torch.inference_mode():
                for module in modules:
                    forward(module, batches[0])
            asked.append(seconds)
            spread = 1 + 0.01 * (np.arange(repeats) - (repeats - 1) / 2)
            return np.outer([slower * seconds_of(module, distort) for module in modules], spread)

        monkeypatch.setattr(latency, "measure", measure)
        return asked

    return use


def table_of(values: dict[str, float], base: float = 1.0, **fields: Any) -> LatencyTable:
    settings = {
        "device": "cpu", "machine": "Z80", "threads": 1, "dtype": "float32", "batch_size": 1, "tokens": 64,
        "attention": "sdpa", "torch": "2.13.0", "transformers": "5.23.0", "architecture": "bert", "hidden_size": 16,
        "head_size": 8, "head": "sequence-classification",
    }  # fmt: skip
    timings = {key: Timing(median=value, low=value, high=value) for key, value in values.items()}
    base_ms = Timing(median=base, low=base, high=base)
    return checked(
        LatencyTable, {"settings": settings, "base_ms": base_ms, "layers_ms": timings, "rounds": 9, **fields}
    )


def test_a_sub_network_costs_the_sum_of_its_parts(task: Any, pretended: Callable[..., list[float]]) -> None:
    pretended()
    model = make_model()
    space = resolve(OPTIONS, model.config)
    table = build(model, task, space, batch_size=2, tokens=9)
    assert list(table.layers_ms) == SHAPES
    assert table.base_ms.median == pytest.approx(0.25)
    # 4 products of 16 x 8 heads' features, 2 of 16 x the width
    assert table.layers_ms["1x12"].median == pytest.approx(0.001 * (4 * 16 * 8 + 2 * 16 * 12))
    assert table.layers_ms["2x24"].median == pytest.approx(0.001 * (4 * 16 * 16 + 2 * 16 * 24))
    assert table.layers_ms["2x24"].low < table.layers_ms["2x24"].median < table.layers_ms["2x24"].high
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
    assert table.rounds == timing.FEWEST
    table = validate(table, model, task_of(family), space, count=2, seconds=0)
    assert table.validation is not None
    assert len(table.validation.measured_ms) == 2
    assert encoder_of(model.config).layer_list(model) is layers
    assert [module.training for module in model.modules()] == before
    assert torch.equal(torch.get_rng_state(), random)


@each_family
def test_a_stack_is_called_as_the_encoder_calls_its_layers(family: str, task_of: Any) -> None:
    model, task = make_model(family=family), task_of(family)
    batch = batch_of(model, task, batch_size=3, tokens=9)
    (stack,) = timing._stacks(model, task, batch, [(2, 24)])
    stack.layers = encoder_of(model.config).layer_list(model)[:COPIES]
    with torch.inference_mode():
        states = task.forward(model, batch, output_hidden_states=True).hidden_states
        torch.testing.assert_close(stack(batch), states[COPIES])
    full = {**batch, "attention_mask": torch.ones_like(batch["attention_mask"])}
    (unmasked,) = timing._stacks(model, task, full, [(2, 24)])
    unmasked.layers = stack.layers
    with torch.inference_mode():
        assert not torch.allclose(unmasked(full), states[COPIES])  # padding is hidden, as it is for the model


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


def test_the_batch_has_the_asked_length_and_padding(task: Any) -> None:
    model = make_model()
    batch = batch_of(model, task, batch_size=5, tokens=30)
    assert batch["input_ids"].shape == (5, 30)
    assert batch["attention_mask"].sum(1).tolist() == [30, 26, 22, 19, 15]
    assert batch_of(model, task, 1, 7)["attention_mask"].tolist() == [[1] * 7]
    assert batch_of(model, task, 100, 4)["input_ids"].shape == (100, 4)  # more rows than there are
    assert set(batch) == set(plain_batch(task))
    with pytest.raises(RequestError, match="asked for at 65 tokens, but the model takes 1 to 64"):
        batch_of(model, task, 1, 65)
    roberta = make_model(family="roberta")
    with pytest.raises(RequestError, match="takes 1 to 64"):
        batch_of(roberta, task, 1, 65)


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


def test_errors_and_fits_by_hand() -> None:
    predicted, measured = np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 5.0])
    assert mean_error(predicted, measured) == pytest.approx((0.5 + 0 + 0.2) / 3)
    assert linear_fit(predicted, 3 + 2 * predicted) == pytest.approx((3, 2))


def test_a_correction_that_does_not_help_is_not_kept() -> None:
    predicted = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    # those it is fitted to fall with the prediction, so the slope would be negative
    found = validation_of(predicted, [5.0, 2.5, 3.0, 5.0, 1.0, 7.0])
    assert found.error > 0.1
    assert found.correction is None
    assert validation_of(predicted[:4], [2.0, 4.0, 6.0, 8.0]).correction is None  # two networks are no fit
    table = table_of({"1x12": 1.0}, validation=found)
    assert "more than 10%, and no linear correction helps" in table.remark()


def test_a_table_goes_through_its_file(tmp_path: Path) -> None:
    validation = validation_of([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2.0, 4.0, 6.0, 8.0, 10.0, 12.0])
    assert validation.correction is not None
    table = table_of({"1x12": 1.5, "2x24": 2.25}, validation=validation)
    table.save(tmp_path / "table.json")
    assert load_table(tmp_path / "table.json") == table
    values = json.loads((tmp_path / "table.json").read_text())
    assert values["layers_ms"]["2x24"]["median"] == 2.25
    assert "was not compared" in table_of({}).remark()


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"There is no table of latencies .*table.json"):
        load_table(tmp_path / "table.json")
    for text in ("{", "[]", "\N{SNOWMAN}"):
        (tmp_path / "table.json").write_text(text, encoding="utf-8")
        with pytest.raises(RequestError, match="expected a mapping in JSON"):
            load_table(tmp_path / "table.json")
    (tmp_path / "table.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RequestError, match="expected a mapping in JSON"):
        load_table(tmp_path / "table.json")
    values = table_of({"1x12": 1.5}).model_dump(mode="json")
    values["layers_ms"]["1x12"]["median"] = -1
    (tmp_path / "table.json").write_text(json.dumps(values))
    with pytest.raises(RequestError, match=r"table.json.layers_ms.1x12.median: .* greater than or equal to 0"):
        load_table(tmp_path / "table.json")


def test_other_settings_are_refused_with_the_differences() -> None:
    table = table_of({"1x12": 1.0})
    other = table.settings.model_copy(update={"threads": 8, "batch_size": 32})
    check_table(table, table.settings)
    with pytest.raises(RequestError, match=r"other settings \(threads 1, now 8; batch_size 1, now 32\); go back"):
        check_table(table, other)


def test_settings_are_what_times_depend_on(task: Any) -> None:
    model = make_model()
    model.set_attn_implementation("eager")
    found = settings_of(model, task, 32, 64)
    assert model.config._attn_implementation == found.attention == "sdpa"  # as it is deployed
    assert (found.batch_size, found.tokens, found.threads) == (32, 64, torch.get_num_threads())
    assert (found.device, found.dtype, found.head) == ("cpu", "float32", "sequence-classification")
    assert (found.architecture, found.hidden_size, found.head_size) == ("bert", 16, 8)
    assert found.machine
    wider = make_model(hidden_size=32)
    with pytest.raises(RequestError, match=r"hidden_size 16, now 32; head_size 8, now 16"):
        check_table(table_of({}).model_copy(update={"settings": found}), settings_of(wider, task, 32, 64))


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
