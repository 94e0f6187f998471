import json
import os
import re

import pytest
from conftest import make_tokenizer
from datasets import ClassLabel, Dataset, Features, Value

from bertpress.errors import RequestError
from bertpress.recipe import TaskSpec
from bertpress.tasks import TASKS, load_task
from bertpress.tasks.documents import DOCUMENTS, load_documents, without_metadata

MESSAGE = """From: someone@somewhere.edu (A Name)
Subject: Re: a question
Newsgroups: sci.space

In article <1@x> another@elsewhere.com writes:
>what was asked

An answer in words.

--
A Name, who signs
"""
HUB = {
    "imdb": ("stanfordnlp/imdb", None),
    "yelp_review_full": ("Yelp/yelp_review_full", None),
    "20newsgroups": ("SetFit/20_newsgroups", None),
    "hyperpartisan": ("SemEvalWorkshop/hyperpartisan_news_detection", "byarticle"),
}


@pytest.fixture(autouse=True)
def _no_root(monkeypatch):
    monkeypatch.delenv("BERTPRESS_DATA", raising=False)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_jsonl(path, rows, column="label"):
    """JSON lines of (text, label) pairs."""
    return write(path, "".join(json.dumps({"text": text, column: label}) + "\n" for text, label in rows))


def found(task):
    """Split to pairs of text and name of the label."""
    return {split: [(row["text"], task.labels[row["label"]]) for row in rows] for split, rows in task.splits.items()}


def test_the_table_is_complete():
    assert set(DOCUMENTS) == set(HUB)
    assert {name for name, line in TASKS.items() if line.startswith("long documents")} == set(DOCUMENTS)
    assert list(DOCUMENTS["20newsgroups"].labels) == sorted(DOCUMENTS["20newsgroups"].labels)
    for name, task in DOCUMENTS.items():
        assert task.hub == HUB[name]
        assert set(task.spellings.values()) <= set(task.labels)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_jsonl_of_the_original(tmp_path, name, monkeypatch):
    """Ids as labels, a file per split; given as the folder, as its parent, and as the root in the environment."""
    for file in ("train", "dev", "test"):
        write_jsonl(tmp_path / name / f"{file}.jsonl", [(f"{file} a", 1), (f"{file} b", 0)])
    for data_dir in (tmp_path / name, tmp_path, None):
        if data_dir is None:
            monkeypatch.setenv("BERTPRESS_DATA", str(tmp_path))
        task = load_documents(name, data_dir)
        one, zero = DOCUMENTS[name].labels[1], DOCUMENTS[name].labels[0]
        stems = {"train": "train", "validation": "dev", "test": "test"}
        assert found(task) == {split: [(f"{stem} a", one), (f"{stem} b", zero)] for split, stem in stems.items()}
        assert (task.name, task.columns, task.labels) == (name, ("text",), DOCUMENTS[name].labels)
        assert (task.metrics, task.primary, task.notes) == (("accuracy", "f1_macro"), "accuracy", ())


def test_acl_imdb(tmp_path):
    for name, text in (("train/pos/1_9.txt", "good"), ("train/neg/1_1.txt", "bad"), ("test/pos/1_8.txt", "fine"),
                       ("train/unsup/1_0.txt", "unknown"), ("test/neg/1_2.txt", "poor")):  # fmt: skip
        write(tmp_path / "aclImdb" / name, text)
    expected = {"train": [("bad", "neg"), ("good", "pos")], "test": [("poor", "neg"), ("fine", "pos")]}
    assert found(load_documents("imdb", tmp_path)) == found(load_documents("imdb", tmp_path / "aclImdb")) == expected
    write(tmp_path / "aclImdb" / "train" / "neutral" / "1.txt", "so so")
    with pytest.raises(RequestError, match=r"Expected a label of 0 neg, 1 pos, but .*neutral/1.txt has 'neutral'"):
        load_documents("imdb", tmp_path)


def test_yelp_archive(tmp_path):
    folder = tmp_path / "yelp_review_full_csv"
    write(folder / "train.csv", '"5","dr. good\\n\\nvery"\n"1","bad"\n')
    write(folder / "test.csv", '"3","so so"\n')
    assert found(load_documents("yelp_review_full", tmp_path)) == {
        "train": [("dr. good\\n\\nvery", "5 stars"), ("bad", "1 star")],
        "test": [("so so", "3 stars")],
    }
    write(folder / "dev.csv", "label,text\n0,with a header\n")
    assert found(load_documents("yelp_review_full", folder))["validation"] == [("with a header", "1 star")]


def test_20news_bydate(tmp_path):
    for split in ("train", "test"):
        path = tmp_path / f"20news-bydate-{split}" / "sci.space" / "60001"
        path.parent.mkdir(parents=True)
        path.write_bytes(MESSAGE.replace("words", "wörds").encode("latin-1"))
    task = load_documents("20newsgroups", tmp_path)
    answer = [("An answer in wörds.\n", "sci.space")]
    assert {split: [(text.lstrip(), label) for text, label in rows] for split, rows in found(task).items()} == {
        "train": answer,
        "test": answer,
    }
    assert task.notes == ("headers, signatures and quotes of the messages are left out, since they name the group",)


def test_messages_are_stripped_as_scikit_learn_does_and_once():
    from sklearn.datasets import _twenty_newsgroups as reference

    expected = reference.strip_newsgroup_quoting(
        reference.strip_newsgroup_footer(reference.strip_newsgroup_header(MESSAGE))
    )
    stripped = without_metadata([MESSAGE, MESSAGE, "no header\n\nsecond"])
    assert stripped[:2] == [expected, expected]
    assert stripped[2] == "second"  # all rows of a split are whole messages, or none is
    assert without_metadata([expected, "one\n\ntwo\n\nthree"]) == [expected, "one\n\ntwo\n\nthree"]
    assert without_metadata([]) == []


def test_hyperpartisan_lines_and_articles(tmp_path):
    path = write(tmp_path / "original_data.txt", "0000001 1 Taking sides\n0000002 0 Not so\n")
    expected = [("Taking sides", "hyperpartisan"), ("Not so", "not_hyperpartisan")]
    assert found(load_documents("hyperpartisan", tmp_path)) == {"train": expected}
    assert found(load_documents("hyperpartisan", path)) == {"train": expected}
    path.unlink()
    articles = "<articles><article id='1'>Taking sides</article><article id='2'>Not so</article></articles>"
    truth = "<articles><article id='1' hyperpartisan='true'/><article id='2' hyperpartisan='false'/></articles>"
    write(tmp_path / "articles-training-byarticle-20181122.xml", articles)
    write(tmp_path / "ground-truth-training-byarticle-20181122.xml", truth)
    assert found(load_documents("hyperpartisan", tmp_path)) == {"train": expected}
    write(tmp_path / "ground-truth-training-byarticle-20181122.xml", truth.replace("id='2'", "id='3'"))
    with pytest.raises(RequestError, match=r"Expected a label in every row, but article 2 of .*20181122.xml has None"):
        load_documents("hyperpartisan", tmp_path)
    write(tmp_path / "train.txt", "1 2 A class that there is not\n")
    with pytest.raises(RequestError, match=r"Expected a label of 0 not_.*, but line 1 of .*train.txt has '2': correct"):
        load_documents("hyperpartisan", tmp_path)


@pytest.mark.parametrize(("false", "true"), [(False, True), ("false", "true"), ("False", "True"), (0, 1)])
def test_the_boolean_column_of_hyperpartisan(tmp_path, false, true):
    path = write_jsonl(tmp_path / "train.jsonl", [("a", true), ("b", false)], column="hyperpartisan")
    assert found(load_documents("hyperpartisan", path)) == {
        "train": [("a", "hyperpartisan"), ("b", "not_hyperpartisan")]
    }


def test_names_and_ids_of_labels(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", [("a", "sci.space"), ("b", "alt.atheism")])
    write_jsonl(tmp_path / "test.jsonl", [("a", "14"), ("b", "0")])
    task = load_documents("20newsgroups", tmp_path)
    assert found(task)["train"] == found(task)["test"] == [("a", "sci.space"), ("b", "alt.atheism")]
    write_jsonl(tmp_path / "train.jsonl", [("a", "sci.space"), ("b", "sci.spice")])
    with pytest.raises(RequestError, match=r"Expected a label of 0 alt.*, but row 2 of .*train.jsonl has 'sci.spice'"):
        load_documents("20newsgroups", tmp_path)


def test_augmented_rows_keep_their_mark_and_are_not_stripped_again(tmp_path):
    rows = {"text": ["one\n\ntwo", "one\n\nthree"], "label": [14, 14], "is_augmented": [False, True]}
    names = Features({"text": Value("string"), "label": ClassLabel(names=list(DOCUMENTS["20newsgroups"].labels)),
                      "is_augmented": Value("bool")})  # fmt: skip
    Dataset.from_dict(rows, features=names).to_parquet(tmp_path / "train.parquet")
    train = load_documents("20newsgroups", tmp_path).splits["train"]
    assert train.to_dict() == rows


def test_what_cannot_be_found(tmp_path):
    write(tmp_path / "notes.md", "no data")
    with pytest.raises(RequestError, match=r"Expected train or validation or test as .*, or the folders train and test "
                                           r"with one of texts per class, in .*, found notes.md: rename"):  # fmt: skip
        load_documents("imdb", tmp_path)
    with pytest.raises(RequestError, match=r"Expected a folder at .*missing, found nothing"):
        load_documents("imdb", tmp_path / "missing")
    with pytest.raises(RequestError, match=r"Expected a file of the kinds .*, got .*notes.md: convert it"):
        load_documents("imdb", tmp_path / "notes.md")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_hub_comes_last(tmp_path, monkeypatch, name):
    column = DOCUMENTS[name].label
    rows = Dataset.from_dict({"text": ["a", "b"], column: [True, False] if column != "label" else [1, 0]})

    def load_dataset(path, config):
        assert (path, config) == HUB[name]
        return {"train": rows, "test": rows, "unsupervised": rows}

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    assert list(load_documents(name).splits) == ["train", "test"]
    assert load_documents(name).splits["train"]["label"][:] == [1, 0]

    def offline(path, config):
        raise ConnectionError("offline")

    monkeypatch.setattr("datasets.load_dataset", offline)
    monkeypatch.setenv("BERTPRESS_DATA", str(tmp_path))
    with pytest.raises(RequestError, match=rf"Expected {name} from the Hub, .* has no folder {name}: give --data-dir"):
        load_documents(name)


def test_a_tenth_is_held_out_where_there_is_no_validation_split(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", [(f"text {index}", index % 2) for index in range(40)])
    write_jsonl(tmp_path / "test.jsonl", [("text", 0)])
    task = load_task(TaskSpec(name="imdb", data_dir=str(tmp_path)), make_tokenizer(), 32)
    assert {split: len(rows) for split, rows in task.splits.items()} == {"train": 36, "validation": 4, "test": 1}
    assert sorted(task.splits["validation"]["label"]) == [0, 0, 1, 1]
    assert task.notes == ("no validation split: 4 of 40 training rows (seed 1) are held out for validation",)
    with pytest.raises(RequestError, match="describe your own data"):
        load_task(TaskSpec(name="imdb", label="stars"), make_tokenizer(), 32)


REAL_ROWS = {  # as stated beside the data sets
    "imdb": {"train": 10000, "validation": 1000, "test": 4000},
    "yelp_review_full": {"train": 4992, "validation": 1000, "test": 1000},
    "20newsgroups": {"train": 11314, "test": 7532},
    "hyperpartisan": {"train": 516, "validation": 64, "test": 65},
}
ROOT = os.environ.get("BERTPRESS_DATA")


@pytest.mark.data
@pytest.mark.parametrize("name", REAL_ROWS)
def test_real_rows(name, monkeypatch):
    monkeypatch.setenv("BERTPRESS_DATA", str(ROOT))
    task = load_documents(name)
    assert {split: len(rows) for split, rows in task.splits.items()} == REAL_ROWS[name]
    for split, rows in task.splits.items():
        assert set(rows["label"]) == set(range(len(task.labels))), split
    if name == "20newsgroups":
        texts = [text for rows in task.splits.values() for text in rows["text"]]
        named = [text for text in texts if re.search("^Newsgroups: ", text, re.MULTILINE)]
        assert len(named) == 37, "messages with another's header in their text; scikit-learn leaves it too"
