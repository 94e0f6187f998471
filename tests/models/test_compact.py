"""Compact models: layers of unequal shape, the way from and to stock models, and what is saved."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import make_config, make_model
from models.making import KINDS, REDUCTION, SHAPES, answers, make_batch, make_compact, run

from bertpress.encoders.compact import (
    compact,
    compact_config,
    stock_class,
    stock_config,
    uneven_heads,
    without_decisions,
)
from bertpress.engine.loading import loader
from bertpress.errors import RequestError
from bertpress.models import COMPACT, architecture_of, is_compact, is_reduced

each_family = pytest.mark.parametrize("family", COMPACT)
each_kind = pytest.mark.parametrize("kind", KINDS)
EQUAL = [{"heads": 2, "intermediate_size": 24, "origin": layer} for layer in range(4)]


def stock_of(family: str, kind: str) -> Any:
    return getattr(transformers, COMPACT[family] + kind)


@each_family
@each_kind
def test_a_compact_copy_has_the_weights_and_answers_of_the_stock_model(family: str, kind: str) -> None:
    torch.manual_seed(1)
    stock = stock_of(family, kind)(make_config(family)).eval()
    batch = make_batch(stock)
    with torch.no_grad():
        expected = answers(stock(**batch))
    for fields in ({}, {"layer_shapes": EQUAL}, {"token_reduction": None}):
        made = compact(stock, **fields)
        assert type(made).__name__ == "Compact" + type(stock).__name__
        with torch.no_grad():
            assert torch.equal(answers(made(**batch)), expected)
    made = compact(stock, token_reduction=REDUCTION)
    assert made.state_dict().keys() - stock.state_dict().keys() == {
        name for name in made.state_dict() if "policies" in name
    }
    kept = answers(made(**batch, token_threshold=0.0))
    valid = batch["attention_mask"].bool()
    if kept.shape[:2] == valid.shape:
        kept, expected = kept[valid], expected[valid]
    torch.testing.assert_close(kept, expected, atol=1e-5, rtol=1e-5)
    assert not made.training
    assert stock_config(made.config).to_dict() == {**stock.config.to_dict(), "architectures": None}
    assert stock_class(made) is type(stock)
    assert stock_class(stock) is type(stock)


def test_types_and_architectures() -> None:
    for family in COMPACT:
        stock = make_config(family)
        made = compact_config(stock, token_reduction={"layers": []})
        assert (architecture_of(stock), architecture_of(made)) == (family, family)
        assert (is_compact(stock), is_compact(made)) == (False, True)
        assert (is_reduced(stock), is_reduced(made), is_reduced(compact_config(stock))) == (False, True, False)
    with pytest.raises(RequestError, match=r"no compact modernbert \(its attention .*\); there are: bert, roberta"):
        compact_config(make_config("modernbert"))


def test_decisions_can_be_changed_and_left_out() -> None:
    model = make_compact()
    plain = without_decisions(model)
    assert plain.config.token_reduction == {"layers": []}
    assert plain.config._attn_implementation == "packed"
    batch = make_batch(model)
    torch.testing.assert_close(run(plain, batch)[0], run(model, batch, token_threshold=0.0)[0], atol=1e-5, rtol=1e-5)
    fewer = compact(model, token_reduction={"layers": [1]})
    assert torch.equal(run(fewer, batch)[1].alive()[..., 0], run(model, batch)[1].alive()[..., 0])
    bare = compact(make_model().base_model, token_reduction=REDUCTION)
    assert len(bare.policies) == 2


@each_family
def test_layers_of_unequal_shape(family: str) -> None:
    model = make_compact(family, layer_shapes=SHAPES, token_reduction=None)
    layers = list(model.base_model.get_submodule(model.base_model.places.layers).children())
    places = model.base_model.places
    for layer, shape in zip(layers, SHAPES, strict=True):
        attention = layer.get_submodule(places.attention)
        width = shape["heads"] * 8
        for name in places.projections:
            assert getattr(attention, name).weight.shape == (width, 16)
        assert layer.get_submodule(places.attention_output).weight.shape == (16, width)
        assert layer.get_submodule(places.inner).weight.shape == (shape["intermediate_size"], 16)
        assert layer.get_submodule(places.outer).weight.shape == (16, shape["intermediate_size"])
    batch = make_batch(model)
    expected = run_plain(model, batch)
    assert expected.isfinite().all()
    model.set_attn_implementation("eager")
    torch.testing.assert_close(run_plain(model, batch), expected, atol=1e-5, rtol=1e-5)
    assert [tuple(one.shape[1:]) for one in model(**batch, output_attentions=True).attentions] == [
        (shape["heads"], 12, 12) for shape in SHAPES
    ]
    assert uneven_heads(model.config) == [2, 1, 3, 1]
    assert uneven_heads(compact_config(model.config, layer_shapes=EQUAL)) == []


def run_plain(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return answers(model(**batch))


@each_family
def test_pruned_heads_are_those_of_the_stock_model_without_them(family: str) -> None:
    """A layer whose second head gives nothing equals one that has only the first."""
    stock = make_model(family=family)
    shapes = [{"heads": 1, "intermediate_size": 24, "origin": layer} for layer in range(4)]
    small = make_compact(family, layer_shapes=shapes, token_reduction=None)
    places = small.base_model.places
    weights, half = stock.state_dict(), {}
    inside = [f"{places.attention}.{name}." for name in places.projections]
    for name, value in weights.items():
        if any(part in name for part in inside):
            half[name] = value[:8]
        elif name.endswith(f"{places.attention_output}.weight"):
            value[:, 8:] = 0
            half[name] = value[:, :8]
        else:
            half[name] = value
    stock.load_state_dict(weights)
    small.load_state_dict(half)
    batch = make_batch(small)
    torch.testing.assert_close(run_plain(small, batch), run_plain(stock, batch), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (SHAPES[:3], "layer_shapes must describe 4 layers, got 3"),
        ([*SHAPES[:3], {"heads": 2}], r"layer_shapes\[3\] must have heads, intermediate_size and origin, got"),
        ([*SHAPES[:3], {**SHAPES[0], "width": 3}], r"layer_shapes\[3\] must have heads"),
        ([*SHAPES[:3], {**SHAPES[0], "heads": 0}], r"layer_shapes\[3\] must be at least 1 wide"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_compact(layer_shapes=shapes)


@each_family
@each_kind
def test_a_forward_pass_takes_what_the_stock_one_takes(family: str, kind: str) -> None:
    model = make_compact(family, kind)
    stock = stock_of(family, kind)
    assert list(inspect.signature(type(model).forward).parameters) == list(inspect.signature(stock.forward).parameters)


@each_family
@each_kind
def test_what_is_saved_is_loaded_bit_for_bit(family: str, kind: str, tmp_path: Path) -> None:
    reduction = {**REDUCTION, "thresholds": [0.4, 0.6], "profiles": {"fast": {"thresholds": [0.9, 0.9]}}}
    model = make_compact(family, kind, layer_shapes=SHAPES, token_reduction=reduction)
    model.save_pretrained(tmp_path)
    parts = ("deciding", "layer_shapes", "multihop", "packed_attention", "policy", "shared_choices")
    code = {"compact.py", *(f"{part}.py" for part in (*parts, "token_selection", "walks"))}
    own = f"compact_{family.replace('-', '_')}.py"
    assert {path.name for path in tmp_path.glob("*.py")} == {*code, own}
    again = loader(f"Auto{'' if kind == 'Model' else 'Model'}{kind}").from_pretrained(tmp_path)
    assert type(again) is type(model)
    batch = make_batch(model)
    for options in ({}, {"profile": "fast"}):
        (expected, trace), (found, own_trace) = (run(each, batch, **options) for each in (model, again))
        # How a product with a single row of weights is rounded depends on where in memory they lie.
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 if kind == "ForMultipleChoice" else 0)
        assert torch.equal(own_trace.alive(), trace.alive())
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert again.config.token_reduction == reduction
    assert again.config._attn_implementation == "packed"
    tables = again.get_output_embeddings(), again.get_input_embeddings()
    assert kind != "ForMaskedLM" or tables[0].weight is tables[1].weight


def test_a_head_and_its_encoder_can_be_exchanged(tmp_path: Path) -> None:
    model = make_compact()
    model.base_model.save_pretrained(tmp_path)
    bare = loader("AutoModel").from_pretrained(tmp_path)
    batch = make_batch(model)
    states = run(model.base_model, batch, token_outputs=True)[0]
    assert torch.equal(run(bare, batch)[0], states)
    assert run(model.base_model, batch)[0].shape == (6, 1, 16), "the classifier reads the first token only"
    config = copy.deepcopy(bare.config)
    assert config.auto_map["AutoModelForSequenceClassification"] == "compact_bert.CompactBertForSequenceClassification"
