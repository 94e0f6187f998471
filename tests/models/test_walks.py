"""Packed, gathered and masked execution agree, and no row depends on another one or on padding."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from models.making import BACKENDS, KINDS, make_batch, make_compact, row_of, run, valid_answers

from bertpress.models import COMPACT
from bertpress.models.walks import Trace

each_family = pytest.mark.parametrize("family", COMPACT)
each_backend = pytest.mark.parametrize("backend", BACKENDS)
close = {"atol": 1e-5, "rtol": 1e-5}


@each_family
@pytest.mark.parametrize("kind", KINDS)
def test_the_three_ways_agree(family: str, kind: str) -> None:
    model = make_compact(family, kind)
    batch = make_batch(model)
    expected, trace = valid_answers(model, batch, backend="masked"), run(model, batch, backend="masked")[1]
    kept = trace.kept()
    assert 0 < kept[:4, 0].sum() < batch["attention_mask"][:4].sum(), "some are skipped"
    assert (kept[:, 1] <= kept[:, 0]).all()
    assert len(set(kept[:, 0].tolist())) > 1, "by row"
    for backend in ("packed", "gather"):
        found, own = valid_answers(model, batch, backend=backend), run(model, batch, backend=backend)[1]
        torch.testing.assert_close(found, expected, **close)
        assert torch.equal(own.alive(), trace.alive())
        torch.testing.assert_close(own.scores(), trace.scores(), equal_nan=True, **close)


@pytest.mark.parametrize("selector", ["attention", "random", "first"])
def test_the_three_ways_agree_with_other_selectors(selector: str) -> None:
    model = make_compact(token_reduction={"layers": [1, 3], "selector": selector, "shares": [0.6, 0.3]})
    batch = make_batch(model)
    expected, trace = run(model, batch, backend="masked")
    assert trace.kept().tolist() == [[8, 4], [5, 3], [2, 1], [8, 4], [1, 1], [2, 1]]
    for backend in ("packed", "gather"):
        found, own = run(model, batch, backend=backend)
        torch.testing.assert_close(found, expected, **close)
        assert torch.equal(own.alive(), trace.alive())
    first = trace.alive()[0, :, 0]
    assert (first.tolist() == [True] * 8 + [False] * 4) == (selector == "first")


@each_family
@each_backend
def test_a_row_does_not_depend_on_its_neighbours(family: str, backend: str) -> None:
    model = make_compact(family)
    batch = make_batch(model)
    whole, trace = run(model, batch, backend=backend)
    for row in range(len(whole)):
        alone, own = run(model, row_of(batch, row), backend=backend)
        torch.testing.assert_close(alone[0], whole[row], **close)
        length = own.alive().shape[1]
        assert torch.equal(own.alive()[0], trace.alive()[row, :length])
        assert not trace.alive()[row, length:].any(), "padding is never kept"


@each_family
@each_backend
def test_order_duplicates_and_padding_change_nothing(family: str, backend: str) -> None:
    model = make_compact(family)
    batch = make_batch(model)
    whole, trace = run(model, batch, backend=backend)
    order = [3, 0, 0, 5, 1, 4, 2, 2]
    found, own = run(model, {name: values[order] for name, values in batch.items()}, backend=backend)
    torch.testing.assert_close(found, whole[order], **close)
    assert torch.equal(own.alive(), trace.alive()[order])
    torch.testing.assert_close(found[1], found[2], atol=1e-6, rtol=0)
    pad = batch["input_ids"][-1, -1].item()
    wide = {
        name: torch.nn.functional.pad(values, (0, 9), value=pad if name == "input_ids" else 0)
        for name, values in batch.items()
    }
    torch.testing.assert_close(run(model, wide, backend=backend)[0], whole, **close)


@each_family
@each_backend
@pytest.mark.parametrize("tokens", [1, 2])
def test_the_shortest_inputs_are_those_of_the_plain_model_or_lose_the_last(
    family: str, backend: str, tokens: int
) -> None:
    model, plain = make_compact(family), make_compact(family, token_reduction=None)
    plain.load_state_dict(model.state_dict(), strict=False)
    batch = make_batch(model, (tokens,))
    found, trace = run(model, batch, backend=backend)
    assert trace.kept().tolist() in ([[1, 1]], [[tokens, 1]], [[tokens, tokens]])
    with torch.no_grad():
        expected = plain(**batch).logits
    kept = run(model, batch, backend=backend, token_threshold=0.0)[0]
    torch.testing.assert_close(kept, expected, **close)
    if tokens == 1:
        torch.testing.assert_close(found, expected, **close)


@each_backend
def test_only_the_first_token_may_be_left(backend: str) -> None:
    for kind in KINDS:
        model = make_compact(kind=kind)
        batch = make_batch(model)
        found = valid_answers(model, batch, backend=backend, token_threshold=2.0)
        assert found.isfinite().all()
        assert run(model, batch, backend=backend, token_threshold=2.0)[1].kept().tolist() == [[1, 1]] * 6
        torch.testing.assert_close(found, valid_answers(model, batch, backend="masked", token_threshold=2.0), **close)


def test_a_row_of_padding_is_refused_by_its_number() -> None:
    model = make_compact()
    batch = make_batch(model)
    batch["attention_mask"][2] = 0
    with pytest.raises(ValueError, match="row 2 of the batch has no token: its attention mask is all zero"):
        model(**batch)


def padded_left(batch: dict[str, torch.Tensor], family: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The same rows with their padding before them, and how much of it each has."""
    lengths = batch["attention_mask"].sum(1)
    shift = batch["attention_mask"].shape[1] - lengths
    places = (torch.arange(12) - shift[:, None]) % 12
    left = {name: values.gather(1, places) for name, values in batch.items()}
    if "roberta" not in family:  # which counts its tokens by itself
        left["position_ids"] = (torch.arange(12) - shift[:, None]).clamp(min=0)
    return left, shift


@each_family
def test_padding_may_stand_on_the_left(family: str) -> None:
    model = make_compact(family)
    batch = make_batch(model)
    left, shift = padded_left(batch, family)
    assert left["attention_mask"][1].tolist() == [0] * 5 + [1] * 7
    expected, trace = run(model, batch)
    for backend in BACKENDS:
        found, own = run(model, left, backend=backend)
        torch.testing.assert_close(found, expected, **close)
        assert torch.equal(own.kept(), trace.kept())
        assert torch.equal(own.alive()[torch.arange(6), shift], torch.ones(6, 2, dtype=torch.bool))


def test_a_head_that_reads_the_first_place_does_not_read_padding() -> None:
    model = make_compact()
    batch = make_batch(model)
    run(model, batch, token_outputs=True)
    with pytest.raises(ValueError, match="reads each row's first place, which is padding here: pad on the right"):
        run(model, padded_left(batch, "bert")[0], token_outputs=True)


@pytest.mark.parametrize("selector", ["random", "first"])
def test_padding_on_the_left_changes_no_choice_by_position(selector: str) -> None:
    model = make_compact(token_reduction={"layers": [1, 3], "selector": selector, "shares": [0.6, 0.3]})
    batch = make_batch(model)
    left, shift = padded_left(batch, "bert")
    expected, trace = run(model, batch)
    for backend in BACKENDS:
        found, own = run(model, left, backend=backend)
        torch.testing.assert_close(found, expected, **close)
        for row, begin in enumerate(shift.tolist()):
            assert torch.equal(own.alive()[row, begin:], trace.alive()[row, : 12 - begin])


def test_chance_keeps_the_same_tokens_in_every_version() -> None:
    model = make_compact(token_reduction={"layers": [1, 3], "selector": "random", "shares": [0.6, 0.3]})
    first, second = run(model, make_batch(model))[1].alive()[0].T
    assert first.nonzero().flatten().tolist() == [0, 1, 2, 5, 7, 8, 9, 10]
    assert second.nonzero().flatten().tolist() == [0, 1, 9, 10]


@each_family
def test_the_longest_input_and_one_more(family: str) -> None:
    model = make_compact(family)
    batch = make_batch(model, (64, 3))
    torch.testing.assert_close(run(model, batch)[0], run(model, batch, backend="masked")[0], **close)
    layer = model.base_model.get_submodule(model.base_model.places.layers)[0]
    layer.register_forward_pre_hook(lambda *_: pytest.fail("a layer ran"))
    with pytest.raises(ValueError, match="the input is 65 tokens long, the model has 64 positions"):
        model(**make_batch(model, (65, 3)))


@each_family
@pytest.mark.parametrize("kind", ["Model", "ForSequenceClassification", "ForMaskedLM"])
def test_without_decisions_or_skipping_nothing_it_is_the_plain_model(family: str, kind: str) -> None:
    decides = make_compact(family, kind)
    plain = make_compact(family, kind, token_reduction=None)
    packed = make_compact(family, kind, token_reduction={"layers": []})
    for other in (plain, packed):
        other.load_state_dict({**decides.state_dict()}, strict=False)
    batch = make_batch(plain)
    with torch.no_grad():
        output = plain(**batch)
    expected = output["last_hidden_state" if kind == "Model" else "logits"]
    expected = expected[batch["attention_mask"].bool()] if kind != "ForSequenceClassification" else expected
    for backend in BACKENDS:
        torch.testing.assert_close(valid_answers(packed, batch, backend=backend), expected, **close)
        kept = valid_answers(decides, batch, backend=backend, token_threshold=0.0)
        torch.testing.assert_close(kept, expected, **close)


# What a forward pass gives


@each_family
@each_backend
def test_hidden_states_repeat_what_a_skipped_token_was(family: str, backend: str) -> None:
    model = make_compact(family)
    batch = make_batch(model)
    trace = Trace()
    with torch.no_grad():
        states = model(**batch, backend=backend, output_hidden_states=True, trace=trace).hidden_states
        expected = model(**batch, backend="masked", output_hidden_states=True).hidden_states
    assert len(states) == 5
    for mine, theirs in zip(states, expected, strict=True):
        torch.testing.assert_close(mine, theirs, **close)
    for step, layer in enumerate((1, 2)):
        gone = batch["attention_mask"].bool() & ~trace.alive()[..., step]
        assert gone.any()
        assert torch.equal(states[layer][gone], states[-1][gone])
    alive = trace.alive()[..., 1]
    assert not torch.equal(states[2][alive], states[-1][alive])
    assert not states[-1][~batch["attention_mask"].bool()].any()


def test_some_hidden_states_can_be_asked_for() -> None:
    model = make_compact(kind="ForMaskedLM")
    batch = make_batch(model)
    whole = model(**batch, output_hidden_states=True)
    some = model(**batch, output_hidden_states=[0, -1])
    assert [state is None for state in some.hidden_states] == [False, True, True, True, False]
    assert torch.equal(some.hidden_states[-1], whole.hidden_states[-1])
    bare = model.base_model(**batch, output_hidden_states=True)
    assert torch.equal(bare["hidden_states"][-1], bare.last_hidden_state)
    assert torch.equal(bare["hidden_states"][-1], whole.hidden_states[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_tuples_and_positions_of_arguments_are_those_of_the_stock_class(kind: str) -> None:
    model = make_compact(kind=kind)
    batch = make_batch(model)
    named = model(**batch)
    placed = model(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"], return_dict=False)
    assert isinstance(placed, tuple)
    assert torch.equal(placed[0], named[0])
    assert not torch.equal(placed[0], model(batch["input_ids"], batch["attention_mask"])[0])


def test_attention_maps_under_eager() -> None:
    model = make_compact()
    batch = make_batch(model)
    expected, trace = run(model, batch)
    model.set_attn_implementation("eager")
    for backend in ("masked", "gather"):
        torch.testing.assert_close(run(model, batch, backend=backend)[0], expected, **close)
    with torch.no_grad():
        maps = model(**batch, output_attentions=True).attentions
    assert [tuple(one.shape) for one in maps] == [(6, 2, 12, 12)] * 4
    seen = [batch["attention_mask"].bool(), *trace.alive().unbind(-1)]
    for layer, mask in zip(maps, (*seen, seen[-1]), strict=True):
        assert not layer.masked_select(~mask[:, None, None, :]).any()
        torch.testing.assert_close(layer.sum(-1), torch.ones(6, 2, 12))
    with pytest.raises(ValueError, match="packed execution needs the attention 'packed', but the model has 'eager'"):
        model(**batch, backend="packed")


def test_embeddings_may_be_given_in_place_of_tokens() -> None:
    model = make_compact()
    batch = make_batch(model)
    states = model.get_input_embeddings()(batch["input_ids"])
    del batch["token_type_ids"]
    expected = run(model, batch)[0]
    found, _ = run(model, {"inputs_embeds": states, "attention_mask": batch["attention_mask"]})
    torch.testing.assert_close(found, expected, **close)
    with pytest.raises(ValueError, match="expected input_ids or inputs_embeds, got neither"):
        model(attention_mask=batch["attention_mask"])
    model = make_compact(token_reduction={"layers": [1], "always_keep": [7]})
    with pytest.raises(ValueError, match="give input_ids instead of inputs_embeds"):
        model(inputs_embeds=states)


def test_equal_words_are_decided_separately() -> None:
    model = make_compact()
    scores = run(model, {"input_ids": torch.full((1, 9), 7)})[1].scores()[0, :, 0]
    assert len(set(scores.tolist())) == 9


@each_family
def test_an_answer_may_begin_and_end_at_skipped_tokens(family: str) -> None:
    model = make_compact(family, "ForQuestionAnswering")
    batch = make_batch(model, (12, 9))
    gone = batch["attention_mask"].bool() & ~run(model, batch)[1].alive()[..., 0]
    first, last = gone.int().argmax(1), 11 - gone.int().flip(1).argmax(1)
    output = model(**batch, start_positions=first, end_positions=last)
    assert output.loss.isfinite()
    output.loss.backward()
    assert model.qa_outputs.weight.grad.abs().sum() > 0
    only_first = model(**batch, token_threshold=2.0)
    assert only_first.start_logits.isfinite().all()
    assert len(set(only_first.start_logits[0].tolist())) == 12


def test_a_mask_of_pairs_is_refused() -> None:
    model = make_compact()
    batch = make_batch(model)
    with pytest.raises(ValueError, match=r"expected an attention mask of \(batch, length\), got one of 4 axes"):
        model(batch["input_ids"], attention_mask=batch["attention_mask"][:, None, None])
    with pytest.raises(ValueError, match="backend must be one of packed, gather, masked, got fast"):
        model(**batch, backend="fast")


# Training


def gradients(model: Any, batch: dict[str, torch.Tensor], **options: Any) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(**batch, **options).logits.square().sum().backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


@each_family
def test_gradients_agree_and_reach_the_states_of_skipped_tokens(family: str) -> None:
    model = make_compact(family, "ForTokenClassification")
    batch = make_batch(model, (12, 7))
    expected = gradients(model, batch, backend="masked")
    for backend in ("packed", "gather"):
        found = gradients(model, batch, backend=backend)
        assert found.keys() == expected.keys()
        for name, value in found.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)
    assert not any("policies" in name for name in expected), "a decision has no gradient"
    trace = Trace()
    states = model.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    logits = model(inputs_embeds=states, attention_mask=batch["attention_mask"], trace=trace).logits
    skipped = batch["attention_mask"].bool() & ~trace.alive()[..., 0]
    (gradient,) = torch.autograd.grad(logits[skipped].square().sum(), states)
    assert gradient[skipped].abs().sum(-1).gt(0).all()


@each_family
def test_gradient_checkpointing_gives_the_same_gradients(family: str) -> None:
    model = make_compact(family).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = make_batch(model)
    expected = gradients(model, batch)
    model.activation_checkpointing_enable({"use_reentrant": False})
    calls: list[int] = []
    layers = model.base_model.get_submodule(model.base_model.places.layers)
    linear = next(part for part in layers[2].modules() if isinstance(part, torch.nn.Linear))
    linear.register_forward_pre_hook(lambda *_: calls.append(1))
    found = gradients(model, batch)
    assert len(calls) == 2, "the layer did run again"
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-8)


def test_dropout_draws_in_packed_training() -> None:
    model = make_compact().train()
    batch = make_batch(model)
    assert model.config._attn_implementation == "packed"
    first, second = (model(**batch).logits for _ in range(2))
    assert not torch.equal(first, second)
    assert first.isfinite().all()


@each_family
@each_backend
def test_half_precision(family: str, backend: str) -> None:
    model = make_compact(family, "ForTokenClassification")
    batch = make_batch(model)
    expected = run(model, batch, backend=backend)[1].scores()
    with torch.autocast("cpu", torch.bfloat16):
        found, trace = run(model, batch, backend=backend)
    assert found.isfinite().all()
    assert trace.decisions[0].scores is not None
    assert trace.decisions[0].scores.dtype == torch.float32
    near = (expected[..., 0] - 0.5).abs() < 5e-2
    same = (trace.scores()[..., 0] >= 0.5) == (expected[..., 0] >= 0.5)
    assert (same | near)[batch["attention_mask"].bool()].all()


def test_a_copy_is_independent_and_inference_mode_changes_nothing() -> None:
    model = make_compact()
    batch = make_batch(model)
    expected = run(model, batch)[0]
    other = copy.deepcopy(model)
    with torch.inference_mode():
        assert torch.equal(other(**batch).logits, expected)
    other.base_model.policies[0].outer.bias.data += 100
    assert run(other, batch)[1].kept()[:, 0].tolist() == [12, 7, 3, 12, 1, 2]
    assert torch.equal(run(model, batch)[0], expected)
    again = model(**batch).logits  # what was made in inference mode is not used again
    assert torch.equal(again, expected)
