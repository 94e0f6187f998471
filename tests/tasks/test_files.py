import json
import os
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from bertpress.errors import RequestError
from bertpress.tasks.files import load_files


def write(path, rows):
    """JSON lines of (text, label) pairs."""
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return path


def load(folder, **changes):
    return load_files(**{"data_dir": folder, "columns": ("text",), **changes})


def load_one(tmp_path, labels, **changes):
    return load(
        write(tmp_path / "rows.jsonl", [(f"text {index}", label) for index, label in enumerate(labels)]), **changes
    )


def all_labels(task):
    """The name or score of each row by its text."""
    rows = {}
    for dataset in task.splits.values():
        for row in dataset:
            rows[row["text"]] = row["label"] if task.labels is None else task.labels[row["label"]]
    return rows


def test_folder_with_three_splits(tmp_path):
    write(tmp_path / "train.jsonl", [("a", "pos"), ("b", "neg")])
    (tmp_path / "val.csv").write_text("label,text\nneg,c\n")
    (tmp_path / "test.tsv").write_text("text\nd\n")
    task = load(tmp_path)
    assert (task.name, task.columns, task.labels) == ("files", ("text",), ("neg", "pos"))
    assert (task.metrics, task.primary, task.notes) == (("accuracy", "f1_macro"), "accuracy", ())
    assert task.splits["train"].to_dict() == {"text": ["a", "b"], "label": [1, 0]}
    assert task.splits["validation"].to_dict() == {"text": ["c"], "label": [0]}
    assert task.splits["test"].to_dict() == {"text": ["d"]}


def test_two_columns_and_a_named_label(tmp_path):
    (tmp_path / "rows.csv").write_text("question,answer,grade\na,b,1.5\nc,,2\n")
    task = load_files(tmp_path / "rows.csv", columns=["question", "answer"], label="grade")
    assert task.columns == ("question", "answer")
    assert (task.labels, task.primary) == (None, "pearson_spearmanr")
    assert task.metrics == ("pearson", "spearmanr", "pearson_spearmanr")
    assert sorted(row["label"] for split in task.splits.values() for row in split) == [1.5, 2.0]
    assert task.notes == ("train: 1 of 2 cells of 'answer' are empty",)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["b", "a", "b", "a"], ("a", "b")),
        ([10, 9, 10, 9], ("9", "10")),
        (["10", "9", "10", "9"], ("9", "10")),
        (["01", "02", "01", "02"], ("01", "02")),
        ([1.0, 0.0, 1.0, 0.0], ("0", "1")),
        ([-1, 1, -1, 1], ("-1", "1")),
        ([True, False, True, False], ("False", "True")),
        ([0.5, 1, 2.25, 1], None),
        (["0.5", "1", "2", "1"], None),
    ],
)
def test_the_kind_follows_from_the_labels(tmp_path, labels, names):
    task = load_one(tmp_path, labels)
    assert task.labels == names
    expected = [float(label) if names is None else str(label).removesuffix(".0") for label in labels]
    assert all_labels(task) == {f"text {index}": label for index, label in enumerate(expected)}


def test_a_given_kind_wins(tmp_path):
    assert load_one(tmp_path, [1, 2, 3, 1], kind="regression").labels is None
    assert load_one(tmp_path, [1.5, 2.0, 1.5, 2.0], kind="classification").labels == ("1.5", "2")
    assert load_one(tmp_path, list(range(60)), kind="classification").labels[-1] == "59"
    with pytest.raises(RequestError, match="Expected classification or regression or embedding as kind, got 'tagging'"):
        load_one(tmp_path, [1, 2], kind="tagging")


def test_whole_numbers_are_remarked_or_refused(tmp_path):
    notes = load_one(tmp_path, [1, 2, 3] * 10).notes
    assert notes == ("the labels are 3 whole numbers and are read as classes; for scores give --kind regression",)
    with pytest.raises(RequestError, match=r"Expected classes or scores, got 51 whole numbers, .*: give --kind"):
        load_one(tmp_path, range(51))


def test_class_labels_keep_the_order_of_the_schema(tmp_path):
    def write_split(name, labels, names):
        features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
        rows = {"text": [f"{name} {label}" for label in labels], "label": labels}
        Dataset.from_dict(rows, features=features).to_parquet(tmp_path / f"{name}.parquet")

    write_split("train", [0, 1, 0], ["small", "large", "huge"])
    write_split("validation", [0, 1], ["large", "small"])
    write_split("test", [-1, -1], ["small", "large", "huge"])
    task = load(tmp_path)
    assert task.labels == ("small", "large", "huge")
    assert task.splits["validation"]["label"][:] == [1, 0]
    assert task.splits["test"].column_names == ["text"]


def test_a_test_split_without_labels(tmp_path):
    write(tmp_path / "train.jsonl", [("a", 0), ("b", 1)])
    write(tmp_path / "validation.jsonl", [("a", 0), ("b", 1)])
    for missing in (None, -1, ""):
        write(tmp_path / "test.jsonl", [("a", missing), ("b", missing)])
        assert load(tmp_path).splits["test"].column_names == ["text"]
    write(tmp_path / "test.jsonl", [("a", 0), ("b", None)])
    with pytest.raises(RequestError, match="Expected a label in every row, but row 2 of the test split has None"):
        load(tmp_path)


def test_minus_one_is_a_class_where_training_has_it(tmp_path):
    write(tmp_path / "train.jsonl", [("a", -1), ("b", 1)])
    write(tmp_path / "validation.jsonl", [("a", -1), ("b", 1)])
    write(tmp_path / "test.jsonl", [("a", -1)])
    assert load(tmp_path).splits["test"]["label"][:] == [0]


def test_without_training_rows(tmp_path):
    write(tmp_path / "test.jsonl", [("a", "x"), ("b", "y")])
    assert list(load(tmp_path).splits) == ["test"]
    write(tmp_path / "test.jsonl", [("a", None), ("b", None)])
    with pytest.raises(RequestError, match="Expected a labelled split, got a test split without 'label': add train"):
        load(tmp_path)


def test_texts_that_are_no_strings(tmp_path):
    task = load(write(tmp_path / "rows.jsonl", [(1, "a"), (None, "b"), (2, "a"), (3, "b")]))
    assert sorted(all_labels(task)) == ["", "1", "2", "3"]
    assert task.notes == (
        "train: 3 of 4 cells of 'text' are not strings and are read as text",
        "train: 1 of 4 cells of 'text' are empty",
    )


@pytest.mark.parametrize(
    ("labels", "changes", "message"),
    [
        (["a", None], {}, "Expected a label in every row, but row 2 of the train split has None: add it"),
        (["a", "b", " "], {}, "Expected a label in every row, but row 3 of the train split has None"),
        ([0.5, float("nan")], {}, "Expected a label in every row, but row 2 of the train split has None"),
        ([1.0, float("inf")], {}, "Expected a label in every row, but row 2 of the train split has inf"),
        (["1.5", "nan"], {}, "Expected a finite number as label, but row 2 of the train split has 'nan': correct it"),
        (["a", "a"], {}, "Expected two classes or more, but all train rows are 'a': add others"),
        ([1.5, "high"], {"kind": "regression"}, "Expected a finite number as label, but row 2 .* has 'high'"),
        ([True, False], {"kind": "regression"}, "Expected a finite number as label, but row 1 .* has True"),
        ([["a"], ["b"]], {}, "Expected strings or numbers in 'label', but row 1 holds a list: flatten it"),
        (["a", "b"], {"columns": None}, "Expected the names of one or two text columns, .* --columns from text, label"),
        (["a", "b"], {"columns": ()}, "Expected one or two different text columns, got none: choose"),
        (["a", "b"], {"columns": ("text", "text")}, "Expected one or two different text columns, got text, text"),
        (["a", "b"], {"columns": ("a", "b", "c")}, "Expected one or two different text columns, got a, b, c"),
        (["a", "b"], {"columns": ("label",)}, "Expected texts and label in different columns"),
        (
            ["a", "b"],
            {"columns": ("txt",)},
            r"Expected a column 'txt' in the train split, .* \(did you mean 'text'\?\)",
        ),
        (
            ["a", "b"],
            {"label": "lable"},
            r"Expected a column 'lable' in the train split, .* \(did you mean 'label'\?\)",
        ),
    ],
)
def test_wrong_rows(tmp_path, labels, changes, message):
    with pytest.raises(RequestError, match=message):
        load_one(tmp_path, labels, **changes)


def test_a_label_that_training_lacks(tmp_path):
    write(tmp_path / "train.jsonl", [("a", "yes"), ("b", "no")])
    write(tmp_path / "validation.jsonl", [("a", "yes"), ("b", "yess")])
    with pytest.raises(
        RequestError, match=r"Expected a label that train has, but row 2 of the validation split has 'yess'"
    ):
        load(tmp_path)


def test_empty_texts(tmp_path):
    with pytest.raises(RequestError, match="Expected text in text, but all cells of train are empty: fill them in"):
        load(write(tmp_path / "rows.jsonl", [("", "a"), (None, "b")]))


def test_sources(tmp_path):
    with pytest.raises(RequestError, match="Expected a folder or a file with the rows, got neither: give --data-dir"):
        load_files(columns=("text",))
    with pytest.raises(RequestError, match=r"Expected a folder at .*, found nothing"):
        load(tmp_path / "missing")
    with pytest.raises(RequestError, match=r"Expected a file at .*missing.csv, found none"):
        load(tmp_path / "missing.csv")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "label", "classes"), [("hyperpartisan", "hyperpartisan", 2), ("20newsgroups", "label", 20)]
)
def test_real_folders(name, label, classes):
    task = load(Path(os.environ["BERTPRESS_DATA"], name), label=label)
    assert task.labels is not None
    assert len(task.labels) == classes
    assert {"train", "test"} <= set(task.splits)
