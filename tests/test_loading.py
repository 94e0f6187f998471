"""A head that does not fit is made anew, whatever the architecture; everything else is what was saved."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_model, make_tokenizer
from families import FAMILIES

from bertpress.errors import RequestError
from bertpress.loading import load_for_task
from bertpress.tasks.classification import Classification

each_family = pytest.mark.parametrize("family", FAMILIES)
Tasks = Callable[[str], Any]
HEADS = {
    "bert": ("classifier",),
    "roberta": ("classifier.dense", "classifier.out_proj"),
    "xlm-roberta": ("classifier.dense", "classifier.out_proj"),
    "distilbert": ("pre_classifier", "classifier"),
    "electra": ("classifier.dense", "classifier.out_proj"),
    "modernbert": ("classifier",),
    "deberta-v2": ("pooler.dense", "classifier"),
}


def with_labels(task: Any, labels: tuple[str, ...], family: str) -> Classification:
    return Classification(dataclasses.replace(task.data, labels=labels), make_tokenizer(family), 32)


def in_head(family: str, name: str) -> bool:
    return name.startswith(tuple(f"{part}." for part in HEADS[family]))


@each_family
def test_a_head_that_fits_is_kept(family: str, folder_of: Callable[[str], Path], task_of: Tasks) -> None:
    model, task, remarks = load_for_task(str(folder_of(family)), task_of(family))
    assert remarks == []
    assert task is task_of(family)
    expected = make_model(family=family).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


@each_family
@pytest.mark.parametrize("labels", [("dull", "bright"), ("one", "two", "three")], ids=len)
def test_other_labels_make_a_new_head_and_keep_the_encoder(
    family: str, labels: tuple[str, ...], folder_of: Callable[[str], Path], task_of: Tasks
) -> None:
    task = with_labels(task_of(family), labels, family)
    with pytest.raises(RequestError, match="fine-tune the model on this task first"):
        load_for_task(str(folder_of(family)), task)
    torch.manual_seed(0)
    model, _, remarks = load_for_task(str(folder_of(family)), task, new_head=True)
    torch.manual_seed(1)
    other, _, _ = load_for_task(str(folder_of(family)), task, new_head=True)
    assert len(remarks) == 1
    assert "a new one is trained" in remarks[0]
    assert tuple(model.config.id2label.values()) == labels
    old, again = make_model(family=family).state_dict(), other.state_dict()
    for name, value in model.state_dict().items():
        if not in_head(family, name):
            assert torch.equal(value, old[name]), name
        elif name.endswith("bias"):
            assert not value.any(), name
        else:
            assert value.shape != old[name].shape or not torch.equal(value, old[name]), name
            assert not torch.equal(value, again[name]), name
    linears = {name.rpartition(".")[0] for name in old if in_head(family, name)}
    assert linears == set(HEADS[family])


@each_family
def test_a_bare_encoder_gets_a_head(family: str, task_of: Tasks, tmp_path: Path) -> None:
    make_model(family=family).base_model.save_pretrained(tmp_path)
    with pytest.raises(RequestError):
        load_for_task(str(tmp_path), task_of(family))
    model, _, remarks = load_for_task(str(tmp_path), task_of(family), new_head=True)
    assert remarks
    expected = make_model(family=family).base_model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.base_model.state_dict().items())


def test_the_new_head_of_a_modernbert_is_drawn_as_the_whole_model_draws_it(tmp_path: Path, task_of: Tasks) -> None:
    make_model(family="modernbert", hidden_size=256).save_pretrained(tmp_path)
    task = with_labels(task_of("modernbert"), tuple("abcdefgh"), "modernbert")
    torch.manual_seed(0)
    model, _, _ = load_for_task(str(tmp_path), task, new_head=True)
    # a normal distribution that is cut at two standard deviations, not the 0.02 of other linear layers
    assert model.classifier.weight.detach().std().item() == pytest.approx(0.88 * 256**-0.5, rel=0.1)
