"""`check` by its exit codes: kept, broken, wrong; from predictions, with times, and scored anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_composed_run

from .conftest import relabelled, sentences, write_csv

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def run(tmp_path: Path, model: Path, data: Path) -> Path:
    """A run of two steps whose models are there."""
    task = {"files": str(data), "columns": ["text"], "label": "label"}
    folder = make_composed_run(tmp_path / "run", model=str(model), task=task, max_length=32)
    for place in ("00-theseus", "01-trbert"):
        shutil.copytree(model, folder / place / "model")
    return folder


def test_bounds_that_are_kept_give_0_and_a_broken_one_3(
    bertpress: Callable[..., Any], run: Path, tmp_path: Path
) -> None:
    kept = bertpress("check", run, "--against", run / "start", "--max-drop", 15)
    assert (kept.code, kept.err) == (0, "")
    assert "max-drop 15 is kept: 15 (" in " ".join(kept.out.split())
    junit = tmp_path / "junit.xml"
    asked = ("--max-drop", 5, "--max-parameters", "49%", "--max-macs", "99%", "--junit", junit, "--json")
    broken = bertpress("check", run, "--against", run / "start", *asked)
    assert broken.code == 3
    assert broken.lines[0].startswith("bertpress: max-drop 5 is broken: 15 (")
    assert broken.lines[1:] == ["max-parameters 58,800,000 is broken: 60,000,000 parameters"]
    assert [bound["kept"] for bound in json.loads(broken.out)["bounds"]] == [False, False, True]
    assert 'failures="2"' in junit.read_text()


def test_a_confident_check_looks_at_the_end_of_the_interval(bertpress: Callable[..., Any], run: Path) -> None:
    command = ("check", run, "--against", run / "00-theseus", "--max-drop", 5.5)
    assert bertpress(*command).code == 0
    assert bertpress(*command, "--confident").code == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--max-drop", 1), "--against"),
        (("--against", "RUN"), "nothing to check"),
        (("--against", "MODEL", "--max-drop", 1), "name the task with --task"),
        (("--against", "nowhere", "--max-drop", 1), "nowhere is neither a run"),
        (("--against", "RUN", "--max-drop", 1, "--limit", "validation=10"), "leave out --limit"),
        (("--against", "RUN", "--max-drop", 1, "--max-length", 64), "--max-length is about scoring anew"),
        (("--against", "RUN", "--max-drop", 1, "--columns", "text"), "--columns is about scoring anew"),
        (("--against", "RUN", "--max-drop", 1, "--set", "task.label=x"), "--set describes a task"),
        (("--against", "RUN", "--max-drop", 1, "--out", "x.pdf"), "ending"),
        (("--against", "RUN", "--max-parameters", "lots"), "40%"),
    ],
)
def test_a_wrong_request_gives_2(
    bertpress: Callable[..., Any], run: Path, model: Path, arguments: tuple[Any, ...], message: str
) -> None:
    places = {"RUN": run, "MODEL": model}
    outcome = bertpress("check", run, *(places.get(each, each) for each in arguments))
    assert outcome.code == 2
    assert message in outcome.err
    assert len(outcome.lines) == 1


def test_time_is_measured_in_turns_where_a_bound_asks_for_it(bertpress: Callable[..., Any], run: Path) -> None:
    asked = ("--min-speedup", 0.01, "--max-latency-ms", 100_000, "--batch-size", 4, "--json", "--quiet")
    found = json.loads(bertpress("check", run, "--against", run / "start", *asked).out)
    assert [bound["kept"] for bound in found["bounds"]] == [True, True]
    other, own = (cost["latency"] for cost in found["costs"])
    assert [entry["batch"] for entry in own] == [entry["batch"] for entry in other] == [1, 4]
    assert own[1]["against"]["median_ms"] == other[1]["median_ms"]
    assert found["bounds"][0]["value"] == own[1]["speedup"]
    assert found["costs"][1]["faster"] is all(entry["speedup_low"] > 1 for entry in own)
    outcome = bertpress("check", run, "--against", run / "start", "--min-speedup", 1000, "--quiet")
    assert (outcome.code, outcome.lines[0].startswith("bertpress: min-speedup 1,000 is broken: ")) == (3, True)


@pytest.fixture
def small(model: Path, tmp_path: Path) -> Path:
    """The model with special tokens and letters alone: it has fewer embeddings than a word's id in the model's own."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from bertpress.methods.vocabulary.selecting import select_tokens
    from bertpress.methods.vocabulary.steps import write_tokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    kept = sorted(number for token, number in tokenizer.get_vocab().items() if len(token) == 1 or token[0] == "[")
    write_tokenizer(tokenizer, kept, tmp_path / "small")
    select_tokens(AutoModelForSequenceClassification.from_pretrained(model), kept).save_pretrained(tmp_path / "small")
    return tmp_path / "small"


def test_each_side_is_timed_on_its_own_tokens(
    bertpress: Callable[..., Any], model: Path, small: Path, data: Path, tmp_path: Path
) -> None:
    """Else the smaller vocabulary would be asked for tokens that it does not have."""
    asked = ("--min-speedup", 0.0001, "--batch-size", 4, "--quiet")
    of_files = ("--task", "files", "--data-dir", data, "--columns", "text", "--max-length", 32)
    anew = bertpress("check", model, "--against", small, *of_files, *asked)
    assert anew.code == 0, anew.err
    task = {"files": str(data), "columns": ["text"], "label": "label"}
    run = make_composed_run(tmp_path / "run", model=str(small), task=task, max_length=32)
    shutil.copytree(model, run / "01-trbert" / "model")
    of_runs = bertpress("check", run, "--against", run / "start", *asked)
    assert of_runs.code == 0, of_runs.err


def test_without_labels_costs_are_bounded_and_changed_answers_counted(
    bertpress: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    for split in ("train", "validation"):
        write_csv(tmp_path / "texts" / f"{split}.csv", [(text,) for text, _ in sentences(40, 2)], header=("text",))
    other = relabelled(model, tmp_path / "other", ("neg", "pos"), (1, 0))  # says the opposite
    task = ("--task", "files", "--data-dir", tmp_path / "texts", "--columns", "text", "--unlabelled", "--quiet")
    asked = ("check", other, "--against", model, *task, "--max-length", 32, "--max-parameters", "100%")
    outcome = bertpress(*asked, "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert (found["rows"], found["changed_answers"]["count"], found["test"]) == (40, 40, None)
    assert "100.0 % of the rows (91.2 to 100.0) are answered in another way" in " ".join(bertpress(*asked).out.split())
    refused = bertpress(*asked, "--max-drop", 1)
    assert (refused.code, "as their rows have no labels" in refused.err) == (2, True)


def test_models_are_scored_anew_on_a_task(
    bertpress: Callable[..., Any], model: Path, data: Path, tmp_path: Path
) -> None:
    other = relabelled(model, tmp_path / "other", ("pos", "neg"), (1, 0))
    task = ("--task", "files", "--data-dir", data, "--columns", "text", "--max-length", 32, "--quiet", "--json")
    outcome = bertpress("check", other, "--against", model, *task, "--max-drop", 0, "--max-parameters", "100%")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert (found["rows"], found["test"]["difference"], found["scores"]["result"]) == (40, 0, found["scores"]["other"])
    assert {row["by"] for row in found["slices"]} == {"class", "length"}
    assert [bound["kept"] for bound in found["bounds"]] == [True, True]
