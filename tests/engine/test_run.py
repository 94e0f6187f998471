"""What a machine can do is said before anything is trained."""

from __future__ import annotations

import pytest
import torch

from bertpress import Runtime
from bertpress.engine.run import check_runtime


@pytest.mark.parametrize(
    ("capability", "precision", "warned"),
    [("AVX2", "bf16", True), ("AVX2", "fp32", False), ("AVX512", "bf16", False), ("NEON", "bf16", False)],
)
def test_bf16_without_instructions_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capability: str, precision: str, warned: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    said: list[str] = []
    check_runtime(Runtime(device="cpu", say=said.append), precision)
    assert [("bfloat16 in software" in line) for line in said] == [True] * warned
