"""Limits are met exactly, or refused in words."""

from __future__ import annotations

import random
from typing import Any

import pytest
from conftest import make_config
from spaces import BASE, BERT_BASE, CLASSIFIER, MIXED, UNIFORM, base_choice, every_choice
from transformers import BertConfig

from bertpress.config import build
from bertpress.errors import AnswerNo, RequestError
from bertpress.methods.yoco import limits as module
from bertpress.methods.yoco.budget import Budget
from bertpress.methods.yoco.costs import Additive, extremes
from bertpress.methods.yoco.limits import Limit, check, limits, undominated
from bertpress.methods.yoco.options import Options, resolve
from bertpress.methods.yoco.space import Space


def asked(budget: dict[str, Any], space: Space = BERT_BASE, config: Any = BASE, **options: Any) -> list[Limit]:
    return limits(build(Budget, budget), space, config, CLASSIFIER, options.pop("tokens", 128), **options)


@pytest.mark.parametrize(
    ("budget", "name", "most"),
    [
        ({"parameters": "60M"}, "parameters", 60_000_000),
        ({"parameters": "100%"}, "encoder_parameters", 12 * 7_087_872),
        ({"parameters": 0.4}, "encoder_parameters", 34_021_785),  # 34 021 785.6: a limit of whole numbers is one
        ({"parameters": "100%", "scope": "total"}, "parameters", 109_483_778),
        ({"parameters": "100%", "scope": "backbone"}, "backbone_parameters", 109_482_240),
        ({"parameters": "30M", "scope": "encoder"}, "encoder_parameters", 30_000_000),
        ({"macs": "50%"}, "macs", 11_174_217_216 // 2),
        ({"macs": "1.2G"}, "macs", 1_200_000_000),
        ({"flops": "50%"}, "flops", 11_174_217_216),
        ({"flops": "2G"}, "flops", 2_000_000_000),
    ],
)
def test_what_a_budget_counts(budget: dict[str, Any], name: str, most: int) -> None:
    (limit,) = asked(budget)
    assert (limit.cost.name, limit.most) == (name, most)


def test_a_flop_is_half_a_multiply_add() -> None:
    choice = base_choice(1, 5)
    (flops,), (macs,) = asked({"flops": "2G"}), asked({"macs": "1G"})
    assert flops.cost.of(BERT_BASE, choice) / flops.most == macs.cost.of(BERT_BASE, choice) / macs.most


def test_shares_are_of_the_space_that_is_searched() -> None:
    narrow = resolve(Options(depth=(6, 8), heads=(4, 8), widths=(512, 768)), BertConfig())
    (limit,) = asked({"parameters": "100%"}, narrow)
    assert limit.most == 8 * 2_759_424
    assert asked({}) == []
    assert check([], BERT_BASE) == []


def test_latency_needs_a_table() -> None:
    with pytest.raises(RequestError, match="needs a table of measured latencies"):
        asked({"latency_ms": 5})


def test_a_network_at_the_limit_is_within_it() -> None:
    """The original's `<` can never return the 6-layer network whose size its limit is."""
    assert check(asked({"parameters": 66_955_008, "scope": "backbone"}), BERT_BASE) == []
    assert check(asked({"parameters": 33_900_288, "scope": "backbone"}), BERT_BASE) == []
    with pytest.raises(AnswerNo):
        check(asked({"parameters": 33_900_287, "scope": "backbone"}), BERT_BASE)


def test_a_limit_below_the_smallest_is_refused_in_its_unit() -> None:
    with pytest.raises(AnswerNo) as refusal:
        check(asked({"parameters": "30M", "scope": "backbone"}), BERT_BASE)
    assert str(refusal.value) == (
        "No network of the space meets this budget: limit 30,000,000 parameters of the backbone: smallest reachable "
        "33,900,288 (6 layers, 4 heads, width 512)."
    )
    with pytest.raises(AnswerNo, match=r"limit 1% \(850,544 parameters of the encoder\): smallest reachable 9,472,512"):
        check(asked({"parameters": "1%"}), BERT_BASE)
    with pytest.raises(AnswerNo, match="limit 2,000,000,000 FLOPs: smallest reachable 2,517,765,120"):
        check(asked({"flops": "2G"}), BERT_BASE)


def test_of_several_limits_each_one_s_minimum_is_named() -> None:
    with pytest.raises(AnswerNo) as refusal:
        check(asked({"parameters": "60M", "macs": "1G"}), BERT_BASE)
    assert "limit 60,000,000 parameters: smallest reachable 33,901,826 (6 layers" in str(refusal.value)
    assert "limit 1,000,000,000 multiply-adds: smallest reachable 1,258,882,560 (6 layers" in str(refusal.value)


def test_a_limit_that_does_not_bind_is_a_warning() -> None:
    warning = "The limit 200,000,000 parameters does not bind: the largest network of the space has 109,483,778."
    assert check(asked({"parameters": "200M", "macs": "50%"}), BERT_BASE) == [warning]
    assert len(check(asked({"macs": "100%"}), BERT_BASE)) == 1


def test_a_space_of_one_network() -> None:
    space = BERT_BASE.opened(heads=1, widths=1, depths=1)
    assert len(check(asked({"parameters": "100%"}, space), space)) == 1
    with pytest.raises(AnswerNo, match=r"smallest reachable 85,054,464 \(12 layers, 12 heads, width 3072\)"):
        check(asked({"parameters": "99%"}, space), space)


def test_limits_that_only_fail_together() -> None:
    """Of two costs that want opposite options each limit can be met, both cannot."""
    space = resolve(Options(depth=(2, 4), heads=(1, 2), widths=(24,)), make_config("bert"))
    first = Additive("parameters", 0, ((1.0, 3.0),) * 4, integral=True)
    second = Additive("latency_ms", 0.5, ((2.5, 1.0),) * 4, integral=False)
    assert check([Limit(first, 4, "4"), Limit(second, 4.0, "4")], space) == []  # one layer of each at depth 2
    with pytest.raises(
        AnswerNo, match=r"Each limit can be met alone, but no network .* limit 3 param.* limit 3 ms: sm"
    ):
        check([Limit(first, 3, "3"), Limit(second, 3.0, "3")], space)


@pytest.mark.parametrize("options", [MIXED, UNIFORM], ids=["mixed", "uniform"])
def test_together_is_decided_as_by_trying_all(options: Options) -> None:
    space, generator = resolve(options, make_config("bert")), random.Random(5)
    choices, verdicts = every_choice(space), []
    for _ in range(60):
        made = []
        for name in ("parameters", "macs", "latency_ms"):
            values = tuple(tuple(float(generator.randint(1, 20)) for _ in pairs) for pairs in space.options)
            additive = Additive(name, 5.0, values * 4 if space.uniform else values, integral=True)
            low, high = (additive.of(space, choice) for choice in extremes(space, additive))
            made.append(Limit(additive, low + generator.random() * 0.5 * (high - low), ""))
        possible = any(all(limit.cost.of(space, choice) <= limit.most for limit in made) for choice in choices)
        verdicts.append(possible)
        if possible:
            check(made, space)
        else:
            with pytest.raises(AnswerNo, match="Each limit can be met alone"):
                check(made, space)
    assert 10 < sum(verdicts) < 50


def test_too_many_sums_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SUMS", 1)
    space = resolve(Options(depth=(4,), heads=(1, 2), widths=(24,)), make_config("bert"))
    first = Additive("parameters", 0, ((1.0, 3.0),) * 4, integral=True)
    second = Additive("macs", 0, ((3.0, 1.0),) * 4, integral=True)
    assert check([Limit(first, 7, "7"), Limit(second, 7, "7")], space) == []  # impossible, but not refused


def test_undominated() -> None:
    assert undominated([(1, 3), (2, 2), (2, 2), (3, 3), (3, 1), (1, 4)]) == [(1, 3), (2, 2), (3, 1)]
