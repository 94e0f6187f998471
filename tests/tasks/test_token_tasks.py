"""Tasks whose answers are places in a text, as recipes name them: what goes together, and what is told where not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import make_config, make_tokenizer
from token_tasks import OUTPUTS, label_fields, token_task, write_token_tasks

from bertpress.errors import RequestError
from bertpress.recipe import TaskSpec
from bertpress.tasks import load_task
from bertpress.tasks.trained import task_of_head


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return write_token_tasks(tmp_path_factory.mktemp("tokens"))


def config_of(kind: str) -> Any:
    return make_config(**label_fields(kind))


def test_a_head_for_one_kind_of_entities_is_told_from_that_for_the_other(tasks: dict[str, dict[str, Any]]) -> None:
    assert token_task(tasks["tagging"]).aligned(config_of("tagging")).labels == OUTPUTS["tagging"]
    with pytest.raises(RequestError, match="answers --kind mrc"):
        token_task(tasks["tagging"]).aligned(config_of("mrc"))
    with pytest.raises(RequestError, match="leave out --kind mrc"):
        token_task(tasks["mrc"]).aligned(config_of("tagging"))


def test_a_folder_of_tagged_sentences_without_a_kind_is_told_of_it(tasks: dict[str, dict[str, Any]]) -> None:
    spec = TaskSpec(name="files", data_dir=tasks["tagging"]["data_dir"], columns=("text",))
    with pytest.raises(RequestError, match="add --kind tagging"):
        load_task(spec, make_tokenizer(), 32)


def test_a_head_tells_how_texts_of_ones_own_are_read(tasks: dict[str, dict[str, Any]]) -> None:
    for kind, texts in (("tagging", ("the bright day",)), ("mrc", ("the dull day",)), ("qa", ("the day", "dull road"))):
        config = token_task(tasks[kind]).configure(config_of(kind))
        config.architectures = ["BertForQuestionAnswering" if kind == "qa" else "BertForTokenClassification"]
        task = task_of_head(config, make_tokenizer(), 32)
        assert task.kind == kind
        assert len(task.with_texts([texts]).encoded("texts")) == (2 if kind == "mrc" else 1)


def test_files_that_ask_about_entities_are_asked_what_they_ask(tmp_path: Path) -> None:
    asked = {"PER": "who is it", "LOC": "where is it"}
    rows = [
        {"context": "ada lived in london", "query": query, "start_position": [place], "end_position": [place]}
        | {"impossible": False, "qas_id": f"{number}.{kind}", "entity_label": kind}
        for number in range(12)
        for place, (kind, query) in zip((0, 3), asked.items(), strict=True)
    ]
    for split in ("train", "dev"):
        (tmp_path / f"mrc-ner.{split}").write_text(json.dumps(rows), encoding="utf-8")
    task: Any = load_task(TaskSpec(name="files", data_dir=str(tmp_path), kind="mrc"), make_tokenizer(), 32)
    assert task.queries == asked
    assert len(task.encoded("train")) == 24
    own = tmp_path / "own.json"
    own.write_text(json.dumps(dict.fromkeys(asked, "a road")), encoding="utf-8")
    spec = TaskSpec(name="files", data_dir=str(tmp_path), kind="mrc", mrc={"queries": str(own)})  # type: ignore[arg-type]
    other: Any = load_task(spec, make_tokenizer(), 32)
    assert set(other.queries.values()) == {"a road"}, "the user's file comes first"


def test_columns_of_ones_own_are_read_for_questions_about_entities_too(tmp_path: Path) -> None:
    rows = [{"piece": ["ada", "lived"], "mark": ["B-PER", "O"]}] * 12
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    queries = tmp_path / "queries.json"
    queries.write_text(json.dumps({"PER": "who is it"}), encoding="utf-8")
    fields = {"data_dir": str(tmp_path / "train.jsonl"), "columns": ("piece",), "label": "mark"}
    spec = TaskSpec(name="files", kind="mrc", mrc={"queries": str(queries)}, **fields)  # type: ignore[arg-type]
    assert len(load_task(spec, make_tokenizer(), 32).encoded("train")) == 11, "one of twelve is held out"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "conll2003", "kind": "qa"}, "its kinds are tagging and mrc"),
        ({"name": "squad", "kind": "tagging"}, "its kinds are qa"),
        ({"name": "race", "kind": "qa"}, "its kinds are choice"),
        ({"name": "glue/cola", "kind": "tagging"}, "leave out --kind"),
        ({"name": "conll2003", "qa": {}}, "task.qa describes tasks of the kind qa"),
        ({"name": "conll2003", "columns": ("tokens",)}, "describe your own data"),
        ({"name": "files", "kind": "qa", "unlabelled": True}, "not the kind qa"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        load_task(TaskSpec(**fields), make_tokenizer(), 32)
