"""Captured queries, keys and values: what the stock attention computes with, and nothing of it stays behind."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import batch_of, make_model, without_dropout
from families import FAMILIES
from torch import Tensor

from bertpress.encoders import encoder_of, scores
from bertpress.encoders.scores import CAPTURING, Captured, capture, disable_capture, enable_capture
from bertpress.engine import kernels
from bertpress.engine.kernels import CpuKernels
from bertpress.engine.objective import Supervised, choose_attention
from bertpress.errors import RequestError
from bertpress.losses import attention_loss, hidden_loss

CAPTURED = [family for family in FAMILIES if family != "deberta-v2"]
each_captured = pytest.mark.parametrize("family", CAPTURED)
each_family = pytest.mark.parametrize("family", FAMILIES)
Tasks = Callable[[str], Any]


def inputs_of(family: str, task_of: Tasks) -> dict[str, Tensor]:
    """Eight rows of different lengths."""
    batch = batch_of(task_of(family))
    assert not batch["attention_mask"].all(), "there is padding"
    return {name: batch[name] for name in FAMILIES[family].inputs}


def switched(model: Any) -> Any:
    model = copy.deepcopy(model)
    enable_capture(model)
    return model


def logits(model: Any, inputs: dict[str, Tensor], seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return model(**inputs).logits  # type: ignore[no-any-return]


def layers_of(model: Any) -> list[Any]:
    return list(encoder_of(model.config).layer_list(model).children())


@each_captured
def test_outputs_are_the_stock_ones_with_and_without_padding(family: str, task_of: Tasks) -> None:
    model, inputs = make_model(family=family), inputs_of(family, task_of)
    ours = switched(model)
    assert torch.equal(logits(ours, inputs), logits(model, inputs))
    full = {name: value[:, :4] for name, value in inputs.items()}
    assert full["attention_mask"].all()
    assert torch.equal(logits(ours, full), logits(model, full))


@each_captured
def test_training_with_dropout_is_the_stock_eager_one(family: str, task_of: Tasks) -> None:
    model, inputs = make_model(family=family), inputs_of(family, task_of)
    ours = switched(model).train()
    model.set_attn_implementation("eager")
    model.train()
    torch.testing.assert_close(logits(ours, inputs), logits(model, inputs), rtol=1e-4, atol=1e-5)
    assert not torch.equal(logits(ours, inputs, seed=1), logits(ours, inputs, seed=2)), "dropout draws"


@each_captured
def test_our_dropout_replaces_it_in_training(family: str, task_of: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    names = FAMILIES[family].dropouts
    only_attention = {**without_dropout(family), encoder_of(make_model(family=family).config).attention_dropout: 0.1}
    model, inputs = make_model(family=family, **only_attention), inputs_of(family, task_of)
    assert len(names) > 1
    drops: list[Tensor] = []
    stock = kernels.SUBSTITUTES[torch.nn.functional.dropout]

    def spy(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        drops.append(input)
        return stock(input, *args, **kwargs)

    monkeypatch.setattr(kernels, "SUBSTITUTES", {torch.nn.functional.dropout: spy})
    length = inputs["input_ids"].shape[1]
    with CpuKernels():
        logits(switched(model).train(), inputs)
    assert sum(each.shape == (8, 2, length, length) for each in drops) == 4, "one for each layer"


@each_captured
def test_captured_scores_give_the_attention_of_the_eager_implementation(family: str, task_of: Tasks) -> None:
    """Softmax of the captured scores, inside of mask and window, is the map that eager attention returns."""
    model, inputs = make_model(family=family), inputs_of(family, task_of)
    ours = switched(model)
    with capture(ours, [3, 0, 1]) as found:
        outputs = ours(**inputs)
    model.set_attn_implementation("eager")
    maps = model(**inputs, output_attentions=True).attentions
    real = inputs["attention_mask"].bool()
    positions = torch.arange(real.shape[1])
    assert sorted(found) == [0, 1, 3]
    for index, layer in found.items():
        assert isinstance(layer, Captured)
        allowed = real[:, None, None]
        if layer.window is not None:
            allowed = allowed & ((positions[:, None] - positions).abs() <= layer.window)
        found_map = (layer.scaling * layer.query @ layer.key.mT).masked_fill(~allowed, -torch.inf).softmax(-1)
        rows = real[:, None].expand(-1, 2, -1)  # a padded query may have no real key in its window
        torch.testing.assert_close(found_map[rows], maps[index][rows], rtol=1e-4, atol=1e-6)
        assert layer.query.shape == layer.key.shape == layer.value.shape == (8, 2, real.shape[1], 8)
    assert torch.equal(outputs.logits, logits(switched(model), inputs))


def test_local_layers_know_their_window(task_of: Tasks) -> None:
    model = make_model(family="modernbert")
    enable_capture(model)
    with capture(model, range(4)) as found:
        model(**inputs_of("modernbert", task_of))
    assert [found[index].window for index in range(4)] == [None, 4, 4, None]
    projections = found[1].projections()
    assert (projections.queries is found[1].query, projections.keys is found[1].key) == (True, True)
    assert (projections.scaling, projections.window) == (8**-0.5, 4)


@each_captured
def test_values_are_those_of_the_layer(family: str, task_of: Tasks) -> None:
    model = switched(make_model(family=family))
    seen: list[Tensor] = []
    name = {"distilbert": "attention.v_lin", "modernbert": "attn.Wqkv"}.get(family, "attention.self.value")
    layers_of(model)[2].get_submodule(name).register_forward_hook(lambda *call: seen.append(call[2]))
    with capture(model, [2]) as found:
        model(**inputs_of(family, task_of))
    value = found[2].value.transpose(1, 2).flatten(2)
    assert torch.equal(value, seen[0][..., -16:])


@each_captured
def test_nothing_is_captured_outside_and_nothing_is_kept(family: str, task_of: Tasks) -> None:
    model, inputs = switched(make_model(family=family)), inputs_of(family, task_of)
    with capture(model, [1]) as found:
        pass
    model(**inputs)
    assert not found
    assert not scores._CAPTURES
    with pytest.raises(RuntimeError, match="stop"), capture(model, [1]):
        raise RuntimeError("stop")
    assert not scores._CAPTURES
    with capture(model, [1]) as first:
        model(**inputs)
    query = first[1].query
    with capture(model, [1]) as second:
        model(**{name: value[:2] for name, value in inputs.items()})
    assert first[1].query is query
    assert second[1].query.shape[0] == 2


def test_a_capture_inside_of_another_of_the_same_model_takes_its_place(task_of: Tasks) -> None:
    model, inputs = switched(make_model()), inputs_of("bert", task_of)
    with capture(model, [1, 2]) as outer:
        with capture(model, [2, 3]) as inner:
            model(**inputs)
        assert (sorted(outer), sorted(inner)) == ([1], [2, 3])
        model(**inputs)
    assert sorted(outer) == [1, 2]
    assert not scores._CAPTURES


@each_captured
def test_a_student_learns_from_a_teacher_in_the_same_forward(family: str, task_of: Tasks) -> None:
    fields = without_dropout(family)
    inputs = inputs_of(family, task_of)
    student, teacher = (switched(make_model(seed, family, **fields)) for seed in (1, 2))
    student.train()
    with capture(student, [1]) as ours, capture(teacher, [3]) as theirs:
        student(**inputs)
        with torch.inference_mode():
            teacher(**inputs)
    loss = attention_loss(ours[1].projections(), theirs[3].projections(), inputs["attention_mask"])
    loss.backward()
    touched = [index for index, layer in enumerate(layers_of(student)) if any_gradient(layer)]
    assert touched == [0, 1]
    assert not any_gradient(teacher)
    assert not theirs[3].query.requires_grad


def any_gradient(module: Any) -> bool:
    return any(value.grad is not None and value.grad.any() for value in module.parameters())


@each_captured
def test_gradient_checkpointing_gives_the_same_gradients(family: str, task_of: Tasks) -> None:
    inputs = inputs_of(family, task_of)

    def gradients(checkpointing: bool) -> dict[str, Tensor]:
        student, teacher = (switched(make_model(seed, family, **without_dropout(family))) for seed in (1, 2))
        if checkpointing:
            student.activation_checkpointing_enable({"use_reentrant": False})
        student.train()
        with capture(student, [0, 2]) as ours, capture(teacher, [1, 3]) as theirs:
            loss = student(**inputs).logits.square().mean()
            with torch.no_grad():
                teacher(**inputs)
            for index, other in ((0, 1), (2, 3)):
                pair = (ours[index].projections(), theirs[other].projections())
                loss = loss + attention_loss(*pair, inputs["attention_mask"])
            loss.backward()
        return {name: value.grad for name, value in student.named_parameters() if value.grad is not None}

    plain, recomputed = gradients(False), gradients(True)
    assert plain.keys() == recomputed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-5, atol=1e-7)


@each_captured
def test_a_saved_model_has_ordinary_attention(family: str, task_of: Tasks, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    model, inputs = switched(make_model(family=family)), inputs_of(family, task_of)
    make_model(family=family).save_pretrained(tmp_path / "stock")
    model.save_pretrained(tmp_path / "ours")
    saved, stock = ((tmp_path / name / "config.json").read_text(encoding="utf-8") for name in ("ours", "stock"))
    assert saved == stock
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours")
    assert loaded.config._attn_implementation == "sdpa"
    assert torch.equal(logits(loaded, inputs), logits(model, inputs))
    disable_capture(model)
    assert model.config._attn_implementation == "sdpa"


@each_captured
def test_the_engine_leaves_a_capturing_model_alone(family: str, task_of: Tasks) -> None:
    model = make_model(family=family)
    for _ in range(2):
        enable_capture(model)
    for training in (True, False):
        choose_attention(model, training=training)
        assert model.config._attn_implementation == CAPTURING
    objective = Supervised(model, task_of(family)).train()
    assert objective(**batch_of(task_of(family)))["loss"].isfinite()
    assert model.config._attn_implementation == CAPTURING
    disable_capture(model)
    choose_attention(model, training=True)
    assert model.config._attn_implementation == "eager"
    disable_capture(model)
    assert model.config._attn_implementation == "eager", "only ours is taken away"


def test_an_attention_with_more_than_queries_and_keys_is_refused() -> None:
    model = make_model(family="deberta-v2")
    with pytest.raises(
        RequestError, match=r"deberta-v2 are not products of queries and keys alone, .* relative positions"
    ):
        enable_capture(model)
    assert model.config._attn_implementation != CAPTURING


def test_wrong_uses_are_refused() -> None:
    model = make_model()
    with pytest.raises(ValueError, match="after enable_capture, got one with sdpa"), capture(model, [0]):
        pass
    enable_capture(model)
    for wrong in (4, -1):
        with pytest.raises(ValueError, match="layers between 0 and 3"), capture(model, [0, wrong]):
            pass
    assert not scores._CAPTURES


# Hidden states: transformers gives those of chosen layers by itself


@each_family
def test_hidden_states_of_chosen_layers(family: str, task_of: Tasks) -> None:
    model, inputs = make_model(family=family), inputs_of(family, task_of)
    seen: list[Tensor] = []
    layers_of(model)[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        every = model(**inputs, output_hidden_states=True).hidden_states
        chosen = model(**inputs, output_hidden_states=[0, 2, 4]).hidden_states
    assert len(every) == len(chosen) == 5
    for index in (0, 2, 4):
        assert torch.equal(chosen[index], every[index])
    assert torch.equal(chosen[0], seen[-1]), "index 0 is what the first layer gets"
    unselected = [chosen[index] for index in (1, 3)]
    assert all(each is None for each in unselected) == (family != "deberta-v2"), "whose encoder gives all of them"
    real = inputs["attention_mask"]
    assert hidden_loss(chosen[2], every[2], real) == 0
