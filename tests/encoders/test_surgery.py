from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from conftest import make_model

from bertpress.encoders import encoder_of
from bertpress.encoders.layers import ChosenLayers
from bertpress.encoders.surgery import fresh, keep_layers, mean_layer, put_layers, with_layers
from bertpress.errors import RequestError


def layers_of(model: Any) -> list[Any]:
    return list(encoder_of(model.config).layer_list(model).children())


def run(model: Any, batch: dict[str, torch.Tensor], **options: Any) -> Any:
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        return model(**inputs, **options)


def test_an_unknown_architecture_is_refused() -> None:
    from transformers import GPT2Config

    with pytest.raises(RequestError, match="type 'gpt2' are not supported; supported: bert, roberta"):
        encoder_of(GPT2Config())


def test_an_architecture_that_cannot_be_supported_is_refused_with_the_reason() -> None:
    from transformers import AlbertConfig

    with pytest.raises(RequestError, match=r"'albert' are not supported \(its layers share their parameters"):
        encoder_of(AlbertConfig())


def test_with_layers_copies_the_configuration() -> None:
    config = make_model().config
    assert with_layers(config, [(0,), (2, 3)]).num_hidden_layers == 2
    assert config.num_hidden_layers == 4


def test_keep_layers(batch: dict[str, torch.Tensor]) -> None:
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    result = keep_layers(model, (3, 1, 1))
    assert result.config.num_hidden_layers == len(layers_of(result)) == 3
    for layer, source in zip(layers_of(result), (3, 1, 1), strict=True):
        for value, original in zip(layer.parameters(), layers_of(model)[source].parameters(), strict=True):
            assert torch.equal(value, original)
            assert value.data_ptr() != original.data_ptr()
    assert layers_of(result)[1] is not layers_of(result)[2]
    assert model.config.num_hidden_layers == 4
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    indices = [
        module.layer_idx for layer in layers_of(result) for module in layer.modules() if hasattr(module, "layer_idx")
    ]
    assert sorted(set(indices)) in ([], [0, 1, 2])
    assert {id(module.config) for module in result.modules() if hasattr(module, "config")} == {id(result.config)}


def test_the_result_equals_a_stock_model_with_those_weights(batch: dict[str, torch.Tensor]) -> None:
    model = make_model()
    run(model, batch, output_hidden_states=True)  # installs hooks, which a copy must not carry along
    result = keep_layers(model, (0, 2))
    stock = type(model)(result.config).eval()
    stock.load_state_dict(result.state_dict())
    expected, found = (run(each, batch, output_hidden_states=True) for each in (stock, result))
    assert torch.equal(found.logits, expected.logits)
    assert len(found.hidden_states) == len(expected.hidden_states) == 3
    assert all(map(torch.equal, found.hidden_states, expected.hidden_states))


def test_mean_layer() -> None:
    layers = layers_of(make_model())
    mean = mean_layer(layers[1:4])
    for value, *others in zip(mean.parameters(), *(layer.parameters() for layer in layers[1:4]), strict=True):
        torch.testing.assert_close(value, sum(others) / 3)
    single = mean_layer([layers[2]])
    assert all(map(torch.equal, single.parameters(), layers[2].parameters()))
    assert single is not layers[2]


def test_fresh_follows_the_architecture() -> None:
    model = make_model(hidden_size=32, initializer_range=0.05)
    original = layers_of(model)[0]
    before = copy.deepcopy(original.state_dict())
    torch.manual_seed(0)
    made = fresh(original, model)
    other = fresh(original, model)
    for name, value in made.state_dict().items():
        assert torch.equal(original.state_dict()[name], before[name])
        if "LayerNorm.weight" in name:
            assert torch.equal(value, torch.ones_like(value))
        elif name.endswith("bias"):
            assert not value.any()
        else:
            assert not torch.equal(value, other.state_dict()[name])
            assert 0.04 < value.std() < 0.06


def test_put_layers_in_place(batch: dict[str, torch.Tensor]) -> None:
    model = make_model()
    chosen = layers_of(model)[:2]
    assert put_layers(model, chosen, [(0,), (1,)]) is model
    assert model.config.num_hidden_layers == 2
    assert len(run(model, batch, output_hidden_states=True).hidden_states) == 3


def test_chosen_layers() -> None:
    a, b, c, x = (torch.nn.Linear(1, 1) for _ in range(4))
    layers = ChosenLayers([[a, b], [c]], [[x], [c]])
    assert list(layers) == [x, c]
    layers.mask = (False, True)
    assert list(layers) == [a, b, c]
    assert len(layers) == 3
