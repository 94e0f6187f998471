import json
import random
from collections import Counter

import pytest
from conftest import make_tokenizer
from datasets import Dataset

from bertpress.config import build
from bertpress.errors import RequestError
from bertpress.recipe import TaskSpec
from bertpress.tasks import load_task
from bertpress.tasks.data import CLASSES, SCORES, TextData, build_split
from bertpress.tasks.splits import hold_out, keep_made, limit, limited, make_splits, parse_shares, spread

NAMES = ("a", "b", "c")
UNEVEN = [0] * 150 + [1] * 40 + [2] * 10


def make(splits, names=NAMES, **fields):
    """Data whose texts are "train 0", "train 1", ... with these labels; None: no labels."""
    rows = {
        split: build_split(
            {"text": [f"{split} {index}" for index in range(count)]}, labels, None if labels is None else names, split
        )
        for split, (count, labels) in ((s, v if isinstance(v, tuple) else (len(v), v)) for s, v in splits.items())
    }
    return TextData("files", rows, ("text",), names, **{**(CLASSES if names else SCORES), **fields})


def counts(data):
    """Split to class to number of its rows."""
    return {split: dict(Counter(NAMES[label] for label in rows["label"])) for split, rows in data.splits.items()}


def sizes(data):
    return {split: len(rows) for split, rows in data.splits.items()}


def write(path, labels):
    """JSON lines with a text and these labels."""
    rows = [{"text": f"text {index}", "label": label} for index, label in enumerate(labels)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("text", "shares"),
    [("80/10/10", [80, 10, 10]), (" 70 / 15/15", [70, 15, 15]), ("80/20/0", [80, 20, 0]), ("99.5/0.25/0.25", None)],
)
def test_shares(text, shares):
    assert list(parse_shares(text)) == ["train", "validation", "test"]
    assert shares is None or list(parse_shares(text).values()) == shares


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("80", "expected percentages of train, validation and test such as 80/10/10"),
        ("80/20", "expected percentages of train"),
        ("80/10/5/5", "expected percentages of train"),
        ("80/ten/10", "expected percentages of train"),
        ("0/50/50", r"expected percentages .* \(only test may be 0\)"),
        ("80/0/20", r"expected percentages .* \(only test may be 0\)"),
        ("120/-10/-10", "expected percentages of train"),
        ("nan/10/10", "expected percentages of train"),
        ("0.8/0.1/0.1", "expected percentages that add to 100, got 0.8/0.1/0.1, which add to 1$"),
        ("80/10/5", "expected percentages that add to 100, got 80/10/5, which add to 95"),
    ],
)
def test_shares_that_are_refused(text, message):
    with pytest.raises(RequestError, match=f"^task.make_splits: {message}"):
        build(TaskSpec, {"make_splits": text}, where="task")


def test_one_split_becomes_three_by_class():
    data = make({"train": UNEVEN})
    made = make_splits(data, "80/10/10")
    assert counts(made) == {
        "train": {"a": 120, "b": 32, "c": 8},
        "validation": {"a": 15, "b": 4, "c": 1},
        "test": {"a": 15, "b": 4, "c": 1},
    }
    assert list(made.splits) == ["train", "validation", "test"]
    assert made.notes == ("made of 200 training rows (seed 1): train 160, validation 20, test 20",)
    assert sorted(row for rows in made.made.values() for row in rows) == list(range(200))
    for split, rows in made.made.items():
        assert list(rows) == sorted(rows)
        assert made.splits[split].to_dict() == data.splits["train"].select(rows).to_dict()


def test_rows_are_the_same_for_everyone():
    random.seed(3)
    first = make_splits(make({"train": UNEVEN}), "80/10/10").made
    random.seed(4)
    assert make_splits(make({"train": UNEVEN}), "80/10/10").made == first
    assert first["validation"] == hold_out(make({"train": UNEVEN})).made["validation"]
    assert spread(UNEVEN, seed=2) != spread(UNEVEN)


def test_a_missing_validation_split_is_taken_in_the_ratio_of_the_first_two():
    made = make_splits(make({"train": [0, 1] * 90, "test": [0, 1]}), "80/10/10")
    assert counts(made) == {
        "train": {"a": 80, "b": 80},
        "validation": {"a": 10, "b": 10},
        "test": {"a": 1, "b": 1},
    }
    assert list(made.made) == ["train", "validation"]
    assert sizes(make_splits(make({"train": [0, 1] * 90, "test": (5, None)}), "60/20/20")) == {
        "train": 135,
        "validation": 45,
        "test": 5,
    }


def test_a_missing_test_split_is_taken_in_the_ratio_of_train_to_test():
    splits = {"train": [0, 1] * 90, "validation": [0], "validation_mismatched": [1]}
    made = make_splits(make(splits), "80/10/10")
    assert sizes(made) == {"train": 160, "test": 20, "validation": 1, "validation_mismatched": 1}


def test_a_test_share_of_0_makes_no_test_split():
    assert sizes(make_splits(make({"train": [0, 1] * 50}), "80/20/0")) == {"train": 80, "validation": 20}


def test_scores_and_rows_without_labels_are_drawn_from_all():
    scores = [float(index) for index in range(100)]
    assert sizes(make_splits(make({"train": scores}, names=None), "80/10/10"))["validation"] == 10
    assert sizes(make_splits(make({"train": (100, None)}), "80/10/10"))["test"] == 10


def test_rare_classes_are_named():
    labels = [0] * 96 + [1] * 3 + [2]
    made = make_splits(make({"train": labels}), "80/10/10")
    assert sizes(made) == {"train": 80, "validation": 10, "test": 10}
    assert counts(made)["train"]["c"] == 1
    assert made.notes[1] == (
        "classes with too few rows for every split: b (3, none in validation), c (1, none in validation and test)"
    )
    many = tuple(f"class {index}" for index in range(8))
    notes = make_splits(make({"train": [*range(8), *[0] * 12]}, names=many), "80/10/10").notes
    assert notes[1].endswith(" and 2 more")


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            {"train": [0, 1], "validation": [0], "test": [1]},
            "Expected a missing split to make, but files has train, validation, test: leave out --make-splits",
        ),
        ({"test": [0, 1]}, "Expected training rows to make splits of, but files has test: name the file"),
        ({"train": [0, 1]}, "Expected enough training rows to take validation and test from, got 2: add rows"),
    ],
)
def test_what_cannot_be_made(splits, message):
    with pytest.raises(RequestError, match=message):
        make_splits(make(splits), "80/10/10")


def test_a_tenth_is_held_out_by_class():
    made = hold_out(make({"train": UNEVEN, "test": [0]}))
    assert list(made.splits) == ["train", "validation", "test"]
    assert counts(made)["validation"] == {"a": 15, "b": 4, "c": 1}
    assert made.notes == ("no validation split: 20 of 200 training rows (seed 1) are held out for validation",)
    assert list(made.made) == ["train", "validation"]
    scores = [index / 7 for index in range(50)]
    assert sizes(hold_out(make({"train": scores}, names=None))) == {"train": 45, "validation": 5}
    with pytest.raises(RequestError, match="Expected enough training rows to take validation from, got 1: add rows"):
        hold_out(make({"train": [0]}))


def test_nothing_is_held_out_where_there_is_a_validation_split_or_no_training_split():
    for splits in ({"train": [0, 1], "validation_mismatched": [0]}, {"test": [0, 1]}):
        data = make(splits)
        assert hold_out(data) is data


def test_files_get_a_validation_split_but_an_incomplete_glue_folder_does_not(tmp_path):
    write(tmp_path / "rows.jsonl", ["x", "y"] * 10)
    task = load_task(TaskSpec(data_dir=str(tmp_path / "rows.jsonl"), columns=("text",)), make_tokenizer(), 32)
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 18, "validation": 2}
    (tmp_path / "train.tsv").write_text("sentence\tlabel\na\t1\nb\t0\nc\t1\nd\t0\n")
    spec = TaskSpec(name="glue/sst2", data_dir=str(tmp_path))
    assert list(load_task(spec, make_tokenizer(), 32).splits) == ["train"]
    spec = spec.model_copy(update={"make_splits": "50/25/25"})
    assert list(load_task(spec, make_tokenizer(), 32).splits) == ["train", "validation", "test"]


def test_limits_come_after(tmp_path):
    write(tmp_path / "rows.jsonl", ["x", "y"] * 50)
    spec = TaskSpec(data_dir=str(tmp_path / "rows.jsonl"), columns=("text",), make_splits="80/10/10")
    whole = load_task(spec, make_tokenizer(), 32)
    task = load_task(spec, make_tokenizer(), 32, {"test": 4, "train": 20})
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 20, "validation": 10, "test": 4}
    assert set(task.splits["test"]["text"]) < set(whole.splits["test"]["text"])
    assert task.made_splits == whole.made_splits


def test_unlabelled_rows(tmp_path):
    write(tmp_path / "rows.jsonl", ["x", "y"] * 50)
    spec = TaskSpec(data_dir=str(tmp_path / "rows.jsonl"), columns=("text",), make_splits="80/10/10", unlabelled=True)
    task = load_task(spec, make_tokenizer(), 32)
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 80, "validation": 10, "test": 10}
    assert not task.has_labels("train")


def test_plain_text_and_complete_tasks_have_nothing_to_make():
    with pytest.raises(RequestError, match=r"Plain text holds validation rows out by corpus.validation; leave out"):
        load_task(TaskSpec(name="text", data_dir="x", make_splits="80/10/10"), make_tokenizer(), 32)


def test_a_run_keeps_the_rows_of_its_splits(carry_out, tiny_data_folder, tmp_path):
    task = {"files": str(tiny_data_folder / "train.csv"), "columns": ["text"], "make_splits": "50/25/25"}
    step = {"finetune": {"training": {"max_steps": 2, "batch_size": 16}}}
    folder = carry_out(step, tmp_path / "run", task=task)
    kept = json.loads((folder / "splits.json").read_text())
    assert {name: kept[name] for name in ("made_of", "counted_from", "seed")} == {
        "made_of": "train",
        "counted_from": 0,
        "seed": 1,
    }
    assert {split: len(rows) for split, rows in kept["rows"].items()} == {"train": 48, "validation": 24, "test": 24}
    again = load_task(TaskSpec(name="files", data_dir=task["files"], columns=("text",), make_splits="50/25/25"),
                      make_tokenizer(), 32)  # fmt: skip
    assert again.made_splits == kept["rows"]
    assert "make_splits: 50/25/25" in (folder / "recipe.yaml").read_text()
    assert not (carry_out(step, tmp_path / "whole") / "splits.json").exists()
    before = (folder / "splits.json").read_text()
    keep_made(folder / "splits.json", again.made_splits)
    with pytest.raises(RequestError, match=r"splits.json holds other rows, so the data have changed since"):
        keep_made(folder / "splits.json", {"train": [0], "validation": [1]})
    assert (folder / "splits.json").read_text() == before


def test_limit_is_a_seeded_subset_in_order():
    splits = {"train": Dataset.from_dict({"row": list(range(100))}), "test": Dataset.from_dict({"row": [1, 2]})}
    random.seed(0)
    rows = limit(splits, {"train": 10, "test": 5}, seed=1)["train"]["row"][:]
    assert len(rows) == 10
    assert rows == sorted(rows)
    random.seed(5)
    assert limit(splits, {"train": 10}, seed=1)["train"]["row"][:] == rows
    assert limit(splits, {"train": 10}, seed=2)["train"]["row"][:] != rows
    assert limit(splits, {"test": 5}, seed=1) == splits
    with pytest.raises(RequestError, match=r"Expected a split to limit, got 'trian' \(did you mean 'train'\?\): name"):
        limit(splits, {"trian": 5}, seed=1)
    with pytest.raises(RequestError, match="Expected at least 1 row for 'train', got 0: give a positive limit"):
        limit(splits, {"train": 0}, seed=1)


def test_remarks_on_rows_that_a_limit_leaves_out_say_so() -> None:
    splits = {name: Dataset.from_dict({"text": ["a"] * 8}) for name in ("train", "validation")}
    notes = ("train: 3 of 8 cells of 'text' are empty", "validation: 1 of 8 cells of 'text' are empty", "made of paper")
    data = TextData("files", splits, ("text",), None, (), "", notes=notes)
    cut = limited(data, {"train": 5, "validation": 8})
    assert [len(rows) for rows in cut.splits.values()] == [5, 8]
    assert cut.notes == ("train (before --limit): 3 of 8 cells of 'text' are empty", *notes[1:])
