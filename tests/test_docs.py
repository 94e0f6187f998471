"""The documents say what the code does: examples run, names and files have their line, links lead somewhere."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import typer.main
import yaml
from contract.cases import PAIRS

import bertpress
from bertpress import cli
from bertpress.encoders import ENCODERS
from bertpress.methods import METHODS
from bertpress.recipe import make_recipe, read_recipe, shipped_recipes
from bertpress.tasks.candidates.settings import CandidateSettings
from bertpress.tasks.choices.settings import ChoiceSettings
from bertpress.tasks.embedding.settings import EmbeddingSettings
from bertpress.tasks.hops.settings import HopSettings
from bertpress.tasks.queries.settings import QuerySettings
from bertpress.tasks.reading.named import NAMED, settings_for
from bertpress.tasks.reading.settings import ReadingSettings

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


def test_the_map_names_every_file_and_folder() -> None:
    named = re.findall(r"^\| `bertpress/([^`]+)` \|", _text("README.md"), flags=re.MULTILINE)
    package = ROOT / "bertpress"
    folders = {f"{path.name}/" for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert sorted(named) == sorted({path.name for path in package.glob("*.py")} | folders)


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


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/choices.md",
        "docs/embeddings.md",
        "docs/entities.md",
        "docs/long-inputs.md",
        "docs/multihop.md",
        "docs/reading.md",
        "docs/tasks.md",
    ],
)
def test_training_lines_give_a_recipe(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```", _text(page), flags=re.DOTALL | re.MULTILINE)
    lines = re.findall(
        r"^bertpress ((?:compress|finetune|theseus|tinybert|trbert|yoco|vocabulary) .+)$", "\n".join(blocks), re.M
    )
    assert len(lines) > 4
    for line in lines:
        monkeypatch.setattr(sys, "argv", ["bertpress", *shlex.split(line, comments=True), "--print"])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 0, line
        make_recipe(yaml.safe_load(capsys.readouterr().out))


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
        for line in _text("docs/encoders.md").partition("## Kinds of tasks")[0].splitlines()
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


def _example(page: str, heading: str) -> str:
    """The first block of code below a heading."""
    return re.findall(r"^```\w+\n(.*?)^```", page.partition(f"### {heading}")[2], flags=re.DOTALL | re.MULTILINE)[0]


@pytest.mark.parametrize(
    ("heading", "file", "spans"),
    [
        ("A word and its tag a line", "train.conll", [(0, 2, "PER"), (4, 5, "LOC")]),
        ("A line of characters", "train.txt", [(0, 3, "PER"), (4, 6, "LOC")]),
        ("JSON lines with spans", "train.jsonl", [(0, 2, "PER"), (4, 5, "LOC")]),
        ("Tables of words", "train.jsonl", [(0, 1, "PER"), (3, 4, "LOC")]),
        ("Questions with places", "mrc-ner.train", [(0, 1, "PER"), (3, 4, "LOC")]),
    ],
)
def test_examples_of_files_with_entities_are_read(
    tmp_path: Path, heading: str, file: str, spans: list[tuple[int, int, str]]
) -> None:
    from bertpress.tasks.tagging.formats import load_sentences
    from bertpress.tasks.tagging.sentences import spans_in

    (tmp_path / file).write_text(_example(_text("docs/entities.md"), heading), encoding="utf-8")
    assert spans_in(load_sentences("files", tmp_path).splits["train"][0]) == spans


@pytest.mark.parametrize(
    ("heading", "file", "answer"),
    [
        ("SQuAD", "train.json", "William"),
        ("Lines of MRQA", "train.jsonl", "1066"),
        ("TriviaQA", "train.json", "Sunset Boulevard"),
        ("Tables", "train.jsonl", "William"),
    ],
)
def test_examples_of_files_with_questions_are_read(tmp_path: Path, heading: str, file: str, answer: str) -> None:
    from bertpress.tasks.reading.records import load_reading

    (tmp_path / file).write_text(_example(_text("docs/reading.md"), heading), encoding="utf-8")
    data = load_reading("files", tmp_path)
    assert data.splits["train"][0]["answer_texts"] == [answer]
    assert data.notes == ()


@pytest.mark.parametrize(("heading", "file"), [("Tables", "train.jsonl"), ("Folders of passages", "train/1.txt")])
def test_examples_of_files_with_options_are_read(tmp_path: Path, heading: str, file: str) -> None:
    from bertpress.tasks.choices.records import load_choices

    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(_example(_text("docs/choices.md"), heading), encoding="utf-8")
    data = load_choices("files", tmp_path)
    assert data.splits["train"][0]["options"][data.splits["train"][0]["answer"]] == "on foot"
    assert data.notes == ()


@pytest.mark.parametrize(
    ("page", "field", "fields"),
    [
        ("entities", "queries", QuerySettings.model_fields),
        ("reading", "question_length", ReadingSettings.model_fields),
        ("choices", "scoring", ChoiceSettings.model_fields),
        ("embeddings", "pooling", EmbeddingSettings.model_fields),
        ("multihop", "question_length", HopSettings.model_fields),
        ("multihop", "query_length", CandidateSettings.model_fields),
    ],
)
def test_the_tables_of_settings_are_complete(page: str, field: str, fields: dict[str, object]) -> None:
    table = _text(f"docs/{page}.md").partition("## All settings")[2].partition(f"| `{field}` |")
    rows = f"{table[1]}{table[2]}".partition("\n\n")[0].splitlines()
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])) == sorted(fields)


@pytest.mark.parametrize(
    ("heading", "file"),
    [("HotpotQA", "train.json"), ("The Hub's columns", "train.jsonl"), ("Lines of Transformer-XH", "train.jsonl")],
)
def test_examples_of_files_with_paragraphs_are_read(tmp_path: Path, heading: str, file: str) -> None:
    from bertpress.tasks.hops.records import load_hops

    (tmp_path / file).write_text(_example(_text("docs/multihop.md"), heading), encoding="utf-8")
    data = load_hops("files", tmp_path)
    (record,) = data.splits["train"]
    assert (record["answer"], record["titles"][-1]) == ("William", "Duke of Normandy")
    assert data.notes == ()


def test_the_example_of_candidates_is_read(tmp_path: Path) -> None:
    from bertpress.tasks.candidates.records import load_candidates

    (tmp_path / "train.json").write_text(_example(_text("docs/multihop.md"), "WikiHop"), encoding="utf-8")
    data = load_candidates("files", tmp_path)
    assert data.splits["train"][0]["answer"] == "duke"
    assert data.notes == ()


def test_the_table_of_reading_has_the_settings_of_each_data_set() -> None:
    rows = [line.split("|") for line in _text("docs/reading.md").splitlines() if line.startswith("| `")]
    shown = {row[1].strip(" `"): row[4] for row in rows if len(row) == 6}
    for name, data_set in NAMED.items():
        told = {field for field, cell in shown.items() if f"`{name}`" in cell}
        assert told == set(data_set.defaults), name
        for field in told:
            value = getattr(settings_for(name), field)
            assert (str(value).lower() if isinstance(value, bool) else str(value)) in shown[field]
