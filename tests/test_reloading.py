"""A saved model is loaded where this package is not, and what it says there is compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_model
from models.making import SHAPES, make_compact

from bertpress import reloading
from bertpress.reloading import DoesNotLoad, check_loads, largest_difference, loader_of
from bertpress.runs import finishing
from bertpress.tasks.classification import Classification

HEAD = "ForSequenceClassification"


def saved(model: Any, folder: Path) -> tuple[Any, Path]:
    model.eval().save_pretrained(folder)
    return model, folder


def test_differences_are_shares_of_the_largest_output() -> None:
    expected = {"logits": torch.tensor([[1.0, -4.0], [torch.inf, -torch.inf]])}
    assert largest_difference(expected, expected) == 0
    assert largest_difference({"logits": expected["logits"] + torch.tensor([0.5, 1.0])}, expected) == 0.25
    assert largest_difference({"logits": expected["logits"][:1]}, expected) == float("inf")
    assert largest_difference({}, expected) == float("inf")
    assert not largest_difference({"logits": expected["logits"] * torch.nan}, expected) <= 1


def test_a_stock_model_loads_with_transformers_alone(tmp_path: Path, task: Classification) -> None:
    model, folder = saved(make_model(), tmp_path / "model")
    (way,) = check_loads(model, task, folder)
    assert (way["level"], way["class"]) == ("stock", "AutoModelForSequenceClassification")
    assert way["difference"] <= 1e-6


def test_a_model_with_code_of_its_own_needs_remote_code(tmp_path: Path, task: Classification) -> None:
    model, folder = saved(make_compact("bert", HEAD, layer_shapes=SHAPES), tmp_path / "model")
    (way,) = check_loads(model, task, folder)
    assert (way["level"], way["class"]) == ("remote code", "AutoModelForSequenceClassification")


def test_a_bare_encoder_is_asked_for_its_states(tmp_path: Path, task: Classification) -> None:
    model, folder = saved(make_model().base_model, tmp_path / "model")
    assert check_loads(model, task, folder)[0]["class"] == "AutoModel"


def test_a_head_of_our_own_is_loaded_by_name() -> None:
    assert loader_of(make_compact("bert", "ForMultiHop")) == ("class by name", "compact_bert.CompactBertForMultiHop")


def test_other_weights_on_disk_are_found(tmp_path: Path, task: Classification) -> None:
    model, folder = saved(make_model(), tmp_path / "model")
    model.classifier.bias.data += 1
    with pytest.raises(DoesNotLoad, match=r"outputs there differ by .* not finished"):
        check_loads(model, task, folder)


def test_code_that_needs_this_package_is_found(tmp_path: Path, task: Classification) -> None:
    model, folder = saved(make_compact("bert", HEAD, layer_shapes=SHAPES), tmp_path / "model")
    code = folder / "compact_bert.py"
    code.write_text(f"{code.read_text()}\nimport bertpress\n")
    with pytest.raises(DoesNotLoad, match="does not load in a fresh process"):
        check_loads(model, task, folder)


def test_the_next_folder_is_loaded_after_the_process_ended(tmp_path: Path, task: Classification) -> None:
    model, folder = saved(make_model(), tmp_path / "model")
    reloading._process().kill()
    reloading._process().wait()
    with pytest.raises(DoesNotLoad, match="the process ended"):
        check_loads(model, task, folder)
    assert check_loads(model, task, folder)[0]["level"] == "stock"


def test_a_step_that_does_not_load_is_not_finished(
    carry_out: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise DoesNotLoad("it does not")

    step = {"finetune": {"training": {"max_steps": 1}}}
    with monkeypatch.context() as patch:
        patch.setattr(finishing, "check_loads", fail)
        with pytest.raises(DoesNotLoad):
            carry_out(step, tmp_path / "run", loads=True)
    assert not (tmp_path / "run" / "00-finetune" / "result.json").exists()
    carry_out(step, tmp_path / "run", loads=True)
    assert '"level": "stock"' in (tmp_path / "run" / "00-finetune" / "result.json").read_text()
