"""Sub-networks as models of their own."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from models.making import SHAPES, make_batch, make_compact
from sub_networks import (
    COMPACT_NETWORK,
    HEADS,
    NETWORKS,
    SMALLEST,
    UNEVEN,
    by_hand,
    each_family,
    each_head,
    layers_of,
    make_super,
    network,
    run,
)
from torch.utils.flop_counter import FlopCounterMode

from bertpress.costs.cost import Parameters, macs, parameters
from bertpress.encoders import encoder_of, shapes_of
from bertpress.encoders.surgery import keep_layers
from bertpress.engine.loading import AUTO_CLASSES, loader
from bertpress.errors import RequestError
from bertpress.methods.yoco.elastic import choosing, elastic
from bertpress.methods.yoco.extracting import padded, sub_network, sub_network_config
from bertpress.methods.yoco.options import Options, resolve
from bertpress.methods.yoco.space import SubNetwork
from bertpress.models import architecture_of, is_compact

STOCK = ("whole", "fewer neurons", "fewer layers")


def chosen(model: Any, part: SubNetwork, batch: Any) -> torch.Tensor:
    """What the super-network says as a sub-network."""
    made = elastic(model)
    with choosing(made, part):
        return run(made, batch)


@each_family
@each_head
def test_a_sub_network_is_the_super_network_set_to_its_shape(family: str, head: str) -> None:
    model = make_super(family, head)
    made, batch, before = elastic(model), make_batch(model), copy.deepcopy(model.state_dict())
    for (name, part), compact_only in itertools.product(NETWORKS.items(), (False, True)):
        with choosing(made, part):
            expected = run(made, batch)
        source = model if compact_only else made
        result = sub_network(source, part, compact_only)
        torch.testing.assert_close(run(result, batch), expected, atol=1e-5, rtol=1e-5)
        assert is_compact(result.config) == (compact_only or name not in STOCK)
        assert type(result).__name__.removeprefix("Compact") == type(model).__name__
        planned = sub_network_config(model.config, part, compact_only).to_dict()
        assert {name: result.config.to_dict()[name] for name in planned} == planned
        assert shapes_of(result.config) == tuple((shape.heads, shape.intermediate_size) for shape in part.layers)
        assert result.config.id2label == model.config.id2label
        assert not result.training
        assert all(parameter.is_contiguous() for parameter in result.parameters())
        with torch.no_grad():
            for parameter in result.parameters():
                parameter.zero_()
        assert all(torch.equal(value, before[key]) for key, value in source.state_dict().items()), "its own tensors"


@each_family
@pytest.mark.parametrize("name", STOCK)
def test_a_stock_shape_is_a_stock_model(family: str, name: str) -> None:
    model, part = make_super(family), NETWORKS[name]
    result = sub_network(model, part)
    kept = keep_layers(model, [shape.origin for shape in part.layers])
    width = part.layers[0].intermediate_size
    fields = {**kept.config.to_dict(), encoder_of(kept.config).inner_width: width}
    assert result.config.to_dict() == {**fields, "architectures": result.config.architectures}
    assert type(result) is type(model)
    assert {key: value.shape for key, value in type(model)(result.config).state_dict().items()} == {
        key: value.shape for key, value in result.state_dict().items()
    }


@each_family
def test_layers_are_named_by_those_of_the_start_model(family: str) -> None:
    stock = make_super(family)
    assert SubNetwork.of(sub_network_config(stock.config, UNEVEN).layer_shapes) == UNEVEN
    start = make_compact(family, layer_shapes=SHAPES, token_reduction=None)
    batch = make_batch(start)
    result = sub_network(start, COMPACT_NETWORK)
    assert [shape["origin"] for shape in SHAPES] == [0, 1, 1, 3]
    assert result.config.layer_shapes == [
        {"heads": 1, "intermediate_size": 24, "origin": 0},
        {"heads": 3, "intermediate_size": 5, "origin": 1},
        {"heads": 1, "intermediate_size": 16, "origin": 3},
    ]
    torch.testing.assert_close(run(result, batch), chosen(start, COMPACT_NETWORK, batch), atol=1e-5, rtol=1e-5)
    again = network((0, 1, 3), (1, 2, 5), (2, 1, 16))
    second = sub_network(result, again)
    assert [shape["origin"] for shape in second.config.layer_shapes] == [0, 1, 3]
    torch.testing.assert_close(run(second, batch), chosen(result, again, batch), atol=1e-5, rtol=1e-5)


@each_family
def test_a_compact_model_may_have_stock_sub_networks(family: str) -> None:
    start = make_compact(family, layer_shapes=SHAPES, token_reduction=None)
    part, batch = network((0, 2, 8), (2, 2, 8)), make_batch(start)
    result = sub_network(start, part)
    assert not is_compact(result.config)
    assert architecture_of(result.config) == family
    torch.testing.assert_close(run(result, batch), chosen(start, part, batch), atol=1e-5, rtol=1e-5)
    unchanged = make_compact(family, token_reduction=None)
    assert not is_compact(sub_network(unchanged, network((1, 2, 24))).config)


@each_family
@each_head
def test_a_padded_sub_network_is_a_stock_model(family: str, head: str) -> None:
    model = make_super(family, head)
    made, batch = elastic(model), make_batch(model)
    for part in NETWORKS.values():
        result, width = padded(made, part), max(shape.intermediate_size for shape in part.layers)
        assert type(result) is type(model)
        assert shapes_of(result.config) == ((4, width),) * len(part.layers)
        torch.testing.assert_close(run(result, batch), chosen(model, part, batch), atol=2e-6, rtol=2e-6)
        assert all(map(torch.equal, result.parameters(), padded(model, part).parameters()))


def test_what_is_padded_is_zero() -> None:
    result = padded(make_super(), UNEVEN)
    layer = layers_of(result)[1]
    assert not layer.attention.self.query.weight[4:].any()
    assert not layer.attention.self.value.bias[4:].any()
    assert not layer.attention.output.dense.weight[:, 4:].any()
    assert not layer.intermediate.dense.weight[5:].any()
    assert not layer.intermediate.dense.bias[5:].any()
    assert not layer.output.dense.weight[:, 5:].any()
    assert layer.attention.output.dense.weight[:, :4].all()


def test_padding_of_compact_models() -> None:
    start = make_compact(layer_shapes=SHAPES, token_reduction=None)
    part, batch = network((0, 1, 24), (1, 1, 40)), make_batch(start)
    torch.testing.assert_close(run(padded(start, part), batch), chosen(start, part, batch), atol=2e-6, rtol=2e-6)
    with pytest.raises(RequestError, match="has 2 heads in a layer, but the sub-network has 3"):
        padded(start, COMPACT_NETWORK)


@each_family
@each_head
@pytest.mark.parametrize("name", ["whole", "uneven", "smallest"])
def test_what_is_saved_is_loaded_bit_for_bit(family: str, head: str, name: str, tmp_path: Path) -> None:
    result = sub_network(make_super(family, head), NETWORKS[name])
    batch = make_batch(result)
    result.save_pretrained(tmp_path)
    again = loader(AUTO_CLASSES[head]).from_pretrained(tmp_path)
    assert type(again) is type(result)
    assert torch.equal(run(again, batch), run(result, batch))
    assert getattr(again.config, "layer_shapes", None) == getattr(result.config, "layer_shapes", None)


def test_a_bare_encoder() -> None:
    model = make_super().base_model
    batch = make_batch(model)
    result = sub_network(model, UNEVEN)
    assert type(result).__name__ == "CompactBertModel"
    torch.testing.assert_close(run(result, batch), chosen(model, UNEVEN, batch), atol=1e-5, rtol=1e-5)


def test_taking_out_draws_nothing_and_keeps_the_mode() -> None:
    model = make_super().train()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    assert sub_network(model, UNEVEN).training
    assert torch.equal(torch.rand(3), expected)
    assert all(value.requires_grad for value in sub_network(model.requires_grad_(False), UNEVEN).parameters())
    assert sub_network(model.double(), UNEVEN).dtype == torch.float64


def test_what_is_chosen_is_taken_from_the_whole() -> None:
    made = elastic(make_super())
    batch = make_batch(made)
    expected = run(sub_network(made, UNEVEN), batch)
    with choosing(made, SMALLEST, "mask"):
        assert torch.equal(run(sub_network(made, UNEVEN), batch), expected)


def test_what_cannot_be_taken_out_is_refused() -> None:
    for take in (sub_network, padded):
        with pytest.raises(RequestError, match="Layer 1 can have 1 to 4 heads, the sub-network has 5"):
            take(make_super(), network((1, 5, 1)))
        with pytest.raises(RequestError, match="Token reduction comes last"):
            take(make_compact(), SMALLEST)
    with pytest.raises(RequestError, match="layers 0 to 3, but the sub-network has layer 4"):
        sub_network_config(make_super().config, network((4, 1, 1)))


# Costs


def counted_macs(model: Any, tokens: int) -> int:
    ids = torch.full((2, tokens), 7, device=model.device)
    model.set_attn_implementation("eager")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=ids)
    return int(counter.get_total_flops()) // 2


def numel(*modules: Any) -> list[int]:
    return [sum(value.numel() for value in module.parameters()) for module in modules]


OPTIONS = Options(depth=(2, 4), heads=(1, 2, 4), widths=(5, 9, 24))


@each_family
def test_costs_of_every_option_equal_the_counted_ones(family: str) -> None:
    """Each option in some layer, at both depths: of the model on its own, and of what is run within the elastic one."""
    model = make_super(family, attn_implementation="eager")
    made, space = elastic(model), resolve(OPTIONS, model.config)
    assert (space.depths, len(space.options[0])) == ((2, 4), 9)
    choices = [(0, 1, 6, -1, -1), *((1, *(pick % 9 for pick in range(start, start + 4))) for start in (0, 4, 8))]
    for part in map(space.sub_network, choices):
        assert_costs(model, part, HEADS[0])
        with choosing(made, part):
            assert counted_macs(made, 7) == macs(sub_network_config(model.config, part), 7, batch=2)
        with choosing(made, part, "mask"):
            kept = keep_layers(model, [shape.origin for shape in part.layers])
            assert counted_macs(made, 7) == macs(kept.config, 7, batch=2), "nothing but layers is saved"


def assert_costs(model: Any, part: SubNetwork, head: str) -> None:
    for compact_only in (False, True):
        result = sub_network(model, part, compact_only)
        layers = encoder_of(result.config).layer_list(result)
        assert parameters(result.config, head=head) == Parameters(*numel(result, layers))
        for tokens in (1, 7):
            positions = tokens if head == "masked-lm" else 1
            found = macs(result.config, tokens, batch=2, head=head, positions=positions)
            assert counted_macs(result, tokens) == found


@each_family
def test_costs_of_masked_language_models_equal_the_counted_ones(family: str) -> None:
    model = make_super(family, "masked-lm")
    for name in ("whole", "uneven", "smallest"):
        assert_costs(model, NETWORKS[name], "masked-lm")


def test_a_sub_network_by_hand_has_the_logits_of_the_taken_one() -> None:
    """The three ways agree: cut by hand, chosen, and taken out."""
    model = make_super()
    batch = make_batch(model)
    torch.testing.assert_close(
        run(sub_network(model, UNEVEN), batch), run(by_hand(model, UNEVEN), batch), atol=1e-5, rtol=1e-5
    )
