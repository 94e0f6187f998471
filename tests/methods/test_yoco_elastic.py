"""A model that runs as any of its sub-networks."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from conftest import make_model, without_dropout
from models.making import SHAPES, answers, make_batch, make_compact
from sub_networks import (
    COMPACT_NETWORK,
    NETWORKS,
    SMALLEST,
    UNEVEN,
    WHOLE,
    by_hand,
    each_family,
    each_head,
    layers_of,
    make_super,
    network,
    run,
)
from torch.overrides import TorchFunctionMode

from bertpress.encoders import encoder_of
from bertpress.engine.kernels import fastest_kernels
from bertpress.errors import RequestError
from bertpress.methods.yoco.elastic import choosing, cuts_of, elastic, elastic_layers, places_of
from bertpress.methods.yoco.space import SubNetwork
from bertpress.models import is_compact

CPU = torch.device("cpu")
each_execution = pytest.mark.parametrize("execution", ["slice", "mask"])
each_attention = pytest.mark.parametrize("attention", ["eager", "sdpa"])


@each_family
@each_head
def test_an_elastic_model_is_the_stock_one_in_name_and_shape(family: str, head: str) -> None:
    stock = make_super(family, head)
    before = copy.deepcopy(stock.state_dict())
    made = elastic(stock)
    assert type(made) is type(stock)
    assert made.config.to_dict() == stock.config.to_dict()
    assert {name: value.shape for name, value in made.state_dict().items()} == {
        name: value.shape for name, value in before.items()
    }
    assert [name for name, _ in made.named_parameters()] == [name for name, _ in stock.named_parameters()]
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in stock.state_dict().items()), "a copy"
    assert type(encoder_of(stock.config).layer_list(stock)) is torch.nn.ModuleList
    assert (made.get_output_embeddings() is None) == (head != "masked-lm")
    if head == "masked-lm":
        assert made.get_output_embeddings().weight is made.get_input_embeddings().weight


@each_family
@each_head
@each_attention
def test_everything_chosen_is_the_stock_model_bit_for_bit(family: str, head: str, attention: Any) -> None:
    stock = make_super(family, head)
    stock.set_attn_implementation(attention)
    made, batch = elastic(stock), make_batch(stock)
    expected = run(stock, batch)
    assert torch.equal(run(made, batch), expected)
    for execution in ("slice", "mask"):
        with choosing(made, WHOLE, execution):
            assert torch.equal(run(made, batch), expected)


@each_family
@each_head
@each_attention
def test_a_sub_network_is_the_model_without_the_rest(family: str, head: str, attention: Any) -> None:
    stock = make_super(family, head)
    stock.set_attn_implementation(attention)
    made, batch = elastic(stock), make_batch(stock)
    everything = run(stock, batch)
    for name, chosen in NETWORKS.items():
        expected = run(by_hand(stock, chosen), batch)
        assert torch.allclose(expected, everything, atol=1e-3) == (name == "whole"), "heads, neurons and layers count"
        for execution in ("slice", "mask"):
            with choosing(made, chosen, execution):
                torch.testing.assert_close(run(made, batch), expected, atol=1e-5, rtol=1e-5)


@each_family
@each_execution
def test_a_compact_model_whose_layers_differ(family: str, execution: Any) -> None:
    start = make_compact(family, layer_shapes=SHAPES, token_reduction=None)
    made, batch = elastic(start), make_batch(start)
    assert is_compact(made.config)
    assert torch.equal(run(made, batch), run(start, batch))
    with choosing(made, COMPACT_NETWORK, execution):
        found = run(made, batch)
    torch.testing.assert_close(found, run(by_hand(start, COMPACT_NETWORK), batch), atol=1e-5, rtol=1e-5)
    with pytest.raises(RequestError, match="Layer 1 can have 1 to 1 heads, the sub-network has 2"):
        choosing(made, network((1, 2, 8))).__enter__()


@each_family
@each_execution
def test_states_and_maps_are_those_of_the_chosen_layers(family: str, execution: Any) -> None:
    stock = make_super(family)
    stock.set_attn_implementation("eager")
    batch = make_batch(stock)
    stock(**batch, output_hidden_states=True)  # installs hooks, which the copy must neither lose nor double
    made, expected = elastic(stock), by_hand(stock, UNEVEN)
    for chosen, reference in ((UNEVEN, expected), (WHOLE, stock), (UNEVEN, expected)):
        with torch.no_grad(), choosing(made, chosen, execution):
            found = made(**batch, output_hidden_states=True, output_attentions=True)
            wanted = reference(**batch, output_hidden_states=True, output_attentions=True)
        assert len(found.hidden_states) == 1 + len(chosen.layers)
        torch.testing.assert_close(found.hidden_states, wanted.hidden_states, atol=1e-5, rtol=1e-5)
        heads = [shape.heads if execution == "slice" else 4 for shape in chosen.layers]
        assert [each.shape[1] for each in found.attentions] == heads
        for each, other, shape in zip(found.attentions, wanted.attentions, chosen.layers, strict=True):
            torch.testing.assert_close(each[:, : shape.heads], other[:, : shape.heads], atol=1e-5, rtol=1e-5)


def test_a_choice_ends_with_its_block() -> None:
    made = elastic(make_super())
    batch = make_batch(made)
    whole, layers = run(made, batch), elastic_layers(made)
    with choosing(made, UNEVEN, "mask"):
        outer = run(made, batch)
        with choosing(made, SMALLEST):
            assert (layers.network, layers.execution) == (SMALLEST, "slice")
            inner = run(made, batch)
        assert torch.equal(run(made, batch), outer)
        with pytest.raises(RuntimeError, match="stop"), choosing(made, WHOLE):
            raise RuntimeError("stop")
        assert torch.equal(run(made, batch), outer)
        with pytest.raises(RequestError), choosing(made, network((0, 5, 1))):
            pass
        assert (layers.network, layers.execution) == (UNEVEN, "mask")
    assert (layers.network, layers.execution) == (WHOLE, "slice")
    assert torch.equal(run(made, batch), whole)
    assert not torch.allclose(inner, outer)


def test_the_choice_holds_for_the_layers_alone_that_are_walked_over() -> None:
    layers = elastic_layers(elastic(make_super()))
    stored = list(layers.children())
    layers.choose(UNEVEN, "slice")
    assert list(layers) == [stored[0], stored[1], stored[3]]
    assert [name for name, _ in layers.named_children()] == ["0", "1", "2", "3"]
    assert len(layers) == 4
    assert layers[2] is stored[2]


def test_parameters_are_looked_at_in_every_pass() -> None:
    stock = make_super()
    made, batch = elastic(stock), make_batch(stock)
    other = make_super(seed=5)
    with choosing(made, UNEVEN):
        run(made, batch)
        made.load_state_dict(other.state_dict())
        torch.testing.assert_close(run(made, batch), run(by_hand(other, UNEVEN), batch), atol=1e-5, rtol=1e-5)
        copied = copy.deepcopy(made)
        made.double()
        found = run(made, batch)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, run(by_hand(other, UNEVEN).double(), batch))
    assert elastic_layers(copied).network == UNEVEN, "a copy is one of what is chosen, and knows nothing of its end"
    torch.testing.assert_close(run(copied, batch).double(), found, atol=1e-5, rtol=1e-5)
    assert torch.equal(run(elastic(copied), batch), run(other, batch)), "a new one begins with everything"


WRONG = [
    (network((4, 1, 1)), r"layers 0 to 3, but the sub-network has layer 4"),
    (network((-1, 1, 1)), r"layers 0 to 3, but the sub-network has layer -1"),
    (network((0, 1, 1), (2, 5, 1)), r"Layer 2 can have 1 to 4 heads, the sub-network has 5"),
    (network((1, 0, 1)), r"Layer 1 can have 1 to 4 heads, the sub-network has 0"),
    (network((3, 1, 25)), r"Layer 3 can have 1 to 24 neurons, the sub-network has 25"),
    (network((3, 1, 0)), r"Layer 3 can have 1 to 24 neurons, the sub-network has 0"),
]


@pytest.mark.parametrize(("chosen", "message"), WRONG, ids=str)
def test_what_is_not_in_the_model_is_refused(chosen: SubNetwork, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        choosing(elastic(make_super()), chosen).__enter__()


def test_models_that_cannot_be_elastic_are_refused() -> None:
    with pytest.raises(RequestError, match=r"no compact modernbert \(its attention turns states"):
        elastic(make_model(family="modernbert"))
    with pytest.raises(RequestError, match=r"no compact deberta-v2 \(its attention adds"):
        elastic(make_model(family="deberta-v2"))
    with pytest.raises(RequestError, match="Token reduction comes last"):
        elastic(make_compact())
    with pytest.raises(ValueError, match="expected a model that `elastic` made, got a BertForSequenceClassification"):
        choosing(make_super(), WHOLE).__enter__()
    with pytest.raises(ValueError, match="the execution slice or mask, got gather"):
        choosing(elastic(make_super()), WHOLE, "gather").__enter__()  # type: ignore[arg-type]


def test_masks_need_no_compiling_anew() -> None:
    stock = make_super(num_hidden_layers=1)
    made, batch, compiled = elastic(stock), make_batch(stock), []

    def backend(graph: Any, inputs: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    fast = torch.compile(made, backend=backend)
    for heads, neurons in ((4, 24), (3, 24), (3, 7), (1, 1)):
        chosen = network((0, heads, neurons))
        with choosing(made, chosen, "mask"):
            torch.testing.assert_close(run(fast, batch), run(by_hand(stock, chosen), batch), atol=1e-5, rtol=1e-5)
    assert len(compiled) == 1


class Weights(TorchFunctionMode):
    """Remembers the weights of linear maps."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[torch.Tensor] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.nn.functional.linear:
            self.found.append(args[1])
        return function(*args, **(kwargs or {}))


@each_family
def test_products_are_small_and_without_gaps(family: str) -> None:
    """oneDNN is far slower where rows of a weight do not lie behind each other."""
    made = elastic(make_super(family))
    with choosing(made, network((1, 3, 5))), Weights() as weights:
        run(made.base_model, make_batch(made))
    shapes = [tuple(weight.shape) for weight in weights.found]
    start = shapes.index((12, 16))
    assert shapes[start : start + 6] == [(12, 16)] * 3 + [(16, 12), (5, 16), (16, 5)]
    assert all(weight.is_contiguous() for weight in weights.found)


# Training


def loss_of(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return answers(model(**batch)).square().mean()


@each_family
@each_execution
@each_attention
@pytest.mark.parametrize("kernels", [False, True])
def test_gradients_are_those_of_the_used_parts(family: str, execution: Any, attention: Any, kernels: bool) -> None:
    stock = make_super(family, **without_dropout(family)).train()
    stock.set_attn_implementation(attention)
    made, reference, batch = elastic(stock), by_hand(stock, UNEVEN), make_batch(stock)
    with fastest_kernels(CPU) if kernels else nullcontext(), choosing(made, UNEVEN, execution):
        loss = loss_of(made, batch)
    loss.backward()
    loss_of(reference, batch).backward()
    expected = dict(reference.named_parameters())
    stem = next(name for name, module in made.named_modules() if module is elastic_layers(made))
    cuts, layers = cuts_of(places_of(made.config)), layers_of(made)
    for name, parameter in made.named_parameters():
        if not name.startswith(stem):
            torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-5, rtol=1e-4)
    assert all(parameter.grad is None for parameter in layers[2].parameters())
    for position, shape in enumerate(UNEVEN.layers):
        layer = layers[shape.origin]
        cut_away = {f"{cut.path}.{name}": (cut, axis) for cut in cuts for name, axis in cut.axes.items()}
        for name, parameter in layer.named_parameters():
            found, wanted = parameter.grad, expected[f"{stem}.{position}.{name}"].grad
            if name in cut_away:
                cut, axis = cut_away[name]
                used = cut.features(shape, 4)
                assert not found.narrow(axis, used, found.shape[axis] - used).any(), name
                found, wanted = (each.narrow(axis, 0, used) for each in (found, wanted))
            message = f"{name}: {{}}"
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4, msg=message.format)
            assert found.dim() == 1 or (found != 0).any(1).all(), f"every part of {name} is trained"


@each_family
@each_execution
@each_attention
def test_training_with_dropout(family: str, execution: Any, attention: Any) -> None:
    made = elastic(make_super(family)).train()
    made.set_attn_implementation(attention)
    batch = make_batch(made)
    with fastest_kernels(CPU), choosing(made, UNEVEN, execution):
        first, second = loss_of(made, batch), loss_of(made, batch)
        assert first.item() != second.item(), "dropout draws"
        first.backward()
    for shape in UNEVEN.layers:
        for name, parameter in layers_of(made)[shape.origin].named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


@each_family
@each_execution
def test_gradient_checkpointing_gives_the_same_gradients(family: str, execution: Any) -> None:
    stock = make_super(family, **without_dropout(family)).train()
    batch, found = make_batch(stock), []
    for checkpointing in (False, True):
        made = elastic(stock)
        if checkpointing:
            made.activation_checkpointing_enable({"use_reentrant": False})
        with choosing(made, UNEVEN, execution):
            loss_of(made, batch).backward()
        found.append({name: value.grad for name, value in made.named_parameters() if value.grad is not None})
    assert found[0].keys() == found[1].keys()
    torch.testing.assert_close(found[1], found[0], atol=1e-7, rtol=1e-6)


def test_hidden_values_that_are_no_numbers_do_no_harm() -> None:
    """A neuron that is left out may have run away."""
    made = elastic(make_super())
    batch = make_batch(made)
    with choosing(made, UNEVEN):
        expected = run(made, batch)
    layers_of(made)[1].intermediate.dense.weight.data[5:] = torch.inf
    for execution in ("slice", "mask"):
        with choosing(made, UNEVEN, execution):
            torch.testing.assert_close(run(made, batch), expected, atol=1e-5, rtol=1e-5)
