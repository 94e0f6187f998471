from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import make_model
from torch import nn

from bertpress.engine.objective import Objective, Supervised, choose_attention
from bertpress.methods.theseus import Theseus
from bertpress.methods.theseus.replacing import Replacing


def half_frozen(task: Any) -> Supervised:
    model = make_model()
    model.bert.embeddings.requires_grad_(False)
    objective = Supervised(model, task)
    objective.register_buffer("counter", torch.zeros(2))
    return objective


def test_a_checkpoint_holds_what_is_trained_and_buffers(task: Any) -> None:
    objective = half_frozen(task)
    saved = objective.state_dict()
    trained = {name for name, value in objective.named_parameters() if value.requires_grad}
    assert {"anchor", "counter", "model.classifier.weight"} <= set(saved)
    assert set(saved) - trained <= {name for name, _ in objective.named_buffers()}
    assert not any("word_embeddings" in name for name in saved)
    assert all(value.is_contiguous() for value in saved.values())


def test_a_checkpoint_is_loaded_and_another_one_refused(task: Any) -> None:
    saved = half_frozen(task).state_dict()
    changed = {name: value + 1 for name, value in saved.items() if value.is_floating_point()}
    objective = half_frozen(task)
    objective.load_state_dict({**saved, **changed})
    assert all(torch.equal(objective.state_dict()[name], value) for name, value in changed.items())
    with pytest.raises(ValueError, match="1 names differ, first counter"):
        objective.load_state_dict({name: value for name, value in saved.items() if name != "counter"})
    with pytest.raises(ValueError, match="1 names differ, first other"):
        objective.load_state_dict({**saved, "other": torch.zeros(1)})
    with pytest.raises(ValueError, match="another objective"):
        objective.load_state_dict(Replacing(make_model(), task, Theseus(), 1).state_dict())


def test_the_anchor_stays_0(task: Any, batch: dict[str, torch.Tensor]) -> None:
    objective = Supervised(make_model(), task).train()
    optimizer = torch.optim.AdamW(objective.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        objective(**batch)["loss"].backward()
        optimizer.step()
    assert objective.anchor.item() == 0


def test_the_loss_is_the_mean_of_the_task(task: Any, batch: dict[str, torch.Tensor]) -> None:
    objective = Supervised(make_model(), task).eval()
    outputs = objective(**batch)
    expected = nn.functional.cross_entropy(outputs["logits"], batch["labels"])
    torch.testing.assert_close(outputs["loss"], expected)
    without = {name: value for name, value in batch.items() if name != "labels"}
    assert set(objective(**without)) == {"logits"}


def test_a_teacher_is_not_part_of_the_objective(task: Any) -> None:
    teacher = make_model().train()

    class Distilled(Supervised):
        def __init__(self, model: Any) -> None:
            Objective.__init__(self, task, teacher)
            self.model = model

    objective = Distilled(make_model(1)).train()
    ours = {id(value) for value in objective.parameters()}
    assert not ours & {id(value) for value in teacher.parameters()}
    assert not teacher.training
    assert not any(value.requires_grad for value in teacher.parameters())
    assert not any("teacher" in name for name in objective.state_dict())
    objective.to(torch.float64)
    assert teacher.dtype == torch.float64, "it moves along"


def test_attention_follows_dropout_and_device() -> None:
    model = make_model()
    choose_attention(model, training=True)
    assert model.config._attn_implementation == "eager"
    choose_attention(model, training=False)
    assert model.config._attn_implementation == "sdpa"
    plain = make_model(attention_probs_dropout_prob=0.0)
    choose_attention(plain, training=True)
    assert plain.config._attn_implementation == "sdpa"
