import copy
import json
from collections import Counter

import datasets
import pytest
from datasets import Dataset

from bertpress.errors import RequestError
from bertpress.tasks.reading import records
from bertpress.tasks.reading.formats import Question
from bertpress.tasks.reading.records import FOLDS, load_reading, records_of
from bertpress.tasks.reading.settings import ReadingSettings

from .fixtures import MRQA, NORMANS, ROWS, SQUAD_V2, TRIVIA, write_json, write_lines


@pytest.fixture(autouse=True)
def _no_root(monkeypatch):
    monkeypatch.delenv("BERTPRESS_DATA", raising=False)


def question(answers=(), context="In 1066 they came.", **fields):
    given = {"id": "q", "question": "When?", "title": "", "accepted": tuple(text for text, _ in answers or ())}
    return Question(**{**given, "context": context, "answers": answers, "place": "line 1", **fields})


def record(asked, split="validation"):
    tally = Counter()
    (found,) = records_of([asked], tally, split)
    return found, {name: count for name, count in tally.items() if count}


def test_answers_are_put_where_they_stand():
    answers = ((" 1066", 2), ("1066", 3), ("they", 0), ("never", 5), ("1066", 17))
    found, tally = record(question(answers))
    assert found["answer_texts"] == ["1066", "they"]
    assert found["answer_starts"] == [3, 8]
    assert found["accepted"] == [" 1066", "1066", "they", "never", "1066"]
    assert tally == {"moved": 2, "trimmed": 1, "missing": 1}


def test_training_questions_that_cannot_be_pointed_at_are_left_out():
    tally = Counter()
    assert not list(records_of([question((("never", 0),))], tally, "train"))
    assert tally["left_out"] == 1
    found, tally = record(question((("never", 0),)))
    assert (found["answer_starts"], found["accepted"]) == ([], ["never"])
    assert "left_out" not in tally
    found, _ = record(question(()), "train")
    assert found["answer_starts"] == [], "a question without an answer stays"


def test_texts_are_mended_and_counted():
    found, tally = record(question((("\ud800b", 1),), context="a\ud800b", question=" ", id=None))
    assert (found["id"], found["context"], found["answer_texts"]) == ("row-1", "a\ufffdb", ["\ufffdb"])
    assert tally == {"unnamed": 1, "silent": 1, "halves": 1}
    assert record(question(context=" "))[1] == {"empty": 1}
    assert set(record(question(None))[0]) == {"id", "title", "question", "context"}


def test_ids_differ_and_all_have_answers_or_none():
    with pytest.raises(RequestError, match=r"different ids, but line 1 has 'q' again"):
        list(records_of([question(), question()], Counter(), "train"))
    with pytest.raises(RequestError, match=r"to all questions or to none, but line 1 has none"):
        list(records_of([question(), question(None, id="r")], Counter(), "train"))


def test_a_folder_of_squad(tmp_path):
    train = copy.deepcopy(SQUAD_V2)
    train["data"][0]["paragraphs"][1]["qas"][0]["answers"][0]["text"] = "912"
    write_json(tmp_path / "train-v2.0.json", train)
    write_json(tmp_path / "dev-v2.0.json", SQUAD_V2)
    data = load_reading("squad_v2", tmp_path)
    assert (data.name, data.labels, data.columns, data.primary) == (
        "squad_v2",
        None,
        ("question", "context"),
        "answer_f1",
    )
    assert data.splits["train"]["id"][:] == ["q1", "q2", "q4"]
    assert data.splits["validation"]["id"][:] == ["q1", "q2", "q3", "q4"]
    assert data.splits["validation"][0] == {
        "id": "q1",
        "title": "Normans",
        "question": "Who led the Normans?",
        "context": NORMANS,
        "answer_texts": ["William", "William, the duke"],
        "answer_starts": [57, 57],
        "accepted": ["William", "William, the duke"],
    }
    assert data.notes == (
        "train: 1 questions have an empty text, which can only be left without an answer",
        "train: 1 answers are not in their text and are not learned",
        "train: 1 questions are left out, as none of their answers can be pointed at in their text",
        "validation: 1 questions have an empty text, which can only be left without an answer",
    )
    assert data.sources == (tmp_path / "train-v2.0.json", tmp_path / "dev-v2.0.json")


def test_records_and_remarks_are_read_once(tmp_path, monkeypatch):
    write_lines(tmp_path / "train.jsonl", MRQA[1:])
    first = load_reading("newsqa", tmp_path)
    calls = []
    original = records.records_of
    monkeypatch.setattr(records, "records_of", lambda *args, **more: calls.append(args) or original(*args, **more))
    again = load_reading("newsqa", tmp_path)
    assert not calls
    assert again.notes == first.notes == ("train: its lines do not begin with MRQA's header and are read all the same",)
    write_lines(tmp_path / "train.jsonl", MRQA)
    assert load_reading("newsqa", tmp_path).notes == ()
    assert calls


def test_remarks_are_counted_again_where_only_the_records_were_kept(tmp_path, monkeypatch):
    write_lines(tmp_path / "train.jsonl", [{**ROWS[0], "id": ""}])
    monkeypatch.setenv("BERTPRESS_CACHE", str(tmp_path / "cache"))
    notes = load_reading("files", tmp_path / "train.jsonl").notes
    assert notes == ("train: 1 questions have no id and are named by their number",)
    files = sorted((tmp_path / "cache" / "records").glob("*.arrow"), key=lambda path: path.stat().st_size)
    files[0].unlink()
    assert load_reading("files", tmp_path / "train.jsonl").notes == notes


def test_a_table_with_columns_of_its_own(tmp_path):
    rows = [{"q": row["question"], "text": row["context"], "gold": row["answers"]} for row in ROWS]
    path = tmp_path / "rows.parquet"
    Dataset.from_list(rows).to_parquet(path)
    data = load_reading("files", path, columns=["q", "text"], label="gold")
    assert data.splits["train"]["id"][:] == ["row-1", "row-2"]
    assert data.splits["train"]["answer_starts"][:] == [[57, 57], []]
    with pytest.raises(RequestError, match="columns of questions and of texts, got q:"):
        load_reading("files", path, columns=["q"])
    with pytest.raises(RequestError, match="Expected answers to the training questions, but row 1"):
        load_reading("files", path, columns=["q", "text"])


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(RequestError, match="give --data-dir"):
        load_reading("files")
    with pytest.raises(RequestError, match="There is no set of questions"):
        load_reading("squad3", tmp_path)
    with pytest.raises(RequestError, match="found an empty folder"):
        load_reading("squad", tmp_path)
    with pytest.raises(RequestError, match=r"MRQA publishes them \(train/NewsQA and dev/NewsQA.jsonl.gz\)"):
        load_reading("newsqa")
    write_lines(tmp_path / "train.jsonl", MRQA[:1])
    with pytest.raises(RequestError, match=r"Expected questions in .*train.jsonl, but it holds none"):
        load_reading("newsqa", tmp_path)
    write_lines(tmp_path / "train.jsonl", [{**ROWS[0], "answers": ["never"]}])
    with pytest.raises(RequestError, match=r"Expected answers that stand in their text in .*train.jsonl"):
        load_reading("files", tmp_path)
    write_lines(tmp_path / "validation.jsonl", [{"question": "q", "context": "c"}])
    (tmp_path / "train.jsonl").unlink()
    with pytest.raises(RequestError, match="Expected a column 'gold'"):
        load_reading("files", tmp_path, label="gold")
    assert "accepted" not in load_reading("files", tmp_path).splits["validation"].column_names


def test_a_root_and_the_hub(tmp_path, monkeypatch):
    write_lines(tmp_path / "TriviaQA" / "train" / "TriviaQA-web.jsonl.gz", [TRIVIA])
    monkeypatch.setenv("BERTPRESS_DATA", str(tmp_path))
    assert load_reading("triviaqa").splits["train"]["answer_starts"][:] == [[12]]
    hub = {"train": Dataset.from_list(ROWS), "validation": Dataset.from_list(ROWS[:1])}
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *args: asked.append(args) or hub)
    data = load_reading("squad_v2")
    assert asked == [("rajpurkar/squad_v2", None)]
    assert {split: rows["id"][:] for split, rows in data.splits.items()} == {
        "train": ["q1", "q2"],
        "validation": ["q1"],
    }
    assert data.sources == ()


FOLDED = {"train_fold": ["Normans"], "eval_fold": ["Empty"]}


def folded(folder, folds=FOLDED, validation=SQUAD_V2):
    write_json(
        folder / "train.json", {"data": [{"paragraphs": [{"context": "a", "qas": [{"question": "q", "answers": []}]}]}]}
    )
    write_json(folder / "dev.json", validation)
    if folds is not None:
        write_json(folder / FOLDS, folds)
    return load_reading("squad_v2", folder, settings=ReadingSettings(folds=True))


def test_folds_move_articles_to_the_training_rows(tmp_path):
    validation = copy.deepcopy(SQUAD_V2)
    validation["data"][0]["paragraphs"][1]["qas"][0]["answers"][0]["text"] = "912"  # teaches nothing
    validation["data"].append(
        {"title": "Other", "paragraphs": [{"context": "b", "qas": [{"question": "q", "answers": []}]}]}
    )
    data = folded(tmp_path, validation=validation)
    assert data.splits["train"]["id"][:] == ["row-1", "q1", "q2"]
    assert data.splits["validation"]["id"][:] == ["q4"]
    assert data.notes[-1] == (
        "folds: trained on 1 questions of train and 2 of validation (1 articles), evaluated on 1 of validation "
        "(1 articles); such scores cannot be compared with published ones"
    )
    assert data.sources[-1] == tmp_path / FOLDS
    assert len(load_reading("squad_v2", tmp_path).splits["train"]) == 1, "only if they are asked for"


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        (None, rf"Expected {FOLDS} with train_fold and eval_fold beside"),
        ({"train_fold": []}, r"is damaged.*write it as"),
        ({**FOLDED, "eval_fold": ["Empty", "Normans"]}, r"in one fold, but .* has Normans in both"),
        ({**FOLDED, "eval_fold": ["Missing"]}, r"titles of the validation split .* but Missing is none"),
    ],
)
def test_folds_that_do_not_fit_are_refused(tmp_path, folds, message):
    with pytest.raises(RequestError, match=message):
        folded(tmp_path, folds)


def test_folds_need_a_validation_split(tmp_path):
    write_lines(tmp_path / "train.jsonl", ROWS)
    with pytest.raises(RequestError, match="Folds need the files of train and validation, got train"):
        load_reading("files", tmp_path, settings=ReadingSettings(folds=True))


def test_the_fixture_is_as_published():
    assert json.loads(json.dumps(SQUAD_V2))["data"][0]["paragraphs"][0]["context"][57:64] == "William"
