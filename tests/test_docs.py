"""The documents say what the code does: examples run, names and files have their line, links lead somewhere."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer.main
from contract.cases import PAIRS

import bertpress
from bertpress import cli
from bertpress.encoders import ENCODERS
from bertpress.methods import METHODS
from bertpress.recipe import make_recipe, read_recipe, shipped_recipes

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _headings(page: str) -> list[str]:
    outside = re.sub(r"^ *```.*?^ *```", "", page, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^#+ (.+)$", outside, flags=re.MULTILINE)


def test_the_loop_of_the_theseus_card_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "docs" / "examples" / "own_loop.py"), run_name="__main__")
    assert capsys.readouterr().out.startswith("2 layers, loss ")


def test_the_theseus_card_shows_the_loop() -> None:
    assert '\n--8<-- "examples/own_loop.py"\n' in _text("docs/methods/theseus.md"), "spelt as the snippets want it"


@pytest.mark.parametrize("name", bertpress._HOME)
def test_every_public_name_has_its_place_in_the_reference(name: str) -> None:
    assert f"::: {bertpress._HOME[name]}.{name}\n" in _text("docs/api.md")


def test_newest_version_of_the_changelog_is_the_package_s() -> None:
    versions = re.findall(r"^## \[(.+?)\]", _text("CHANGELOG.md"), flags=re.MULTILINE)
    assert versions[0] == bertpress.__version__


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_parses(name: str) -> None:
    recipe = make_recipe({"model": "some/model", "task": "glue/mrpc", **read_recipe(name)})
    assert recipe.steps


def test_the_file_map_names_every_file() -> None:
    readme = _text("README.md")
    named = re.findall(r"^\| `(bertpress/[^`]+)` \|", readme, flags=re.MULTILINE)
    assert {path.name for path in (ROOT / "bertpress").glob("*.py")} == {
        Path(name).name for name in named if name.endswith(".py")
    }
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_every_method_has_a_card_and_all_cards_have_the_same_headings() -> None:
    own = {"In your own model and loop"}
    cards = {method.name: _headings(_text(f"docs/methods/{method.name}.md"))[1:] for method in METHODS}
    shared = [[heading for heading in headings if heading not in own] for headings in cards.values()]
    assert all(headings == shared[0] for headings in shared)
    navigation = _text("mkdocs.yml")
    assert [name for name in cards if f"methods/{name}.md" not in navigation] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_flags_exist(page: Path) -> None:
    commands = typer.main.get_command(cli.app).commands
    blocks = re.findall(r"^ *```bash\n(.*?)^ *```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for line in re.findall(r"^ *(?:\w+=\S+ )?bertpress (.+)$", "\n".join(blocks), flags=re.MULTILINE):
        name, *words = shlex.split(line, comments=True)
        known = {flag for parameter in commands[name].params for flag in parameter.opts}
        assert [word for word in words if word.startswith("--") and word not in known] == [], line


def test_the_table_of_encoders_is_complete() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in _text("docs/encoders.md").splitlines()
        if line.startswith("| `")
    ]
    heads, *cells = rows
    assert heads[2:-1] == [f"`{method.name}`" for method in METHODS]
    assert [row[0] for row in cells] == [f"`{name}`" for name in ENCODERS]
    taken = {(case.name, case.family) for case in PAIRS}
    for row in cells:
        marks = {method.name: mark for method, mark in zip(METHODS, row[2:-1], strict=True)}
        run = {name: "yes" if (name, row[0].strip("`")) in taken else "no" for name in marks}
        assert marks == run, "the contract tests run every pair that is marked"
