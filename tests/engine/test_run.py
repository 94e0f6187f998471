"""What a machine can do is said before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bertpress import Runtime
from bertpress.engine.run import warn_of_slow_precision
from bertpress.recipe import make_recipe
from bertpress.runs.pipeline import prepare


@pytest.mark.parametrize(
    ("capability", "precision", "warned"),
    [("AVX2", "bf16", True), ("AVX2", "fp32", False), ("AVX512", "bf16", False), ("NEON", "bf16", False)],
)
def test_bf16_without_instructions_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capability: str, precision: str, warned: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    said: list[str] = []
    warn_of_slow_precision(Runtime(device="cpu", say=said.append), precision)
    assert [("bfloat16 in software" in line) for line in said] == [True] * warned


def test_a_run_begins_with_it_once(monkeypatch: pytest.MonkeyPatch, tiny_recipe: dict[str, Any]) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    said: list[str] = []
    values = {**tiny_recipe, "steps": [{"finetune": {}}], "precision": "bf16"}
    prepare(make_recipe(values), Runtime(device="cpu", say=said.append))
    assert sum("bfloat16 in software" in line for line in said) == 1
