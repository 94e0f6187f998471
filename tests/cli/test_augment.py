"""The command `augment`: what it prints, what it leaves, what it refuses before a model is loaded."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from .conftest import Outcome, save_tokenizer, sentences, tiny_config, write_csv

Call = Callable[..., Outcome]


@pytest.fixture(scope="module")
def masked_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with a random language-model head."""
    import torch
    from transformers import BertForMaskedLM

    folder = tmp_path_factory.mktemp("masked")
    save_tokenizer(folder)
    torch.manual_seed(0)
    BertForMaskedLM(tiny_config()).save_pretrained(folder)
    return folder


@pytest.fixture
def augment(model: Path, data: Path, tmp_path: Path, bertpress: Call) -> Call:
    """The command on the tiny data; `--quiet` unless remarks are wanted."""

    def call(*more: object, quiet: bool = True, **replaced: object) -> Outcome:
        flags: dict[str, object] = {
            "--model": model,
            "--task": "files",
            "--data-dir": data,
            "--columns": "text",
            "--device": "cpu",
            "--out": tmp_path / "out",
            **{"--" + name.replace("_", "-"): value for name, value in replaced.items()},
        }
        given = [part for name, value in flags.items() if value is not None for part in (name, value)]
        return bertpress("augment", *given, *more, *["--quiet"] * quiet)

    return call


@pytest.fixture
def no_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import PreTrainedModel

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", fail)


def rows_in(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(folder / "train.parquet").to_pylist()
    return rows


def test_it_augments(augment: Call, masked_lm: Path, tmp_path: Path) -> None:
    outcome = augment("--samples", 4, masked_lm=masked_lm, quiet=False)
    assert outcome.code == 0, outcome.err
    rows = rows_in(tmp_path / "out")
    first, second = outcome.out.splitlines()
    assert first == f"{len(rows)} rows, 96 of them original"
    assert "% of the eligible words" in second
    assert sum(line.startswith("> ") for line in outcome.lines) == 5, "a sample before the run"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("request.json", "manifest.json"),
        *(f"{split}.parquet" for split in ("train", "validation", "test")),
    }
    again = augment("--samples", 4, masked_lm=masked_lm)
    assert (again.code, again.out) == (0, outcome.out)
    other = augment("--samples", 5, masked_lm=masked_lm)
    assert other.code == 2
    assert "samples: 4 there, 5 now" in other.err


def test_edited_texts_are_noticed(augment: Call, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    assert augment("--samples", 2, data_dir=tmp_path / "data").code == 0
    (tmp_path / "out" / "manifest.json").unlink()  # as if it had been killed
    train = tmp_path / "data" / "train.csv"
    text = train.read_text(encoding="utf-8")
    train.write_text(text.replace("film", "plot", 1), encoding="utf-8")
    again = augment("--samples", 2, data_dir=tmp_path / "data")
    assert again.code == 2
    assert f"was begun with other texts: {train} changed since" in again.err
    train.write_text(text, encoding="utf-8")
    assert augment("--samples", 2, data_dir=tmp_path / "data").code == 0


def test_the_result_is_a_data_dir(augment: Call, bertpress: Call, model: Path, tmp_path: Path) -> None:
    assert augment("--samples", 2).code == 0
    flags = [
        "--task",
        "files",
        "--data-dir",
        tmp_path / "out",
        "--columns",
        "text",
        "--device",
        "cpu",
        "--max-length",
        32,
    ]
    scores = bertpress("evaluate", model, *flags, "--json")
    assert json.loads(scores.out)["validation"]["accuracy"] > 0.8


def test_flags_and_set_reach_the_settings(augment: Call, tmp_path: Path) -> None:
    outcome = augment("--seed", 3, "--set", "replace_probability=1", "--limit", "train=20", "--json")
    made = json.loads(outcome.out)
    assert made["original_rows"] == 20
    assert made["share_of_eligible"] == 1
    assert made["settings"]["seed"] == 3
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == made


def test_a_dry_run_writes_nothing(augment: Call, masked_lm: Path, tmp_path: Path) -> None:
    outcome = augment("--dry-run", masked_lm=masked_lm, out=None)
    assert outcome.code == 0, outcome.err
    assert "96 rows become at most 2016" in outcome.out
    assert outcome.out.count("\n> ") == 5
    assert not (tmp_path / "out").exists()


def test_a_warning_where_hardly_a_word_is_replaced(augment: Call) -> None:
    few = augment("--set", "replace_probability=0.01", quiet=False)
    assert few.code == 0
    assert "fewer than 5 % of the words were replaced" in few.err
    assert "fewer than" not in augment("--set", "replace_probability=0.01").err


def test_texts_survive_as_they_are(augment: Call, tmp_path: Path) -> None:
    texts = ["a \"good\" film\twas\nfine, 'bad'; end", "  one ,story;  plot  ", 'he said ""awful"" | poor\r\nend']
    rows = [(text, label) for text in texts for label in ("neg", "pos")]
    write_csv(tmp_path / "data" / "train.csv", rows)
    write_csv(tmp_path / "data" / "validation.csv", rows)
    outcome = augment("--samples", 5, "--set", "replace_probability=1", data_dir=tmp_path / "data")
    assert outcome.code == 0, outcome.err
    found = rows_in(tmp_path / "out")
    assert [row["text"] for row in found if not row["is_augmented"]] == [text for text, _ in rows]
    for row in found:
        original = rows[row["source_row"]][0]
        separators = [character for character in original if not character.isalpha()]
        assert [character for character in row["text"] if not character.isalpha()] == separators
    with (tmp_path / "data" / "train.csv").open(newline="", encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)][1:] == [text for text, _ in rows]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


VECTORS = {
    "missing": (None, "found none"),
    "empty": ("", "found no row"),
    "wrong dimension": ("good 1 2\nbad 1\nfine 1\n", "2 of 3 rows malformed"),
}


@pytest.mark.parametrize("what", VECTORS)
@pytest.mark.usefixtures("no_model_is_loaded")
def test_vectors_that_cannot_be_used(what: str, augment: Call, tmp_path: Path) -> None:
    text, message = VECTORS[what]
    file = tmp_path / "vectors.txt"
    if text is not None:
        write(file, text)
    outcome = augment(vectors=file)
    assert outcome.code == 2
    assert message in outcome.err
    assert len(outcome.lines) == 1
    assert not (tmp_path / "out").exists()


def test_malformed_rows_are_counted(augment: Call, tmp_path: Path) -> None:
    file = write(tmp_path / "vectors.txt", "good 1 2\nfine 2 1\nbad 1\npoor 1 1\n")
    outcome = augment("--samples", 2, vectors=file, quiet=False)
    assert outcome.code == 0
    assert "1 malformed rows" in outcome.err


REFUSED = {
    "no model": ({"model": None}, [], "Name the fine-tuned model with --model"),
    "no task": ({"task": None}, [], "the task with --task"),
    "no folder": ({"out": None}, [], "with --out"),
    "rule": ({}, ["--single-piece", "masked_lm"], "single_piece"),
    "rule without its model": ({}, ["--single-piece", "masked-lm"], "needs a masked-language model"),
    "field": ({}, ["--set", "candidats=3"], "did you mean 'candidates'?"),
    "pattern": ({}, ["--set", "word_pattern=[a"], "word_pattern"),
    "stop words": ({}, ["--set", "stopwords=english"], "stopwords: expected en, none or a file"),
    "length": ({}, ["--max-length", 32], "leave out --max-length"),
    "samples": ({}, ["--samples", 0], "samples"),
    "teacher": ({"model": "./none"}, [], "There is no model folder"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.usefixtures("no_model_is_loaded")
def test_requests_that_are_refused_before_a_model_is_loaded(what: str, augment: Call, tmp_path: Path) -> None:
    replaced, more, message = REFUSED[what]
    outcome = augment(*more, **replaced)
    assert outcome.code == 2
    assert message in outcome.err
    assert len(outcome.lines) == 1
    assert not (tmp_path / "out").exists()


def test_a_masked_lm_that_is_none(augment: Call, model: Path, masked_lm: Path, tmp_path: Path) -> None:
    outcome = augment(masked_lm=model)
    assert outcome.code == 2
    assert "is not a masked-language model (missing: cls.predictions" in outcome.err
    assert not (tmp_path / "out").exists()
    copy = tmp_path / "no-mask"
    copy.mkdir()
    for file in masked_lm.iterdir():
        text = file.read_bytes()
        if file.name == "tokenizer_config.json":
            values = json.loads(text)
            values.update(mask_token=None, tokenizer_class="PreTrainedTokenizerFast")
            text = json.dumps(values).encode()
        (copy / file.name).write_bytes(text)
    outcome = augment(masked_lm=copy)
    assert outcome.code == 2
    assert "has no mask token" in outcome.err


def test_sentences_of_the_fixture_have_words_to_replace() -> None:
    assert any("film" in text for text, _ in sentences(20, 1))
