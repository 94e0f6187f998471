"""The cost of what a model keeps, and thresholds for a budget on real forward passes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_config, make_masked_task, make_model

from bertpress import cost
from bertpress.calibration import CLOSE
from bertpress.encoders.compact import compact
from bertpress.models.token_selection import Settings
from bertpress.models.walks import Trace
from bertpress.reduction_cost import ReductionCost, macs_of_rows, with_settings
from bertpress.shapes import shape_of
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
    config = compact(make_model(), token_reduction={"layers": [1, 3], "policy_hidden": 8}).config
    lengths, kept = np.array([10, 5]), np.array([[6, 2], [5, 1]])

    def layer(tokens: int) -> int:  # 16 wide, with 24 inside
        return tokens * (4 * 16 * 16 + 2 * 16 * 24) + 2 * tokens**2 * 16

    def by_hand(tokens: int, first: int, second: int) -> int:
        policy = 8 * 16 + 8
        layers = layer(tokens) + 2 * layer(first) + layer(second)
        return layers + policy * (tokens + first) + 16 * 16 + 16 * 2  # a pooler, and a head for 2 labels

    assert macs_of_rows(shape_of(config), lengths, kept).tolist() == [by_hand(10, 6, 2), by_hand(5, 5, 1)]


@pytest.mark.parametrize("reduction", [{}, {"selector": "attention", "shares": [0.5, 0.3]}, {"min_tokens": 9}], ids=str)
@pytest.mark.parametrize("family", COMPACT)
def test_many_rows_cost_what_one_costs_after_the_other(family: str, reduction: dict[str, Any]) -> None:
    model = reduced(family, **reduction)
    lengths = np.array([12, 9, 1, 30])
    kept = np.minimum(lengths[:, None], np.array([[7, 3], [9, 9], [1, 1], [20, 2]]))
    short = lengths < reduction.get("min_tokens", 0)
    kept[short] = lengths[short, None]
    own = macs_of_rows(shape_of(model.config), lengths, kept).tolist()
    assert own == [
        cost.ideal_macs(model.config, [length], [row])
        for length, row in zip(lengths.tolist(), kept.tolist(), strict=True)
    ]
    plain = dataclasses.replace(shape_of(model.config), decisions=())
    assert macs_of_rows(plain, lengths, kept).tolist() == [cost.macs(make_config(family), int(n)) for n in lengths]


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


def test_one_object_searches_for_several_budgets(searched: ReductionCost) -> None:
    lowest = searched(searched.ends[1])
    targets = [lowest + part * (1 - lowest) for part in (0.5, 0.7, 0.3, 0.5)]
    found = [searched.calibrated(target) for target in targets]
    assert all(one.is_met for one in found)
    assert found[3].cost == pytest.approx(found[0].cost, abs=CLOSE)


def test_the_found_settings_cost_that_on_a_real_pass(searched: ReductionCost, task: Classification) -> None:
    found = searched.calibrated((1 + searched(searched.ends[1])) / 2)
    rows = task.encoded("validation")
    batch = task.collate([rows[row] for row in range(len(rows))])
    trace = Trace()
    with torch.no_grad(), with_settings(searched.model, searched.settings_at(found.value)):
        task.forward(searched.model, batch, trace=trace)
        assert ReductionCost(searched.model, task, rows).at_present() == found.cost
    lengths = batch["attention_mask"].sum(1).numpy()
    kept = trace.kept().numpy()
    own = cost.ideal_macs(searched.model.config, lengths.tolist(), kept.tolist())
    assert own / sum(cost.macs(make_config(), int(tokens)) for tokens in lengths) == found.cost
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
