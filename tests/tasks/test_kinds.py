"""The tables of the kinds of tasks: every name in it is there and takes what it is given."""

import inspect

import pytest

from bertpress.config import build
from bertpress.errors import RequestError
from bertpress.recipe import TaskSpec
from bertpress.tasks import CLASSES, KINDS, READERS, SETTINGS, SETTINGS_FOR, loaded
from bertpress.tasks.task import Task


@pytest.mark.parametrize("kind", CLASSES)
def test_every_kind_has_a_task_that_takes_its_settings(kind):
    task = loaded(CLASSES[kind])
    assert issubclass(task, Task)
    settings = list(inspect.signature(task).parameters.values())[3]
    assert settings.default is None
    own = TaskSpec.model_fields[kind].annotation
    assert settings.annotation == f"{own.__args__[0].__name__} | None"
    assert kind in SETTINGS[kind]


@pytest.mark.parametrize("kind", SETTINGS_FOR)
def test_settings_of_data_sets_are_of_their_kind(kind):
    found = loaded(SETTINGS_FOR[kind])("files", None)
    assert isinstance(found, TaskSpec.model_fields[kind].annotation.__args__[0])


@pytest.mark.parametrize("kind", READERS)
def test_every_reader_takes_the_fields_that_it_is_given(kind):
    reader, *fields = READERS[kind]
    wanted = [field if field in ("data_dir", "columns", "label") else "settings" for field in fields]
    assert list(inspect.signature(loaded(reader)).parameters) == ["name", *wanted]


def test_a_kind_is_one_that_some_data_have():
    for kinds in KINDS.values():
        assert [build(TaskSpec, {"kind": kind}).kind for kind in kinds] == list(kinds)
    with pytest.raises(RequestError, match=r"kind: unknown kind 'taging' \(did you mean 'tagging'\?\)"):
        build(TaskSpec, {"kind": "taging"})
