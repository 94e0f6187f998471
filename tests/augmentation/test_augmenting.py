from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from conftest import make_tokenizer

import bertpress
from bertpress.augmentation import SAMPLES, Augmentation, augmenting, shards
from bertpress.augmentation.job import Job, Source
from bertpress.augmentation.models import load_masked_lm
from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.recipe import TaskSpec
from bertpress.tasks import load_task
from bertpress.tasks.classification import Classification
from bertpress.tasks.data import TextData, build_split

from .sequential import pair_rows, samples

PAIRS = [
    ('The "bright" house\twas quick', "a slow road"),
    ("A day, a housey day", "BOOK of the river\nand tree"),
    ("the", "was is"),
    ("Tree", "A day, a housey day"),
    ("grey road" * 3, "warm clean Roady river"),
]
VECTORS = "housey 1 0 0.1\nhousex 0.9 0.1 0\nroady 0.2 1 0\nHome 0.5 0.4 0\nlane 0.1 0.8 0.3\n"
Masked = Callable[..., Path]


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    file = tmp_path / "vectors.txt"
    file.write_text(VECTORS, encoding="utf-8")
    return file


def pair_task(rows: list[tuple[str, str]] = PAIRS) -> Classification:
    texts = {"one": [first for first, _ in rows], "two": [second for _, second in rows]}
    train = build_split(texts, [index % 2 for index in range(len(rows))], ["no", "yes"], "train")
    data = TextData(
        "files", {"train": train, "validation": train}, ("one", "two"), ("no", "yes"), ("accuracy",), "accuracy"
    )
    return Classification(data, make_tokenizer(), 32)


def job_of(task: Classification, settings: Augmentation, runtime: Runtime = Runtime(device="cpu")) -> Job:  # noqa: B008
    embeddings = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    return Job.of(task, settings, Source("teacher", make_tokenizer(), lambda: embeddings), runtime)


def rows_in(folder: Path, name: str = "train") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(folder / f"{name}.parquet").to_pylist()
    return rows


@pytest.mark.parametrize("context", ["pair", "single"])
def test_it_equals_one_word_at_a_time(
    context: Any, masked_lm_folder: Masked, glove: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "TEXTS", 3)
    folder = masked_lm_folder("bert")
    settings = Augmentation(
        masked_lm=str(folder), vectors=str(glove), samples=7, candidates=4, context=context, token_budget=90
    )
    augmenting.augment(job_of(pair_task(), settings), tmp_path / "out")
    model, tokenizer = load_masked_lm(str(folder)), make_tokenizer()
    lines = [line.split() for line in VECTORS.splitlines()]
    table = [line[0] for line in lines], np.array([line[1:] for line in lines], dtype=np.float32)
    expected = []
    for row, texts in enumerate(PAIRS):
        made = [samples(text, row, field, model, tokenizer, table, settings, 7) for field, text in enumerate(texts)]
        expected += [(row, *pair) for pair in pair_rows(*texts, *made)]
    found = [(row["source_row"], row["one"], row["two"]) for row in rows_in(tmp_path / "out")]
    assert found == expected
    assert len(found) > 30
    assert any("lane" in second or "Lane" in second for *_, second in found), "vectors had their part"


def test_the_columns_and_the_labels(tmp_path: Path) -> None:
    made = augmenting.augment(job_of(pair_task(), Augmentation(samples=4)), tmp_path / "out")
    rows = rows_in(tmp_path / "out")
    assert list(rows[0]) == ["one", "two", "label", "source_row", "field", "sample_index", "is_augmented"]
    assert [row["source_row"] for row in rows] == sorted(row["source_row"] for row in rows)
    for number, texts in enumerate(PAIRS):
        own = [row for row in rows if row["source_row"] == number]
        assert (own[0]["one"], own[0]["two"]) == texts, "the original comes first"
        assert [row["is_augmented"] for row in own] == [False, *[True] * (len(own) - 1)]
        assert len(own) <= 2 * 4 + 1
        assert len({(row["one"], row["two"]) for row in own}) == len(own)
        assert {row["label"] for row in own} == {number % 2}
        for row in own:
            kept = {"": ("one", "two"), "one": ("two",), "two": ("one",)}[row["field"]]
            assert all(row[column] == texts[("one", "two").index(column)] for column in kept)
    assert sum(row["source_row"] == 2 for row in rows) == 1, "no eligible word, no copy"
    assert (made["rows"], made["original_rows"]) == (len(rows), len(PAIRS))
    assert 0.2 < made["share_of_eligible"] < 0.6
    assert made["share_of_words"] < made["share_of_eligible"]
    assert rows_in(tmp_path / "out", "validation") == [
        {"one": one, "two": two, "label": index % 2} for index, (one, two) in enumerate(PAIRS)
    ]


def test_both_texts_of_a_pair_together(tmp_path: Path) -> None:
    augmenting.augment(job_of(pair_task(), Augmentation(samples=6, pair_mode="both")), tmp_path / "out")
    rows = rows_in(tmp_path / "out")
    assert {row["field"] for row in rows} == {"", "one+two"}
    assert all(sum(row["source_row"] == number for row in rows) <= 7 for number in range(len(PAIRS)))
    both = [row for row in rows if row["source_row"] == 0 and row["one"] != PAIRS[0][0] and row["two"] != PAIRS[0][1]]
    assert both


def test_a_row_does_not_depend_on_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    augmenting.augment(job_of(pair_task(), Augmentation(samples=4)), tmp_path / "all")
    monkeypatch.setattr(shards, "TEXTS", 2)
    augmenting.augment(job_of(pair_task(PAIRS[:2]), Augmentation(samples=4)), tmp_path / "some")
    some = rows_in(tmp_path / "some")
    assert some == rows_in(tmp_path / "all")[: len(some)]


def test_probability_one_replaces_every_eligible_word(tmp_path: Path) -> None:
    made = augmenting.augment(job_of(pair_task(), Augmentation(samples=3, replace_probability=1)), tmp_path / "out")
    assert made["share_of_eligible"] == 1


def test_keep_leaves_words_as_they_are(masked_lm_folder: Masked, tmp_path: Path) -> None:
    settings = Augmentation(
        masked_lm=str(masked_lm_folder("bert")), multi_piece="keep", samples=5, replace_probability=1
    )
    augmenting.augment(job_of(pair_task(), settings), tmp_path / "out")
    own = [row for row in rows_in(tmp_path / "out") if row["source_row"] == 1 and row["field"] == "one"]
    assert own
    assert all("housey" in row["one"] and "day" not in row["one"] for row in own)


def test_no_word_at_all(tmp_path: Path) -> None:
    made = augmenting.augment(job_of(pair_task([("the", "1 2"), ("", "!")]), Augmentation()), tmp_path / "out")
    assert (made["rows"], made["share_of_words"], made["share_of_eligible"]) == (2, 0, 0)


def test_a_killed_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "TEXTS", 2)
    settings = Augmentation(samples=4)
    augmenting.augment(job_of(pair_task(), settings), tmp_path / "whole")

    def kill(phase: str, step: int, total: int, logs: Any) -> None:
        if phase == "candidates" and step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        augmenting.augment(job_of(pair_task(), settings, Runtime(device="cpu", progress=kill)), tmp_path / "killed")
    assert len(list((tmp_path / "killed" / "candidates").iterdir())) == 3
    assert not (tmp_path / "killed" / "train.parquet").exists()
    steps: list[int] = []

    def note(phase: str, step: int, total: int, logs: Any) -> None:
        if phase == "candidates":
            steps.append(step)

    augmenting.augment(job_of(pair_task(), settings, Runtime(device="cpu", progress=note)), tmp_path / "killed")
    assert steps == [4, 5], "two shards were left"
    assert (tmp_path / "killed" / "train.parquet").read_bytes() == (tmp_path / "whole" / "train.parquet").read_bytes()
    assert {path.name for path in (tmp_path / "killed").iterdir()} == {
        "request.json",
        "manifest.json",
        "train.parquet",
        "validation.parquet",
    }


def test_a_finished_one_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = augmenting.augment(job_of(pair_task(), Augmentation(samples=2)), tmp_path / "out")
    monkeypatch.setattr(Job, "slots_of", None)
    again = augmenting.augment(job_of(pair_task(), Augmentation(samples=2, token_budget=7)), tmp_path / "out")
    assert again == first


OTHER = {
    "settings": ({"samples": 3}, "samples: 2 there, 3 now"),
    "seed": ({"seed": 1}, "seed: 42 there, 1 now"),
    "data": ({"rows": PAIRS[:2]}, "data: "),
}


@pytest.mark.parametrize("what", OTHER)
def test_another_request_in_the_same_folder_is_refused(what: str, tmp_path: Path) -> None:
    augmenting.augment(job_of(pair_task(), Augmentation(samples=2)), tmp_path / "out")
    changed, message = OTHER[what]
    rows = changed.get("rows", PAIRS)
    settings = Augmentation(**{"samples": 2, **{name: value for name, value in changed.items() if name != "rows"}})
    with pytest.raises(RequestError, match=f"another augmentation .*{message}"):
        augmenting.augment(job_of(pair_task(rows), settings), tmp_path / "out")


def test_a_changed_file_of_vectors_is_another_request(glove: Path, tmp_path: Path) -> None:
    settings = Augmentation(samples=2, vectors=str(glove))
    augmenting.augment(job_of(pair_task(), settings), tmp_path / "out")
    glove.write_text(VECTORS + "new 1 1 1\n")
    with pytest.raises(RequestError, match="vectors: "):
        augmenting.augment(job_of(pair_task(), settings), tmp_path / "out")


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RequestError, match="holds files that are no augmentation"):
        augmenting.augment(job_of(pair_task(), Augmentation()), tmp_path)


def test_requests_that_cannot_be_met(tmp_path: Path, masked_lm_folder: Masked) -> None:
    task = pair_task()
    without = Classification(
        dataclasses.replace(task.data, splits={"validation": task.splits["validation"]}), task.tokenizer, 32
    )
    with pytest.raises(RequestError, match="no training split"):
        job_of(without, Augmentation())
    segments = tmp_path / "segments.txt"
    segments.write_text("another text\n")
    settings = Augmentation(masked_lm=str(masked_lm_folder("bert")), word_segments=str(segments))
    with pytest.raises(RequestError, match="segments none of the texts"):
        job_of(task, settings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"single_piece": "masked-lm"}, "needs a masked-language model"),
        ({"single_piece": "keep", "multi_piece": "keep"}, "no word would be replaced"),
        ({"masked_lm": "x", "single_piece": "vectors"}, "does not use it"),
        ({"word_segments": "x"}, "needs a masked-language model"),
        ({"masked_lm": "x", "multi_piece": "keep", "vectors": "y"}, "no words are looked up"),
        ({"replace_probability": 0}, "greater than 0"),
    ],
)
def test_settings_that_contradict_each_other(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**values)


def test_numbers_of_samples() -> None:
    assert Augmentation().samples_of("glue/cola") == 30
    assert Augmentation().samples_of("glue/mnli") == 10
    assert Augmentation().samples_of("files") == Augmentation().samples_of("glue/wnli") == 20
    assert Augmentation(samples=7).samples_of("glue/cola") == 7
    assert len(SAMPLES) == 8


def test_every_field_has_a_help_text() -> None:
    assert all(field.description for field in Augmentation.model_fields.values())


def test_the_result_is_data_of_the_same_task(tiny_model_folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    folder = tmp_path / "data" / "mrpc"
    folder.mkdir(parents=True)
    names = ClassLabel(names=["not_equivalent", "equivalent"])
    features = Features({"sentence1": Value("string"), "sentence2": Value("string"), "label": names})
    columns = {"sentence1": [a for a, _ in PAIRS], "sentence2": [b for _, b in PAIRS], "label": [1, 0, 1, 0, 1]}
    for split in ("train", "validation"):
        Dataset.from_dict(columns, features=features).to_parquet(folder / f"{split}.parquet")
    Dataset.from_dict({**columns, "label": [-1] * 5}, features=features).to_parquet(folder / "test.parquet")
    monkeypatch.setenv("BERTPRESS_DATA", str(tmp_path / "data"))
    runtime = Runtime(device="cpu")
    made = bertpress.augment(
        "glue/mrpc", str(tiny_model_folder), tmp_path / "out", Augmentation(samples=3), runtime=runtime
    )
    assert made["task"] == "glue/mrpc"
    own = load_task(TaskSpec(name="glue/mrpc", data_dir=str(tmp_path / "out")), make_tokenizer(), 32)
    before = load_task(TaskSpec(name="glue/mrpc"), make_tokenizer(), 32)
    assert own.labels == before.labels == ("not_equivalent", "equivalent")
    assert len(own.splits["train"]) == made["rows"] > 5
    for split in ("validation", "test"):
        assert own.splits[split].to_list() == before.splits[split].to_list()
    files = load_task(
        TaskSpec(name="files", data_dir=str(tmp_path / "out"), columns=("sentence1", "sentence2")), make_tokenizer(), 32
    )
    assert files.labels == ("not_equivalent", "equivalent")
    assert files.splits["train"]["label"][:] == own.splits["train"]["label"][:]


def test_scores_stay_numbers(tmp_path: Path) -> None:
    train = build_split({"text": ["bright house", "slow road"]}, [0.5, 4.25], None, "train")
    data = TextData("files", {"train": train}, ("text",), None, ("pearson",), "pearson")
    augmenting.augment(job_of(Classification(data, make_tokenizer(), 32), Augmentation(samples=3)), tmp_path / "out")
    assert {(row["source_row"], row["label"]) for row in rows_in(tmp_path / "out")} == {(0, 0.5), (1, 4.25)}


def test_an_estimate_writes_nothing(tiny_model_folder: Path, tiny_data_folder: Path, masked_lm_folder: Masked) -> None:
    task = {"files": str(tiny_data_folder), "columns": ["text"]}
    settings = Augmentation(masked_lm=str(masked_lm_folder("bert")), samples=3)
    made = bertpress.augment(task, str(tiny_model_folder), None, settings, runtime=Runtime(device="cpu"), dry_run=True)
    assert (made["rows"], made["rows_at_most"]) == (96, 96 * 4)
    assert made["words_by_masked_lm"] > 300
    assert made["seconds"] > 0
    assert len(made["sample"]) == 5
    assert all(row["original"] != row["augmented"] for row in made["sample"])
    json.dumps(made)


def test_the_tokens_of_a_family_are_masked_the_same_way(masked_lm_folder: Masked, tmp_path: Path) -> None:
    task = pair_task()
    for family in ("roberta", "distilbert"):
        settings = Augmentation(masked_lm=str(masked_lm_folder(family)), samples=2)
        assert augmenting.augment(job_of(task, settings), tmp_path / family)["rows"] > len(PAIRS)
