"""A head that does not fit is made anew, whatever the architecture; everything else is what was saved."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_masked_task, make_model, make_tokenizer, randomise
from families import FAMILIES

from bertpress.augmentation.models import load_embeddings
from bertpress.encoders.compact import compact
from bertpress.engine.loading import load_for_task, load_tokenizer, tokenizer_for
from bertpress.errors import RequestError
from bertpress.models import COMPACT
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


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            "bert.encoder.scc_layer.0.output.dense.bias",
            "no place for .the first: encoder.scc_layer.0.output.dense.bias",
        ),
        ("bert.encoder.layer.0.attention.self.distance_embedding.weight", "would answer otherwise"),
        ("bert.encoder.layer.4.output.dense.bias", None),  # the lower layers of a deeper model
        ("bert.embeddings.position_ids", None),
        ("cls.predictions.bias", None),
    ],
)
def test_an_encoder_that_was_trained_otherwise_is_refused(
    place: str, message: str | None, task_of: Tasks, tmp_path: Path
) -> None:
    model = make_model()
    model.save_pretrained(tmp_path, state_dict={**model.state_dict(), place: torch.zeros(3)})
    if message is None:
        assert load_for_task(str(tmp_path), task_of("bert"))[2] == []
        return
    with pytest.raises(RequestError, match=message):
        load_for_task(str(tmp_path), task_of("bert"))


def test_a_decoder_is_refused(task_of: Tasks, tmp_path: Path) -> None:
    make_model(is_decoder=True).save_pretrained(tmp_path)
    with pytest.raises(RequestError, match="is a decoder"):
        load_for_task(str(tmp_path), task_of("bert"))


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


LM_HEADS = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions"),
    "roberta": ("lm_head.dense", "lm_head"),
    "xlm-roberta": ("lm_head.dense", "lm_head"),
    "distilbert": ("vocab_transform", "vocab_projector"),
    "electra": ("generator_predictions.dense", "generator_lm_head"),
    "modernbert": ("head.dense", "decoder"),
    "deberta-v2": ("cls.predictions.transform.dense", "cls.predictions"),
}


@each_family
@pytest.mark.parametrize("start", ["bare", "classifier"])
def test_a_model_without_a_masked_lm_head_gets_a_new_one(
    family: str, start: str, folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    given, task = make_model(family=family), make_masked_task(family)
    (given.base_model if start == "bare" else given).save_pretrained(tmp_path)
    with pytest.raises(RequestError, match="no trained head for text"):
        load_for_task(str(tmp_path), task)
    torch.manual_seed(0)
    model, _, remarks = load_for_task(str(tmp_path), task, new_head=True)
    assert remarks == [f"{tmp_path} has no trained head for text; a new one is trained."]
    old, new = given.base_model.state_dict(), model.base_model.state_dict()
    assert all(torch.equal(value, old[name]) for name, value in new.items()), "embeddings too"
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    transform, biased = (model.get_submodule(name) for name in LM_HEADS[family])
    assert not biased.bias.any()
    assert 0.005 < transform.weight.detach().std().item() < 0.05
    torch.manual_seed(0)
    again, _, _ = load_for_task(str(tmp_path), task, new_head=True)
    assert all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))


@each_family
def test_a_masked_lm_head_is_kept_and_a_classifier_made_from_such_a_model(
    family: str, folder_of: Callable[..., Path], task_of: Tasks
) -> None:
    folder, task = str(folder_of(family, "masked-lm")), make_masked_task(family)
    model, found, remarks = load_for_task(folder, task)
    assert remarks == []
    assert found is task
    expected = make_model(family=family, head="masked-lm").state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    classifier, _, remarks = load_for_task(folder, task_of(family), new_head=True)
    assert remarks
    for name, value in classifier.base_model.state_dict().items():
        if "pooler" not in name:
            assert torch.equal(value, model.base_model.state_dict()[name]), name


def test_the_new_head_of_a_modernbert_is_drawn_as_the_whole_model_draws_it(tmp_path: Path, task_of: Tasks) -> None:
    make_model(family="modernbert", hidden_size=256).save_pretrained(tmp_path)
    task = with_labels(task_of("modernbert"), tuple("abcdefgh"), "modernbert")
    torch.manual_seed(0)
    model, _, _ = load_for_task(str(tmp_path), task, new_head=True)
    # a normal distribution that is cut at two standard deviations, not the 0.02 of other linear layers
    assert model.classifier.weight.detach().std().item() == pytest.approx(0.88 * 256**-0.5, rel=0.1)


# Compact models


def save_compact(folder: Path, family: str = "bert", **fields: Any) -> Any:
    model = compact(make_model(family=family), **fields)
    randomise(model)
    model.save_pretrained(folder)
    make_tokenizer(family).save_pretrained(folder)
    return model


@pytest.mark.parametrize("family", COMPACT)
@pytest.mark.parametrize("trusted", [False, True])
def test_a_compact_model_is_ours_whatever_code_lies_beside_it(
    family: str, trusted: bool, task_of: Tasks, tmp_path: Path
) -> None:
    model = save_compact(tmp_path, family, token_reduction={"layers": [1, 2]})
    files = sorted(tmp_path.glob("*.py"))
    assert len(files) == 10
    for file in files:
        file.write_text(f"raise SystemExit('{file.name} was run')\n")
    found, _, remarks = load_for_task(str(tmp_path), task_of(family), trust_remote_code=trusted)
    assert remarks == []
    assert type(found) is type(model)
    assert type(found).__module__.startswith("bertpress.models.")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in found.state_dict().items())
    tokenizer = load_tokenizer(str(tmp_path), trust_remote_code=trusted)
    assert tokenizer("the house").input_ids == make_tokenizer(family)("the house").input_ids
    assert tokenizer_for(found, tokenizer).model_input_names == list(FAMILIES[family].inputs)
    assert tokenizer_for(found.base_model, tokenizer).model_input_names == list(FAMILIES[family].inputs)
    assert load_embeddings(str(tmp_path), trusted).shape[0] == 100
    found.save_pretrained(tmp_path / "again")
    assert all("was run" not in file.read_text() for file in (tmp_path / "again").glob("*.py"))


def test_a_compact_model_gets_another_head(task_of: Tasks, tmp_path: Path) -> None:
    model = save_compact(tmp_path, token_reduction={"layers": [1, 2]})
    found, _, remarks = load_for_task(str(tmp_path), make_masked_task("bert"), new_head=True)
    assert remarks == [f"{tmp_path} has no trained head for text; a new one is trained."]
    assert type(found).__name__ == "CompactBertForMaskedLM"
    expected = model.base_model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.base_model.state_dict().items())


def test_a_compact_model_whose_decisions_do_not_fit_is_refused_by_name(task_of: Tasks, tmp_path: Path) -> None:
    save_compact(tmp_path, token_reduction={"layers": [1, 2]})
    file = tmp_path / "config.json"
    file.write_text(file.read_text().replace('"num_hidden_layers": 4', '"num_hidden_layers": 2'))
    with pytest.raises(RequestError, match=r"rise from 1 to at most 1 .*\[1, 2\]; the default for this depth is \[1\]"):
        load_for_task(str(tmp_path), task_of("bert"))
