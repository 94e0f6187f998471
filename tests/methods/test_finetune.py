from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_masked_task, make_model
from families import FAMILIES

from bertpress.encoders import encoder_of
from bertpress.encoders.surgery import keep_layers
from bertpress.errors import RequestError
from bertpress.methods.finetune import Finetune
from bertpress.recipe import make_recipe
from bertpress.runs.run_folder import open_run


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
    assert step.objective.model is result


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_alone_is_trained_without_its_tied_table(family: str) -> None:
    model, step = make_model(family=family, head="masked-lm"), Untrained()
    result = Finetune(train="head").compress(model, make_masked_task(family), step)  # type: ignore[arg-type]
    encoder = {id(value) for value in result.base_model.parameters()}
    trained = {name for name, value in result.named_parameters() if value.requires_grad}
    assert trained == {name for name, value in result.named_parameters() if id(value) not in encoder}
    assert trained
    saved = {name.removeprefix("model.") for name in step.objective.state_dict()}
    assert saved >= trained
    assert not any("embed" in name or "decoder.weight" in name for name in saved)


def test_a_frozen_encoder_has_no_dropout_and_no_graph() -> None:
    model, step, task = make_model(head="masked-lm"), Untrained(), make_masked_task()
    result = Finetune(train="head").compress(model, task, step)  # type: ignore[arg-type]
    objective = step.objective.train()
    batch = task.collate([task.encoded("train")[row] for row in range(8)], (1, 0))
    states = []
    result.bert.register_forward_hook(lambda module, inputs, output: states.append(output.last_hidden_state))
    losses = [objective(**batch)["loss"] for _ in range(2)]
    assert not any(state.requires_grad for state in states)
    assert torch.equal(*states)
    assert result.config._attn_implementation == "sdpa", "the fast one, as there is no dropout to replace"
    losses[0].backward()
    assert objective.eval().train(False).training is False
    whole = Finetune().compress(model, task, step)  # type: ignore[arg-type]
    assert step.objective.train().model is whole
    assert whole.bert.training


def test_the_head_of_a_classifier_alone(task: Any) -> None:
    step = Untrained()
    result = Finetune(train="head").compress(make_model(), task, step)  # type: ignore[arg-type]
    trained = [name for name, value in result.named_parameters() if value.requires_grad]
    assert trained == ["classifier.weight", "classifier.bias"]
    config = result.config
    assert Finetune(train="head").layer_passes(config, "training", 10) == 4, "no backward pass through a layer"


def test_more_layers_than_the_model_has_are_refused() -> None:
    with pytest.raises(RequestError, match="layers must lie between 1 and the model's 4, got 5"):
        Finetune(layers=5).plan(make_model().config)


def test_new_positions_need_more_than_the_head_to_train() -> None:
    config = make_model().config
    with pytest.raises(RequestError, match="new have to be trained"):
        Finetune(positions=128, train="head").plan(config)
    present = config.max_position_embeddings
    assert Finetune(positions=present, train="head").plan(config).max_position_embeddings == present


def test_layer_passes_count_forward_and_two_backward() -> None:
    config = make_model().config
    assert Finetune().layer_passes(config, "training", 10) == 12
    assert Finetune(layers=2).layer_passes(config, "training", 10) == 6


def test_a_run_from_before_a_field_is_the_same_run(tmp_path: Path) -> None:
    recipe = make_recipe({"model": "folder", "task": "pydoc", "steps": ["finetune"]})
    assert not open_run(tmp_path / "run", recipe)
    file = tmp_path / "run" / "recipe.yaml"
    text = file.read_text()
    assert text.count("    train: all\n") == 1
    file.write_text(text.replace("    train: all\n", ""))
    assert open_run(tmp_path / "run", recipe)
    other = make_recipe({"model": "folder", "task": "pydoc", "steps": [{"finetune": {"train": "head"}}]})
    with pytest.raises(RequestError, match=r"steps.0.finetune.train: all there, head now"):
        open_run(tmp_path / "run", other)


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
