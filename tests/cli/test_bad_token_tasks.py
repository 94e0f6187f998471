"""Requests of tagging, mrc and qa that are wrong: models, queries, settings, texts of your own; and hostile text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from token_tasks import HEADS

from .conftest import Outcome, lines_of, written
from .test_bad_input import refused

Ask = Callable[..., Outcome]
Call = Callable[..., Outcome]
pytestmark = pytest.mark.usefixtures("quick")
UNSCORED = "no labels to score against"
QUESTION = {"question": "the day", "context": "the house is bright day"}
ANSWERED = {"id": "a", **QUESTION, "answers": {"text": ["bright"], "answer_start": [13]}}
TAGGED = {"text": "the house is bright", "spans": [[0, 3, "bad"], [13, 19, "good"]]}


@pytest.mark.parametrize("kind", ["tagging", "mrc", "qa"])
@pytest.mark.parametrize("other", ["tagging", "mrc", "qa", "classification"])
def test_a_model_with_the_head_of_another_kind(kind: str, other: str, ask: Ask, folder_of: Callable[..., Path]) -> None:
    model = folder_of("bert", HEADS[other], other)
    if kind == other:
        assert ask("evaluate", kind, model=model).code == 0
        return
    own = () if other == "classification" else (f"trained for the kind {other}, but --kind {kind}", "leave out --kind")
    refused(ask("evaluate", kind, model=model), "fine-tune", *own)
    trained = ask("theseus", kind, "--no-baseline", model=model)
    refused(trained, "fine-tune", "--kind mrc" if (kind, other) == ("tagging", "mrc") else "")


def test_a_model_with_the_tags_of_other_types(ask: Ask, tmp_path: Path) -> None:
    data = written(tmp_path / "data", train_conll="the B-odd\n\n", validation_conll="the B-odd\n\n")
    refused(ask("evaluate", "tagging", data=data), "finds bad, good", "has odd", "fine-tune")


QUERIES: dict[str, tuple[str, str | bytes, list[str]]] = {
    "one missing": ("q.yaml", "bad: dull house\n", ["none for good", "add it"]),
    "misspelled": ("q.yaml", "bad: a\ngoood: b\n", ["none for good", "did you mean 'goood'"]),
    "empty": ("q.yaml", "", ["found None"]),
    "a list": ("q.yaml", "- bad\n", ["lines such as 'PER: what to look for'"]),
    "other bytes": ("q.yaml", b"bad: caf\xe9\n", ["no text in UTF-8"]),
    "too long": ("q.yaml", "bad: " + "house " * 40 + "\ngood: day\n", ["query of bad has 40 tokens", "--max-length"]),
    "blank": ("q.yaml", "bad: ' '\ngood: day\n", ["a question for bad"]),
    "no token": ("q.yaml", 'bad: "\\u200b"\ngood: day\n', ["a question for bad"]),
    "half a pair": ("q.json", '{"bad": "\\ud800", "good": "day"}', ["a question for bad"]),
    "broken": ("q.json", "{", ["cannot be read"]),
    "nested": ("q.json", "[" * 100_000, ["cannot be read"]),
    "python": ("q.yaml", "!!python/object/apply:os.getcwd []", ["cannot be read"]),
}


@pytest.mark.parametrize("case", QUERIES)
def test_queries(case: str, ask: Ask, tmp_path: Path) -> None:
    name, content, fragments = QUERIES[case]
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(ask("finetune", "mrc", "--set", f"task.mrc.queries={file}"), *fragments)


def test_queries_that_are_not_there(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "queries").mkdir()
    for file, fragment in (("queries", "is a directory"), ("querys", "did you mean 'queries'?")):
        refused(ask("finetune", "mrc", "--set", f"task.mrc.queries={tmp_path / file}"), fragment)
    shown = '{"bad": "what to look for", "good": "what to look for"}'
    refused(ask("finetune", "mrc", "--set", "task.mrc.queries=null"), shown, "--queries ")


SETTINGS: dict[str, tuple[str, list[str], list[str]]] = {
    "no room beside a question": ("mrc", ["--max-length", "5"], ["query of bad", "raise --max-length"]),
    "no room for a text": ("qa", ["--max-length", "4"], ["at least 5 tokens", "max_length 4"]),
    "columns of sentences": ("tagging", ["--columns", "a,b"], ["one column", "a, b"]),
    "columns of questions": ("qa", ["--columns", "a"], ["columns of questions and of texts"]),
    "no labels": ("tagging", ["--unlabelled"], ["not the kind tagging", "leave it out"]),
    "no labels of questions": ("qa", ["--unlabelled"], ["not the kind qa"]),
    "scheme": ("tagging", ["--set", "task.tagging.scheme=BIOX"], ["task.tagging.scheme", "BIOX"]),
    "scheme of the files": ("tagging", ["--set", "task.tagging.read_as=BMES"], ["scheme BMES", "train.conll"]),
    "threshold": ("mrc", ["--set", "task.mrc.threshold=2"], ["task.mrc.threshold", "less than 1"]),
    "step": ("qa", ["--set", "task.qa.step=0"], ["task.qa.step", "1"]),
    "settings of another kind": ("tagging", ["--set", "task.qa.step=9"], ["of the kind qa", "is tagging"]),
    "a field there is not": ("qa", ["--set", "task.qa.stride=9"], ["stride", "step"]),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings(case: str, ask: Ask) -> None:
    kind, flags, fragments = SETTINGS[case]
    refused(ask("finetune", kind, *flags), *fragments)


@pytest.mark.parametrize(("kind", "least"), [("tagging", 4), ("mrc", 6), ("qa", 5)])
def test_the_least_that_works(kind: str, least: int, ask: Ask) -> None:
    few = ("--no-baseline", "--set", "training.max_steps=2", "--set", "training.batch_size=4")
    outcome = ask("finetune", kind, "--max-length", least, "--limit", "train=1", "--limit", "validation=4", *few)
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("kind", ["tagging", "mrc", "qa"])
def test_a_split_without_labels_is_predicted_and_not_scored(kind: str, ask: Ask, tmp_path: Path) -> None:
    known, unknown = (ANSWERED, {"id": "b", **QUESTION}) if kind == "qa" else (TAGGED, {"text": "the house"})
    splits = {"train_jsonl": lines_of(known), "validation_jsonl": lines_of(known), "test_jsonl": lines_of(unknown)}
    data = written(tmp_path / "data", **splits)
    refused(ask("evaluate", kind, "--split", "test", data=data), "test split of files", UNSCORED)
    refused(ask("predict", kind, "--split", "dev", data=data), "no split 'dev'", "validation")
    assert ask("predict", kind, "--split", "test", data=data).code == 0
    (row,) = map(json.loads, (tmp_path / "out" / "test.jsonl").read_text().splitlines())
    assert ("prediction" if kind == "qa" else "entities") in row


def test_types_with_spaces_stay_one_column_of_the_answers(ask: Ask, tmp_path: Path) -> None:
    from conftest import make_model, make_tokenizer

    names = ("O", "B-very bad", "I-very bad")
    fields = {"id2label": dict(enumerate(names)), "label2id": {name: number for number, name in enumerate(names)}}
    make_model(head="token-classification", **fields).save_pretrained(tmp_path / "model")
    make_tokenizer().save_pretrained(tmp_path / "model")
    rows = lines_of({"text": "the house is a day " * 9, "spans": [[0, 3, "very bad"]]})
    data = written(tmp_path / "data", train_jsonl=rows, validation_jsonl=rows)
    assert ask("predict", "tagging", "--split", "validation", data=data, model=tmp_path / "model").code == 0
    lines = (tmp_path / "out" / "validation.conll").read_text().splitlines()
    assert {len(line.split()) for line in lines if line} == {2}
    assert any(line.endswith("-very_bad") for line in lines)


@pytest.mark.parametrize("kind", ["tagging", "mrc", "qa"])
def test_texts_of_your_own(kind: str, bertpress: Call, ask: Ask, token_folder: Path, tmp_path: Path) -> None:
    few = ("--no-baseline", "--set", "training.max_steps=2", "--set", "training.batch_size=4")
    assert ask("finetune", kind, *few).code == 0

    def predict(text: str, *more: object) -> Outcome:
        pair = ("--text-pair", text) if kind == "qa" else ()
        return bertpress("predict", tmp_path / "out", "--text", text, *pair, *more, "--device", "cpu", "--quiet")

    wrong = () if kind == "qa" else ("--text-pair", "the day")
    outcome = bertpress("predict", tmp_path / "out", "--text", "the day", *wrong, "--device", "cpu", "--quiet")
    refused(outcome, "give both" if kind == "qa" else "give one")
    refused(predict("caf\udce9"), "UTF-8", "text 1")
    refused(predict("the house " * 50, "--max-length", "100"), "100", "64 positions")
    assert predict("the house " * 50, "--max-length", "64").code == 0
    assert predict("the house", "--max-length", "100").code == 0, "nothing is longer than the model reads"
    for text in ("", " \u3000", "\u200b \u0301 \x01 😀"):
        (line,) = predict(text, "--max-length", "32").out.splitlines()
        assert ("prediction" if kind == "qa" else "entities") in json.loads(line)


HOSTILE = "<script>alert(1)</script>"


@pytest.mark.parametrize("kind", ["tagging", "mrc", "qa"])
def test_hostile_text_stays_text_in_the_report(kind: str, ask: Ask, tmp_path: Path) -> None:
    more: list[Any] = []
    if kind == "qa":
        answers = {"text": [HOSTILE], "answer_start": [4]}
        texts = {"title": HOSTILE, "question": HOSTILE, "context": f"the {HOSTILE} day"}
        rows = lines_of(*({"id": f"{HOSTILE}{number}", **texts, "answers": answers} for number in range(6)))
    else:
        tags = {"tokens": [HOSTILE, "bright", "is"], "ner_tags": [f"B-{HOSTILE}", "B-good", "O"]}
        rows = lines_of(*[tags] * 6)
    if kind == "mrc":
        queries = tmp_path / "queries.json"
        queries.write_text(json.dumps({HOSTILE: "<b>", "good": HOSTILE}))
        more = ["--set", f"task.mrc.queries={queries}"]
    data = written(tmp_path / "data", train_jsonl=rows, validation_jsonl=rows)
    flags = ("--no-baseline", "--max-length", 64, *more)
    training = ("training.max_steps=100", "training.learning_rate=3e-3", "training.batch_size=6")
    outcome = ask("finetune", kind, *flags, *(part for field in training for part in ("--set", field)), data=data)
    assert outcome.code == 0, outcome.err
    spoiling = ("--set", "replacing.max_steps=3", "--set", "replacing.learning_rate=1", "--out", tmp_path / "worse")
    outcome = ask("theseus", kind, *flags, *spoiling, data=data, model=tmp_path / "out")
    assert outcome.code == 0, outcome.err
    page = (tmp_path / "worse" / "report.html").read_text()
    assert HOSTILE not in page
    assert HOSTILE not in (tmp_path / "worse" / "report.md").read_text()
    assert "&lt;script&gt;alert(1)" in page, "it is shown at all"


@pytest.mark.slow  # two million characters through a model
@pytest.mark.parametrize("kind", ["tagging", "mrc", "qa"])
def test_a_very_long_record_works(kind: str, ask: Ask, tmp_path: Path) -> None:
    text = "the house zq is bright " * 90_000
    row = {"text": text, "spans": [[0, 3, "bad"]]}
    known = [ANSWERED, {**ANSWERED, "id": "b", "context": text}] if kind == "qa" else [TAGGED, row]
    data = written(tmp_path / "data", train_jsonl=lines_of(known[0]), validation_jsonl=lines_of(known[1]))
    outcome = ask("evaluate", kind, "--max-length", 64, data=data)
    assert outcome.code == 0, outcome.err
