from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_model

from bertpress.encoders import encoder_of
from bertpress.encoders.surgery import keep_layers
from bertpress.errors import RequestError
from bertpress.methods.finetune import Finetune


class Untrained:
    """Stands for a step's folder; keeps the objective and trains nothing."""

    seed = 1

    def train(self, objective: Any, task: Any, training: Any, phase: str) -> None:
        self.objective, self.phase = objective, phase


@pytest.mark.parametrize("layers", [1, 3, 4])
def test_the_bottom_layers_are_kept(task: Any, layers: int) -> None:
    model, step = make_model(), Untrained()
    result = Finetune(layers=layers).compress(model, task, step)  # type: ignore[arg-type]
    expected = keep_layers(model, range(layers)).state_dict()
    assert result.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in result.state_dict().items())
    assert Finetune(layers=layers).plan(model.config).num_hidden_layers == layers
    assert encoder_of(result.config).depth(result.config) == layers


def test_everything_is_trained_even_what_came_frozen(task: Any) -> None:
    model, step = make_model().requires_grad_(False), Untrained()
    result = Finetune().compress(model, task, step)  # type: ignore[arg-type]
    assert all(value.requires_grad for value in result.parameters())
    assert not any(value.requires_grad for value in model.parameters())
    assert step.phase == "training"
    assert step.objective.deployed() is result


def test_more_layers_than_the_model_has_are_refused() -> None:
    with pytest.raises(RequestError, match="layers must lie between 1 and the model's 4, got 5"):
        Finetune(layers=5).plan(make_model().config)


def test_layer_passes_count_forward_and_two_backward() -> None:
    config = make_model().config
    assert Finetune().layer_passes(config, "training", 10) == 12
    assert Finetune(layers=2).layer_passes(config, "training", 10) == 6


@pytest.mark.slow
def test_encoder_only_saves_a_model_without_head(carry_out: Callable[..., Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModel

    step = {"finetune": {"encoder_only": True, "training": {"max_steps": 2, "batch_size": 16}}}
    folder = carry_out(step, tmp_path / "run") / "00-finetune"
    assert not any("classifier" in name for name in load_file(folder / "model" / "model.safetensors"))
    assert json.loads((folder / "model" / "config.json").read_text())["architectures"] == ["BertModel"]
    assert AutoModel.from_pretrained(folder / "model").config.num_hidden_layers == 4


def test_no_step_follows_a_model_without_head(carry_out: Callable[..., Path], tmp_path: Path) -> None:
    step = {"finetune": {"encoder_only": True}}
    with pytest.raises(RequestError, match="no step can follow"):
        carry_out(step, tmp_path / "run", steps=[step, {"theseus": {}}])
    assert not (tmp_path / "run").exists()
