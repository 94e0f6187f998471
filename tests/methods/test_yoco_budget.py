"""The budget that amounts make."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml

from bertpress.config import build
from bertpress.errors import RequestError
from bertpress.methods.yoco.budget import Budget
from bertpress.recipe import parse_yaml


def test_a_refusal_names_the_field() -> None:
    with pytest.raises(RequestError, match=r"budget.macs: expected a number such as 15M.* \(got '15 MB'\)"):
        build(Budget, {"macs": "15 MB"}, where="budget")
    with pytest.raises(RequestError, match=r"unknown field .params. \(did you mean .parameters.\?\)"):
        build(Budget, {"params": "15M"})
    with pytest.raises(RequestError, match="no limit on parameters; give one"):
        build(Budget, {"macs": "15M", "scope": "encoder"})


def test_what_is_given_in_a_fixed_order() -> None:
    budget = build(Budget, {"latency_ms": "50%", "flops": "2G", "parameters": 0.4})
    assert list(budget.given()) == ["parameters", "flops", "latency_ms"]
    assert Budget().given() == {}
    assert build(Budget, {}) == Budget()


def test_equal_amounts_are_equal_however_written() -> None:
    budgets = {build(Budget, {"parameters": written}) for written in ("40%", 0.4, "2/5", "0.40")}
    assert len(budgets) == 1


@pytest.mark.parametrize("amounts", [
    {"parameters": "66.955008M", "macs": "1/3", "flops": 0.4, "latency_ms": "0.4ms", "scope": "backbone"},
    {"parameters": 0.1, "latency_ms": 7.8},
    {"parameters": 1.0, "latency_ms": "2/3"},
    {"latency_ms": 1},
    {},
])  # fmt: skip
def test_a_budget_is_read_as_it_was_written(amounts: dict[str, Any]) -> None:
    budget = build(Budget, amounts)
    plain = budget.model_dump(mode="json")
    for read in (plain, json.loads(json.dumps(plain)), parse_yaml(yaml.safe_dump(plain), "budget")):
        assert build(Budget, read) == budget


def test_a_budget_needs_no_torch() -> None:
    code = (
        "import sys, bertpress.methods.yoco.budget, bertpress.methods.yoco.costs, "
        "bertpress.methods.yoco.limits; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
