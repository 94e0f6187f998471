"""Questions on paragraphs from files of every schema; what is missing or something else is named."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from tasks.hops.fixtures import GRAPH, HOTPOT, HUB, RERANKED

from bertpress.errors import RequestError
from bertpress.tasks.hops.formats import Paragraph, hops_of
from bertpress.tasks.json_records import rows_of


def read(path: Path) -> list[Any]:
    return [hops_of(*row) for row in rows_of(path)]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_an_object_of_hotpotqa() -> None:
    first, second = (hops_of(row, "row 1") for row in HOTPOT)
    assert first.id == "h1"
    assert first.paragraphs[2] == Paragraph("the tree", ("The green tree is very full.", "Quite.", ""))
    assert first.facts == (("the house", 1), ("the tree", 0))
    assert (first.answer, first.type, first.level) == ("the green tree", "bridge", "hard")
    assert second.answer == "Yes"
    assert "h2" in second.place


def test_all_ways_to_write_the_same_questions_agree(tmp_path: Path) -> None:
    from datasets import Dataset

    texts = [{**row, **{name: json.dumps(row[name]) for name in ("context", "supporting_facts")}} for row in HOTPOT]
    Dataset.from_list(HUB).to_parquet(tmp_path / "hub.parquet")
    files = {
        "list.json": json.dumps(HOTPOT, indent=1),
        "data.json": json.dumps({"version": 1, "data": HOTPOT}),
        "lines.json": lines(HOTPOT),
        "lines.jsonl": lines(HUB),
        "texts.jsonl": lines(texts),
    }
    found = [read(write(tmp_path / name, text)) for name, text in files.items()] + [read(tmp_path / "hub.parquet")]
    expected = [(hops.id, hops.question, hops.paragraphs, hops.answer, hops.facts) for hops in found[0]]
    assert [name for name, *_ in expected] == ["h1", "h2"]
    for other in found[1:]:
        assert [(hops.id, hops.question, hops.paragraphs, hops.answer, hops.facts) for hops in other] == expected


def test_a_line_of_transformer_xh_is_put_together_from_its_pieces(tmp_path: Path) -> None:
    (hops,) = read(write(tmp_path / "hotpot_train_graph.json", lines(GRAPH)))
    assert hops.paragraphs == (
        Paragraph("The house", ("the house is grey", "green trees .")),
        Paragraph("a road", ("it is slow",)),
    )
    assert hops.facts == (("The house", 1), ("a road", 0))
    assert hops.spellings == ("green trees",)
    assert (hops.id, hops.answer) == ("x1", "Green Trees")


def test_for_development_it_has_the_words_themselves() -> None:
    hops = hops_of(RERANKED[0], "line 1")
    assert hops.paragraphs == (Paragraph("The house", ("The house is grey", "Green Trees.")),)
    assert hops.spellings == ("Green Trees.",)


def test_supporting_facts_of_a_line_count_before_its_marks() -> None:
    marked = hops_of(RERANKED[0], "line 1")
    assert (marked.facts, marked.retrieved, marked.marked_only) == ((("The house", 1),), True, True)
    told = hops_of({**RERANKED[0], "supporting_facts": [["The_house", 1], ["Far away", 0]]}, "line 1")
    assert (told.facts, told.retrieved, told.marked_only) == ((("The house", 1), ("Far away", 0)), True, False)


def test_answers_may_be_unknown() -> None:
    row = {name: value for name, value in HOTPOT[0].items() if name not in ("answer", "supporting_facts")}
    hops = hops_of(row, "row 1")
    assert (hops.answer, hops.facts) == (None, None)


def changed(row: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(row), **fields}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (changed(HOTPOT[0], question=3), "a text as 'question', but row 1 \\(h1\\) has '3'"),
        (changed(HOTPOT[0], context=[]), "paragraphs as 'context', but row 1 \\(h1\\) has none"),
        (changed(HOTPOT[0], context=[["a", "b", "c"]]), "a list of pairs as 'context'"),
        (changed(HOTPOT[0], context=[["a", "text"]]), "a list of sentences for each title"),
        (changed(HOTPOT[0], context="no json"), "JSON as 'context'"),
        (changed(HUB[0], context={"title": ["a"], "sentences": []}), "of one length in 'context'"),
        (changed(HOTPOT[0], supporting_facts=[["a", 0.5]]), "the number of a sentence"),
        (changed(HOTPOT[0], answer=["a"]), "a text as 'answer'"),
        (changed(HOTPOT[0], _id=["a"]), "an id"),
        (changed(GRAPH[0], node=[]), "a list of paragraphs as 'node'"),
        (changed(GRAPH[0], node=[{**GRAPH[0]["node"][1], "sent_pos": [[0, 9]]}]), "places among the 3 pieces"),
        (changed(GRAPH[0], node=[{**GRAPH[0]["node"][1], "supp_label": []}]), "a label in 'supp_label'"),
        (changed(GRAPH[0], node=[{**GRAPH[0]["node"][1], "sent_pos": [1]}]), "a first and a last place"),
    ],
)
def test_what_is_wrong_is_named(row: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        hops_of(row, "row 1")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.json", "[1, 2]", "a JSON object as item 1"),
        ("train.json", '[{"a": 1}, {"b"', "JSON objects in .*train.json, but it cannot be read"),
        ("train.json", '{"a": 1} x', "cannot be read"),
        ("train.jsonl", "{}\n[]\n", "line 2 of"),
        ("train.csv", "a,b\n", "json, .jsonl or .parquet, got .*train.csv"),
        ("train.parquet", "none", "a parquet file at"),
    ],
)
def test_files_that_hold_something_else_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        list(rows_of(write(tmp_path / name, text)))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("train.json", "train.jsonl", "train.parquet"):
        with pytest.raises(RequestError, match=f"Expected a file at .*{name}, found none"):
            list(rows_of(tmp_path / name))
