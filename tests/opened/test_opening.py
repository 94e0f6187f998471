"""How finished models are opened: what is left out has its default, what nobody knows is refused."""

from __future__ import annotations

from typing import Any

import pytest

from bertpress import api
from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.opened.how_opened import Speed, settled
from bertpress.recipe import MAX_LENGTH


def test_what_is_left_out_has_its_default() -> None:
    runtime, speed, max_length = settled({})
    assert (runtime.device, speed, max_length) == (None, Speed(), MAX_LENGTH)
    given = Runtime(device="cpu")
    assert settled({"runtime": given, "profile": "2x", "max_length": 7}) == (given, Speed("2x"), 7)


def test_what_nobody_knows_is_refused() -> None:
    unknown: Any = {"max_len": 3, "limit": None}
    with pytest.raises(TypeError, match=r"unknown max_len; a model is opened by head_labels, limit, max_length"):
        settled(unknown)
    with pytest.raises(TypeError, match="unknown max_len"):
        api.evaluate("nowhere", "pydoc", **unknown)


def test_rows_of_a_task_are_not_asked_of_own_texts() -> None:
    with pytest.raises(RequestError, match="--limit and --head-labels describe a task"):
        api.predict_texts("nowhere", [("a",)], limit={"test": 1})
