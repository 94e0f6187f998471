"""What a search found, read for the report: numbers by hand, and files with anything in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_runs import HOSTILE
from made_searches import SHAPES, found, make_searched_run, point

from bertpress.reports import rendering, reporting, sections
from bertpress.reports.searches import search_of


def test_points_by_hand() -> None:
    read = search_of(found())
    assert [each["name"] for each in read["points"]][:5] == [
        "point 1",
        "point 2",
        "point 3",
        "point 4, chosen",
        "point 5",
    ]
    assert [each["chosen"] for each in read["points"]].count(True) == 1
    chosen = read["points"][3]
    # a layer of 12 heads and width 768, seven times, and one of 4 heads and width 1,024
    encoder = 7 * 768 * (4 * 768 + 2 * 768) + 768 * (4 * 256 + 2 * 1024)
    assert (chosen["layers"], chosen["encoder_parameters"], chosen["flops"]) == (8, encoder, 128 * encoder)
    assert chosen["encoder_share"] == chosen["macs_share"] == encoder / (12 * 768 * (4 * 768 + 2 * 3072))
    assert (chosen["score"], chosen["low"], chosen["loss"]) == pytest.approx((0.83, 0.81, 0.17))
    assert (read["evaluated"], read["sub_networks"], read["forwards"]) == (2400, 9_000_000_000_000, 321_000)
    assert read["limits"] == [{"name": "encoder_parameters", "most": 29_724_000, "asked": "35%"}]
    assert (read["metric"], read["split"]) == ("accuracy", "validation")


def test_a_chosen_network_that_is_no_point_stands_among_them_by_its_cost() -> None:
    names = [each["name"] for each in search_of({**found(), "chosen": point(6, 4, 0.7)})["points"]]
    assert names[:4] == ["point 1", "point 2", "chosen", "point 3"]
    assert len(names) == 9


def test_maps_are_those_of_training_and_of_the_chosen_depth() -> None:
    trained, *searched = search_of(found())["maps"]
    assert trained["depths"] == [[6, 0.1], [8, 0.4], [10, 0.3], [12, 0.2]]
    assert [slot["layer"] for slot in trained["slots"]] == list(range(12))
    assert trained["slots"][1]["options"][5] == [*SHAPES[5], 0.34]
    assert [(each["depth"], each["group"], len(each["slots"])) for each in searched] == [
        (8, 1, 8),
        (8, 2, 8),
        (8, 3, 8),
    ]
    few = search_of({**found(), "searched": found()["searched"][:4]})["maps"][1:]
    assert [(each["depth"], len(each["slots"])) for each in few] == [(6, 6), (8, 8), (10, 10), (12, 12)]
    assert few[0]["depths"] == []


def test_a_uniform_space_has_one_row_for_all_layers() -> None:
    space = {"layer_sets": [[0], [0, 1]], "options": [[[1, 8], [2, 8]]], "uniform": True}
    content = {"distribution": {"space": space, "theta": [[0.25, 0.75], [0.9, 0.1]]}}
    [only] = search_of(content)["maps"]
    assert only["depths"] == [[1, 0.25], [2, 0.75]]
    assert only["slots"] == [{"layer": None, "options": [[1, 8, 0.9], [2, 8, 0.1]]}]


def test_layers_that_no_depth_uses_are_left_out() -> None:
    space = {"layer_sets": [[0], [0, 2]], "options": [[[1, 8]], [[1, 8]], [[1, 8]]], "uniform": False}
    content = {"distribution": {"space": space, "theta": [[0.5, 0.5], [1.0], [1.0], [1.0]]}}
    assert [slot["layer"] for slot in search_of(content)["maps"][0]["slots"]] == [0, 2]


STRANGE: list[dict[str, Any]] = [
    {"points": HOSTILE, "limits": 3, "chosen": None, "distribution": [], "searched": {}},
    {"points": [3, None, {}, {"network": HOSTILE, "costs": {"macs": -1, "encoder_parameters": 10**400}}]},
    {"points": [{"network": [{"heads": 1}], "costs": {"encoder_parameters": 1e308, "macs": "1"}, "score": 1e308}]},
    {"points": [point(6, 1, 0.5)] * 1000, "searched": [{"depth": 8, "group": 1, "theta": []}] * 1000},
    {"chosen": {"metric": HOSTILE, "split": [HOSTILE], "network": [], "costs": []}, "evaluated": True},
    {"limits": [{"name": HOSTILE, "asked": HOSTILE}, {"most": float("inf"), "name": "macs"}, {"most": 0.001}]},
    {"distribution": {"space": {"layer_sets": [[0]], "options": [[[1, 1]]]}, "theta": [[1], [float("nan")]]}},
    {"distribution": {"space": {"layer_sets": [[0]], "options": [[[1, 1]]]}, "theta": [[0], [0]]}},
    {"distribution": {"space": {"layer_sets": [[]], "options": [[]]}, "theta": [[1], []]}},
    {"searched": [{"theta": [[1.0]] * 13}, {"depth": -1}, HOSTILE], "space": {"layer_sets": 10**400}},
    {"largest": {"costs": {"encoder_parameters": 0, "macs": 0}}, "sub_networks": 10**400, "forwards": -3},
]


@pytest.mark.parametrize("changes", STRANGE, ids=[" ".join(changes) for changes in STRANGE])
def test_anything_may_stand_in_the_file(changes: dict[str, Any], tmp_path: Path) -> None:
    run = make_searched_run(tmp_path / "run", **changes)
    built = reporting.write(run)
    assert len(built["searches"]) == 1
    assert "nan" not in (run / "report.json").read_text().lower()
    assert "<script>alert" not in (run / "report.html").read_text(encoding="utf-8")
    for drawing in rendering.drawings(built["searches"][0]).values():
        assert "<script>alert" not in drawing
        assert not {"nan", "inf"} & set(drawing.replace('"', " ").replace("-", " ").split())
    rendering.search_tables(built)


def test_every_part_may_be_missing(tmp_path: Path) -> None:
    for place, key in enumerate(found()):
        run = make_searched_run(tmp_path / str(place), {name: part for name, part in found().items() if name != key})
        assert reporting.write(run)["searches"][0]["name"] == "yoco"
    built = reporting.write(make_searched_run(tmp_path / "empty", "{}"))
    assert (built["searches"][0]["points"], built["searches"][0]["maps"]) == ([], [])
    assert not any("Sub-networks" in section.caption for section in sections.sections(built))


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, "\ud800"])
def test_a_broken_file_is_a_note(text: str, tmp_path: Path) -> None:
    run = make_searched_run(tmp_path / "run", "x")
    file = run / "00-yoco" / "search" / "found.json"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    built = reporting.write(run)
    assert built["searches"] == []
    assert any(note.startswith(f"the search of yoco is not shown: {file} cannot be read") for note in built["notes"])


def test_figures_lie_in_the_run(tmp_path: Path) -> None:
    run = make_searched_run(tmp_path / "run")
    reporting.write(run)
    assert (run / "00-yoco" / "search" / "front.svg").is_file()
    assert (run / "00-yoco" / "search" / "choices.svg").is_file()
    assert json.loads((run / "report.json").read_text())["searches"][0]["folder"] == "00-yoco"


def test_a_sweep_shows_the_search_of_its_best_cell(tmp_path: Path) -> None:
    make_searched_run(tmp_path / "sweep" / "cells" / "a")
    summary = {"best": "cells/a", "cells": [{"folder": "cells/a", "settings": {}, "score": 0.75}], "median": 0.75}
    (tmp_path / "sweep" / "summary.json").write_text(json.dumps({**summary, "low": 0.75, "high": 0.75}))
    assert reporting.write(tmp_path / "sweep")["searches"][0]["folder"] == "cells/a/00-yoco"
    assert (tmp_path / "sweep" / "cells" / "a" / "00-yoco" / "search" / "front.svg").is_file()
