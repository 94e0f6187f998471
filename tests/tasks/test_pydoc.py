"""The rows of the embedded task: enough of them, no label given away, the same in every process."""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import textwrap
from collections import Counter

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from bertpress.tasks import pydoc
from bertpress.tasks.pydoc import AREAS, Row, load, sentences

INTRUSIVE = {"antigravity", "this", "webbrowser", "readline", "idlelib", "turtle", "turtledemo"}


def run(code: str, **environment: str) -> str:
    """What a new process of Python prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True).stdout


def fingerprint(splits: dict[str, list[Row]]) -> str:
    return hashlib.sha256(json.dumps(splits).encode()).hexdigest()


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Row]]:
    return sentences()


@pytest.fixture(scope="module")
def rows(splits: dict[str, list[Row]]) -> list[Row]:
    return [row for split in splits.values() for row in split]


def test_there_are_enough_rows_in_every_split(splits: dict[str, list[Row]], rows: list[Row]) -> None:
    assert len(rows) >= 7000
    shares = {name: len(split) / len(rows) for name, split in splits.items()}
    assert shares == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.03)


def test_no_area_dominates_and_none_is_lost(splits: dict[str, list[Row]]) -> None:
    """The bounds hold without tkinter, too, which leaves a third of its area."""
    assert 8 <= len(AREAS) <= 12
    for split in splits.values():
        counts = Counter(row["label"] for row in split)
        assert all(0.02 <= counts[label] / len(split) <= 0.2 for label in range(len(AREAS)))


def test_the_first_rows_mix_the_areas(splits: dict[str, list[Row]]) -> None:
    """So that a task cut short by `--limit` keeps all its labels."""
    assert {row["label"] for row in splits["train"][:200]} == set(range(len(AREAS)))


def test_no_name_of_a_module_is_left(rows: list[Row]) -> None:
    names = {part.lower() for modules in AREAS.values() for module in modules for part in module.split(".")}
    left = {word for row in rows for word in re.findall(r"\w+", row["text"].lower())} & names
    assert not left


def test_sentences_are_prose_of_a_fair_length(rows: list[Row]) -> None:
    assert all(5 <= len(row["text"].split()) <= 40 for row in rows)
    assert not [row for row in rows if re.search(r"\bat 0x|>>>|/usr/|/home/|[A-Z]:\\", row["text"])]


def test_no_object_and_no_sentence_stands_in_two_splits(splits: dict[str, list[Row]], rows: list[Row]) -> None:
    objects = [{row["object"] for row in split} for split in splits.values()]
    assert len(set().union(*objects)) == sum(map(len, objects))
    assert len({row["text"].lower() for row in rows}) == len(rows)


def test_an_object_belongs_to_a_module_of_its_area(rows: list[Row]) -> None:
    modules = list(AREAS.values())
    assert all(row["object"].startswith(modules[row["label"]]) for row in rows)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_every_process_draws_the_same_rows(splits: dict[str, list[Row]], seed: str) -> None:
    code = "import json; from bertpress.tasks.pydoc import sentences; print(json.dumps(sentences()))"
    assert fingerprint(json.loads(run(code, PYTHONHASHSEED=seed))) == fingerprint(splits)


def test_what_a_library_patches_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def dedent() -> None:
        """Nobody has ever read this sentence in Python."""

    dedent.__module__ = "textwrap"
    monkeypatch.setattr(textwrap, "dedent", dedent)
    monkeypatch.setattr(pydoc, "AREAS", {"text": ("textwrap",)})
    texts = [row["text"] for split in sentences().values() for row in split]
    assert texts
    assert not [text for text in texts if "Nobody" in text]


def test_reading_imports_nothing_intrusive() -> None:
    code = """
import sys, warnings
from bertpress.tasks.pydoc import AREAS, _docstrings
warnings.simplefilter("ignore")
count = sum(1 for _ in _docstrings(AREAS))
print(count, *sys.modules)
"""
    count, *modules = run(code).split()
    assert int(count) > 5000
    assert not INTRUSIVE & set(modules)


def test_the_table_names_the_standard_library_once() -> None:
    modules = [module for modules in AREAS.values() for module in modules]
    assert len(set(modules)) == len(modules)
    assert not INTRUSIVE & set(modules)
    assert {module.partition(".")[0] for module in modules} <= sys.stdlib_module_names


def test_importing_the_task_imports_no_library() -> None:
    loaded = run("import bertpress.tasks.pydoc, sys; print(*sys.modules)").split()
    assert not {"datasets", "torch", "transformers", "tkinter"} & set(loaded)


def test_a_module_the_machine_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydoc, "AREAS", {"data": ("json", "no_such_module", "json.no_such_part"), "numbers": ("math",)})
    found = [row for split in sentences().values() for row in split]
    assert {row["object"].partition(".")[0] for row in found} == {"json", "math"}
    assert {row["label"] for row in found} == {0, 1}


def test_only_the_prose_of_a_docstring_is_kept() -> None:
    docstring = """join(parts) -> str

    Glue the parts of a Path together. If one is absolute, os.sep
    and all before it are dropped! Too short.

    parts: the parts which are to be joined here.
        They are given as a list of text.

    - This line is a bullet and not a sentence.
    >>> join(["a", "b"])
    What an example prints is not a sentence either.

    Its home is /usr/lib and that differs elsewhere.
    It lives at <object at 0x7f00> in this process.
    """
    assert list(pydoc._split_sentences(docstring, pydoc._module_names())) == [
        "Glue the parts of a Path together.",
        "If one is absolute, module.sep and all before it are dropped!",
    ]


def test_words_tell_the_area_but_not_all_of_it(splits: dict[str, list[Row]]) -> None:
    """Words alone are right on 58 to 67 %: far from the 14 % of the majority, so an encoder has something to show."""
    words = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=3, max_iter=1000))
    words.fit([row["text"] for row in splits["train"]], [row["label"] for row in splits["train"]])
    held_out = splits["validation"] + splits["test"]
    accuracy = words.score([row["text"] for row in held_out], [row["label"] for row in held_out])
    assert 0.5 < accuracy < 0.8


def test_load_gives_data_sets_that_name_the_version(splits: dict[str, list[Row]]) -> None:
    data = load()
    assert {name: split.num_rows for name, split in data.items()} == {
        name: len(split) for name, split in splits.items()
    }
    assert data["train"].column_names == ["text", "label", "object"]
    assert data["train"].features["label"].names == list(AREAS)
    assert data["train"][0] == splits["train"][0]
    assert platform.python_version() in data["train"].info.description
