"""Closed-form costs of sub-networks equal those of exported ones."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from conftest import make_config
from spaces import BASE, BERT_BASE, CLASSIFIER, MIXED, UNIFORM, base_choice, every_choice
from transformers import BertConfig

from bertpress.costs import cost
from bertpress.encoders import encoder_of
from bertpress.encoders.compact import compact_config
from bertpress.engine.loading import AUTO_CLASSES
from bertpress.methods.yoco.costs import Additive, extremes, mac_costs, parameter_costs, shown, upstream_flops
from bertpress.methods.yoco.options import Options, resolve
from bertpress.methods.yoco.space import UNUSED, Choice, Space
from bertpress.models import COMPACT, module_of


def random_choice(space: Space, generator: random.Random) -> Choice:
    depth = generator.randrange(len(space.layer_sets))
    slots = space.slots(depth)
    return (depth, *(generator.randrange(len(pairs)) if slot in slots else UNUSED
                     for slot, pairs in enumerate(space.options)))  # fmt: skip


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
