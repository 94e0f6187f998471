"""The cost of what a model keeps, by hand and as profiled, and thresholds for a budget on real forward passes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_config, make_masked_task, make_model
from torch.utils.flop_counter import FlopCounterMode

from bertpress import cost
from bertpress.encoders.compact import compact
from bertpress.models.token_selection import Settings
from bertpress.models.walks import Trace
from bertpress.reduction_cost import ReductionCost, reduced_macs, with_settings, without_decisions
from bertpress.tasks.classification import Classification

COMPACT = ("bert", "roberta", "xlm-roberta", "distilbert", "electra")


def reduced(family: str = "bert", seed: int = 0, **fields: Any) -> Any:
    values = {"layers": [1, 2], "policy_hidden": 8, **fields}
    torch.manual_seed(seed)
    model = compact(make_model(seed, family), token_reduction=values)
    for policy in model.base_model.policies:
        torch.nn.init.normal_(policy.inner.weight)
        torch.nn.init.normal_(policy.outer.weight)
    return model.eval()


def test_the_cost_by_hand() -> None:
    config = make_config("bert")  # 4 layers of 16 with 24 inside, a pooler of 16 x 16, 2 labels
    settings = Settings(layers=(1, 3), policy_hidden=8)
    lengths, kept = np.array([10, 5]), np.array([[6, 2], [5, 1]])

    def layer(tokens: int) -> int:
        return tokens * (4 * 16 * 16 + 2 * 16 * 24) + 2 * tokens**2 * 16

    def by_hand(tokens: int, first: int, second: int) -> int:
        policy = 8 * 16 + 8
        layers = layer(tokens) + 2 * layer(first) + layer(second)
        return layers + policy * (tokens + first) + 16 * 16 + 16 * 2

    compact_config = compact(make_model(), token_reduction={"layers": [1, 3]}).config
    assert reduced_macs(compact_config, settings, lengths, kept).tolist() == [by_hand(10, 6, 2), by_hand(5, 5, 1)]
    plain = reduced_macs(compact_config, without_decisions(settings), lengths, kept)
    assert plain.tolist() == [cost.macs(config, 10), cost.macs(config, 5)]
    short = dataclasses.replace(settings, min_tokens=6)
    assert reduced_macs(compact_config, short, lengths, np.array([[6, 2], [5, 5]]))[1] == cost.macs(config, 5)


@pytest.mark.parametrize("selector", ["policy", "attention", "first"])
@pytest.mark.parametrize("family", COMPACT)
def test_the_cost_is_what_a_profiler_counts(family: str, selector: str) -> None:
    given = {} if selector == "policy" else {"shares": [0.6, 0.3]}
    model = reduced(family, selector=selector, **given)
    trace, ids = Trace(), torch.randint(5, 40, (3, 12), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(12) < torch.tensor([[12], [9], [1]])).long()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=ids, attention_mask=mask, trace=trace)
    lengths, kept = mask.sum(1).numpy(), trace.kept().numpy()
    assert selector == "policy" or kept.tolist() == [[8, 4], [6, 3], [1, 1]]
    # The counter knows no products of fused attention on a CPU; embeddings are widened before padding is left out.
    unseen = -(36 - 22) * 12 * 16 if family == "electra" else 0
    for tokens in (lengths, kept[:, 0], kept[:, 1], kept[:, 1]):
        unseen += int((2 * tokens**2 * 16).sum())
    counted = counter.get_total_flops() // 2 + unseen
    assert reduced_macs(model.config, model.base_model.settings, lengths, kept).sum() == counted


SELECTIONS: dict[str, dict[str, Any]] = {
    "policies": {},
    "attention": {"selector": "attention", "thresholds": [0.1, 0.1]},
    "one decision": {"layers": [2]},
    "shares": {"selector": "attention", "shares": [0.5, 0.25]},
    "shares and tokens that always stay": {"selector": "attention", "shares": [0.5, 0.25], "always_keep": [2, 17]},
    "at least three": {"min_keep": 3},
    "short rows keep all": {"min_tokens": 9},
    "by position": {"selector": "first", "shares": [0.8, 0.4]},
}


@pytest.fixture(params=SELECTIONS)
def searched(request: pytest.FixtureRequest, task: Classification) -> ReductionCost:
    return ReductionCost(reduced(**SELECTIONS[request.param]), task, task.encoded("validation"))


def runs_of(searched: ReductionCost, monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    asked: list[Settings] = []
    run = searched._run

    def counted(settings: Settings) -> Any:
        asked.append(settings)
        return run(settings)

    monkeypatch.setattr(searched, "_run", counted)
    return asked


def test_the_wanted_cost_is_found_in_few_runs(searched: ReductionCost, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = runs_of(searched, monkeypatch)
    highest, lowest = (searched(end) for end in searched.ends)
    assert lowest < 0.75 < 0.99 < highest
    target = (1 + lowest) / 2
    found = searched.calibrated(target)
    assert found.is_met
    assert len(runs) <= 8
    single = len(searched.settings.layers) == 1 or (searched.settings.shares and not searched.settings.always_keep)
    assert (len(runs) == 1) == bool(single)


def test_the_found_settings_cost_that_on_a_real_pass(searched: ReductionCost, task: Classification) -> None:
    found = searched.calibrated((1 + searched(searched.ends[1])) / 2)
    rows = task.encoded("validation")
    batch = task.collate([rows[row] for row in range(len(rows))])
    trace = Trace()
    with torch.no_grad(), with_settings(searched.model, searched.settings_at(found.value)):
        task.forward(searched.model, batch, trace=trace)
        assert ReductionCost(searched.model, task, rows).at_present() == found.cost
    lengths = batch["attention_mask"].sum(1).numpy()
    settings, kept = searched.settings_at(found.value), trace.kept().numpy()
    config = searched.model.config
    plain = reduced_macs(config, without_decisions(settings), lengths, kept).sum()
    assert reduced_macs(config, settings, lengths, kept).sum() / plain == found.cost
    assert searched.kept[found.value] == pytest.approx((kept.sum(0) / lengths.sum()).tolist())


def test_a_search_leaves_the_model_as_it_was_and_finds_the_same_again(searched: ReductionCost, batch: Any) -> None:
    model, settings = searched.model, searched.model.base_model.settings
    before = model(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits
    first = searched.calibrated(0.7)
    assert model.base_model.settings is settings
    again = ReductionCost(model, searched.task, searched.task.encoded("validation")).calibrated(0.7)
    assert first == again
    assert torch.equal(model(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits, before)


def test_layers_behind_the_last_decision_are_not_run(task: Classification) -> None:
    model = reduced(layers=[1])
    ran = []
    for index, layer in enumerate(model.base_model.encoder.layer.children()):
        layer.register_forward_hook(lambda *_, index=index: ran.append(index))
    ReductionCost(model, task, task.encoded("validation")).at_present()
    assert set(ran) == {0}


def test_a_head_on_many_tokens_is_part_of_the_cost() -> None:
    task = make_masked_task()
    model = compact(make_model(head="masked-lm"), token_reduction={"layers": [2]}).eval()
    searched = ReductionCost(model, task, task.encoded("validation"))
    whole = sum(
        cost.macs(make_config(), int(tokens), head="masked-lm", positions=task.positions(int(tokens)))
        for tokens in searched.lengths
    )
    assert searched.plain == whole
    assert searched.calibrated(0.8).is_met
