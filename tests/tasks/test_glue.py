import os

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from bertpress.errors import RequestError
from bertpress.tasks.glue import GLUE, glue_key, load_glue

MNLI_HEAD = [
    "index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse",
    "sentence2_parse", "sentence1", "sentence2",
]  # fmt: skip
MNLI_FIELDS = ["0", "p", "p", "fiction", "( a )", "( b )", "(ROOT)", "(ROOT)", 'Say "a', '"b" said']
STSB_HEAD = ["index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2"]
STSB_FIELDS = ["0", "news", "f", "2012", "1", "none", "none", 'Say "a', '"b" said']
A, B = 'Say "a', '"b" said'

# task: folder, split: (file, header, rows), labels of train and validation
ARCHIVES = {
    "cola": ("CoLA", {
        "train": ("train.tsv", None, [["gj04", "1", "", A], ["gj04", "0", "*", A]]),
        "validation": ("dev.tsv", None, [["gj04", "0", "*", A]]),
        "test": ("test.tsv", ["index", "sentence"], [["0", A]]),
    }, {"train": [1, 0], "validation": [0]}),
    "sst2": ("SST-2", {
        "train": ("train.tsv", ["sentence", "label"], [[A, "1"], [A, "0"]]),
        "validation": ("dev.tsv", ["sentence", "label"], [[A, "0"]]),
        "test": ("test.tsv", ["index", "sentence"], [["0", A]]),
    }, {"train": [1, 0], "validation": [0]}),
    "mrpc": ("MRPC", {
        "train": ("train.tsv", ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"], [["1", "7", "8", A, B]]),
        "validation": ("dev.tsv", ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"], [["0", "7", "8", A, B]]),
        "test": ("test.tsv", ["index", "#1 ID", "#2 ID", "#1 String", "#2 String"], [["0", "7", "8", A, B]]),
    }, {"train": [1], "validation": [0]}),
    "stsb": ("STS-B", {
        "train": ("train.tsv", [*STSB_HEAD, "score"], [[*STSB_FIELDS, "3.800"]]),
        "validation": ("dev.tsv", [*STSB_HEAD, "score"], [[*STSB_FIELDS, "5.000"]]),
        "test": ("test.tsv", STSB_HEAD, [STSB_FIELDS]),
    }, {"train": [3.8], "validation": [5.0]}),
    "qqp": ("QQP", {
        "train": ("train.tsv", ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"], [
            ["1", "2", "3", A, B, "1"], ["4", "5", "6", A], ["rest", "1"], ["7", "8", "9", A, B, "0"],
        ]),
        "validation": ("dev.tsv", ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"], [
            ["1", "2", "3", A, B, "0"],
        ]),
        "test": ("test.tsv", ["id", "question1", "question2"], [["0", A, B]]),
    }, {"train": [1, 0], "validation": [0]}),
    "mnli": ("MNLI", {
        "train": ("train.tsv", [*MNLI_HEAD, "label1", "gold_label"], [[*MNLI_FIELDS, "neutral", "contradiction"]]),
        "validation": ("dev_matched.tsv", [*MNLI_HEAD, *["label"] * 5, "gold_label"], [
            [*MNLI_FIELDS, *["neutral"] * 5, "entailment"],
        ]),
        "validation_mismatched": ("dev_mismatched.tsv", [*MNLI_HEAD, *["label"] * 5, "gold_label"], [
            [*MNLI_FIELDS, *["entailment"] * 5, "neutral"],
        ]),
        "test": ("test_matched.tsv", MNLI_HEAD, [MNLI_FIELDS]),
        "test_mismatched": ("test_mismatched.tsv", MNLI_HEAD, [MNLI_FIELDS]),
    }, {"train": [2], "validation": [0], "validation_mismatched": [1]}),
    "qnli": ("QNLI", {
        "train": ("train.tsv", ["index", "question", "sentence", "label"], [["0", A, B, "not_entailment"]]),
        "validation": ("dev.tsv", ["index", "question", "sentence", "label"], [["0", A, B, "entailment"]]),
        "test": ("test.tsv", ["index", "question", "sentence"], [["0", A, B]]),
    }, {"train": [1], "validation": [0]}),
    "rte": ("RTE", {
        "train": ("train.tsv", ["index", "sentence1", "sentence2", "label"], [["0", A, B, "not_entailment"]]),
        "validation": ("dev.tsv", ["index", "sentence1", "sentence2", "label"], [["0", A, B, "entailment"]]),
        "test": ("test.tsv", ["index", "sentence1", "sentence2"], [["0", A, B]]),
    }, {"train": [1], "validation": [0]}),
    "wnli": ("WNLI", {
        "train": ("train.tsv", ["index", "sentence1", "sentence2", "label"], [["0", A, B, "1"]]),
        "validation": ("dev.tsv", ["index", "sentence1", "sentence2", "label"], [["0", A, B, "0"]]),
        "test": ("test.tsv", ["index", "sentence1", "sentence2"], [["0", A, B]]),
    }, {"train": [1], "validation": [0]}),
    "ax": ("diagnostic", {
        "test": ("diagnostic.tsv", ["index", "sentence1", "sentence2"], [["0", A, B]]),
    }, {}),
}  # fmt: skip

PRIMARY = {
    "cola": "matthews_correlation",
    "mrpc": "accuracy_f1",
    "qqp": "accuracy_f1",
    "stsb": "pearson_spearmanr",
}


def write_lines(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(fields) for fields in ([header] if header else []) + rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig" if path.parent.name == "MRPC" else "utf-8")


def write_archive(root, name):
    folder, files, _ = ARCHIVES[name]
    for file, header, rows in files.values():
        write_lines(root / folder / file, header, rows)
    return root / folder


def write_rte(path, labels, names=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    features = {"sentence1": Value("string"), "sentence2": Value("string")}
    features["label"] = ClassLabel(names=names) if names else Value("string" if isinstance(labels[0], str) else "int64")
    rows = {"sentence1": [A] * len(labels), "sentence2": [B] * len(labels), "label": labels}
    dataset = Dataset.from_dict(rows, features=Features(features))
    if path.suffix == ".parquet":
        dataset.to_parquet(path)
    else:
        dataset.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")


@pytest.fixture(autouse=True)
def _no_root(monkeypatch):
    monkeypatch.delenv("BERTPRESS_DATA", raising=False)


def test_the_table_is_complete():
    assert set(GLUE) == set(ARCHIVES)
    for name, task in GLUE.items():
        assert task.primary == PRIMARY.get(name, "accuracy")
        assert len(task.answers) in (0, len(task.labels))
        assert task.positive is None or task.positive in task.labels
        assert ("f1" in task.metrics) == (task.positive is not None)


@pytest.mark.parametrize("name", ARCHIVES)
def test_original_archive(tmp_path, name, monkeypatch):
    """Quotes are text, labels go by name; given as the folder, as its parent, and as the root in the environment."""
    folder = write_archive(tmp_path, name)
    columns = GLUE[name].columns
    for data_dir in (folder, tmp_path, None):
        if data_dir is None:
            monkeypatch.setenv("BERTPRESS_DATA", str(tmp_path))
        task = load_glue(f"glue/{name}", data_dir)
        assert list(task.splits) == list(ARCHIVES[name][1])
        assert (task.name, task.columns) == (f"glue/{name}", columns)
        for split, dataset in task.splits.items():
            labels = ARCHIVES[name][2].get(split)
            assert dataset.column_names == [*columns, "label"] if labels else [*columns]
            assert labels is None or dataset["label"][:] == labels
            for column, text in zip(columns, (A, B), strict=False):
                assert set(dataset[column]) == {text}


def test_broken_rows_of_qqp(tmp_path):
    folder = write_archive(tmp_path, "qqp")
    write_lines(folder / "test.tsv", ["id", "question1", "question2"], [["0", A, B], ["1", A], ["2", A, B]])
    task = load_glue("qqp", folder)
    assert len(task.splits["train"]) == 2
    assert task.splits["test"]["question1"][:] == [A, "", A]
    assert task.notes == (
        f"2 rows of {folder}/train.tsv are too short (the first on line 3); they are left out",
        f"1 rows of {folder}/test.tsv are too short (the first on line 3); they are predicted as the commonest class",
        "test: 1 of 3 cells of 'question1' are empty",
        "test: 1 of 3 cells of 'question2' are empty",
    )


def test_a_broken_row_of_another_task_is_refused(tmp_path):
    folder = write_archive(tmp_path, "rte")
    write_lines(folder / "dev.tsv", ["index", "sentence1", "sentence2", "label"], [["0", A, B, "entailment"], ["1", A]])
    with pytest.raises(RequestError, match=r"Expected 4 fields in each row, but 1 rows of .*dev.tsv are too short"):
        load_glue("rte", folder)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv"])
@pytest.mark.parametrize("labels", [[0, 1, 1], ["0", "1", "1"], ["entailment", "not_entailment", "not_entailment"]])
def test_files_with_the_columns_of_the_hub(tmp_path, suffix, labels):
    write_rte(tmp_path / "rte" / f"train{suffix}", labels)
    write_rte(tmp_path / "rte" / f"test{suffix}", [-1, -1])
    task = load_glue("rte", tmp_path)
    assert task.labels == ("entailment", "not_entailment")
    assert task.splits["train"].to_dict() == {"sentence1": [A] * 3, "sentence2": [B] * 3, "label": [0, 1, 1]}
    assert task.splits["train"].features["label"].names == list(task.labels)
    assert task.splits["test"].column_names == ["sentence1", "sentence2"]


def test_class_labels_are_mapped_by_name(tmp_path):
    write_rte(tmp_path / "train.parquet", [0, 1], names=["not_entailment", "entailment"])
    assert load_glue("rte", tmp_path).splits["train"]["label"][:] == [1, 0]
    write_rte(tmp_path / "train.parquet", [0, 1], names=["no", "yes"])
    with pytest.raises(
        RequestError, match=r"Expected the labels entailment, not_entailment in .*, found no, yes: rename"
    ):
        load_glue("rte", tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 2], r"Expected a label of 0 entailment, 1 not_entailment, but row 2 of .*train.parquet has 2: correct it"),
        (["entailment", "entails"], r"but row 2 of .*train.parquet has 'entails'"),
        ([0, -1], r"Expected a label in every row, but row 2 of .*train.parquet has None: add it"),
        (["entailment", ""], r"Expected a label in every row, but row 2 of .*train.parquet has None: add it"),
    ],
)
def test_wrong_labels(tmp_path, labels, message):
    write_rte(tmp_path / "train.parquet", labels)
    with pytest.raises(RequestError, match=message):
        load_glue("rte", tmp_path)


def test_wrong_label_in_an_archive_names_the_line(tmp_path):
    folder = write_archive(tmp_path, "cola")
    write_lines(folder / "train.tsv", None, [["gj04", "1", "", A], ["gj04", "2", "", A]])
    with pytest.raises(RequestError, match=r"Expected a label of .*, but line 2 of .*train.tsv has '2': correct it"):
        load_glue("cola", folder)
    folder = write_archive(tmp_path, "stsb")
    write_lines(folder / "dev.tsv", [*STSB_HEAD, "score"], [[*STSB_FIELDS, "high"]])
    with pytest.raises(RequestError, match=r"Expected a finite number as label, but line 2 of .*dev.tsv has 'high'"):
        load_glue("stsb", folder)


def test_missing_columns_and_folders(tmp_path):
    Dataset.from_dict({"sentence1": ["a"], "sentence": ["b"], "label": [0]}).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(
        RequestError, match=r"Expected a column 'sentence2' in .*train.parquet, found .* \(did you mean"
    ):
        load_glue("rte", tmp_path)
    with pytest.raises(RequestError, match=r"Expected a folder at .*train.parquet, found a file"):
        load_glue("rte", tmp_path / "train.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match=r"Expected train or validation or test as .*, found an empty folder"):
        load_glue("rte", tmp_path / "empty")


@pytest.mark.parametrize(
    ("name", "near"), [("mprc", "mrpc"), ("glue/sst-2", "sst2"), ("MNLI", "mnli"), ("sts-b", "stsb")]
)
def test_misspelt_task(name, near):
    with pytest.raises(
        RequestError, match=rf"Expected a GLUE task, got '{name}' \(did you mean '{near}'\?\): name one"
    ):
        glue_key(name)


def test_the_hub_comes_last(tmp_path, monkeypatch):
    label = ClassLabel(names=list(GLUE["mnli"].labels))
    features = Features({"premise": Value("string"), "hypothesis": Value("string"), "label": label})
    hub = Dataset.from_dict({"premise": [A], "hypothesis": [B], "label": [2]}, features=features)
    test = Dataset.from_dict({"premise": [A], "hypothesis": [B], "label": [-1]}, features=features)
    splits = {"train": hub, "validation_matched": hub, "validation_mismatched": hub, "test_matched": test}

    def load_dataset(path, config):
        assert path == "nyu-mll/glue"
        if config != "mnli":
            raise ConnectionError("offline")
        return splits

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    task = load_glue("mnli")
    assert list(task.splits) == ["train", "validation", "validation_mismatched", "test"]
    assert task.splits["validation"]["label"][:] == [2]
    assert task.splits["test"].column_names == ["premise", "hypothesis"]
    with pytest.raises(
        RequestError, match=r"Expected glue/rte from the Hub, .* \(ConnectionError\): give --data-dir, or"
    ):
        load_glue("rte")
    monkeypatch.setenv("BERTPRESS_DATA", str(tmp_path))
    with pytest.raises(RequestError, match=r"\(ConnectionError\), and BERTPRESS_DATA=.* has no folder rte: give"):
        load_glue("rte")


REAL_ROWS = {  # as stated beside the data sets
    "cola": {"train": 8551, "validation": 1043},
    "mrpc": {"train": 3668, "validation": 408},
    "rte": {"train": 2490, "validation": 277},
    "sst2": {"train": 67349, "validation": 872},
    "stsb": {"train": 5749, "validation": 1500},
    "qnli": {"train": 10293, "validation": 5463},
    "mnli": {"train": 13157, "validation": 9815},
}
ROOT = os.environ.get("BERTPRESS_DATA")


@pytest.mark.data
@pytest.mark.parametrize("name", REAL_ROWS)
def test_real_rows(name, monkeypatch):
    monkeypatch.setenv("BERTPRESS_DATA", str(ROOT))
    task = load_glue(name)
    assert {split: len(dataset) for split, dataset in task.splits.items()} == REAL_ROWS[name]
    assert task.notes == ()
