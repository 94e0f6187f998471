"""A search in tables and sentences: the page's, the terminal's, and how they count."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run
from made_searches import costs, found, make_searched_run, network
from rich.console import Console

from bertpress.reports import rendering, reporting, search_sections, sections
from bertpress.reports.searches import search_of

CAPTION = (
    "Sub-networks of the search of yoco: looked at 2,400 of 9.0 x 10^12, with 321,000 example forwards; "
    "budget 35% (29,724,000 parameters of the encoder); score is accuracy on validation"
)


def search(**changes: Any) -> dict[str, Any]:
    return {"name": "yoco", **search_of({**found(), **changes})}


def test_the_table_by_hand() -> None:
    table = search_sections.table(search())
    assert table.caption == CAPTION
    assert table.head == [
        "name", "layers", "parameters (M)", "encoder (M)", "encoder %", "MACs (M)", "MACs %", "FLOPs (M)", "ms",
        "loss of the search", "score", "95 % interval",
    ]  # fmt: skip
    # 27,131,904 parameters of 84,934,656; 64 multiply-adds for each, two operations for each of those
    assert table.rows[3] == [
        "point 4, chosen", "8", "51.13", "27.13", "31.9", "1,736.4", "31.9", "3,472.9", "2.71",
        "0.1700", "83.0", "81.0 to 85.0",
    ]  # fmt: skip
    assert len(table.rows) == 8


def test_columns_of_which_nothing_is_known_are_left_out() -> None:
    bare = {"network": network(2, 0), "costs": costs(network(2, 0), timed=False)}
    table = search_sections.table(search(points=[bare], chosen=bare, largest={}))
    assert table.head == ["name", "layers", "parameters (M)", "encoder (M)", "MACs (M)", "FLOPs (M)"]
    assert table.rows[0][:2] == ["point 1, chosen", "2"]
    assert "score is" not in table.caption


def test_small_numbers_get_more_digits() -> None:
    small = {"network": network(1, 0), "costs": {"encoder_parameters": 1792, "macs": 18_848}, "loss": 0.5}
    large = {"network": network(2, 0), "costs": {"encoder_parameters": 4544, "macs": 47_648}}
    table = search_sections.brief_table(search(points=[small, large], chosen=small))
    assert table.rows == [["point 1, chosen", "1", "0.00179", "0.0188"], ["point 2", "2", "0.00454", "0.0476"]]


def test_limits_read_as_they_were_asked_for() -> None:
    limits = [{"name": "macs", "most": 67_814, "asked": "80%"}, {"name": "latency_ms", "most": 0.45, "asked": "0.45"}]
    limits.append({"name": "parameters", "most": 15_000_000, "asked": "15,000,000"})
    assert (
        "budget 80% (67,814 multiply-adds) and 0.45 ms and 15,000,000 parameters;"
        in search_sections.table(search(limits=limits)).caption
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [(7, "7"), (1548, "1,548"), (0.4264, "0.4264"), (8.916e12, "8.9 x 10^12"), (1e300, "1.0 x 10^300")],
)
def test_amounts(number: float, text: str) -> None:
    assert search_sections.amount(number) == text


def test_the_finding_says_what_was_chosen_of_how_many() -> None:
    assert search_sections.finding(search()) == (
        "the search chose a sub-network of 8 layers with 31.9 % of the largest one's encoder parameters; "
        "within 35% (29,724,000 parameters of the encoder); looked at 2,400 of 9.0 x 10^12"
    )
    assert search_sections.finding(search(chosen={})) == "a search, of which is not known what it chose"


def test_only_a_step_that_searched_says_so(tmp_path: Path) -> None:
    built = reporting.build(make_searched_run(tmp_path / "run"))
    assert sections.findings(built)[-1].startswith("yoco: the search chose a sub-network of 8 layers")
    lines = rendering.markdown(built).splitlines()
    assert any(line.startswith("| point 4, chosen | 8 | 51.13 | 27.13 | 31.9 |") for line in lines)
    plain = reporting.build(make_run(tmp_path / "plain"))
    assert plain["searches"] == []
    assert not any("search" in sentence for sentence in sections.findings(plain))
    assert search_sections.READING in sections.reading(plain, built)
    assert search_sections.READING not in sections.reading(plain)


def test_the_terminal_s_table_fits_80_columns(tmp_path: Path) -> None:
    large = {"network": network(12, 0), "costs": {"encoder_parameters": 302e6, "macs": 155e9, "flops": 310e9}}
    large |= {"score": 0.5, "loss": 1.0}
    large["costs"] |= {"latency_ms": 123.45}
    points = [*found()["points"], large]
    built = reporting.build(make_searched_run(tmp_path / "run", points=points))
    console = Console(file=io.StringIO(), width=80)
    [table] = rendering.search_tables(built)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in text
    [chosen] = [line for line in lines if "chosen" in line]
    assert all(cell in chosen for cell in ("point 4, chosen", "27.13", "1,736.4", "3,472.9", "2.71", "83.0"))
    [last] = [line for line in lines if "point 9" in line]
    assert all(cell in last for cell in ("302.00", "155,000.0", "310,000.0", "123.45"))
