"""Figures of a search: where marks stand, what is framed, files that stand alone."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from made_runs import HOSTILE, Page
from made_searches import found, make_searched_run, network, point

from bertpress.reports import rendering, reporting, search_figures
from bertpress.reports.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from bertpress.reports.searches import search_of


def search(**changes: Any) -> dict[str, Any]:
    return {"name": "yoco", **search_of({**found(), **changes})}


def test_a_front_for_each_cost_that_is_known() -> None:
    assert [front.x_name for front in search_figures.fronts(search())] == [
        "encoder parameters (M)",
        "MACs (M)",
        "latency (ms)",
    ]
    untimed = found(timed=False)
    assert len(search_figures.fronts(search(points=untimed["points"], chosen=untimed["chosen"]))) == 2


def test_marks_stand_where_their_numbers_are() -> None:
    points = [point(6, 0, 0.5), point(6, 3, 0.6), point(12, 11, 0.7)]
    costs = [0.0, 50e6, 100e6]
    for each, cost in zip(points, costs, strict=True):
        each["costs"]["encoder_parameters"] = cost
    limits = [{"name": "encoder_parameters", "most": 75e6, "asked": "75%"}]
    front = search_figures.fronts(search(points=points, chosen=points[1], limits=limits))[0]
    # 6 % of room at each end of the costs; 12 % at each end of the scores, from 48 to 72
    wide, tall = WIDTH - RIGHT - LEFT, HEIGHT - BOTTOM - TOP
    assert [mark.x for mark in front.marks] == pytest.approx(
        [LEFT + wide * (0.06 + share) / 1.12 for share in (0, 0.5, 1)], abs=0.06
    )
    ys = [HEIGHT - BOTTOM - tall * (0.12 + (score - 48) / 24) / 1.24 for score in (50, 60, 70)]
    assert [mark.y for mark in front.marks] == pytest.approx(ys, abs=0.06)
    bars = [mark.bar for mark in front.marks if mark.bar is not None]
    assert [low - high for low, high in bars] == pytest.approx([tall * 4 / 24 / 1.24] * 3, abs=0.11)
    assert all(low > mark.y > high for mark, (low, high) in zip(front.marks, bars, strict=True))
    assert [mark.chosen for mark in front.marks] == [False, True, False]
    assert front.limit == pytest.approx(LEFT + wide * 0.81 / 1.12, abs=0.06)
    assert front.description == (
        "accuracy against encoder parameters (M): point 1: 50.0 at 0, point 2, chosen: 60.0 at 50, point 3: 70.0 at 100"
    )
    assert front.path.count("L") == 2


def test_a_budget_of_flops_is_one_of_half_as_many_multiply_adds() -> None:
    first = found()["points"][0]["costs"]
    limits = [{"name": "flops", "most": first["flops"]}, {"name": "macs", "most": 2 * first["macs"]}]
    of_parameters, of_macs, _ = search_figures.fronts(search(limits=limits))
    assert of_macs.limit == of_macs.marks[0].x
    assert of_parameters.limit is None


def test_losses_are_drawn_where_there_are_no_scores() -> None:
    points = [
        {key: value for key, value in each.items() if key in ("network", "costs", "loss")} for each in found()["points"]
    ]
    front = search_figures.fronts(search(points=points, chosen=points[3]))[0]
    assert front.title == "loss of the search against encoder parameters (M)"
    assert all(mark.bar is None for mark in front.marks)
    assert front.marks[0].y < front.marks[-1].y  # a larger loss stands higher


def test_a_single_point_is_drawn_inside() -> None:
    only = point(6, 0, 0.5)
    only |= {"low": None, "high": None}
    [mark] = search_figures.fronts(search(points=[only], chosen=only, limits=[]))[0].marks
    assert (LEFT < mark.x < WIDTH - RIGHT, TOP < mark.y < HEIGHT - BOTTOM, mark.bar) == (True, True, None)


def test_the_shade_of_a_choice_is_its_probability() -> None:
    trained, *searched = search_figures.heats(search())
    depths, cells = trained.cells[:4], trained.cells[4:]
    assert [cell.text for cell in depths] == ["10", "40", "30", "20"]
    assert [cell.shade for cell in depths] == pytest.approx([0.125, 0.5, 0.375, 0.25])
    assert len(cells) == 12 * 12
    strong = [(place // 12, place % 12) for place, cell in enumerate(cells) if cell.shade == 0.5]
    assert strong == [(row, 5 * row % 12) for row in range(12)]
    assert {cell.shade for cell in cells} == {0.5, round(0.5 * 0.06 / 0.34, 3)}
    assert [len(heat.cells) for heat in searched] == [8 * 12] * 3
    assert searched[0].title == "What the search learned for 8 layers, cost level 1"
    assert "layer 1: 12 heads, width 768 (34 %)" in trained.description
    assert "most often 8 layers (40 %)" in trained.description


def test_what_was_chosen_is_framed() -> None:
    trained, searched, *_ = search_figures.heats(search())
    assert [cell.chosen for cell in trained.cells[:4]] == [False, True, False, False]
    framed = [(place // 12, place % 12) for place, cell in enumerate(trained.cells[4:]) if cell.chosen]
    assert framed == [(0, 6), *((layer, 5) for layer in range(1, 8))]
    assert [place for place, cell in enumerate(searched.cells) if cell.chosen] == [6, *range(17, 96, 12)]
    others = search(searched=[{"group": 0, "depth": 6, "theta": found()["searched"][0]["theta"]}])
    assert not any(cell.chosen for cell in search_figures.heats(others)[1].cells)


def test_layers_with_options_of_their_own_share_the_columns() -> None:
    space = {"layer_sets": [[0, 1]], "options": [[[1, 8], [2, 16]], [[2, 8], [2, 16]]], "uniform": False}
    content = {"distribution": {"space": space, "theta": [[1, 0], [0.9, 0.1], [0.2, 0.8]]}, "chosen": {}}
    [heat] = search_figures.heats(search_of(content))
    columns = sorted({cell.x for cell in heat.cells})
    assert len(columns) == 3
    assert [(columns.index(cell.x), cell.text) for cell in heat.cells] == [(0, "90"), (2, "10"), (1, "20"), (2, "80")]
    below = [label.text for label in heat.labels if label.anchor == "middle"]
    assert below == ["1", "2", "2", "8", "16"]


def test_a_chosen_uniform_network_is_framed_in_the_row_of_all_layers() -> None:
    space = {"layer_sets": [[0], [0, 1]], "options": [[[4, 512], [8, 512]]], "uniform": True}
    content = {"distribution": {"space": space, "theta": [[0.5, 0.5], [0.5, 0.5]]}}
    same = [{**layer, "heads": 8, "intermediate_size": 512} for layer in network(2, 0)]
    [heat] = search_figures.heats(search_of({**content, "chosen": {"network": same}}))
    assert [cell.chosen for cell in heat.cells] == [False, True, False, True]
    assert "all layers" in [label.text for label in heat.labels]


def test_many_options_keep_labels_apart() -> None:
    pairs = [[heads, width] for width in range(1000, 1012) for heads in range(1, 13)]
    content = {"distribution": {"space": {"layer_sets": [[0]], "options": [pairs]}, "theta": [[1.0], [1 / 144] * 144]}}
    [heat] = search_figures.heats(search_of(content))
    assert not any(cell.text for cell in heat.cells)
    for y in {label.y for label in heat.labels}:
        places = [label.x for label in heat.labels if label.y == y and label.anchor == "middle"]
        assert all(after - before >= 15 for before, after in itertools.pairwise(places))


ATTRIBUTES = {"class", "x", "y", "x1", "x2", "y1", "y2", "text-anchor", "d", "cx", "cy", "r", "width", "height"}
ATTRIBUTES |= {"viewBox", "role", "aria-label", "fill-opacity", "transform"}


@pytest.mark.parametrize("text", ["accuracy", HOSTILE])
def test_files_stand_alone(text: str, tmp_path: Path) -> None:
    content = found()
    content["chosen"]["metric"] = text
    run = make_searched_run(tmp_path / "run", content)
    built = reporting.write(run)
    built["searches"][0]["name"] = text
    for name, drawing in rendering.drawings(built["searches"][0]).items():
        tree = ElementTree.fromstring(drawing)
        assert tree.tag == "{http://www.w3.org/2000/svg}svg"
        tags = {element.tag.rpartition("}")[2] for element in tree.iter()}
        assert tags <= {"svg", "title", "style", "g", "text", "line", "path", "circle", "rect"}
        assert {key for element in tree.iter() for key in element.attrib} <= ATTRIBUTES
        assert len(re.findall("http|url|@import", drawing)) == 1  # the name of the format
        assert "prefers-color-scheme: dark" in drawing
        assert "var(" not in drawing
        assert tree.attrib["aria-label"]
        assert (run / "00-yoco" / "search" / f"{name}.svg").is_file()


def test_the_page_shows_them_with_words(tmp_path: Path) -> None:
    source = rendering.html(reporting.build(make_searched_run(tmp_path / "run")))
    page = Page(source)
    assert page.tags.count("svg") == 3 + 4
    assert page.tags.count("rect") == 4 + 144 + 3 * 96
    assert "What the search of yoco found" in page.text
    assert "What was learned about the choices of yoco" in page.text
    for element in re.findall(r"<svg[^>]*>", source):
        assert re.search(r'role="img" aria-label="[^"]{20,}"', element)
    assert source.count('class="named"') == source.count('<circle class="chosen"') == 3
    assert "script" not in page.tags


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    content = found()
    content["chosen"] |= {"metric": HOSTILE, "split": HOSTILE}
    content["limits"][0] |= {"name": HOSTILE, "asked": HOSTILE}
    built = reporting.write(make_searched_run(tmp_path / "run", content))
    source = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert not {"script", "img"} & set(Page(source).tags)
    assert "<script>alert(1)</script>" in Page(source).text
    assert "\x1b" not in source + "".join(rendering.drawings(built["searches"][0]).values())
