"""Groups of tokens, counted by hand."""

from __future__ import annotations

from typing import Any

from bertpress.opened.explaining import Explanation
from bertpress.reports import token_summary


def made_record(words: list[str], kept: list[list[bool]], row: int = 0, **more: Any) -> dict[str, Any]:
    """A row of one text between [CLS] and [SEP]; ## begins a piece that continues a word."""
    text, offsets = "", []
    for word in words:
        tail = word.startswith("##")
        text += word.removeprefix("##") if tail or not text else f" {word}"
        offsets.append([len(text) - len(word.removeprefix("##")), len(text)])
    record = {
        "row": row,
        "texts": [text],
        "tokens": ["[CLS]", *words, "[SEP]"],
        "offsets": [[0, 0], *offsets, [0, 0]],
        "text": [None, *[0] * len(words), None],
        "tail": [False, *(word.startswith("##") for word in words), False],
        "special": [True, *[False] * len(words), True],
        "scores": [[0.5 if alive else None for alive in (True, *given[:-1])] for given in kept],
        "kept": kept,
        "last_layer": [(1, 3, 6)[sum(given)] - 1 for given in kept],
        "prediction": "yes",
    }
    return {**record, **more}


ALL, ONE, NONE = [True, True], [True, False], [False, False]


def made_explanation(*rows: dict[str, Any]) -> Explanation:
    return Explanation(
        "runs/small", "files, validation", 6, "policy", (1, 3), ("from 0.5", "from 0.7"), 0.4, list(rows)
    )


def explanation() -> Explanation:
    right = made_record(["the", "film", "un", "##be", "!"], [ALL, NONE, ALL, ONE, NONE, NONE, ONE], right=True)
    wrong = made_record(["It", "—", "No"], [ALL, NONE, NONE, ALL, NONE], row=1, right=False)
    return made_explanation(right, wrong)


def test_kinds() -> None:
    record = made_record(["The", "the", "##re", "film", "...", "—", "x-", "42"], [ALL] * 10)
    assert token_summary.kinds_of(record) == [
        "special",
        "English stop word",
        "other",  # the first piece of a longer word
        "continues a word",
        "other",
        "punctuation",
        "punctuation",
        "other",
        "other",
        "special",
    ]


def test_a_token_without_characters_is_punctuation() -> None:
    record = made_record(["", "a"], [ALL] * 4)
    assert token_summary.kinds_of(record)[1] == "punctuation"


def test_tenths() -> None:
    record = made_record(["a"] * 18, [ALL] * 20)
    tenths = token_summary.deciles_of(record)
    assert tenths[:3] == ["0 to 10 %", "0 to 10 %", "10 to 20 %"]
    assert tenths[-1] == "90 to 100 %"
    assert token_summary.deciles_of(made_record([], [ALL, ALL])) == ["0 to 10 %", "50 to 60 %"]


def test_the_tables_by_hand() -> None:
    tables = {table.caption: table for table in token_summary.tables(explanation())}
    # row 0: CLS all, the none, film all, un one, be none, ! none, SEP one; row 1: CLS all, It none, - none, No all
    assert tables["Decisions"].head == ["decision", "goes on, by probability", "kept %"]
    assert tables["Decisions"].rows == [["after 1 layer", "from 0.5", "50.0"], ["after 3 layers", "from 0.7", "33.3"]]
    kinds = tables["Kept by kind of token"]
    assert kinds.head == [
        "kind of token",
        "tokens",
        "kept after 1 layer %",
        "kept after 3 layers %",
        "layers per token",
    ]
    assert kinds.rows == [
        ["special", "4", "75.0", "50.0", "4.0"],
        ["punctuation", "2", "0.0", "0.0", "1.0"],
        ["continues a word", "1", "0.0", "0.0", "1.0"],
        ["English stop word", "3", "33.3", "33.3", "2.7"],
        ["other", "2", "100.0", "50.0", "4.5"],
    ]
    answers = tables["Kept by answer"].rows
    assert answers == [["right answer", "7", "57.1", "28.6", "3.0"], ["wrong answer", "5", "40.0", "40.0", "3.0"]]
    places = tables["Kept by position in the row"].rows
    assert sum(int(row[1]) for row in places) == 12
    assert places[0] == ["0 to 10 %", "2", "100.0", "100.0", "6.0"]


def test_without_labels_there_is_nothing_on_answers() -> None:
    rows = [{name: value for name, value in row.items() if name != "right"} for row in explanation().rows]
    captions = [table.caption for table in token_summary.tables(made_explanation(*rows))]
    assert captions == ["Decisions", "Kept by kind of token", "Kept by position in the row"]
    assert [figure.label for figure in token_summary.figures(made_explanation(*rows))] == [
        "of the multiply-adds",
        "of 6 layers per token",
    ]


def test_the_figures() -> None:
    macs, layers, right = token_summary.figures(explanation())
    assert macs == ("40.0 %", "of the multiply-adds", "theoretical speed-up 2.50x")
    assert layers == ("3.0", "of 6 layers per token", "12 tokens")
    assert right == ("50.0 %", "right answers", "of 2 rows")
