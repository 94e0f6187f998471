"""What every method does with the fields of its phases."""

from __future__ import annotations

from typing import Any

import pytest

from bertpress.errors import RequestError
from bertpress.methods import METHODS
from bertpress.methods.method import Method, Training
from bertpress.methods.tinybert import TinyBert
from bertpress.methods.trbert import TrBert
from bertpress.methods.yoco import Yoco
from bertpress.recipe import make_recipe, parse_yaml, shipped_recipes

PHASES = [
    (method, name, field.default)
    for method in METHODS
    for name, field in method.model_fields.items()
    if isinstance(field.default, Training)
]
each_phase = pytest.mark.parametrize(
    ("method", "phase", "default"), PHASES, ids=lambda part: getattr(part, "name", part)
)


@each_phase
@pytest.mark.parametrize("field", [{"learning_rate": 7e-4}, {"epochs": 9.0}, {"warmup": 0.3}, {"clip": 2.0}])
def test_a_field_of_a_phase_leaves_the_others_as_they_are(
    method: type[Method], phase: str, default: Training, field: dict[str, float]
) -> None:
    made = method.model_validate({phase: field})
    assert getattr(made, phase) == default.model_copy(update=field)


def test_a_number_of_steps_takes_the_place_of_the_default_s_epochs() -> None:
    found = Yoco.model_validate({"supernet": {"max_steps": 8}}).supernet
    assert found == Training(max_steps=8, warmup=0.1, weight_decay=0.01)
    found = Yoco.model_validate({"supernet": {"max_steps": None}}).supernet
    assert found.epochs == 5


def test_what_is_given_whole_stays_as_it_is() -> None:
    assert TrBert(policy=Training(learning_rate=1e-3)).policy == Training(learning_rate=1e-3)
    assert TrBert(policy=None).policy is None
    assert TrBert.model_validate({"init": {"epochs": 2}}).init == Training(epochs=2)  # a phase that is off by default
    with pytest.raises(RequestError, match=r"unknown field 'epoch' .*did you mean 'epochs'"):
        make_recipe({"model": "m", "task": "pydoc", "steps": [{"tinybert": {"prediction": {"epoch": 2}}}]})


@pytest.mark.parametrize("fields", [{"intermediate": {"epochs": 2}}, {"intermediate": {"max_steps": 5}, "layers": 2}])
def test_a_phase_that_is_given_in_part_is_read_as_it_was_written(fields: dict[str, Any]) -> None:
    recipe = make_recipe({"model": "m", "task": "glue/mrpc", "steps": [{"tinybert": fields}]})
    again = make_recipe(parse_yaml(recipe.to_yaml(), "recipe"))
    assert again == recipe
    assert again.identity() == recipe.identity()
    assert isinstance(again.steps[0], TinyBert)
    assert again.steps[0].intermediate is not None
    assert again.steps[0].intermediate.decay == "constant"


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_names_what_its_phases_would_take_from_defaults(name: str) -> None:
    methods = {method.name: method for method in METHODS}
    for step in parse_yaml(shipped_recipes()[name], name)["steps"]:
        ((method, fields),) = step.items()
        for phase, given in fields.items():
            default = methods[method].model_fields[phase].default
            if isinstance(default, Training) and given is not None:
                left_out = default.model_fields_set - set(given)
                assert left_out <= ({"epochs"} if "max_steps" in given else set()), f"{method}.{phase}"
