"""The order of heads and neurons by their importance."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_masked_task, make_tokenizer, without_dropout
from models.making import SHAPES, make_batch, make_compact
from safetensors.numpy import load_file, save_file
from sub_networks import UNEVEN, by_hand, each_family, layers_of, make_super, network, run
from torch import Tensor, nn

from bertpress.encoders import shapes_of
from bertpress.errors import RequestError
from bertpress.methods.yoco.elastic import choosing, elastic, places_of
from bertpress.methods.yoco.ordering import (
    Ordering,
    Scores,
    calibration_batches,
    check_same,
    equal_scores,
    gate_gradients,
    layer_scores,
    order,
    unit_scores,
)
from bertpress.tasks.plain_text import PlainText

Tasks = Callable[[str], Any]
close = pytest.approx


def random_scores(config: Any, seed: int) -> Scores:
    """Scores that stand for any order."""
    generator, shapes = np.random.default_rng(seed), shapes_of(config)
    heads, neurons = (tuple(tuple(generator.random(shape[which]).tolist()) for shape in shapes) for which in (0, 1))
    return Scores(heads, neurons, tuple(generator.random(len(shapes)).tolist()))


def batches_of(task: Any) -> list[dict[str, Tensor]]:
    return calibration_batches(task, 12, 5, seed=3)


class Gate(nn.Module):
    """Multiplies what a linear layer is applied to by a number for each unit."""

    def __init__(self, linear: nn.Linear, units: int) -> None:
        super().__init__()
        self.linear, self.gate = linear, nn.Parameter(torch.ones(units))

    def forward(self, states: Tensor) -> Tensor:
        result: Tensor = self.linear(states * self.gate.repeat_interleave(states.shape[-1] // len(self.gate)))
        return result


def gated(model: Any) -> tuple[Any, list[Gate]]:
    """A copy with gates on heads and on neurons, layer by layer."""
    result, gates, places = copy.deepcopy(model), [], places_of(model.config)
    for layer, counts in zip(layers_of(result), shapes_of(model.config), strict=True):
        for path, units in zip((places.attention_output, places.outer), counts, strict=True):
            gates.append(Gate(layer.get_submodule(path), units))
            layer.set_submodule(path, gates[-1])
    return result, gates


def by_gates(model: Any, batches: list[Any], loss: Callable[[Any, Any], Tensor]) -> list[list[float]]:
    """Mean over batches of the absolute gradients of gates."""
    with_gates, gates = gated(model)
    gradients = [torch.autograd.grad(loss(with_gates, batch), [gate.gate for gate in gates]) for batch in batches]
    return [torch.stack(each).abs().mean(0).tolist() for each in zip(*gradients, strict=True)]


def flat(scores: Scores) -> list[list[float]]:
    return [list(row) for pair in zip(scores.heads, scores.neurons, strict=True) for row in pair]


def assert_near(found: list[list[float]], expected: list[list[float]]) -> None:
    assert len(found) == len(expected) > 0
    for row, wanted in zip(found, expected, strict=True):
        assert row == close(wanted, rel=1e-4, abs=1e-7)
        assert max(row) > 0


def test_a_gradient_by_hand() -> None:
    inputs = torch.tensor([[[1.0, 2.0, 3.0, 4.0], [1.0, 0.0, -1.0, 2.0]]])
    gradient = torch.tensor([[[1.0, -1.0, 2.0, 0.5], [3.0, 7.0, 1.0, -1.0]]])
    assert gate_gradients(inputs, gradient, 2).tolist() == [1 - 2 + 3 + 0, 6 + 2 - 1 - 2]
    assert gate_gradients(inputs, gradient, 4).tolist() == [4, -2, 5, 0]


@each_family
def test_importance_is_the_gradient_of_gates(family: str, task_of: Tasks) -> None:
    task, model = task_of(family), make_super(family)
    batches = batches_of(task)
    assert [len(batch["input_ids"]) for batch in batches] == [5, 5, 2]
    model.train()
    layers_of(model)[1].eval()
    flags = [module.training for module in model.modules()]
    found = unit_scores(model, task, batches)
    assert [module.training for module in model.modules()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    expected = by_gates(
        model.eval(), batches, lambda each, batch: task.example_losses(task.forward(each, batch), batch).mean()
    )
    assert_near(flat(found), expected)
    assert found.layers == (0.0,) * 4
    assert flat(unit_scores(elastic(model), task, batches)) == flat(found)
    assert_near(flat(unit_scores(model.requires_grad_(False), task, batches)), expected)


def test_batches_count_by_their_own_gradient(task: Any) -> None:
    """Two equal batches give what one gives, so nothing is left of one in the next."""
    model, (batch, *_) = make_super(), batches_of(task)
    assert_near(flat(unit_scores(model, task, [batch] * 3)), flat(unit_scores(model, task, [batch])))


@each_family
def test_importance_for_a_masked_language_model(family: str) -> None:
    task, model = make_masked_task(family), make_super(family, "masked-lm")
    batches = batches_of(task)
    expected = by_gates(
        model, batches, lambda each, batch: task.example_losses(task.forward(each, batch), batch).mean()
    )
    assert_near(flat(unit_scores(model, task, batches)), expected)


def test_importance_without_labels(task: Any) -> None:
    model = make_super()
    batches = [{name: value for name, value in batch.items() if name != "labels"} for batch in batches_of(task)]
    expected = by_gates(model, batches, lambda each, batch: task.forward(each, batch).logits.square().sum(1).mean())
    assert_near(flat(unit_scores(model, task, batches)), expected)


def test_importance_in_layers_of_unequal_shape(task: Any) -> None:
    model = make_compact(layer_shapes=SHAPES, token_reduction=None)
    batches = batches_of(task)
    found = unit_scores(model, task, batches)
    assert list(map(len, found.heads)) == [2, 1, 3, 1]
    assert list(map(len, found.neurons)) == [24, 40, 8, 16]
    expected = by_gates(
        model, batches, lambda each, batch: task.example_losses(task.forward(each, batch), batch).mean()
    )
    assert_near(flat(found), expected)


@each_family
def test_layers_count_by_what_the_model_loses_without_them(family: str, task_of: Tasks) -> None:
    task, model = task_of(family), make_super(family).train()
    batches = batches_of(task)
    found = layer_scores(model, task, batches)
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training

    def losses(each: Any) -> float:
        with torch.no_grad():
            return float(
                np.mean([task.example_losses(task.forward(each, batch), batch).mean().item() for batch in batches])
            )

    made = elastic(model.eval())
    for left_out, score in enumerate(found):
        with choosing(made, network(*((layer, 4, 24) for layer in range(4) if layer != left_out))):
            without = losses(made)
        assert score == close(without - losses(model), abs=1e-5)


@each_family
def test_units_in_order_do_what_they_did(family: str, task_of: Tasks) -> None:
    task, model = task_of(family), make_super(family)
    batches = batches_of(task)
    scores = unit_scores(model, task, batches)
    before, parameters = copy.deepcopy(model), list(model.parameters())
    ordering = order(model, scores)
    assert all(map(lambda one, other: one is other, parameters, model.parameters())), "in place"
    assert check_same(before, model, task.inputs_of(model, batches[0])) < 1e-5
    assert [sorted(heads) for heads in ordering.heads] == [list(range(4))] * 4
    assert [sorted(neurons) for neurons in ordering.neurons] == [list(range(24))] * 4
    assert ordering.scores == scores
    again = unit_scores(model, task, batches)
    for rows, originals, orders in (
        (again.heads, scores.heads, ordering.heads),
        (again.neurons, scores.neurons, ordering.neurons),
    ):
        for row, original, places in zip(rows, originals, orders, strict=True):
            assert row == close([original[place] for place in places], rel=1e-3, abs=1e-6)
            assert [original[place] for place in places] == sorted(original, reverse=True)
        assert any(places != tuple(range(len(places))) for places in orders), "they moved"


@each_family
def test_every_part_of_a_unit_moves(family: str) -> None:
    """The first head and neuron afterwards are those of the highest scores, with all that belongs to them."""
    model, before = make_super(family), make_super(family)
    heads = ((0.0, 1.0, 3.0, 2.0),) * 4
    neurons = (tuple(float(number == 7) for number in range(24)),) * 4
    order(model, Scores(heads, neurons, (0.0,) * 4))
    places = places_of(model.config)
    for layer, old in zip(layers_of(model), layers_of(before), strict=True):
        for name in places.projections:
            now, then = (each.get_submodule(f"{places.attention}.{name}") for each in (layer, old))
            for values, given in ((now.weight, then.weight), (now.bias, then.bias)):
                assert torch.equal(values, torch.cat([given[8:12], given[12:], given[4:8], given[:4]]))
        now, then = (each.get_submodule(places.attention_output) for each in (layer, old))
        columns = then.weight.split(4, 1)
        assert torch.equal(now.weight, torch.cat([columns[2], columns[3], columns[1], columns[0]], 1))
        assert torch.equal(now.bias, then.bias)
        first = [7, *range(7), *range(8, 24)]
        now, then = (each.get_submodule(places.inner) for each in (layer, old))
        assert torch.equal(now.weight, then.weight[first])
        assert torch.equal(now.bias, then.bias[first])
        now, then = (each.get_submodule(places.outer) for each in (layer, old))
        assert torch.equal(now.weight, then.weight[:, first])
        assert torch.equal(now.bias, then.bias)
    batch = make_batch(model)
    torch.testing.assert_close(run(model, batch), run(before, batch), atol=1e-5, rtol=1e-5)
    with choosing(made := elastic(model), UNEVEN):
        assert not torch.allclose(run(made, batch), run(by_hand(before, UNEVEN), batch), atol=1e-3)


def test_units_that_give_nothing_come_last(task: Any) -> None:
    model = make_super(**without_dropout())
    for layer in layers_of(model):
        layer.attention.output.dense.weight.data[:, :4] = 0
        layer.output.dense.weight.data[:, 2:5] = 0
    ordering = order(model, unit_scores(model, task, batches_of(task)))
    for heads, neurons in zip(ordering.heads, ordering.neurons, strict=True):
        assert heads[-1] == 0
        assert neurons[-3:] == (2, 3, 4), "equal ones by number"
    assert not layers_of(model)[2].attention.output.dense.weight[:, 12:].any()


def test_layers_are_ranked_and_stay_where_they_are() -> None:
    assert Ordering.by(Scores((), (), (0.5, -1.0, 2.0, 0.5))).layers == (2, 0, 3, 1)
    model = make_super()
    before = copy.deepcopy(model.state_dict())
    scores = equal_scores(model.config)
    ordering = order(model, Scores(scores.heads, scores.neurons, (0.0, 1.0, 2.0, 3.0)))
    assert ordering.layers == (3, 2, 1, 0)
    assert ordering.heads == (tuple(range(4)),) * 4
    assert ordering.neurons == (tuple(range(24)),) * 4
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_ordering_can_be_kept(tmp_path: Path) -> None:
    config = make_compact(layer_shapes=SHAPES, token_reduction=None).config
    ordering = Ordering.by(random_scores(config, 1))
    save_file(ordering.to_arrays(), tmp_path / "order.safetensors")
    assert Ordering.of(load_file(tmp_path / "order.safetensors")) == ordering
    listed = json.dumps({name: values.tolist() for name, values in ordering.to_arrays().items()})
    assert Ordering.of(json.loads(listed)) == ordering


def test_a_model_that_changed_is_found_out(task: Any) -> None:
    model = make_super().train()
    changed = copy.deepcopy(model)
    inputs = task.inputs_of(model, batches_of(task)[0])
    assert check_same(model, changed, inputs) == 0
    assert model.training
    assert changed.training
    query = layers_of(changed)[1].attention.self.query.weight.data
    query.copy_(query.flip(0))
    with pytest.raises(ValueError, match="equal logits after putting units in order, they differ by up to"):
        check_same(model, changed, inputs)
    query.fill_(torch.nan)
    with pytest.raises(ValueError, match="differ by up to nan"):
        check_same(model, changed, inputs)


def test_a_model_whose_loss_is_no_number_has_no_order(task: Any) -> None:
    model = make_super()
    model.classifier.weight.data.fill_(torch.nan)
    with pytest.raises(RequestError, match="Importance is not a number"):
        order(model, unit_scores(model, task, batches_of(task)))


def test_calibration_rows_are_training_rows_by_seed(task: Any) -> None:
    def rows(*args: Any, **options: Any) -> list[int]:
        return [row for batch in calibration_batches(task, *args, **options) for row in batch["row"].tolist()]

    first = rows(20, 8, 1)
    assert len(first) == len(set(first)) == 20
    assert first == rows(20, 8, 1) == rows(20, 5, 1), "whatever the size of a batch"
    assert first != rows(20, 8, 2)
    assert rows(30, 8, 1)[:20] == first, "more are the same and others"
    assert sorted(rows(1000, 8, 1)) == list(range(96)), "all there are"
    batch = calibration_batches(task, 3, 8, 1)[0]
    for row, ids in zip(batch["row"].tolist(), batch["input_ids"], strict=True):
        given = task.encoded("train")[row]["input_ids"]
        assert ids[: len(given)].tolist() == given
    with pytest.raises(RequestError, match="text has no training rows"):
        calibration_batches(PlainText("text", {"train": []}, make_tokenizer(), 16), 8, 4, 1)  # type: ignore[dict-item]
