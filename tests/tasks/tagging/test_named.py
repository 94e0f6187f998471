import json
import os

import pytest
from datasets import Dataset

from bertpress.errors import RequestError
from bertpress.tasks.tagging.formats import load_sentences
from bertpress.tasks.tagging.named import ENTITIES
from bertpress.tasks.tagging.sentences import spans_in


@pytest.fixture(autouse=True)
def _no_root(monkeypatch):
    monkeypatch.delenv("BERTPRESS_DATA", raising=False)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# For each data set a file as its authors published it, and its text and entities.
ORIGINALS = {
    "conll2003": (
        "eng.train",
        "-DOCSTART- -X- O O\n\nU.N. NNP I-NP I-ORG\nofficial NN I-NP O\nEkeus NNP I-NP I-PER\n",
        ("U.N. official Ekeus", [(0, 1, "ORG"), (2, 3, "PER")]),
    ),
    "msra_ner": ("msra_train_bio.txt", "当\tO\n北\tB-NS\n京\tI-NS\n", ("当北京", [(1, 3, "LOC")])),
    "peoples_daily_ner": ("example.train", "海 O\n厦 B-LOC\n门 I-LOC\n", ("海厦门", [(1, 3, "LOC")])),
    "cluener": (
        "train.json",
        json.dumps({"text": "彭小军认为", "label": {"name": {"彭小军": [[0, 2]]}}}) + "\n",
        ("彭小军认为", [(0, 3, "name")]),
    ),
    "weibo_ner": (
        "weiboNER_2nd_conll.train",
        "科0\tO\n技1\tO\n全0\tO\n方1\tB-PER.NOM\n友2\tI-PER.NOM\n",
        ("科技全方友", [(3, 5, "PER.NOM")]),
    ),
    "resume_ner": (
        "train.char.bmes",
        "高 B-NAME\n勇 E-NAME\n： O\n汉 B-RACE\n民 M-RACE\n族 E-RACE\n",
        ("高勇：汉民族", [(0, 2, "NAME"), (3, 6, "RACE")]),
    ),
}


def test_the_table_is_complete():
    assert set(ENTITIES) == set(ORIGINALS)
    for task in ENTITIES.values():
        assert len(task.types) == len(set(task.types))
        assert set(task.spellings.values()) <= set(task.types)


@pytest.mark.parametrize("name", list(ORIGINALS))
@pytest.mark.parametrize("place", ["folder", "root", "variable"])
def test_files_as_their_authors_published_them(tmp_path, monkeypatch, name, place):
    file, text, (expected, spans) = ORIGINALS[name]
    folder = tmp_path / ENTITIES[name].folders[0]
    write(folder / file, text)
    if place == "variable":
        monkeypatch.setenv("BERTPRESS_DATA", str(tmp_path))
    where = {"folder": folder, "root": tmp_path, "variable": None}[place]
    data = load_sentences(name, where)
    assert [(row["text"], spans_in(row)) for row in data.splits["train"]] == [(expected, spans)]
    assert data.labels == ENTITIES[name].types
    assert data.name == name


def test_words_keep_their_digits_where_not_all_have_one(tmp_path):
    path = write(tmp_path / "train.txt", "科0\tB-PER.NAM\n技1\tO\n好\tO\n")
    assert load_sentences("weibo_ner", path).splits["train"]["text"][:] == ["科0技1好"]


def test_a_type_of_another_data_set_is_refused(tmp_path):
    path = write(tmp_path / "train.txt", "a O\n\nb B-MISC\n")
    with pytest.raises(RequestError, match=r"the sentence on line 3 of .* has 'MISC' .known: PER, ORG, LOC"):
        load_sentences("msra_ner", path)


def test_a_folder_without_the_data_is_refused(tmp_path):
    write(tmp_path / "readme.md", "nothing")
    with pytest.raises(RequestError, match=r"Expected train, dev and test .* found readme\.md"):
        load_sentences("msra_ner", tmp_path)


def test_the_hub_is_asked_last(monkeypatch):
    asked = []

    def load_dataset(repository, config):
        asked.append((repository, config))
        rows = {"tokens": [["北", "京"]], "ner_tags": [["B-LOC", "I-LOC"]]}
        return {"test": Dataset.from_dict(rows), "train": Dataset.from_dict(rows)}

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    data = load_sentences("msra_ner")
    assert asked == [(ENTITIES["msra_ner"].hub, None)]
    assert list(data.splits) == ["train", "test"]
    assert data.sources == ()


# Entities by split: official counts of CoNLL-2003 and of the tests of MSRA; of the others what their files say.
REAL = {
    "conll2003": {"train": 23499, "validation": 5942},
    "msra_ner": {"train": 5011, "test": 6190},
    "peoples_daily_ner": {"validation": 3819, "test": 7707},
    "cluener": {"train": 23969, "validation": 3072},
    "weibo_ner": {"train": 1895, "validation": 389, "test": 418},
    "resume_ner": {"train": 13440, "validation": 1497, "test": 1630},
}
ROOT = os.environ.get("BERTPRESS_DATA")


@pytest.mark.data
@pytest.mark.skipif(not ROOT, reason="needs the real data sets")
@pytest.mark.parametrize("name", list(REAL))
def test_the_real_data_sets(name):
    data = load_sentences(name, ROOT)
    counts = {split: sum(map(len, rows["span_types"])) for split, rows in data.splits.items()}
    assert counts == REAL[name]
