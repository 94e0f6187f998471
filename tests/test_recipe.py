from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bertpress.errors import RequestError
from bertpress.methods.finetune import Finetune
from bertpress.methods.theseus import Theseus
from bertpress.methods.theseus.rates import Constant, Linear
from bertpress.recipe import Recipe, flatten, make_recipe, override, parse_yaml, read_recipe, renamed_task
from bertpress.tasks.reading.named import settings_for

TEXT = """
model: folder
task: {files: data, columns: [text]}
steps:
  - finetune: {training: {learning_rate: 2e-5, epochs: 1}}
  - theseus:
      successor_layers: 2
      rate: {linear: {base: 0.3, full_after: 1000}}
"""


def recipe() -> Recipe:
    return make_recipe(parse_yaml(TEXT, "test"))


@pytest.mark.parametrize(
    ("text", "value"),
    [("2e-5", 2e-5), ("1E3", 1000.0), ("-1.5e+2", -150.0), (".5", 0.5), ("3", 3), ("abc", "abc"), ("1.", 1.0)],
)
def test_numbers_are_those_of_yaml_1_2(text: str, value: object) -> None:
    parsed = parse_yaml(text, "test")
    assert parsed == value
    assert type(parsed) is type(value)


def test_the_parts_of_a_recipe() -> None:
    first, second = recipe().steps
    assert isinstance(first, Finetune)
    assert first.training.learning_rate == 2e-5
    assert isinstance(second, Theseus)
    assert second.rate == Linear(base=0.3, full_after=1000)
    assert recipe().task.name == "files"
    assert recipe().task.data_dir == "data"


def test_yaml_and_python_build_the_same() -> None:
    built = Recipe(
        model="folder",
        task={"files": "data", "columns": ["text"]},  # type: ignore[arg-type]
        steps=(
            Finetune(training={"epochs": 1}),  # type: ignore[arg-type]
            Theseus(successor_layers=2, rate=Linear(base=0.3, full_after=1000)),
        ),
    )
    assert built == recipe()


def test_yaml_round_trip() -> None:
    again = make_recipe(parse_yaml(recipe().to_yaml(), "test"))
    assert again == recipe()
    assert again.identity() == recipe().identity()
    plain = make_recipe({"model": "m", "task": "glue/mrpc", "steps": [{"finetune": {}}]})
    assert parse_yaml(plain.to_yaml(), "test")["task"] == "glue/mrpc"


def test_what_was_set_to_the_usual_is_written_where_a_data_set_has_another() -> None:
    base = {"model": "m", "steps": [{"finetune": {}}]}
    own = make_recipe({**base, "task": {"name": "newsqa", "qa": {"n_best": 5, "answers": "all"}}})
    usual = make_recipe({**base, "task": {"name": "newsqa", "qa": {"n_best": 5}}})
    again = make_recipe(parse_yaml(own.to_yaml(), "test"))
    for recipe, answers in ((own, "all"), (again, "all"), (usual, "first")):
        assert settings_for("newsqa", recipe.task.qa).answers == answers
    assert again.identity() == own.identity() != usual.identity()


def test_texts_that_read_as_numbers_stay_texts() -> None:
    task = {"files": "data", "columns": ["1e3"], "label": "2.e5"}
    recipe = make_recipe({"model": "m", "task": task, "steps": [{"finetune": {}}], "head_labels": ["1e3", "no"]})
    assert make_recipe(parse_yaml(recipe.to_yaml(), "test")) == recipe


def test_overrides() -> None:
    values = parse_yaml(TEXT, "test")
    changed = override(
        values, ["seed=7", "steps.1.theseus.rate.linear.base=0.1", "steps.0.finetune.training.clip=5e-1"]
    )
    made = make_recipe(changed)
    assert made.seed == 7
    assert made.steps[1].rate.base == 0.1  # type: ignore[attr-defined]
    assert made.steps[0].training.clip == 0.5  # type: ignore[attr-defined]
    assert values == parse_yaml(TEXT, "test"), "the given values are left as they are"


def test_overrides_with_a_prefix() -> None:
    values = parse_yaml(TEXT, "test")
    changed = override(values, ["rate={constant: {rate: 0.5, switch_after: 3}}"], prefix="steps.1.theseus")
    assert make_recipe(changed).steps[1].rate == Constant(rate=0.5, switch_after=3)  # type: ignore[attr-defined]


def test_an_override_reaches_into_a_task_written_as_its_name() -> None:
    values = override({"task": "squad_v2", "steps": []}, ["task.qa.folds=true"])
    assert values["task"] == {"name": "squad_v2", "qa": {"folds": True}}


def test_a_task_that_is_named_once_more() -> None:
    race = {"name": "race", "data_dir": "RACE", "choice": {"scoring": "separately"}}
    assert renamed_task(race, "race") == race
    assert renamed_task({"files": "data", "kind": "qa"}, "files") == {"name": "files", "data_dir": "data", "kind": "qa"}
    assert renamed_task("race", "race") == renamed_task(None, "race") == {"name": "race"}
    assert renamed_task(race, "files") == {"name": "files", "choice": {"scoring": "separately"}}, "of the data nothing"
    entities = {"name": "msra_ner", "kind": "mrc", "mrc": {"loss": "focal"}}
    assert renamed_task(entities, "conll2003") == {**entities, "name": "conll2003"}
    assert renamed_task({"name": "glue/stsb", "kind": "embedding"}, "glue/mrpc") == {"name": "glue/mrpc"}


def test_an_override_reaches_into_a_choice_written_as_a_word() -> None:
    values: dict[str, Any] = {"model": "m", "task": "pydoc", "steps": [{"theseus": {"rate": "linear"}}]}
    made = make_recipe(override(values, ["steps.0.theseus.rate.linear.base=0.2"]))
    assert made.steps[0].rate.base == 0.2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("seed", "path=value"),
        ("steps.9.theseus.modules=x", "not a position in a list of 2"),
        ("steps.x.theseus.modules=x", "not a position"),
        ("seed={", "not valid YAML"),
    ],
)
def test_wrong_overrides(assignment: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        override(parse_yaml(TEXT, "test"), [assignment])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": None}, "no model"),
        ({"task": None}, "no task"),
        ({"stesp": []}, "unknown field 'stesp' .*did you mean 'steps'"),
        ({"steps": []}, "steps"),
        ({"steps": [{"thesues": {}}]}, "unknown choice 'thesues' .*did you mean 'theseus'"),
        ({"steps": [{"theseus": {"succesor_layers": 2}}]}, "did you mean 'successor_layers'"),
        ({"steps": [{"finetune": {"training": {"epoch": 2}}}]}, "did you mean 'epochs'"),
        ({"seed": -1}, "seed"),
        ({"limit": {"train": 0}}, r"limit\.train"),
        ({"precision": "fp8"}, "precision"),
    ],
)
def test_wrong_recipes_are_explained(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make_recipe({**parse_yaml(TEXT, "test"), **changed})


def test_reading_recipes(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(TEXT)
    assert make_recipe(read_recipe(str(file))) == recipe()
    assert "steps" in read_recipe("theseus-glue-linear")
    with pytest.raises(RequestError, match="did you mean 'theseus-glue-linear'"):
        read_recipe("theseus-glue-linaer")
    file.write_text("- a\n- b\n")
    with pytest.raises(RequestError, match="a mapping with model, task and steps"):
        read_recipe(str(file))
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match="not a text file"):
        read_recipe(str(file))


def test_flatten() -> None:
    assert dict(flatten({"a": {"b": [1, 2]}, "c": [], "d": None})) == {"a.b.0": 1, "a.b.1": 2, "c": [], "d": None}


def test_off_is_a_word_for_packing() -> None:
    task = parse_yaml("{name: text, corpus: {files: [a.txt], pack: off}}", "task")
    made = make_recipe({"model": "a/model", "task": task, "steps": ["finetune"]})
    assert made.task.corpus is not None
    assert made.task.corpus.pack == "off"
    assert make_recipe(parse_yaml(made.to_yaml(), "recipe")) == made
