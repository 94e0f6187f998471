"""The page for users of YOCO-BERT's code: fields exist, recipes have its schedules, limits and conventions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from transformers import BertConfig

from bertpress.methods.yoco import Search, Yoco
from bertpress.methods.yoco.budget import Budget
from bertpress.methods.yoco.limits import limits
from bertpress.methods.yoco.opening import check_lengths, phases
from bertpress.methods.yoco.options import Options, resolve
from bertpress.recipe import make_recipe, override, read_recipe

PAGE = (Path(__file__).parents[1] / "docs" / "originals" / "yoco.md").read_text(encoding="utf-8")


def test_the_fields_that_the_table_of_yoco_names_exist() -> None:
    values: dict[str, Any] = {"depth": [6, 12], "heads": [4, 12], "widths": [512], "learning": "fixed", "epochs": 26}
    values |= {"exploit": "upstream", "strategy": "progressive", "progression": ["heads"], "candidates": 4}
    values |= {"phase_lengths": [5, 3], "label_weight": 1.0, "logit_weight": 1.0, "hidden_weight": 0.1}
    values |= {"temperature": 5, "parameters": "50%"}
    named = set(re.findall(r"(?:--set |, )`?(?:--set )?`?((?:\w+\.)?\w+)=", PAGE))
    assert {field.rpartition(".")[2] for field in named} == set(values)
    recipe = {"model": "some/model", "task": "pydoc", "steps": [{"yoco": {"strategy": "progressive"}}]}
    for field in named:
        made = json.dumps(values[field.rpartition(".")[2]])
        make_recipe(override(recipe, [f"steps.0.yoco.{field}={made}"]))


def test_the_recipe_of_yoco_s_code_has_its_conventions() -> None:
    (fields,) = (step["yoco"] for step in read_recipe("yoco-upstream")["steps"])
    method = Yoco(**fields)
    expected = {"strategy": "progressive", "sampled": 2, "order_by": "none", "teacher": "none", "learning": "fixed"}
    expected |= {"exploit": "upstream", "learn_from_explored": True, "same_cost": False, "export": None}
    assert {name: getattr(method, name) for name in expected} == expected
    shape = (method.supernet.batch_size, method.supernet.warmup, method.supernet.weight_decay, method.supernet.decay)
    assert shape == (8, 0, 0, "linear")
    assert method.imitated is None
    assert method.search.rungs == (), "every candidate sees all rows"
    assert (method.search.rounds or 0) * method.search.candidates == 1000


def schedules_of_yoco() -> dict[str, list[str]]:
    """Recipe to the cells of its row in the table of schedules."""
    section = PAGE.partition("\n## Schedules\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "| `yoco-" in line]
    return {cells[-1].strip("`"): cells for cells in rows}


def test_every_task_of_yoco_has_its_schedule() -> None:
    names = ("cola", "mrpc", "rte", "sst2", "qnli", "qqp", "mnli")
    assert set(schedules_of_yoco()) == {f"yoco-{name}" for name in names}


@pytest.mark.parametrize("name", schedules_of_yoco())
def test_recipes_of_the_original_s_tasks_of_yoco_have_its_schedules(name: str) -> None:
    task, *opened, epochs, rate, _ = schedules_of_yoco()[name]
    lengths = tuple(int(length) for cell in opened for length in cell.split(","))
    recipe = make_recipe({"model": "some/model", **read_recipe(name)})
    start, method = recipe.steps
    assert isinstance(method, Yoco)
    assert recipe.task.name == f"glue/{task.lower().replace('-', '')}", "its own data, for training and search alike"
    assert method.phase_lengths == lengths
    check_lengths(lengths, len(phases(method.space_of(BertConfig()), method.progression)))
    assert method.supernet.epochs == sum(lengths) == int(epochs)
    assert f"{method.supernet.learning_rate:.0e}".replace("e-0", "e-") == rate.partition(";")[0]
    assert method.supernet.batch_size == 8
    assert (str(method.parameters), method.scope, method.strategy) == ("66,955,008", "backbone", "progressive")
    ours = Yoco(strategy="progressive")
    for field in ("space", "progression", "order_by", "teacher", "learning", "exploit", "same_cost", "search"):
        assert getattr(method, field) == getattr(ours, field)
    assert start.name == "finetune"
    assert method.search == Search()


def test_the_published_limit_is_half_of_the_encoder() -> None:
    config, head = BertConfig(), "sequence-classification"
    space = resolve(Options(), config)
    (published,) = limits(Budget(parameters=66955008, scope="backbone"), space, config, head, 128)
    (half,) = limits(Budget(parameters="50%"), space, config, head, 128)
    assert published.most - published.cost.fixed == half.most == 6 * 7_087_872
