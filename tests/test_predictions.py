"""What `predict` gives: lines of the same form for every kind of task, which the documents list."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from token_tasks import HEADS, write_token_tasks

from bertpress import api
from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.predictions import texts_of

PAGE = Path(__file__).parents[1] / "docs" / "tasks.md"
ENTITY = {"type", "text", "start", "end", "probability"}
WITH_IDS = {"tagging", "mrc", "qa", "multihop", "candidates", "choice"}


def documented() -> dict[str, set[str]]:
    """Kind to the names of fields in the table of the page, those of entities apart."""
    section = PAGE.read_text(encoding="utf-8").partition("## What `predict` writes")[2]
    table = section.partition("\n\nA trained model")[0]
    rows = [row.split("|")[1:3] for row in table.splitlines() if row.startswith("|")][2:]
    names = {kind.strip(): set(re.findall(r"`(\w+)`", text)) for kind, text in rows}
    return {**names, "tagging": names["tagging"] - ENTITY}


@pytest.fixture(scope="module")
def tasks(
    tmp_path_factory: pytest.TempPathFactory, tiny_data_folder: Path, tiny_text_task: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    own = {"name": "files", "data_dir": str(tiny_data_folder), "columns": ["text"]}
    known = write_token_tasks(tmp_path_factory.mktemp("predicted"))
    return {**known, "classification": own, "masked-lm": tiny_text_task}


@pytest.mark.parametrize("kind", HEADS)
def test_lines_have_the_fields_that_the_page_lists(
    kind: str, tasks: dict[str, dict[str, Any]], folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    options: Any = {"max_length": 32, "limit": {"validation": 6}, "runtime": Runtime(device="cpu")}
    folder = str(folder_of("bert", HEADS[kind], kind))
    found = api.predict(folder, tasks[kind], "validation", out=tmp_path / "out", **options)
    lines = (tmp_path / "out" / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == found
    assert [line["row"] for line in found] == list(range(6))
    assert all(list(line)[:2] == ["row", "id"] for line in found) == (kind in WITH_IDS)
    fields = {name for line in found for name in line} - {"row", "id"}
    assert documented()[kind] - {"embedding"} == fields
    for entity in (entity for line in found for entity in line.get("entities", ())):
        assert entity.keys() == ENTITY
    names = {tag for line in found for tag in line.get("tags", ())}
    assert names <= {"O", "B-bad", "I-bad", "B-good", "I-good"}, "names, not numbers"


def test_lines_of_a_text_file_end_at_line_feeds_alone(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("one\u2028more\r\n \ntwo\x0cmore\n".encode())
    assert texts_of(tmp_path / "t.txt", None) == [("one\u2028more",), ("two\x0cmore",)]


def test_a_table_says_which_column_holds_the_texts(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("id,text\n17,a good film\n")
    assert texts_of(table, None) == [("a good film",)]
    table.write_text("review\na good film\n")
    assert texts_of(table, None) == [("a good film",)]
    table.write_text("id,review\n17,a good film\n")
    assert texts_of(table, ["review"]) == [("a good film",)]
    with pytest.raises(RequestError, match=r"has the columns id, review; name those of the texts with --columns"):
        texts_of(table, None)


def test_every_kind_is_listed() -> None:
    assert documented().keys() == {*HEADS, "regression"}


def test_texts_of_ones_own_have_the_same_form(folder_of: Callable[..., Path]) -> None:
    folder, runtime = str(folder_of("bert")), Runtime(device="cpu")
    found = api.predict_texts(folder, [("the day",), ("the road",)], max_length=32, runtime=runtime)
    assert [list(line) for line in found] == [["row", "prediction", "probability"]] * 2
    assert [line["row"] for line in found] == [0, 1]


def test_a_hint_where_texts_are_of_another_script(folder_of: Callable[..., Path]) -> None:
    said: list[str] = []
    runtime = Runtime(device="cpu", say=said.append)
    api.predict_texts(str(folder_of("bert")), [("河 流 the",)], max_length=32, runtime=runtime)
    assert [line.partition(" of the tokens")[0] for line in said] == ["hint: 67 %"]
