"""Tokens that are left out as a graph leaves them out: the same as in the walks, without a Python number."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models.making import answers, make_batch, make_compact, run

from bertpress.exports.choosing import Alive, common_lengths, front, ranks
from bertpress.exports.dropping import KEPT, Served, served
from bertpress.models import COMPACT

KINDS = ("ForSequenceClassification", "ForQuestionAnswering", "ForTokenClassification")
close = {"atol": 1e-5, "rtol": 1e-5}


def asked(model: Any, batch: dict[str, torch.Tensor], drops: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """The answers and the tokens kept."""
    with torch.inference_mode(), served(model, drops) as traced:
        found = traced.eval()(**batch)
    return answers(found), found[KEPT]


def assert_alike(model: Any, batch: dict[str, torch.Tensor], **options: Any) -> None:
    expected, trace = run(model, batch, backend="gather", **options)
    for drops in (True, False):
        found, kept = asked(model, batch, drops)
        assert torch.equal(kept, trace.kept())
        torch.testing.assert_close(found, expected, **close)


def test_what_is_kept_moves_to_the_front_in_its_order() -> None:
    keep = torch.tensor([[True, False, True, False], [False, False, True, True], [True, True, True, True]])
    assert front(keep).tolist() == [[0, 2, 1, 3], [2, 3, 0, 1], [0, 1, 2, 3]]


def test_ranks_go_by_falling_score_and_then_by_column() -> None:
    assert ranks(torch.tensor([[0.1, 0.5, 0.5, 0.9], [1.0, 1.0, 1.0, 2.0]])).tolist() == [[3, 1, 2, 0], [1, 2, 3, 0]]


def test_options_have_in_common_what_they_begin_with() -> None:
    ids = torch.tensor([[[2, 5, 6, 7], [2, 5, 8, 7], [2, 5, 6, 0]], [[2, 3, 0, 0], [2, 3, 0, 0], [2, 3, 4, 0]]])
    alive = Alive.of((ids != 0).flatten(0, 1))
    assert common_lengths(ids, alive).tolist() == [2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("family", COMPACT)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_tokens_are_left_out_as_in_the_walks(family: str, kind: str) -> None:
    model = make_compact(family, kind)
    batch = make_batch(model)
    kept = run(model, batch)[1].kept()
    assert 0 < kept[:4, 0].sum() < batch["attention_mask"][:4].sum(), "some are skipped"
    assert_alike(model, batch)


@pytest.mark.parametrize(
    "reduction",
    [
        {"selector": "attention", "shares": [0.6, 0.3]},
        {"selector": "attention", "thresholds": [0.1, 0.2]},
        {"selector": "random", "shares": [0.6, 0.3], "min_keep": 2},
        {"selector": "first", "shares": [0.6, 0.3], "always_keep": [7, 60, 61, 62]},
        {"min_tokens": 4, "min_keep": 3, "max_keep": 5},
        {"shares": [0.5, 0.5]},
        {"thresholds": [0.4, 0.7], "always_keep": [7, 8, 9]},
        {"layers": []},
    ],
    ids=str,
)
def test_every_way_to_choose_is_the_same(reduction: dict[str, Any]) -> None:
    model = make_compact(token_reduction={"layers": [1, 3], **reduction})
    batch = make_batch(model)
    if not reduction.get("layers", True):
        with torch.inference_mode(), served(model, True) as traced:
            found = traced(**batch)
        torch.testing.assert_close(found["logits"], run(model, batch)[0], **close)
        assert KEPT not in found
        return
    assert_alike(model, batch)


@pytest.mark.parametrize("reduction", [{}, {"selector": "random", "shares": [0.6, 0.3]}], ids=str)
def test_padding_may_stand_on_the_left(reduction: dict[str, Any]) -> None:
    model = make_compact("bert", "ForTokenClassification", token_reduction={"layers": [1, 2], **reduction})
    batch = make_batch(model, (5, 3))
    turned = {name: torch.stack([values[0], values[1].roll(2)]) for name, values in batch.items()}
    expected, trace = run(model, turned, backend="gather")
    found, kept = asked(model, turned)
    assert torch.equal(kept, trace.kept())
    torch.testing.assert_close(found, expected, **close)


def test_options_share_decisions() -> None:
    model = make_compact("bert", "ForMultipleChoice", token_reduction={"layers": [1, 2], "shared": True, "min_keep": 2})
    single = make_batch(model, (12, 9))
    batch = {name: values.repeat(1, 3, 1) for name, values in single.items()}
    batch["input_ids"][:, :, 6] = torch.tensor([[11, 12, 13], [14, 15, 16]])  # from here on they differ
    expected, trace = run(model, batch, backend="gather")
    found, kept = asked(model, batch)
    assert torch.equal(kept, trace.kept())
    assert (kept[:, 0] < torch.tensor([12, 12, 12, 9, 9, 9])).any(), "some are skipped"
    torch.testing.assert_close(found, expected, **close)


def test_options_share_decisions_by_the_mean_of_their_logits() -> None:
    """Of which one may be far from the others: the mean of probabilities would decide otherwise."""
    reduction = {"layers": [1], "shared": True}
    model = make_compact("bert", "ForMultipleChoice", token_reduction=reduction)
    for policy in model.base_model.policies:
        policy.forward = lambda states: torch.where((500 * states[..., 0]).long() % 4 == 0, 10.0, -2.0)
    batch = {name: values.repeat(1, 4, 1) for name, values in make_batch(model, (20, 20, 20)).items()}
    batch["input_ids"][:, :, 1:] = torch.randint(10, 60, (3, 4, 19), generator=torch.Generator().manual_seed(1))
    batch["input_ids"][:, :, :16] = batch["input_ids"][:, :1, :16]
    expected, trace = run(model, batch, backend="gather")
    found, kept = asked(model, batch)
    assert torch.equal(kept, trace.kept())
    torch.testing.assert_close(found, expected, **close)


def test_a_length_is_never_rounded_up() -> None:
    model = make_compact(token_reduction={"layers": [1], "selector": "first", "shares": [0.6]})
    assert Served(model, True).quotas[0, [0, 5, 20, 21]].tolist() == [0, 3, 12, 13]  # 0.6 * 20 exceeds 12 in 32 bits
