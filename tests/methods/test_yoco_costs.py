"""Closed-form costs of sub-networks equal those of exported ones; limits are met exactly, or refused in words."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import torch
from conftest import make_config
from transformers import BertConfig

from bertpress import cost
from bertpress.config import build
from bertpress.encoders import encoder_of
from bertpress.encoders.compact import compact_config
from bertpress.errors import AnswerNo, RequestError
from bertpress.loading import AUTO_CLASSES
from bertpress.methods.yoco import costs
from bertpress.methods.yoco.budget import Budget
from bertpress.methods.yoco.costs import (
    Additive,
    Limit,
    check,
    extremes,
    limits,
    mac_costs,
    parameter_costs,
    shown,
    undominated,
    upstream_flops,
)
from bertpress.methods.yoco.options import Options, resolve
from bertpress.methods.yoco.space import UNUSED, Choice, Space
from bertpress.models import COMPACT, module_of

CLASSIFIER = "sequence-classification"
MIXED = Options(
    depth=(2, 3, 4),
    heads=(1, 2),
    widths=(5, 12, 24),
    layers={1: {"widths": (7,)}, 2: {"heads": (2,)}},  # type: ignore[dict-item]
    depth_policy="uniform",
)
UNIFORM = Options(depth=(1, 4), heads=(1, 2), widths=(5, 24), uniform=True)
BASE = BertConfig()
BERT_BASE = resolve(Options(depth_policy="first"), BASE)


def random_choice(space: Space, generator: random.Random) -> Choice:
    depth = generator.randrange(len(space.layer_sets))
    slots = space.slots(depth)
    return (depth, *(generator.randrange(len(pairs)) if slot in slots else UNUSED
                     for slot, pairs in enumerate(space.options)))  # fmt: skip


def every_choice(space: Space) -> list[Choice]:
    found: list[Choice] = []
    for depth in range(len(space.layer_sets)):
        slots = space.slots(depth)
        picks = [range(len(pairs)) if slot in slots else (UNUSED,) for slot, pairs in enumerate(space.options)]
        found += [(depth, *each) for each in itertools.product(*picks)]
    return found


def exported(config: Any, space: Space, choice: Choice) -> Any:
    """The configuration of the sub-network as a model of its own."""
    network = space.sub_network(choice)
    made = compact_config(config, layer_shapes=network.to_list())
    setattr(made, encoder_of(made).depth_field, len(network.layers))
    return made


def built(family: str, config: Any, head: str | None) -> Any:
    kind = "Model" if head is None else AUTO_CLASSES[head].removeprefix("AutoModel")
    cls = getattr(module_of(family), f"Compact{COMPACT[family]}{kind}")
    with torch.device("meta"):
        return cls(config)


def count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("options", [MIXED, UNIFORM], ids=["mixed", "uniform"])
@pytest.mark.parametrize("head", [*AUTO_CLASSES])
@pytest.mark.parametrize("family", COMPACT)
def test_costs_are_those_of_the_exported_model(family: str, head: str | None, options: Options) -> None:
    outputs = 2 if head == "question-answering" else 3
    config, generator = make_config(family, num_labels=outputs), random.Random(family)
    space = resolve(options, config)
    total, encoder = (parameter_costs(space, config, head, scope) for scope in ("total", "encoder"))
    multiplied = mac_costs(space, config, head, tokens=11, positions=2)
    for choice in [random_choice(space, generator) for _ in range(6)]:
        own = exported(config, space, choice)
        model = built(family, own, head)
        counted = cost.Parameters(count(model), count(encoder_of(own).layer_list(model)))
        assert cost.parameters(own, head=head) == counted
        assert (total.of(space, choice), encoder.of(space, choice)) == (counted.total, counted.encoder)
        assert multiplied.of(space, choice) == cost.macs(own, 11, head=head, positions=2)


@pytest.mark.parametrize("family", COMPACT)
def test_the_backbone_is_all_but_the_layer_that_gives_the_logits(family: str) -> None:
    config = make_config(family, num_labels=3)
    space = resolve(UNIFORM, config)
    largest = extremes(space, parameter_costs(space, config, CLASSIFIER))[1]
    total, backbone = (parameter_costs(space, config, CLASSIFIER, scope) for scope in ("total", "backbone"))
    assert total.of(space, largest) - backbone.of(space, largest) == 3 * (16 + 1)
    bare = [parameter_costs(space, config, None, scope).of(space, largest) for scope in ("total", "backbone")]
    assert bare[0] == bare[1] == count(built(family, compact_config(config), None))
    speaking = parameter_costs(space, config, "masked-lm", "backbone").of(space, largest)
    outputs = 100  # the table is the embeddings', so only its bias counts
    assert parameter_costs(space, config, "masked-lm").of(space, largest) - speaking == outputs


def test_a_compact_super_network_costs_what_its_layers_do() -> None:
    sizes = ((2, 24), (1, 40), (2, 8), (1, 16))
    shapes = [{"heads": heads, "intermediate_size": width, "origin": 0} for heads, width in sizes]
    config = compact_config(make_config("bert"), layer_shapes=shapes)
    space = resolve(Options(depth=(4,), heads=(1.0,), widths=(0.5, 1.0)), config)
    largest = extremes(space, parameter_costs(space, config, CLASSIFIER))[1]
    assert space.sub_network(largest) == space.whole
    assert parameter_costs(space, config, CLASSIFIER).of(space, largest) == cost.parameters(config).total


def base_choice(depth: int, category: int) -> Choice:
    """Layers of one category in the depth option."""
    layers = BERT_BASE.depths[depth]
    return (depth, *[category] * layers, *[UNUSED] * (12 - layers))


def test_bert_base_by_the_specification() -> None:
    backbone = parameter_costs(BERT_BASE, BASE, CLASSIFIER, "backbone")
    total = parameter_costs(BERT_BASE, BASE, CLASSIFIER)
    encoder = parameter_costs(BERT_BASE, BASE, CLASSIFIER, "encoder")
    multiplied = mac_costs(BERT_BASE, BASE, CLASSIFIER, 128)
    whole, half, smallest = base_choice(3, 11), base_choice(0, 11), base_choice(0, 0)
    assert [backbone.of(BERT_BASE, choice) for choice in (whole, half, smallest)] == [
        109_482_240,
        66_955_008,
        33_900_288,
    ]
    assert [multiplied.of(BERT_BASE, choice) for choice in (whole, half, smallest)] == [
        11_174_217_216, 5_587_404_288, 1_258_882_560,
    ]  # fmt: skip
    assert total.of(BERT_BASE, whole) == 109_483_778
    assert parameter_costs(BERT_BASE, BertConfig(num_labels=3), CLASSIFIER).of(BERT_BASE, whole) == 109_484_547
    assert encoder.of(BERT_BASE, whole) == 12 * 7_087_872
    assert (backbone.fixed, encoder.fixed) == (23_837_184 + 590_592, 0)
    by_length = {
        tokens: mac_costs(BERT_BASE, BASE, CLASSIFIER, tokens).of(BERT_BASE, whole) for tokens in (64, 256, 512)
    }
    assert by_length == {64: 5_511_906_816, 256: 22_951_822_848, 512: 48_318_973_440}


def test_layers_of_bert_base_by_the_specification() -> None:
    expected = {
        (4, 512): 1_578_752, (4, 768): 1_972_224, (4, 1024): 2_365_696, (4, 3072): 5_513_472,
        (8, 512): 2_365_952, (8, 768): 2_759_424, (8, 1024): 3_152_896, (8, 3072): 6_300_672,
        (12, 512): 3_153_152, (12, 768): 3_546_624, (12, 1024): 3_940_096, (12, 3072): 7_087_872,
    }  # fmt: skip
    for values, pairs in zip(parameter_costs(BERT_BASE, BASE, None).layers, BERT_BASE.options, strict=True):
        assert dict(zip(pairs, values, strict=True)) == expected


def test_the_original_s_count() -> None:
    assert upstream_flops(BASE, 128) == 22_353_349_888
    smaller = exported(BASE, BERT_BASE, base_choice(0, 11))
    assert upstream_flops(smaller, 128) == 2 * (5_587_404_288 + 13 * 128 * 768 + 128)


def test_the_largest_cost_is_the_model_s_own() -> None:
    """The original compares every model with constants of BERT-base with two labels at 128 tokens."""
    for changes in ({"num_labels": 3}, {"vocab_size": 1000}, {"num_hidden_layers": 6}, {"intermediate_size": 4096}):
        config = BertConfig(**changes)
        space = resolve(Options(), config)
        additive = parameter_costs(space, config, CLASSIFIER)
        assert additive.of(space, extremes(space, additive)[1]) == cost.parameters(config).total != 109_483_778


@pytest.mark.parametrize("options", [MIXED, UNIFORM], ids=["mixed", "uniform"])
def test_extremes_are_those_of_all_sub_networks(options: Options) -> None:
    space, generator = resolve(options, make_config("bert")), random.Random(3)
    layers = tuple(
        tuple(generator.random() for _ in space.options[0 if space.uniform else layer]) for layer in range(4)
    )
    additive = Additive("latency_ms", 1.0, layers, integral=False)
    ordered = sorted(every_choice(space), key=lambda choice: additive.of(space, choice))
    assert len(ordered) == space.count()
    assert extremes(space, additive) == (ordered[0], ordered[-1])


def asked(budget: dict[str, Any], space: Space = BERT_BASE, config: Any = BASE, **options: Any) -> list[Limit]:
    return limits(build(Budget, budget), space, config, CLASSIFIER, options.pop("tokens", 128), **options)


@pytest.mark.parametrize(
    ("budget", "name", "most"),
    [
        ({"parameters": "60M"}, "parameters", 60_000_000),
        ({"parameters": "100%"}, "encoder_parameters", 12 * 7_087_872),
        ({"parameters": 0.4}, "encoder_parameters", 34_021_785),  # 34 021 785.6: a limit of whole numbers is one
        ({"parameters": "100%", "scope": "total"}, "parameters", 109_483_778),
        ({"parameters": "100%", "scope": "backbone"}, "backbone_parameters", 109_482_240),
        ({"parameters": "30M", "scope": "encoder"}, "encoder_parameters", 30_000_000),
        ({"macs": "50%"}, "macs", 11_174_217_216 // 2),
        ({"macs": "1.2G"}, "macs", 1_200_000_000),
        ({"flops": "50%"}, "flops", 11_174_217_216),
        ({"flops": "2G"}, "flops", 2_000_000_000),
    ],
)
def test_what_a_budget_counts(budget: dict[str, Any], name: str, most: int) -> None:
    (limit,) = asked(budget)
    assert (limit.cost.name, limit.most) == (name, most)


def test_a_flop_is_half_a_multiply_add() -> None:
    choice = base_choice(1, 5)
    (flops,), (macs,) = asked({"flops": "2G"}), asked({"macs": "1G"})
    assert flops.cost.of(BERT_BASE, choice) / flops.most == macs.cost.of(BERT_BASE, choice) / macs.most


def test_shares_are_of_the_space_that_is_searched() -> None:
    narrow = resolve(Options(depth=(6, 8), heads=(4, 8), widths=(512, 768)), BertConfig())
    (limit,) = asked({"parameters": "100%"}, narrow)
    assert limit.most == 8 * 2_759_424
    assert asked({}) == []
    assert check([], BERT_BASE) == []


def test_latency_needs_a_table() -> None:
    with pytest.raises(RequestError, match="needs a table of measured latencies"):
        asked({"latency_ms": 5})


def test_a_network_at_the_limit_is_within_it() -> None:
    """The original's `<` can never return the 6-layer network whose size its limit is."""
    assert check(asked({"parameters": 66_955_008, "scope": "backbone"}), BERT_BASE) == []
    assert check(asked({"parameters": 33_900_288, "scope": "backbone"}), BERT_BASE) == []
    with pytest.raises(AnswerNo):
        check(asked({"parameters": 33_900_287, "scope": "backbone"}), BERT_BASE)


def test_a_limit_below_the_smallest_is_refused_in_its_unit() -> None:
    with pytest.raises(AnswerNo) as refusal:
        check(asked({"parameters": "30M", "scope": "backbone"}), BERT_BASE)
    assert str(refusal.value) == (
        "No network of the space meets this budget: limit 30,000,000 parameters of the backbone: smallest reachable "
        "33,900,288 (6 layers, 4 heads, width 512)."
    )
    with pytest.raises(AnswerNo, match=r"limit 1% \(850,544 parameters of the encoder\): smallest reachable 9,472,512"):
        check(asked({"parameters": "1%"}), BERT_BASE)
    with pytest.raises(AnswerNo, match="limit 2,000,000,000 FLOPs: smallest reachable 2,517,765,120"):
        check(asked({"flops": "2G"}), BERT_BASE)


def test_of_several_limits_each_one_s_minimum_is_named() -> None:
    with pytest.raises(AnswerNo) as refusal:
        check(asked({"parameters": "60M", "macs": "1G"}), BERT_BASE)
    assert "limit 60,000,000 parameters: smallest reachable 33,901,826 (6 layers" in str(refusal.value)
    assert "limit 1,000,000,000 multiply-adds: smallest reachable 1,258,882,560 (6 layers" in str(refusal.value)


def test_a_limit_that_does_not_bind_is_a_warning() -> None:
    warning = "The limit 200,000,000 parameters does not bind: the largest network of the space has 109,483,778."
    assert check(asked({"parameters": "200M", "macs": "50%"}), BERT_BASE) == [warning]
    assert len(check(asked({"macs": "100%"}), BERT_BASE)) == 1


def test_a_space_of_one_network() -> None:
    space = BERT_BASE.opened(heads=1, widths=1, depths=1)
    assert len(check(asked({"parameters": "100%"}, space), space)) == 1
    with pytest.raises(AnswerNo, match=r"smallest reachable 85,054,464 \(12 layers, 12 heads, width 3072\)"):
        check(asked({"parameters": "99%"}, space), space)


def test_limits_that_only_fail_together() -> None:
    """Of two costs that want opposite options each limit can be met, both cannot."""
    space = resolve(Options(depth=(2, 4), heads=(1, 2), widths=(24,)), make_config("bert"))
    first = Additive("parameters", 0, ((1.0, 3.0),) * 4, integral=True)
    second = Additive("latency_ms", 0.5, ((2.5, 1.0),) * 4, integral=False)
    assert check([Limit(first, 4, "4"), Limit(second, 4.0, "4")], space) == []  # one layer of each at depth 2
    with pytest.raises(
        AnswerNo, match=r"Each limit can be met alone, but no network .* limit 3 param.* limit 3 ms: sm"
    ):
        check([Limit(first, 3, "3"), Limit(second, 3.0, "3")], space)


@pytest.mark.parametrize("options", [MIXED, UNIFORM], ids=["mixed", "uniform"])
def test_together_is_decided_as_by_trying_all(options: Options) -> None:
    space, generator = resolve(options, make_config("bert")), random.Random(5)
    choices, verdicts = every_choice(space), []
    for _ in range(60):
        made = []
        for name in ("parameters", "macs", "latency_ms"):
            values = tuple(tuple(float(generator.randint(1, 20)) for _ in pairs) for pairs in space.options)
            additive = Additive(name, 5.0, values * 4 if space.uniform else values, integral=True)
            low, high = (additive.of(space, choice) for choice in extremes(space, additive))
            made.append(Limit(additive, low + generator.random() * 0.5 * (high - low), ""))
        possible = any(all(limit.cost.of(space, choice) <= limit.most for limit in made) for choice in choices)
        verdicts.append(possible)
        if possible:
            check(made, space)
        else:
            with pytest.raises(AnswerNo, match="Each limit can be met alone"):
                check(made, space)
    assert 10 < sum(verdicts) < 50


def test_too_many_sums_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "MOST_SUMS", 1)
    space = resolve(Options(depth=(4,), heads=(1, 2), widths=(24,)), make_config("bert"))
    first = Additive("parameters", 0, ((1.0, 3.0),) * 4, integral=True)
    second = Additive("macs", 0, ((3.0, 1.0),) * 4, integral=True)
    assert check([Limit(first, 7, "7"), Limit(second, 7, "7")], space) == []  # impossible, but not refused


def test_undominated() -> None:
    assert undominated([(1, 3), (2, 2), (2, 2), (3, 3), (3, 1), (1, 4)]) == [(1, 3), (2, 2), (3, 1)]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("parameters", 15_234_567, "15.2 M"),
        ("encoder_parameters", 109_482_240, "109 M"),
        ("macs", 1_258_882_560, "1.26 G"),
        ("flops", 2e12, "2,000 G"),
        ("parameters", 999_999, "1 M"),
        ("parameters", 4_608, "4.61 k"),
        ("parameters", 12, "12"),
        ("latency_ms", 7.8, "7.8 ms"),
        ("latency_ms", 0.01234, "0.0123 ms"),
        ("latency_ms", 1234.5, "1,230 ms"),
    ],
)
def test_values_with_their_units(name: str, value: float, expected: str) -> None:
    assert shown(name, value) == expected
