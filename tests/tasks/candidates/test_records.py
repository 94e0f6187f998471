"""Queries with candidates as records: read from every form, and what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bertpress.errors import RequestError
from bertpress.tasks.candidates.records import load_candidates

ROWS: list[dict[str, Any]] = [
    {
        "id": "WH_train_0",
        "query": "participant_of juan rossell",
        "candidates": ["1996 summer olympics", "olympic games", "sport"],
        "answer": "1996 summer olympics",
        "supports": ["The Olympic Games are a sport event.", "Juan was there in 1996."],
    },
    {"id": "WH_train_1", "query": "where", "candidates": ["a", "b"], "answer": "b", "supports": ["it is b"]},
]


def write(path: Path, rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.suffix == ".jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows), encoding="utf-8")
    return path


def changed(**fields: Any) -> list[dict[str, Any]]:
    return [{**ROWS[0], **fields}, ROWS[1]]


def test_all_forms_give_the_same_records(tmp_path: Path) -> None:
    from datasets import Dataset

    write(tmp_path / "a" / "train.json", ROWS)
    write(tmp_path / "b" / "train.jsonl", ROWS)
    (tmp_path / "c").mkdir()
    Dataset.from_list(ROWS).to_parquet(tmp_path / "c" / "train.parquet")
    found = [load_candidates("files", tmp_path / name).splits["train"].to_list() for name in "abc"]
    assert found[0] == found[1] == found[2]
    assert found[0][0] == {name: ROWS[0][name] for name in ("id", "query", "candidates", "supports", "answer")}


def test_the_data_set_is_found_under_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "qangaroo_v1.1" / "wikihop" / "train.json", ROWS)
    write(tmp_path / "qangaroo_v1.1" / "wikihop" / "dev_sort.json", ROWS[1:])
    monkeypatch.setenv("BERTPRESS_DATA", str(tmp_path))
    data = load_candidates("wikihop")
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 2, "validation": 1}
    monkeypatch.delenv("BERTPRESS_DATA")
    with pytest.raises(RequestError, match="files of wikihop as its authors publish them: give --data-dir"):
        load_candidates("wikihop")


def test_a_test_split_may_have_no_answers(tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "answer"} for row in ROWS]
    write(tmp_path / "test.json", rows)
    assert "answer" not in load_candidates("files", tmp_path).splits["test"].column_names
    write(tmp_path / "validation.json", rows)
    with pytest.raises(RequestError, match="an answer in every record, but item 1"):
        load_candidates("files", tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(answer="1996 olympics"), "(WH_train_0) has '1996 olympics' (did you mean '1996 summer olympics'?)"),
        (changed(candidates=[]), "candidates to choose from, but item 1"),
        (changed(candidates=None), "a list of texts as 'candidates', but item 1"),
        (changed(supports=["a", 3]), "a list of texts as 'supports', but item 1"),
        (changed(query=None), "a text as 'query', but item 1"),
        ([ROWS[1], {**ROWS[0], "answer": None}], "a text as 'answer', but item 2"),
        (changed(id="WH_train_1"), "has 'WH_train_1' again"),
        ([], "Expected records in"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path, rows: Any, message: str) -> None:
    write(tmp_path / "train.json", rows)
    with pytest.raises(RequestError) as refusal:
        load_candidates("files", tmp_path)
    assert message in str(refusal.value)


def test_what_is_odd_is_told(tmp_path: Path) -> None:
    rows = [{**ROWS[1], "id": "b", "candidates": ["b"]}, {**ROWS[1], "id": "c", "candidates": ["b", " ", "b"]}]
    write(tmp_path / "train.json", [*changed(id=None, query=" ", supports=[]), *rows])
    assert load_candidates("files", tmp_path).notes == (
        "train: 1 records have no id and are named by their number",
        "train: 1 queries are empty",
        "train: 1 records have no documents",
        "train: 1 records have a single candidate, which is always right",
        "train: 1 candidates are empty",
        "train: 1 records have the same candidate twice",
    )
