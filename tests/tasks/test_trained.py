"""The kind of task that a finished model was trained for, told by its configuration."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import make_config, make_tokenizer
from token_tasks import HEADS, label_fields, token_task, write_token_tasks
from transformers import AutoConfig

from bertpress import api
from bertpress.engine.loading import class_of_head
from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.recipe import TaskSpec
from bertpress.tasks.trained import kind_of_head, of_its_kind, task_of_head

KINDS = ("tagging", "mrc", "qa", "multihop", "candidates", "choice")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return write_token_tasks(tmp_path_factory.mktemp("trained"))


def config_of(kind: str, task: Any = None) -> Any:
    """The configuration of a model that was trained for a kind of task."""
    ending = class_of_head(HEADS[kind]).removeprefix("AutoModel")
    config = make_config(architectures=[f"Bert{ending}"], **label_fields(kind))
    return config if task is None else task.configure(config)


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_tells_the_kind(kind: str, tasks: dict[str, dict[str, Any]]) -> None:
    assert kind_of_head(config_of(kind, token_task(tasks[kind]))) == kind


def test_what_was_trained_first_is_not_what_counts(tasks: dict[str, dict[str, Any]]) -> None:
    """A reader that was fine-tuned to tag words still keeps its questions."""
    config = token_task(tasks["tagging"]).configure(config_of("mrc", token_task(tasks["mrc"])))
    assert config.task_specific_params["mrc"]
    assert kind_of_head(config) == "tagging"
    assert task_of_head(config, make_tokenizer(), 32).kind == "tagging"


def test_options_that_are_scored_separately(tasks: dict[str, dict[str, Any]]) -> None:
    task = token_task({**tasks["choice"], "choice": {"scoring": "separately"}})
    config = task.configure(make_config(architectures=["BertForSequenceClassification"]))
    assert kind_of_head(config) == "choice"
    config.task_specific_params = None
    assert kind_of_head(config) is None, "a classifier of the user's own"


@pytest.mark.parametrize("ending", ["ForSequenceClassification", "ForMaskedLM", "Model", "ForTokenClassification"])
def test_other_heads_tell_nothing(ending: str) -> None:
    assert kind_of_head(make_config(architectures=[f"Bert{ending}"])) is None


def test_the_kind_is_that_of_the_model_unless_it_is_named() -> None:
    reader, tagger, classifier = config_of("mrc"), config_of("tagging"), make_config(architectures=["BertModel"])
    named = TaskSpec(name="conll2003")
    assert of_its_kind(named, reader, "m").kind == "mrc"
    assert of_its_kind(named, classifier, "m") is named
    assert of_its_kind(TaskSpec(name="files", data_dir="d"), tagger, "m").kind == "tagging"
    asked = TaskSpec(name="conll2003", kind="mrc")
    assert of_its_kind(asked, reader, "m") is asked
    other = TaskSpec(name="glue/sst2")
    assert of_its_kind(other, reader, "m") is other, "the task says what it needs"
    vectors = TaskSpec(name="glue/stsb", kind="embedding")
    assert of_its_kind(vectors, tagger, "m") is vectors, "any encoder gives some"


@pytest.mark.parametrize(
    ("name", "kind", "trained", "instead"),
    [
        ("conll2003", "mrc", "tagging", "leave out --kind"),
        ("conll2003", "tagging", "mrc", "leave out --kind"),
        ("conll2003", "tagging", "qa", "name a task of the kind qa"),
        ("files", "classification", "choice", "leave out --kind"),
    ],
)
def test_another_kind_is_refused(name: str, kind: Any, trained: str, instead: str) -> None:
    sentence = f"m was trained for the kind {trained}, but --kind {kind} asks for another: {instead}, or fine-tune it"
    with pytest.raises(RequestError, match=sentence):
        of_its_kind(TaskSpec(name=name, kind=kind), config_of(trained), "m")


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_scored_without_naming_its_kind(
    kind: str, tasks: dict[str, dict[str, Any]], folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    values, runtime = tasks[kind], Runtime(device="cpu")
    folder = str(folder_of("bert", HEADS[kind], kind))
    if kind == "candidates":  # its output's name alone tells nothing
        folder = shutil.copytree(folder, tmp_path / "model")
        token_task(values).configure(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    unnamed = {name: value for name, value in values.items() if name != "kind"}
    options: Any = {"max_length": 32, "limit": {"validation": 4}, "runtime": runtime}
    assert api.evaluate(str(folder), unnamed, **options) == api.evaluate(str(folder), values, **options)
