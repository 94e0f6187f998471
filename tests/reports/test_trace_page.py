"""Texts in pieces, and the page and the terminal that show them: what is said, hostile text, nothing from outside."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from made_runs import HOSTILE, Page
from rich.console import Console
from test_token_summary import ALL, NONE, ONE, explanation, made_explanation, made_record

from bertpress.reports import trace_page
from bertpress.reports.trace_page import Piece, paragraphs_of, pieces_of

CONTROLS = "\0\x1b\u202e\u2066\u200b\x85\x0c\ud800"


def plain(pieces: list[Piece]) -> list[Any]:
    return [(piece.text, *piece.tokens) for piece in pieces]


def test_pieces_are_the_text_as_it_was_written() -> None:
    text = "  A film,\n naïve  "
    pieces = pieces_of(text, [(1, (2, 3)), (2, (4, 8)), (3, (8, 9)), (4, (11, 16))])
    assert plain(pieces) == [("  ",), ("A", 1), (" ",), ("film", 2), (",", 3), ("\n ",), ("naïve", 4), ("  ",)]
    assert "".join(piece.text for piece in pieces) == text


def test_a_space_before_a_word_is_not_part_of_its_piece() -> None:
    assert plain(pieces_of("a film", [(0, (0, 1)), (1, (1, 6))])) == [("a", 0), (" ",), ("film", 1)]


def test_tokens_that_share_their_characters_are_one_piece() -> None:
    pieces = pieces_of("x🙂y", [(1, (0, 1)), (2, (1, 2)), (3, (1, 2)), (4, (1, 2)), (5, (2, 3))])
    assert plain(pieces) == [("x", 1), ("🙂", 2, 3, 4), ("y", 5)]
    assert plain(pieces_of("abcd", [(0, (0, 3)), (1, (2, 4))])) == [("abc", 0), ("d", 1)]


def test_tokens_without_characters() -> None:
    assert plain(pieces_of("", [])) == []
    assert plain(pieces_of("ab", [(0, (0, 0)), (1, (0, 2)), (2, (2, 2))])) == [("", 0), ("ab", 1, 2)]


def test_two_texts_are_two_paragraphs() -> None:
    record = made_record(["a", "b"], [ALL] * 5)
    record |= {
        "texts": ["a.", "b c"],
        "tokens": ["[CLS]", "a", "[SEP]", "b", "[SEP]"],
        "offsets": [[0, 0], [0, 1], [0, 0], [0, 1], [0, 0]],
        "text": [None, 0, None, 1, None],
    }
    first, second = paragraphs_of(record)
    assert plain(first) == [("[CLS]", 0), ("a", 1), (".",), ("[SEP]", 2)]
    assert plain(second) == [("b", 3), (" c",), ("[SEP]", 4)]
    assert [piece.is_special for piece in first] == [True, False, False, True]


def test_a_text_that_was_cut_off_whole_is_still_shown() -> None:
    record = made_record(["a"], [ALL] * 3)
    record["texts"] = ["a", "second text", ""]
    assert [plain(pieces) for pieces in paragraphs_of(record)][1:] == [[("second text",)]]


def test_each_token_says_what_happened_to_it() -> None:
    row = trace_page.shown_row(explanation().rows[0], explanation())
    assert row.facts == "7 tokens: 4 after 1 layer, 2 after 3 layers"
    assert row.tokens[1:4] == [
        ["the", "0.5 skipped", "-", "1 of 6"],
        ["film", "0.5 kept", "0.5 kept", "6 of 6"],
        ["un", "0.5 kept", "0.5 skipped", "3 of 6"],
    ]
    pieces = [piece for paragraph in row.paragraphs for piece in paragraph if piece.tokens]
    assert [piece.level for piece in pieces] == [2, 0, 2, 1, 0, 0, 1]
    assert pieces[1].note == "the: after 1 layer 0.5 skipped; 1 of 6 layers"
    assert pieces[3].note == "un: after 1 layer 0.5 kept; after 3 layers 0.5 skipped; 3 of 6 layers"


def test_a_token_without_a_score_was_not_asked() -> None:
    record = made_record(["a"], [ALL, ONE, NONE])
    record["scores"] = [[None, None]] * 3
    assert trace_page.shown_row(record, explanation()).tokens[1] == ["a", "kept", "skipped", "3 of 6"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prediction": "yes"}, "yes"),
        ({"prediction": "yes", "probability": 0.914}, "yes (91 %)"),
        ({"prediction": "yes", "label": "no", "right": False}, "yes, label no: wrong"),
        ({"prediction": 2.34567, "label": 3.0}, "2.346, label 3.000"),
    ],
    ids=str,
)
def test_the_answer_in_words(fields: dict[str, Any], words: str) -> None:
    assert trace_page.answer_of(fields) == words


def hostile_explanation() -> Any:
    texts = [HOSTILE, "</script><img src=x onerror=alert(1)>", CONTROLS, "x" * 1_000_000, "سلام دنیا", "👩‍👩‍👧", ""]
    rows = []
    for number, text in enumerate(texts):
        record = made_record([text, HOSTILE], [ALL, ONE, NONE, ALL], row=number, prediction=HOSTILE, label=HOSTILE)
        record |= {"texts": [f"{text} {text}"], "offsets": [[0, 0], [0, len(text)], [len(text), len(text)], [0, 0]]}
        rows.append({**record, "probability": 0.5, "right": True})
    made = made_explanation(*rows)
    return type(made)(**{**vars(made), "model": HOSTILE, "about": HOSTILE})


ATTRIBUTES = {"lang", "charset", "name", "content", "rel", "href", "class", "id", "tabindex", "title", "dir", "scope"}
ATTRIBUTES |= {"role", "aria-label", "data-label"}


def test_hostile_text_is_harmless() -> None:
    source = trace_page.html(hostile_explanation())
    page = Page(source)
    assert not {"script", "img", "iframe", "b"} & set(page.tags)
    assert "<script>alert(1)</script>" in page.text
    assert "</script><img src=x onerror=alert(1)>" in page.text
    assert {name for name, _ in page.attributes} <= ATTRIBUTES
    assert not set(CONTROLS) & set(source)
    assert "👩‍👩‍👧" in page.text
    assert "more characters]" in page.text
    assert len(source) < 100_000
    source.encode("utf-8")
    for record in hostile_explanation().rows:
        for show in (trace_page.shaded, trace_page.dotted):
            assert not set(CONTROLS) & set(show(record, hostile_explanation()).plain)


def test_the_page_stands_alone() -> None:
    source = trace_page.html(explanation())
    assert "//" not in re.sub("<style>.*</style>", "", source, flags=re.DOTALL)
    assert "http" not in source
    assert "url(" not in source
    assert "@import" not in source
    assert "prefers-color-scheme: dark" in source
    page = Page(source)
    assert {value for name, value in page.attributes if name == "href"} == {"data:,", "#results", "#counts"}


def test_everything_can_be_read_without_a_mouse() -> None:
    source = trace_page.html(explanation())
    page = Page(source)
    assert page.tags.count("details") == page.tags.count("summary") == page.tags.count("article") == 2
    assert page.tags.count("h1") == 1
    for region in re.findall(r'<div[^>]*role="region"[^>]*>', source):
        assert 'tabindex="0"' in region
        assert re.search(r'aria-label="[^"]+"', region)
    for note in ("0.5 skipped", "3 of 6 layers", "after 3 layers"):
        assert note in page.text
    assert "Row 1: yes: wrong" in page.text
    assert all(caption in page.text for caption in ("Decisions", "Kept by kind of token", "Kept by answer"))


def test_no_space_stands_between_pieces_of_a_word() -> None:
    source = trace_page.html(explanation())
    (written,) = re.findall(r'<p class="written" dir="auto">(.*?)</p>', source, flags=re.DOTALL)[:1]
    assert Page(written).text == "[CLS]the film unbe ![SEP]"


def test_more_rows_than_are_shown_are_counted() -> None:
    rows = [made_record(["a"], [ALL, ONE, NONE], row=row) for row in range(trace_page.MOST_ROWS + 5)]
    page = Page(trace_page.html(made_explanation(*rows)))
    assert page.tags.count("article") == trace_page.MOST_ROWS
    assert "The first 100 of 105 rows are shown; all are counted." in page.text
    assert "315 tokens" in page.text


def test_each_level_has_its_shade_and_its_meaning() -> None:
    assert trace_page.legend(explanation()) == ["1 of 6 layers", "3 of 6 layers", "6 of 6 layers"]
    for decisions in (1, 2, 5):
        shades = trace_page.shades(decisions)
        assert len(shades) == decisions + 1
        assert shades == sorted(set(shades))
        styles = [trace_page.style_of(level, decisions) for level in range(decisions + 1)]
        assert len(set(styles)) == decisions + 1
        assert styles[0] == "dim"


def test_in_a_terminal_with_colours_levels_are_styles() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=100)
    console.print(
        trace_page.shaded(
            explanation().rows[0],
            explanation(),
        )
    )
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[2mthe\x1b[0m" in text
    assert "48;2;31;95;191mfilm" in text


def test_without_colours_each_decision_is_a_line() -> None:
    lines = trace_page.dotted(explanation().rows[0], explanation()).plain.splitlines()
    assert lines == [
        "row 0: yes: right",
        "           all: [CLS] the film unbe ![SEP] ",
        " after 1 layer: [CLS] ··· film un·· ·[SEP] ",
        "after 3 layers: [CLS] ··· film ···· ······ ",
    ]
