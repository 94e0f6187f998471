"""Which tokens go on, by settings, thresholds, shares and what a forward pass asks for."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from models.making import BACKENDS, Batch, make_batch, make_compact, row_of, run

from bertpress.models.token_selection import Settings, default_layers, tokens_of
from bertpress.models.walks import Trace

each_backend = pytest.mark.parametrize("backend", BACKENDS)
LENGTHS = [12, 7, 3, 12, 1, 2]


@pytest.fixture(scope="module")
def model() -> Any:
    return make_compact()


@pytest.fixture(scope="module")
def batch(model: Any) -> Batch:
    return make_batch(model)


def test_settings_survive_a_configuration() -> None:
    settings = Settings.of({"layers": [1, 2], "shares": [0.5, 0.25], "profiles": {"fast": {"shares": [0.2, 0.1]}}}, 4)
    assert settings.layers == (1, 2)
    assert Settings.of(settings.to_dict(), 4) == settings
    assert settings.changed("fast").shares == (0.2, 0.1)
    assert settings.changed("fast", token_threshold=0.3).thresholds == (0.3, 0.3)
    assert settings.changed("fast", token_threshold=0.3).shares is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layer": [1]}, "token_reduction has no field layer; it has always_keep, layers, max_keep"),
        (
            {"layers": [1, 4]},
            r"rise from 1 to at most 3 \(a model of 4 layers\), got \[1, 4\]; the default .* \[1, 2\]",
        ),
        ({"layers": [0]}, "rise from 1"),
        ({"layers": [2, 1]}, "rise from 1"),
        ({"layers": [1, 1]}, "rise from 1"),
        ({"layers": [1], "selector": "best"}, "one of policy, attention, random, first, got best"),
        ({"layers": [1], "thresholds": [0.5, 0.5]}, "thresholds must have a number for each of 1 decisions"),
        ({"layers": [1, 2], "shares": [0.5]}, "shares must have a number for each of 2 decisions"),
        ({"layers": [1], "shares": [0.5], "thresholds": [0.5]}, "thresholds or shares, not both"),
        ({"layers": [1], "selector": "first"}, "the selector first needs shares$"),
        ({"layers": [1], "selector": "attention"}, "the selector attention needs shares or thresholds"),
        ({"layers": [1], "max_keep": 0}, "max_keep must be at least 1"),
        ({"layers": [1], "min_keep": -3}, "min_keep and policy_hidden must be at least 1, got -3 and 32"),
        ({"layers": [1], "policy_hidden": 0}, "must be at least 1, got 1 and 0"),
        ({"layers": [1], "shares": [math.nan]}, "shares must be above 0 and at most 1, got .nan."),
        ({"layers": [1], "shares": [-1.0]}, "shares must be above 0"),
        ({"layers": [1], "thresholds": [math.nan]}, "thresholds must be numbers, got .nan."),
        ({"layers": [1], "min_keep": 3, "max_keep": 2}, r"at least 1 and min_keep \(3\), got 2"),
        ({"layers": [1], "profiles": {"fast": {"thresholds": []}}}, "thresholds must have a number for each of 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings.of(values, 4)
    with pytest.raises(ValueError, match=message):
        make_compact(token_reduction=values)


def test_default_layers() -> None:
    assert [default_layers(depth) for depth in (1, 2, 3, 4, 6, 12)] == [[], [1], [1], [1, 2], [1, 3], [1, 6]]


def test_a_score_at_the_threshold_is_kept(batch: Batch) -> None:
    model = make_compact(token_reduction={"layers": [1]})
    for parameter in model.base_model.policies.parameters():
        parameter.data.zero_()
    trace = run(model, batch)[1]
    assert trace.decisions[0].scores is not None
    assert set(trace.decisions[0].scores.tolist()) == {0.5}
    assert trace.kept()[:, 0].tolist() == LENGTHS
    assert run(model, batch, token_threshold=0.5 + 1e-6)[1].kept()[:, 0].tolist() == [1] * 6


@each_backend
def test_first_decisions_are_nested_in_the_threshold(model: Any, batch: Batch, backend: str) -> None:
    kept = [
        run(model, batch, backend=backend, token_threshold=[threshold, 0.5])[1].alive()[..., 0]
        for threshold in (0.0, 0.2, 0.4, 0.6, 0.8, 1.1)
    ]
    assert torch.equal(kept[0], batch["attention_mask"].bool())
    assert kept[-1].sum() == len(LENGTHS)
    for more, fewer in itertools.pairwise(kept):
        assert not (fewer & ~more).any()
    assert len({int(one.sum()) for one in kept}) == len(kept)


def test_thresholds_of_a_wrong_number_are_refused(model: Any, batch: Batch) -> None:
    with pytest.raises(ValueError, match="thresholds must have a number for each of 2 decisions"):
        model(**batch, token_threshold=[0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="there is no profile 'fast'; there are: none"):
        model(**batch, profile="fast")
    with pytest.raises(ValueError, match="the selector first needs shares"):
        make_compact(token_reduction={"layers": [1], "selector": "first", "shares": [0.5]})(
            **batch, token_threshold=0.1
        )


@each_backend
def test_a_mask_forces_tokens_and_never_padding(model: Any, batch: Batch, backend: str) -> None:
    force = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    force[:, 5] = True  # padding in rows 2, 4 and 5
    with pytest.warns(UserWarning, match="force_keep marks padding, which is never kept"):
        alive = run(model, batch, backend=backend, token_threshold=2.0, force_keep=force)[1].alive()
    assert alive[..., 1].nonzero().tolist() == [[0, 0], [0, 5], [1, 0], [1, 5], [2, 0], [3, 0], [3, 5], [4, 0], [5, 0]]


def test_a_mask_of_tokens_alone_is_no_reason_to_warn(model: Any, batch: Batch) -> None:
    force = batch["attention_mask"].bool()
    assert run(model, batch, token_threshold=2.0, force_keep=force)[1].kept()[:, 1].tolist() == LENGTHS


@each_backend
def test_fewest_and_most_tokens(model: Any, batch: Batch, backend: str) -> None:
    at_least = run(model, batch, backend=backend, token_threshold=2.0, min_keep=3)[1]
    assert at_least.kept()[:, 1].tolist() == [min(3, length) for length in LENGTHS]
    at_most, free = (run(model, batch, backend=backend, max_keep=most)[1] for most in (4, None))
    assert at_most.kept()[:, 0].tolist() == [min(4, count) for count in free.kept()[:, 0].tolist()]
    assert not (at_most.alive()[..., 0] & ~free.alive()[..., 0]).any()
    scores = free.scores()[0, 1:, 0]  # the first token goes on, and the three best of the others
    assert set(at_most.alive()[0, 1:, 0].nonzero().flatten().tolist()) <= set(scores.topk(3).indices.tolist())


def test_named_tokens_are_always_kept(batch: Batch) -> None:
    number = int(batch["input_ids"][0, 4])
    model = make_compact(token_reduction={"layers": [1, 2], "always_keep": [number]})
    alive = run(model, batch, token_threshold=2.0)[1].alive()
    expected = (batch["input_ids"] == number) & batch["attention_mask"].bool()
    expected[:, 0] = True
    assert torch.equal(alive[..., 1], expected)
    assert expected.sum() > len(LENGTHS)


@each_backend
def test_decisions_can_be_given(model: Any, batch: Batch, backend: str) -> None:
    free, trace = run(model, batch, backend=backend)
    found, again = run(model, batch, backend=backend, actions=trace.alive())
    torch.testing.assert_close(found, free, atol=1e-5, rtol=1e-5)
    assert torch.equal(again.alive(), trace.alive())
    assert again.scores().isnan().all()
    actions = torch.zeros_like(trace.alive())
    actions[:, ::2] = True
    kept = run(model, batch, backend=backend, actions=actions)[1].kept()
    assert kept[:, 0].tolist() == [(length + 1) // 2 for length in LENGTHS]


@each_backend
@pytest.mark.parametrize("selector", ["policy", "attention"])
def test_short_rows_keep_all_next_to_long_ones(batch: Batch, backend: str, selector: str) -> None:
    shares = None if selector == "policy" else [0.5, 0.2]
    reduction = {"layers": [1, 2], "selector": selector, "shares": shares, "min_tokens": 8}
    model = make_compact(token_reduction=reduction)
    free = make_compact(token_reduction={**reduction, "min_tokens": 0})
    found, trace = run(model, batch, backend=backend)
    expected, other = run(free, batch, backend=backend)
    assert trace.kept()[[1, 2, 4, 5]].tolist() == [[7, 7], [3, 3], [1, 1], [2, 2]]
    assert torch.equal(trace.kept()[[0, 3]], other.kept()[[0, 3]])
    torch.testing.assert_close(found[[0, 3]], expected[[0, 3]], atol=1e-5, rtol=1e-5)
    plain = make_compact(token_reduction={"layers": []})
    plain.load_state_dict(model.state_dict(), strict=False)
    short = run(model, row_of(batch, 1), backend=backend)
    torch.testing.assert_close(found[[1]], run(plain, row_of(batch, 1))[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(short[0], found[[1]], atol=1e-5, rtol=1e-5)
    assert short[1].decisions[0].scores is None, "nobody was asked"
    asked = ~trace.scores().isnan()
    assert asked[[1, 2, 4, 5]].sum() == 0, "nor next to long ones"
    assert asked[0].any()
    assert asked[3].any()


@each_backend
@pytest.mark.parametrize("selector", ["policy", "attention", "random", "first"])
def test_shares_are_of_a_row_s_own_tokens(batch: Batch, backend: str, selector: str) -> None:
    model = make_compact(token_reduction={"layers": [1, 2], "selector": selector, "shares": [0.5, 0.25]})
    trace = run(model, batch, backend=backend)[1]
    assert trace.kept().tolist() == [[6, 3], [4, 2], [2, 1], [6, 3], [1, 1], [1, 1]]
    assert trace.alive()[:, 0].all()


def test_a_profile_has_thresholds_of_its_own(batch: Batch) -> None:
    profiles = {"all": {"thresholds": [0.0, 0.0]}, "third": {"shares": [0.4, 0.3], "min_keep": 2}}
    model = make_compact(token_reduction={"layers": [1, 2], "profiles": profiles})
    assert run(model, batch, profile="all")[1].kept()[:, 1].tolist() == LENGTHS
    assert run(model, batch, profile="third")[1].kept()[:, 1].tolist() == [4, 3, 2, 4, 1, 2]


def test_a_model_is_set_to_a_profile_and_back(batch: Batch) -> None:
    profiles = {"all": {"thresholds": [0.0, 0.0]}, "few": {"shares": [0.4, 0.3]}}
    model = make_compact(token_reduction={"layers": [1, 2], "profiles": profiles})
    own = run(model, batch)[1].kept().tolist()
    for name, profile in (("all", "all"), ("few", "few"), (None, None), ("few", "few")):
        model.base_model.set_profile(name)
        expected = own if profile is None else run(model, batch, profile=profile)[1].kept().tolist()
        assert run(model, batch)[1].kept().tolist() == expected
    model.base_model.set_profile("few")
    assert model.config.token_reduction == {"layers": [1, 2], "profiles": profiles}
    with pytest.raises(ValueError, match="there is no profile 'fast'; there are: all, few"):
        model.base_model.set_profile("fast")
    with pytest.raises(ValueError, match="skips no tokens"):
        make_compact(token_reduction=None).base_model.set_profile("few")


def test_attention_received_is_that_of_the_layer_before(batch: Batch) -> None:
    model = make_compact(token_reduction={"layers": [2], "selector": "attention", "shares": [0.5]})
    scores = run(model, batch)[1].scores()[..., 0]
    assert torch.equal(scores.isnan(), ~batch["attention_mask"].bool())
    torch.testing.assert_close(scores.nansum(1), torch.ones(6))
    plain = make_compact(token_reduction={"layers": []})
    plain.load_state_dict(model.state_dict(), strict=False)
    plain.set_attn_implementation("eager")
    with torch.no_grad():
        layer = plain(**batch, output_attentions=True).attentions[1]
    valid = batch["attention_mask"].float()
    expected = (layer.mean(1) * valid[:, :, None]).sum(1) / valid.sum(1, keepdim=True)
    torch.testing.assert_close(scores.nan_to_num(), expected * valid, atol=1e-6, rtol=1e-5)


def test_tokens_of_equal_counts_are_neighbours_and_can_be_repeated() -> None:
    valid = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [0, 1, 1, 1]]).bool()
    tokens = tokens_of(valid)
    assert (tokens.counts, tokens.rows, tokens.width) == ((1, 3, 3), (1, 0, 2), 4)
    assert tokens.place.tolist() == [4, 0, 1, 2, 9, 10, 11]
    assert tokens.starts.tolist() == [0, 1, 4]
    left, index = tokens.select(torch.tensor([1, 1, 1, 0, 1, 0, 0]).bool())
    assert (left.counts, left.rows, left.lengths) == ((1, 1, 2), (1, 2, 0), (1, 3, 3))
    assert index.tolist() == [0, 4, 1, 2]
    twice = left.repeated(2)
    assert twice.place.tolist() == [4, 9, 0, 1, 16, 21, 12, 13]
    assert (twice.rows, twice.counts) == ((1, 2, 0, 4, 5, 3), (1, 1, 2, 1, 1, 2))


def test_ranks_are_within_a_row_and_earlier_tokens_win_ties() -> None:
    tokens = tokens_of(torch.tensor([[1, 1, 1], [1, 1, 1]]).bool())
    assert tokens.ranks(torch.tensor([0.1, 0.3, 0.2, 5.0, 5.0, 9.0])).tolist() == [2, 0, 1, 1, 2, 0]


def test_a_trace_is_filled_anew(model: Any, batch: Batch) -> None:
    trace = Trace()
    for _ in range(2):
        model(**batch, trace=trace)
    assert len(trace.decisions) == 2
    assert trace.alive().shape == (6, 12, 2)
    assert (trace.kept() == trace.alive().sum(1)).all()
