import copy
import json

import pytest
from datasets import Dataset

from bertpress.errors import RequestError
from bertpress.tasks.reading.formats import Names, Question, read_questions

from .fixtures import MRQA, MRQA_CONTEXT, NORMANS, ROLLO, ROWS, SQUAD_V2, TRIVIA, write_json, write_lines


def read(path, **names):
    return list(read_questions(path, Names(**names)))


def test_squad_is_read_article_by_article(tmp_path):
    path = write_json(tmp_path / "dev-v2.0.json", SQUAD_V2)
    first, second, third, fourth = read(path)
    assert first == Question(
        id="q1",
        question="Who led the Normans?",
        context=NORMANS,
        title="Normans",
        answers=(("William", 57), ("William, the duke", 57)),
        accepted=("William", "William, the duke"),
        place=f"question 1 of paragraph 1 of item 1 of {path}",
    )
    assert (second.id, second.answers, second.accepted) == ("q2", (), ())
    assert (third.context, third.answers) == (ROLLO, (("911", 36),))
    assert (fourth.title, fourth.context, fourth.answers) == ("Empty", "", ())
    assert read(write_json(tmp_path / "bare.json", SQUAD_V2["data"]))[0].answers == first.answers


def test_questions_without_answers_are_unlabelled(tmp_path):
    data = copy.deepcopy(SQUAD_V2)
    for article in data["data"]:
        for paragraph in article["paragraphs"]:
            for entry in paragraph["qas"]:
                entry.pop("answers")
                entry.pop("is_impossible", None)
    assert {question.answers for question in read(write_json(tmp_path / "test.json", data))} == {None}


def test_what_is_impossible_needs_no_answers(tmp_path):
    data = copy.deepcopy(SQUAD_V2)
    data["data"][0]["paragraphs"][0]["qas"][1].pop("answers")
    data["data"][0]["paragraphs"][0]["qas"].append({"question": "Who?", "id": "q5", "is_impossible": False})
    found = {question.id: question.answers for question in read(write_json(tmp_path / "dev.json", data))}
    assert (found["q2"], found["q5"]) == ((), None), "without either nobody knows"


@pytest.mark.parametrize("name", ["NewsQA.jsonl", "NewsQA.jsonl.gz"])
def test_lines_of_mrqa(tmp_path, name):
    path = write_lines(tmp_path / name, MRQA)
    (question,) = read(path)
    assert (question.id, question.context, question.headless) == ("m1", MRQA_CONTEXT, False)
    assert question.answers == (("1066", 36), ("1066", 52), ("In 1066", 49))
    assert question.accepted == ("1066", "in 1066")
    assert question.place == f"question 1 of line 2 of {path}"
    (question,) = read(write_lines(tmp_path / name, MRQA[1:]))
    assert question.headless


def test_trivia_takes_the_text_of_its_spans_and_all_aliases(tmp_path):
    (line,) = read(write_lines(tmp_path / "lines.jsonl", [MRQA[0], TRIVIA]))
    (item,) = read(write_json(tmp_path / "linked.json", {"Data": [TRIVIA]}))
    for question in (line, item):
        assert question.answers == (("Sunset Boulevard", 12),)
        assert question.accepted == ("sunset blvd", "sunset boulevard")
    without = copy.deepcopy(TRIVIA)
    without["qas"][0]["answers"].pop("NormalizedAliases")
    without["qas"][0]["answers"]["HumanAnswers"] = ["Boulevard"]
    (question,) = read(write_lines(tmp_path / "lines.jsonl", [without]))
    assert question.accepted == ("Sunset Blvd", "Sunset Boulevard", "Boulevard")


@pytest.mark.parametrize(
    ("text", "span", "answer"),
    [
        ("ruy lopez opening", [4, 22], ("Ruy López (opening)", 4)),  # a normalised answer: other accents, no brackets
        ("café", [25, 29], ("cafe\u0301", 25)),
        ("St Mary's", [35, 44], ("St. Mary’s", 35)),
        ("Ruy López", [12, 4], ("Ruy López", 12)),  # from here on no span, so the text is looked for
        ("Ruy López", [4, 99], ("Ruy López", 4)),
        ("Ruy López", [-2, 3], ("Ruy López", -2)),
        ("Ruy López", [3, 3], ("Ruy López", 3)),
    ],
)
def test_spans_count_whatever_their_text(tmp_path, text, span, answer):
    entry = {"qid": "m", "question": "q", "detected_answers": [{"text": text, "char_spans": [span]}], "answers": [text]}
    row = {"context": "The Ruy López (opening), cafe\u0301 and St. Mary’s.", "qas": [entry]}
    (question,) = read(write_lines(tmp_path / "a.jsonl", [MRQA[0], row]))
    assert (question.answers, question.accepted) == ((answer,), (text,))


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "jsonl.gz"])
def test_tables(tmp_path, kind):
    path = tmp_path / f"train.{kind}"
    if kind == "parquet":
        Dataset.from_list(ROWS).to_parquet(path)
    else:
        write_lines(path, ROWS)
    first, second = read(path)
    assert (first.id, first.title, first.context) == ("q1", "Normans", NORMANS)
    assert first.answers == (("William", 57), ("William, the duke", 57))
    assert (second.answers, second.accepted) == ((), ())
    assert second.place == f"{'row' if kind == 'parquet' else 'line'} 2 of {path}"


@pytest.mark.parametrize(
    ("value", "answers"),
    [
        (["a", "b", "a"], (("a", None), ("b", None))),
        ("a", (("a", None),)),
        ([{"text": "a", "answer_start": 3.0}], (("a", 3),)),
        ({"text": ["a"]}, (("a", None),)),
        ({"text": [""], "answer_start": [0]}, ()),
        ([], ()),
        (None, None),
    ],
)
def test_other_columns_and_shapes_of_answers(tmp_path, value, answers):
    rows = [{"ask": "Q", "text": "b a", "gold": value}]
    (question,) = read(write_lines(tmp_path / "a.jsonl", rows), question="ask", context="text", answers="gold")
    assert (question.id, question.question, question.context, question.answers) == (None, "Q", "b a", answers)


GOOD = {"question": "q", "context": "c"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "q"}, r"Expected a column 'context' in line 1 of .*, found question"),
        ({**GOOD, "context": None}, r"a text as 'context', but line 1 of .* has 'None'"),
        ({**GOOD, "question": 3}, r"a text as 'question', but line 1"),
        ({**GOOD, "answers": {"text": ["a", "b"], "answer_start": [1]}}, r"line 1 .* has 2 texts and 1 offsets"),
        ({**GOOD, "answers": {"text": "a", "answer_start": [1]}}, r"a list as 'text', but line 1"),
        ({**GOOD, "answers": 3}, r"a list as 'answers', but line 1"),
        ({**GOOD, "answers": [3]}, r"an answer, but line 1"),
        ({**GOOD, "answers": [{"text": "a", "answer_start": 1.5}]}, r"a whole number as offset.*'1.5'"),
        ({**GOOD, "answers": [{"text": "a", "answer_start": True}]}, r"a whole number as offset"),
        ({**GOOD, "id": [1]}, r"an id, but line 1"),
        ({"context": "c", "qas": 1}, r"a list as 'qas', but line 1"),
        ({"context": "c", "qas": ["q"]}, r"a question, but question 1 of line 1"),
        ({"context": "c", "qas": [{"question": "q", "detected_answers": [{"text": "a"}]}]}, r"a list as 'char_spans'"),
        (
            {"context": "c", "qas": [{"question": "q", "detected_answers": [{"text": "a", "char_spans": [[1]]}]}]},
            r"a first and a last character",
        ),
        ({"context": "c", "qas": [{"question": "q", "answers": ["c"], "is_impossible": True}]}, r"is_impossible"),
    ],
)
def test_bad_rows_are_named(tmp_path, row, message):
    with pytest.raises(RequestError, match=message):
        read(write_lines(tmp_path / "rows.jsonl", [row]))


def test_bad_files_are_named(tmp_path):
    for name, data, message in (
        ("a.csv", b"question\n", r"Expected questions in .json, .jsonl or .parquet, got .*a.csv"),
        ("a.parquet", b"no", r"Expected a parquet file at .*a.parquet"),
        ("a.jsonl", b"{}\n[1]\n", r"column 'question' in line 1"),
        ("b.jsonl", b"[1]\n", r"Expected a JSON object on line 1 of .*b.jsonl"),
        ("c.jsonl", '{"context": "é"}'.encode("latin-1"), r"Expected UTF-8 text in .*c.jsonl"),
        ("c.json", '{"data": "é"}'.encode("latin-1"), r"Expected UTF-8 text in .*c.json"),
        ("a.json", b'{"data": [{"paragraphs"', r"list 'data' in .*a.json"),
        ("b.json", b'{"version": 1}', r"list 'data' in .*b.json, but it cannot be read \(no 'data'\)"),
        ("d.json", b'{"data": [1]}', r"an article, but item 1 of .*d.json"),
        ("e.json", b'{"data": [{"paragraphs": [3]}]}', r"a paragraph, but paragraph 1 of item 1"),
        ("d.jsonl.gz", b"\x1f\x8b\x08\x00broken", r"Expected a whole gzip file at .*d.jsonl.gz"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(RequestError, match=message):
            read(tmp_path / name)
    for kind in ("json", "jsonl", "parquet"):
        with pytest.raises(RequestError, match=rf"Expected a file at .*none.{kind}, found none"):
            read(tmp_path / f"none.{kind}")


def test_questions_come_before_the_file_is_read_to_its_end(tmp_path):
    text = json.dumps({"data": [SQUAD_V2["data"][0], {"paragraphs": [{"context": "c" * 200_000, "qas": []}]}]})
    (tmp_path / "cut.json").write_text(text[:-100_000])
    questions = read_questions(tmp_path / "cut.json", Names())
    assert [next(questions).id for _ in range(3)] == ["q1", "q2", "q3"]
    with pytest.raises(RequestError, match="copy it anew"):
        next(questions)
