"""Questions as records: what is refused, what is mended and told, and where data sets are found."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from tasks.hops.fixtures import GRAPH, HOTPOT, HUB, RERANKED

from bertpress.errors import RequestError
from bertpress.tasks.hops.paragraphs import kind_of_answer, pieces_of, places_of
from bertpress.tasks.hops.records import load_hops


def write(path: Path, rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows) if path.suffix == ".jsonl" else json.dumps(rows)
    path.write_text(text, encoding="utf-8")
    return path


def changed(**fields: Any) -> list[dict[str, Any]]:
    """The questions, the first one with other fields."""
    first, second = copy.deepcopy(HOTPOT)
    return [{**first, **fields}, second]


def test_an_answer_is_yes_no_or_a_span() -> None:
    assert [kind_of_answer(answer) for answer in ("yes", " No ", "yes and no", "", "YES")] == [1, 2, 0, 0, 1]


def test_sentences_follow_each_other_with_a_space() -> None:
    assert pieces_of(["a b", "c", " d", "", "e"]) == ["a b", " c", " d", "", " e"]


@pytest.mark.parametrize(
    ("text", "spellings", "places"),
    [
        ("a tree, the tree and trees", ["tree"], [(2, 6), (12, 16)]),
        ("a Tree and trees", ["tree"], [(2, 6)]),
        ("two trees", ["tree"], [(4, 8)]),
        ("the green\n tree", ["green tree"], [(4, 15)]),
        ("the green tree", ["green", "green tree"], [(4, 14)]),
        ("U.S. and more", ["U.S."], [(0, 4)]),
        ("nothing", ["tree", " "], []),
        ("nothing", [" "], []),
    ],
)
def test_places_of_an_answer(text: str, spellings: list[str], places: list[tuple[int, int]]) -> None:
    assert places_of(text, spellings) == places


def test_records_have_their_columns(tmp_path: Path) -> None:
    write(tmp_path / "train.json", HOTPOT)
    data = load_hops("files", tmp_path / "train.json")
    first, second = data.splits["train"]
    assert first["titles"] == ["a road", "the house", "the tree"]
    assert first["sentences"][0] == ["It is grey.", " It was slow."]
    assert (first["fact_titles"], first["fact_sentences"]) == (["the house", "the tree"], [1, 0])
    assert first["spellings"] == ["the green tree"]
    assert (second["answer"], second["type"], second["level"]) == ("Yes", "comparison", "easy")
    assert data.notes == ()


def test_published_files_and_folders_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a" / "hotpot_train_v1.1.json", HOTPOT)
    write(tmp_path / "a" / "hotpot_dev_distractor_v1.json", HOTPOT[1:])
    write(tmp_path / "b" / "hotpot_train_graph.json", GRAPH)
    write(tmp_path / "b" / "rerank_dev_tok.json", RERANKED)
    write(tmp_path / "root" / "hotpot_qa" / "train.jsonl", HUB)
    write(tmp_path / "root" / "2wikimultihopqa" / "dev.json", HOTPOT)
    for folder in ("a", "b"):
        assert set(load_hops("hotpotqa", tmp_path / folder).splits) == {"train", "validation"}
    assert load_hops("hotpotqa", tmp_path / "b").splits["validation"][0]["sentences"] == [
        ["The house is grey", "Green Trees."]
    ]
    monkeypatch.setenv("BERTPRESS_DATA", str(tmp_path / "root"))
    assert set(load_hops("hotpotqa").splits) == {"train"}
    assert len(load_hops("2wikimultihopqa").splits["validation"]) == 2


def test_a_test_split_may_have_no_answers(tmp_path: Path) -> None:
    for fields in ({"answer": None, "supporting_facts": None}, {"answer": "", "supporting_facts": []}):
        rows = [{**row, **fields} for row in HOTPOT]
        write(tmp_path / "test.json", rows)
        assert "answer" not in load_hops("files", tmp_path).splits["test"].column_names


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(supporting_facts=[["the hous", 0]]), "(h1) names 'the hous' (did you mean 'the house'?)"),
        (changed(supporting_facts=[["the house", 2]]), "(h1) names sentence 2 of 'the house', which has 2"),
        (changed(supporting_facts=[["the house", -1]]), "(h1) names sentence -1"),
        (changed(supporting_facts=None), "Expected 'supporting_facts' in every record, but item 1"),
        (changed(answer=None), "Expected answers to the training questions"),
        (changed(_id="h2"), "has 'h2' again"),
        ([HOTPOT[0], {**HOTPOT[1], "answer": None}], "Expected 'answer' in every record, but item 2"),
        ([], "Expected records in"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path, rows: Any, message: str) -> None:
    write(tmp_path / "train.json", rows)
    with pytest.raises(RequestError) as refusal:
        load_hops("files", tmp_path)
    assert message in str(refusal.value)


def test_published_facts_that_point_nowhere_are_told_and_kept(tmp_path: Path) -> None:
    write(tmp_path / "train.json", changed(supporting_facts=[["the house", 2], ["nowhere", 0], ["the tree", 0]]))
    data = load_hops("hotpotqa", tmp_path)
    assert data.splits["train"][0]["fact_titles"] == ["the house", "nowhere", "the tree"]
    assert data.notes == ("train: 2 supporting facts point at no sentence and count as missed",)


@pytest.mark.parametrize("name", ["hotpotqa", "files"])
def test_facts_of_paragraphs_that_were_not_retrieved_are_missed(tmp_path: Path, name: str) -> None:
    write(tmp_path / "train.jsonl", GRAPH)
    write(tmp_path / "validation.jsonl", [{**RERANKED[0], "supporting_facts": [["The house", 1], ["Far away", 0]]}])
    data = load_hops(name, tmp_path)
    assert data.splits["validation"][0]["fact_titles"] == ["The house", "Far away"]
    assert data.notes == ("validation: 1 supporting facts point at no sentence and count as missed",)
    write(tmp_path / "validation.jsonl", RERANKED)
    data = load_hops(name, tmp_path)
    assert data.splits["validation"][0]["fact_titles"] == ["The house"]
    (note,) = data.notes
    assert note.startswith("validation: 1 questions have marks")
    assert note.endswith("upper bounds")


def test_what_is_mended_is_told_again_when_it_was_stored(tmp_path: Path) -> None:
    rows = changed(answer="a river bank", question=" ", _id=None)
    rows[0]["context"][0][0] = "the house"
    write(tmp_path / "train.json", rows)
    expected = (
        "train: 1 questions have no id and are named by their number",
        "train: 1 questions are empty",
        "train: 1 paragraphs have the title of another; facts mean the first",
        "train: 1 answers are in none of their paragraphs; no place of theirs is learned",
    )
    assert load_hops("files", tmp_path).notes == expected
    assert load_hops("files", tmp_path).notes == expected


def test_answers_that_only_some_have_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "validation.json", [{**HOTPOT[0], "answer": None}, HOTPOT[1]])
    with pytest.raises(RequestError, match="to all questions or to none, but item 2"):
        load_hops("files", tmp_path)


def test_a_folder_without_data_says_what_it_looked_for(tmp_path: Path) -> None:
    (tmp_path / "data.txt").touch()
    with pytest.raises(RequestError, match=r"hotpot_train_v1\.1.*found data\.txt"):
        load_hops("hotpotqa", tmp_path)
    with pytest.raises(RequestError, match="give --data-dir"):
        load_hops("files")
