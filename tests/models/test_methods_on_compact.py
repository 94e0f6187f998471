"""What other methods make of compact models, and that nothing changes layers under decisions about tokens."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import batch_of, make_model, make_tokenizer, without_dropout
from models.making import SHAPES, make_batch, make_compact, run

from bertpress.encoders import encoder_of
from bertpress.encoders.compact import compact_config
from bertpress.encoders.scores import capture, disable_capture, enable_capture
from bertpress.encoders.surgery import keep_layers, with_layers
from bertpress.engine.loading import load_config
from bertpress.engine.objective import Supervised, choose_attention
from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.methods.finetune import Finetune
from bertpress.methods.theseus import Theseus
from bertpress.methods.theseus.replacing import Hybrid
from bertpress.methods.tinybert import Shape, TinyBert
from bertpress.methods.tinybert.intermediate import Comparison
from bertpress.models import COMPACT
from bertpress.recipe import make_recipe
from bertpress.runs import pipeline

each_family = pytest.mark.parametrize("family", COMPACT)


class Untrained(SimpleNamespace):
    """Stands for a step's folder; keeps the objective and trains nothing."""

    def train(self, objective: Any, *_: Any) -> None:
        self.objective = objective


def shaped(**fields: Any) -> Any:
    return make_compact(layer_shapes=SHAPES, token_reduction=None, **fields)


# Models that skip tokens


@each_family
def test_a_reduced_model_is_trained_with_its_decisions_as_they_are(family: str, task_of: Callable[[str], Any]) -> None:
    model, step = make_compact(family), Untrained()
    before = copy.deepcopy(model.state_dict())
    result = Finetune().compress(model, task_of(family), step)  # type: ignore[arg-type]
    frozen = {name for name, value in result.named_parameters() if not value.requires_grad}
    assert frozen == {name for name, _ in result.named_parameters() if "policies" in name}
    assert frozen
    objective = step.objective.train()
    assert result.config._attn_implementation == "packed"
    objective(**batch_of(task_of(family)))["loss"].backward()
    lacking = {name for name, value in result.named_parameters() if value.grad is None} - frozen
    assert all("pooler" in name or "position" in name or "token_type" in name for name in lacking), lacking
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_loss_is_that_of_the_deployed_model(task: Any) -> None:
    model = make_compact(**without_dropout())
    batch = batch_of(task)
    objective = Supervised(model, task)
    trained = objective.train()(**batch)["loss"]
    deployed = objective.eval()(**batch)["loss"]
    torch.testing.assert_close(trained, deployed)
    kept = run(model, {name: batch[name] for name in task.inputs})[1].kept()
    assert (kept < batch["attention_mask"].sum(1, keepdim=True)).any()


@pytest.mark.slow
def test_a_run_from_a_reduced_model_to_a_finetuned_one(
    carry_out: Callable[..., Path], tmp_path: Path, quick_latency: None
) -> None:
    start = tmp_path / "start"
    make_compact(layer_shapes=SHAPES).save_pretrained(start)
    make_tokenizer().save_pretrained(start)
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    folder = carry_out({"finetune": {"training": training}}, tmp_path / "run", model=str(start))
    model = folder / "00-finetune" / "model"
    config = load_config(str(model))
    assert config.model_type == "compact_bert"
    assert config.layer_shapes == SHAPES
    assert (model / "compact_bert.py").is_file()
    assert '.from_pretrained("FOLDER", trust_remote_code=True)' in (model / "README.md").read_text()
    result = json.loads((folder / "00-finetune" / "result.json").read_text())
    assert result["layers"] == 4
    assert [entry["layer"] for entry in result["cost"]["token_reduction"]["kept"]] == [1, 2]
    report = (folder / "report.md").read_text()
    assert "## Speed-ups of token reduction" in report
    assert "Executed speed-up: " in report


@pytest.mark.parametrize("step", [{"theseus": {"successor_layers": 2}}, {"theseus": {}}, {"tinybert": {"layers": 2}}])
def test_token_reduction_comes_last(step: dict[str, Any], task: Any) -> None:
    recipe = make_recipe({"model": "folder", "task": "pydoc", "steps": [step]})
    name = next(iter(step))
    with pytest.raises(
        RequestError, match=f"00-{name}: the model skips tokens .* token reduction comes last; run {name}"
    ):
        pipeline.check_steps(recipe, make_compact().config, task, Runtime())
    pipeline.check_steps(recipe, shaped().config, task, Runtime())


def test_layers_under_decisions_are_not_changed() -> None:
    model = make_compact()
    for origins in ([(0,), (1,)], [(0,), (1,), (3,), (2,)], [(0,), (1,), (2,), (2, 3)]):
        with pytest.raises(RequestError, match="Token reduction comes last: its decisions were trained between the"):
            with_layers(model.config, origins)
    with pytest.raises(RequestError, match="Token reduction comes last"):
        Finetune(layers=2).plan(model.config)
    assert Finetune().plan(model.config).to_dict() == model.config.to_dict()


def test_a_reduced_student_or_teacher_is_refused(tmp_path: Path) -> None:
    make_compact().save_pretrained(tmp_path)
    with pytest.raises(RequestError, match=r"Token reduction comes last, but the student .* skips tokens"):
        TinyBert(student=str(tmp_path)).plan(make_model().config)
    with pytest.raises(RequestError, match="The teacher skips tokens, so its layers hold no states of all tokens"):
        Comparison(TinyBert(layers=2), make_model().config, make_compact().config)


# Layers of unequal shape


@each_family
def test_kept_layers_bring_their_shape(family: str) -> None:
    model = make_compact(family, layer_shapes=SHAPES, token_reduction=None)
    result = keep_layers(model, [0, 3, 1])
    assert result.config.layer_shapes == [SHAPES[0], SHAPES[3], SHAPES[1]]
    again = type(model)(copy.deepcopy(result.config)).eval()
    again.load_state_dict(result.state_dict())
    batch = make_batch(model)
    with torch.no_grad():
        assert torch.equal(again(**batch).logits, result(**batch).logits)


@pytest.mark.parametrize("initialisation", ["bottom", "last_of_module", "random"])
def test_modules_of_unequal_layers_are_replaced(initialisation: str) -> None:
    model = shaped()
    batch = make_batch(model)
    with torch.no_grad():
        expected = model(**batch).logits
        hybrid = Hybrid(copy.deepcopy(model), Theseus(initialisation=initialisation), seed=1)  # type: ignore[arg-type]
        hybrid.set((False, False))
        assert torch.equal(hybrid.model(**batch).logits, expected)
        hybrid.set_successor()
        successor = hybrid.successor()
        assert torch.equal(successor(**batch).logits, hybrid.model(**batch).logits)
    assert Theseus(initialisation=initialisation).plan(model.config).to_dict() == successor.config.to_dict()  # type: ignore[arg-type]
    origins = {"bottom": (0, 1), "last_of_module": (1, 3), "random": (0, 2)}[initialisation]
    assert successor.config.layer_shapes == [SHAPES[layer] for layer in origins]


def test_unequal_layers_have_no_mean() -> None:
    with pytest.raises(RequestError, match=r"mean_of_module': Layers 0\+1 have unequal shapes, so they have no mean"):
        Theseus(initialisation="mean_of_module").plan(shaped().config)


def test_attention_of_unequal_layers_is_not_compared() -> None:
    uneven, plain = shaped().config, make_model().config
    for pair in ((uneven, plain), (plain, uneven), (uneven, uneven)):
        assert Comparison(TinyBert(layers=2), *pair).kind == "none"
        for kind in ("scores", "relation"):
            with pytest.raises(
                RequestError, match=f"attention_loss {kind}: the layers of a model have 2, 1, 3, 1 heads"
            ):
                Comparison(TinyBert(layers=2, attention_loss=kind), *pair)  # type: ignore[arg-type]
    narrow = compact_config(plain, layer_shapes=[{"heads": 2, "intermediate_size": 8, "origin": 0}] * 4)
    assert Comparison(TinyBert(layers=2), narrow, plain).kind == "scores"


def test_a_student_of_another_shape_is_a_stock_one() -> None:
    shape = Shape(layers=3, hidden_size=24, heads=3, intermediate_size=10)
    planned = TinyBert(shape=shape).plan(shaped().config)
    assert planned.model_type == "bert"
    assert (planned.num_hidden_layers, planned.hidden_size, planned.intermediate_size) == (3, 24, 10)


# Attention


def test_the_attention_of_a_reduced_model_is_left_alone() -> None:
    reduced, plain = make_compact(), shaped()
    for training, expected in ((True, "eager"), (False, "sdpa")):
        for model, own in ((reduced, "packed"), (plain, expected)):
            choose_attention(model, training=training)
            assert model.config._attn_implementation == own


@each_family
def test_a_reduced_model_can_be_captured_and_is_as_before_afterwards(family: str) -> None:
    model = make_compact(family)
    batch = make_batch(model)
    expected, trace = run(model, batch)
    enable_capture(model)
    with capture(model, [0, 3]) as found:
        answers, own = run(model, batch)
    torch.testing.assert_close(answers, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(own.alive(), trace.alive())
    assert found[3].query.shape == (6, 2, 12, 8)
    disable_capture(model)
    assert model.config._attn_implementation == "packed"
    assert torch.equal(run(model, batch)[0], expected)


@each_family
def test_the_row_of_an_architecture_is_that_of_its_compact_models(family: str) -> None:
    model = make_compact(family)
    row = encoder_of(model.config)
    assert row.depth(model.config) == 4
    assert row.positions(model.config) == 64
    assert len(list(row.layer_list(model).children())) == 4
    assert row.head_parts(model, "sequence-classification")
