"""What holds for every architecture: layers are exchanged exactly, results are stock models, training goes through."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import batch_of, make_config, make_model, without_dropout
from families import FAMILIES
from torch import nn

from bertpress.encoders import ENCODERS, check_length, encoder_of
from bertpress.encoders.surgery import keep_layers, with_layers
from bertpress.engine.kernels import fastest_kernels
from bertpress.engine.objective import Supervised, choose_attention
from bertpress.errors import RequestError
from bertpress.methods.finetune import Finetune
from bertpress.methods.theseus import Theseus
from bertpress.methods.theseus.replacing import Hybrid, Replacing

each_family = pytest.mark.parametrize("family", FAMILIES)
Tasks = Callable[[str], Any]


def run(model: Any, batch: dict[str, torch.Tensor], **options: Any) -> Any:
    inputs = {name: batch[name] for name in FAMILIES[model.config.model_type].inputs}
    with torch.no_grad():
        return model(**inputs, **options)


def layers_of(model: Any) -> list[Any]:
    return list(encoder_of(model.config).layer_list(model).children())


def stock_of(model: Any) -> Any:
    """A model built by the architecture's class, with the same weights."""
    stock = type(model)(copy.deepcopy(model.config)).eval()
    stock.load_state_dict(model.state_dict())
    return stock


@each_family
def test_the_row_names_the_layers_and_the_head(family: str) -> None:
    row, model = ENCODERS[family], make_model(family=family)
    assert row.depth(model.config) == len(layers_of(model)) == 4
    assert getattr(model.config, row.attention_dropout) == 0.1
    headless = set(dict(model.base_model.named_modules(prefix=model.base_model_prefix)))
    parts = row.heads["sequence-classification"]
    assert all(part in dict(model.named_modules()) and part not in headless for part in parts)


@each_family
@pytest.mark.parametrize("kept", [(0, 2), (0, 3, 1)])
def test_kept_layers_are_a_stock_model(family: str, kept: tuple[int, ...], task_of: Tasks) -> None:
    model, batch = make_model(family=family), batch_of(task_of(family))
    run(model, batch, output_hidden_states=True)  # installs hooks, which a copy must not carry along
    result = keep_layers(model, kept)
    assert encoder_of(result.config).depth(result.config) == len(kept)
    for layer, source in zip(layers_of(result), kept, strict=True):
        assert all(map(torch.equal, layer.parameters(), layers_of(model)[source].parameters()))
    expected, found = (run(each, batch, output_hidden_states=True) for each in (stock_of(result), result))
    assert torch.equal(found.logits, expected.logits)
    assert len(found.hidden_states) == len(expected.hidden_states) == len(kept) + 1
    assert all(map(torch.equal, found.hidden_states, expected.hidden_states))


FIELDS: list[dict[str, Any]] = [
    {"successor_layers": 2},
    {"modules": "0-3:2"},
    {"modules": "0=|1-2|3", "initialisation": "mean_of_module"},
    {"successor_layers": 2, "initialisation": "random"},
    {"successor_layers": 2, "initialisation": (0, 3)},
]


@each_family
@pytest.mark.parametrize("fields", FIELDS, ids=str)
def test_all_predecessor_is_the_stock_model_and_all_successor_the_result(
    family: str, fields: dict[str, Any], task_of: Tasks
) -> None:
    model, batch = make_model(family=family), batch_of(task_of(family))
    expected = run(model, batch).logits
    hybrid = Hybrid(copy.deepcopy(model), Theseus(**fields), seed=1)
    hybrid.set((False,) * len(hybrid.replaceable))
    assert torch.equal(run(hybrid.model, batch).logits, expected)
    hybrid.set_successor()
    full = run(hybrid.model, batch).logits
    assert not torch.equal(full, expected)
    successor = hybrid.successor()
    assert torch.equal(run(successor, batch).logits, full)
    found = run(stock_of(successor), batch, output_hidden_states=True)
    assert torch.equal(found.logits, full)
    assert len(run(successor, batch, output_hidden_states=True).hidden_states) == len(layers_of(successor)) + 1
    planned = Theseus(**fields).plan(model.config)
    assert planned.to_dict() == successor.config.to_dict()


@each_family
def test_any_mask_equals_a_model_made_by_hand(family: str, task_of: Tasks) -> None:
    model, batch = make_model(family=family), batch_of(task_of(family))
    hybrid = Hybrid(copy.deepcopy(model), Theseus(successor_layers=2, initialisation=(0, 3)), seed=1)
    for mask, layers in (((True, False), (0, 2, 3)), ((False, True), (0, 1, 3))):
        hybrid.set(mask)
        by_hand = keep_layers(model, layers)
        assert torch.equal(run(hybrid.model, batch).logits, run(by_hand, batch).logits), mask
        states = run(hybrid.model, batch, output_hidden_states=True).hidden_states
        assert len(states) == len(layers) + 1


@each_family
def test_fresh_layers_are_drawn_as_the_architecture_draws_them(family: str) -> None:
    config = make_config(family, **{"dim" if family == "distilbert" else "hidden_size": 64})
    config.initializer_range = 0.05
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    stock = [dict(layer.named_parameters()) for layer in layers_of(model)]
    made = layers_of(Hybrid(model, Theseus(initialisation="random"), seed=1).successor())
    for layer, like in zip(made, (stock[0], stock[2]), strict=True):
        parameters = dict(layer.named_parameters())
        assert parameters.keys() == like.keys()
        for name, value in parameters.items():
            if value.dim() == 1:
                assert torch.equal(value, like[name]), name
            else:
                assert not torch.equal(value, like[name])
                assert value.detach().std().item() == pytest.approx(like[name].detach().std().item(), rel=0.1), name


@each_family
def test_only_what_the_tokenizer_names_reaches_the_model(family: str, task_of: Tasks) -> None:
    task, model = task_of(family), make_model(family=family)
    seen: list[set[str]] = []
    model.register_forward_pre_hook(lambda module, args, kwargs: seen.append(set(kwargs)), with_kwargs=True)
    Supervised(model, task).eval()(**batch_of(task))
    assert seen == [set(FAMILIES[family].inputs)]


@each_family
def test_usable_positions(family: str, task_of: Tasks) -> None:
    config = make_config(family)
    assert encoder_of(config).positions(config) == 64
    pad = FAMILIES[family].pad
    ids = torch.full((2, 64), 7)
    ids[1, 40:] = pad
    run(make_model(family=family), {"input_ids": ids, "token_type_ids": ids * 0, "attention_mask": (ids != pad).long()})
    with pytest.raises(RequestError, match="65 is more than the 64 positions"):
        check_length(65, encoder_of(config).positions(config))


@each_family
def test_attention_follows_dropout_where_the_architecture_has_a_choice(family: str) -> None:
    fixed = family == "deberta-v2"
    model, plain = make_model(family=family), make_model(family=family, **without_dropout(family))
    for each, training, expected in ((model, True, "eager"), (model, False, "sdpa"), (plain, True, "sdpa")):
        choose_attention(each, training=training)
        assert each.config._attn_implementation == ("eager" if fixed else expected)


@each_family
def test_gradients_inside_our_kernels_equal_the_stock_ones(family: str, task_of: Tasks) -> None:
    task = task_of(family)
    batch = batch_of(task)
    stock = Supervised(make_model(family=family, **without_dropout(family)), task).train()
    ours = Supervised(make_model(family=family, **without_dropout(family)), task).train()
    stock(**batch)["loss"].backward()
    with fastest_kernels(torch.device("cpu")):
        loss = ours(**batch)["loss"]
    loss.backward()
    for (name, parameter), other in zip(ours.named_parameters(), stock.parameters(), strict=True):
        assert (parameter.grad is None) == (other.grad is None), name
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-4, atol=1e-6)


@each_family
def test_replacing_trains_inside_our_kernels_with_dropout(family: str, task_of: Tasks) -> None:
    task = task_of(family)
    batch = batch_of(task)
    objective = Replacing(make_model(family=family), task, Theseus(), seed=1).train()
    objective.impose((True, False))
    with fastest_kernels(torch.device("cpu")):
        first, second = (objective(**batch)["loss"] for _ in range(2))
    assert first.item() != second.item(), "dropout draws"
    first.backward()
    gradients = [value.grad for value in objective.hybrid.substitutes(0).parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert all(value.grad is None for value in objective.hybrid.substitutes(1).parameters())


@each_family
def test_gradient_checkpointing_gives_the_same_gradients(family: str, task_of: Tasks) -> None:
    task = task_of(family)

    def gradients(checkpointing: bool) -> tuple[dict[str, torch.Tensor], int]:
        model = make_model(family=family, **without_dropout(family))
        objective = Replacing(model, task, Theseus(), seed=1)
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        calls: list[int] = []
        linear = next(part for part in objective.hybrid.substitutes(1).modules() if isinstance(part, nn.Linear))
        linear.register_forward_pre_hook(lambda *_: calls.append(1))
        objective.train().impose((False, True))
        objective(**batch_of(task))["loss"].backward()
        return {name: value.grad for name, value in objective.named_parameters() if value.grad is not None}, len(calls)

    (plain, once), (recomputed, twice) = gradients(False), gradients(True)
    assert twice == 2 * once, "the layer did run again"
    assert plain.keys() == recomputed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-6, atol=1e-8)


# ModernBERT: kinds of attention, and a first layer that differs


def test_the_kinds_of_attention_follow_the_layers() -> None:
    config = make_config("modernbert")
    full, sliding = "full_attention", "sliding_attention"
    assert with_layers(config, [(0,), (3,), (1,)]).layer_types == [full, full, sliding]
    assert with_layers(config, [(0,), (2, 3)]).layer_types == [full, sliding], "the first layer gives the form"
    assert Finetune(layers=3).plan(config).layer_types == [full, sliding, sliding]
    assert Theseus(modules="0-2|3=").plan(config).layer_types == [full, full]
    assert Theseus(initialisation="random").plan(config).layer_types == [full, sliding]
    assert config.layer_types == [full, sliding, sliding, full]
    kept = layers_of(keep_layers(make_model(family="modernbert"), (0, 3, 1)))
    assert [layer.attention_type for layer in kept] == [full, full, sliding]


@pytest.mark.parametrize(
    ("fields", "made_of"),
    [
        ({"initialisation": "top"}, "2, 3"),
        ({"initialisation": "last_of_module"}, "1, 3"),
        ({"initialisation": "mean_of_module"}, "0\\+1, 2\\+3"),
        ({"initialisation": (1, 2)}, "1, 2"),
        ({"initialisation": (0, 0)}, "0, 0"),
        ({"modules": "0-1|2-3=", "initialisation": "top"}, "1, 2, 3"),
    ],
)
def test_a_layer_that_cannot_stand_there_is_refused(fields: dict[str, Any], made_of: str) -> None:
    method = Theseus(**fields)
    start = str(method.initialisation).replace("(", "\\(").replace(")", "\\)")
    message = f"initialisation '{start}': layer 0 of a ModernBERT has no norm .* made of {made_of}\\."
    with pytest.raises(RequestError, match=message):
        method.plan(make_config("modernbert"))
    with pytest.raises(RequestError, match=message):
        Hybrid(make_model(family="modernbert"), method, seed=1)
    method.plan(make_config("bert"))


@pytest.mark.parametrize(
    "fields", [{"initialisation": "first_of_module"}, {"modules": "0=|1-3", "initialisation": "last_of_module"}]
)
def test_layers_that_can_stand_there_are_taken(fields: dict[str, Any]) -> None:
    successor = Hybrid(make_model(family="modernbert"), Theseus(**fields), seed=1).successor()
    assert [type(layer.attn_norm) for layer in layers_of(successor)] == [nn.Identity, nn.LayerNorm]


def test_layers_in_a_wrong_order_are_not_kept() -> None:
    with pytest.raises(RequestError, match="layer 0 of a ModernBERT"):
        keep_layers(make_model(family="modernbert"), (1, 2))


def test_the_convolution_of_deberta_follows_the_first_executed_layer(task_of: Tasks) -> None:
    fields = {"conv_kernel_size": 3, "conv_act": "gelu"}
    model, batch = make_model(family="deberta-v2", **fields), batch_of(task_of("deberta-v2"))
    hybrid = Hybrid(copy.deepcopy(model), Theseus(initialisation="top"), seed=1)
    hybrid.set((False, False))
    assert torch.equal(run(hybrid.model, batch).logits, run(model, batch).logits)
    successor = hybrid.successor()
    assert torch.equal(run(successor, batch).logits, run(stock_of(successor), batch).logits)
    assert torch.equal(run(successor, batch).logits, run(keep_layers(model, (2, 3)), batch).logits)
