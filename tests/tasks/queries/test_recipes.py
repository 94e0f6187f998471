from __future__ import annotations

import pytest

from bertpress.config import build
from bertpress.methods.theseus import Constant, Linear, Theseus
from bertpress.recipe import make_recipe, read_recipe
from bertpress.tasks.queries.settings import QuerySettings


def theseus(name: str) -> Theseus:
    values = {**read_recipe(name), "model": "folder", "task": "pydoc"}
    (step,) = make_recipe(values).steps
    assert isinstance(step, Theseus)
    return step


@pytest.mark.parametrize("name", ["mrc-ner-constant", "mrc-ner-linear", "mrc-ner-one-stage"])
def test_the_settings_of_the_tensorflow_code(name: str) -> None:
    task, step = read_recipe(name)["task"], theseus(name)
    assert (task["name"], task["kind"]) == ("msra_ner", "mrc")
    assert build(QuerySettings, task["mrc"]) == QuerySettings()
    for training in step.trainings().values():
        assert (training.batch_size, training.clip, training.decay) == (8, 5.0, "constant")
        assert 5e-6 <= training.learning_rate <= 2e-5
    assert step.idle_update == "skip"


def test_the_rates_and_stages() -> None:
    constant, linear, single = (theseus(f"mrc-ner-{name}") for name in ("constant", "linear", "one-stage"))
    assert constant.rate == single.rate == Constant(rate=0.5, switch_after="never")
    assert linear.rate == Linear(base=0.3, full_at=1.0)
    assert list(constant.trainings()) == list(linear.trainings()) == ["replacing", "finetuning"]
    assert constant.scope == linear.scope == "all"
    assert list(single.trainings()) == ["replacing"]
