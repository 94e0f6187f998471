import json
import re

import pyarrow
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from pyarrow import parquet

from bertpress.errors import RequestError
from bertpress.tasks.splits import hold_out, limit
from bertpress.tasks.tagging.formats import load_sentences
from bertpress.tasks.tagging.sentences import spans_in
from bertpress.tasks.tagging.settings import TaggingSettings

COLUMNS = """-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
German JJ I-NP I-MISC
call NN I-NP O

Peter NNP I-NP I-PER
Blackburn NNP I-NP I-PER

"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_lines(path, rows):
    return write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def surfaces(rows):
    """Of each record: text and type of its entities."""
    return [
        [(row["text"][row["starts"][first] : row["ends"][last - 1]], kind) for first, last, kind in spans_in(row)]
        for row in rows
    ]


def words(row):
    return [row["text"][start:end] for start, end in zip(row["starts"], row["ends"], strict=True)]


def read(path, columns=None, label=None, **settings):
    """The training records of one file."""
    return load_sentences("files", path, columns, label, TaggingSettings(**settings)).splits["train"]


EU = [[("EU", "ORG"), ("German", "MISC")], [("Peter Blackburn", "PER")]]


def test_columns_with_tags_last(tmp_path):
    rows = read(write(tmp_path / "train.conll", COLUMNS))
    assert surfaces(rows) == EU
    assert rows["text"][:] == ["EU rejects German call", "Peter Blackburn"]
    assert words(rows[0]) == ["EU", "rejects", "German", "call"]
    assert rows["id"][:] == ["0", "1"]


@pytest.mark.parametrize(
    "change", [("\n", "\r\n"), (" ", "\t"), ("\n", " \n"), ("\n\n", "\n  \n\n"), ("EU", "\ufeffEU")]
)
def test_columns_however_they_stand_apart(tmp_path, change):
    text = COLUMNS.removeprefix("-DOCSTART- -X- O O\n\n").replace(*change)
    assert surfaces(read(write(tmp_path / "train.txt", text))) == EU


def test_the_schema_of_records(tmp_path):
    data = load_sentences("files", write(tmp_path / "a.txt", COLUMNS))
    ints, strings = List(Value("int32")), List(Value("string"))
    assert data.splits["train"].features == Features(
        {"id": Value("string"), "text": Value("string"), "starts": ints, "ends": ints}
        | {"span_starts": ints, "span_ends": ints, "span_types": strings}
    )
    assert (data.labels, data.columns, data.primary) == (("MISC", "ORG", "PER"), ("text",), "span_f1")
    assert data.notes == ()
    assert data.sources == (tmp_path / "a.txt",)


def test_a_folder_has_a_file_per_split(tmp_path):
    for name in ("train.txt", "dev.bio", "test.char.bmes", "notes.md", ".train.txt.tmp"):
        write(tmp_path / name, COLUMNS)
    data = load_sentences("files", tmp_path)
    assert [(split, len(rows)) for split, rows in data.splits.items()] == [("train", 2), ("validation", 2), ("test", 2)]
    assert [path.name for path in data.sources] == ["train.txt", "dev.bio", "test.char.bmes"]


def test_folders_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(RequestError, match="found nothing"):
        load_sentences("files", tmp_path / "missing")
    write(tmp_path / "sentences.md", COLUMNS)
    with pytest.raises(RequestError, match=r"Expected train, dev and test .* found sentences\.md"):
        load_sentences("files", tmp_path)
    write(tmp_path / "dev.txt", COLUMNS)
    write(tmp_path / "val.conll", COLUMNS)
    with pytest.raises(RequestError, match=r"one validation file .* found dev\.txt and val\.conll"):
        load_sentences("files", tmp_path)
    with pytest.raises(RequestError, match="give --data-dir"):
        load_sentences("files")


def test_a_column_file_without_tags_is_for_prediction(tmp_path):
    write(tmp_path / "train.txt", COLUMNS)
    write(tmp_path / "test.txt", "EU\nrejects\n\nPeter\n")
    data = load_sentences("files", tmp_path)
    assert data.splits["test"].column_names == ["id", "text", "starts", "ends"]
    assert data.splits["test"]["text"][:] == ["EU rejects", "Peter"]
    write(tmp_path / "train.txt", "EU\nrejects\n\nPeter\n")
    with pytest.raises(RequestError, match=r"but the sentence on line 1 of .*train\.txt has none"):
        load_sentences("files", tmp_path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a O\nb B-X\nc\n", "line 3 of .* has one field"),
        ("a O\nb B-X\n" + "c O\n" * 20 + "d PER\n", "line 23 of .* has 'PER'"),
        ("a b\nc d\n", "a word first and its tag .* but line 1 is 'a b'"),
        ("你 好\nO O\n再 见\n", "2 words on line 3 of .* but there is no line below"),
        ("你 好\nO\n", "2 words on line 1 of .* but line 2 has 1"),
        ("a B-X\nO O\nb O\nc X\nd O\n", "line 4 of .* has 'X'"),
        ("维 生 素 O\nO O O O\n好 的\nO\n", "2 words on line 3 of .* but line 4 has 1"),
        ("-DOCSTART- -X- O O\n", "Expected sentences in .*, found none"),
        ("a O\nb O\n", "Expected entities in the data of files, found none"),
        ("a B-X\nb M-X\nc L-X\n", "sentence on line 1 of .* has 'L-X', and those before it are of BMES"),
    ],
)
def test_text_files_that_do_not_fit_are_refused(tmp_path, text, fault):
    with pytest.raises(RequestError, match=fault):
        read(write(tmp_path / "train.txt", text))


def test_a_tag_of_another_scheme_than_named_is_refused(tmp_path):
    path = write(tmp_path / "train.txt", "a O\n\nb S-X\n")
    with pytest.raises(RequestError, match=r"scheme BIO, but the sentence on line 3 of .*train\.txt has 'S-X'"):
        read(path, read_as="BIO")
    assert surfaces(read(path)) == [[], [("b", "X")]]


def test_tags_against_the_scheme_are_counted(tmp_path):
    path = write(tmp_path / "train.txt", "a B-X\nb O\nc I-X\nd I-X\n\ne I-Y\n\nf B-Y\n")
    data = load_sentences("files", path)
    assert surfaces(data.splits["train"]) == [[("a", "X"), ("c d", "X")], [("e", "Y")], [("f", "Y")]]
    assert data.notes[0] == "train: 2 entities are not tagged as BIO asks; they are read as conlleval reads them"


def test_true_entities_against_the_scheme_are_none_where_strict_mode_evaluates(tmp_path):
    # In BIO the second sentence has no entity to seqeval's strict mode, and one of two words to its default mode.
    text = "Ada B-PER\nsaw O\nme O\n\nAda I-PER\nKing I-PER\nsaw O\n"
    for split in ("train", "validation"):
        write(tmp_path / f"{split}.conll", text)
    lenient, strict = (load_sentences("files", tmp_path, settings=TaggingSettings(strict=on)) for on in (False, True))
    assert surfaces(lenient.splits["validation"]) == [[("Ada", "PER")], [("Ada King", "PER")]]
    assert surfaces(strict.splits["validation"]) == [[("Ada", "PER")], []]
    assert surfaces(strict.splits["train"]) == surfaces(lenient.splits["train"])
    assert strict.notes == (
        "train: 1 entities are not tagged as BIO asks; they are read as conlleval reads them",
        "validation: 1 entities are not tagged as BIO asks; they count as none",
    )


def test_lines_of_characters_and_of_tags(tmp_path):
    text = "青 岛 队 和 Ｃ\u3000 战\nB-ORG I-ORG I-ORG O O O\n\n张 敬\nB-PER B-PER\n"
    write(tmp_path / "orig_data_train.txt", text)
    write(tmp_path / "orig_data_dev.txt", text)
    data = load_sentences("files", tmp_path)
    assert set(data.splits) == {"train", "validation"}
    rows = data.splits["train"]
    assert rows["text"][:] == ["青岛队和Ｃ\u3000战", "张敬"], "no spaces between characters"
    assert surfaces(rows) == [[("青岛队", "ORG")], [("张", "PER"), ("敬", "PER")]]


def test_the_level_says_whether_words_stand_apart(tmp_path):
    path = write(tmp_path / "train.txt", "北 B-X\n京 I-X\n")
    assert read(path)["text"][:] == ["北京"]
    assert read(path, level="word")["text"][:] == ["北 京"]


TEXT = "Angela Merkel visited New York ."
SPANS = [(0, 13, "PER"), (22, 30, "LOC")]
FORMS = {
    "spans": {"spans": [{"start": start, "end": end, "label": kind} for start, end, kind in SPANS]},
    "types": {"entities": [{"start": start, "end": end, "type": kind, "id": 7} for start, end, kind in SPANS]},
    "offsets": {"entities": [{"start_offset": start, "end_offset": end, "label": kind} for start, end, kind in SPANS]},
    "lists": {"label": [list(span) for span in reversed(SPANS)]},
    "surfaces": {"label": {"PER": {"Angela Merkel": [[0, 12]]}, "LOC": {"New York": [[22, 29]]}}},
}


@pytest.mark.parametrize("form", list(FORMS))
def test_spans_of_characters(tmp_path, form):
    rows = read(write_lines(tmp_path / "train.jsonl", [{"id": 12, "text": TEXT, **FORMS[form]}]))
    assert surfaces(rows) == [[("Angela Merkel", "PER"), ("New York", "LOC")]]
    assert rows["id"][:] == ["12"]
    assert rows["text"][:] == [TEXT]


def test_a_json_file_may_hold_lines_or_a_list(tmp_path):
    rows = [{"text": TEXT, **FORMS["spans"]}]
    assert surfaces(read(write_lines(tmp_path / "train.json", rows))) == surfaces(
        read(write(tmp_path / "list.json", json.dumps(rows, indent=2)))
    )


def test_other_columns_by_name(tmp_path):
    row = {"text": "wrong", "entities": [], "sentence": TEXT, "marks": FORMS["lists"]["label"]}
    rows = read(write_lines(tmp_path / "train.jsonl", [row]), columns=["sentence"], label="marks")
    assert surfaces(rows) == [[("Angela Merkel", "PER"), ("New York", "LOC")]]
    with pytest.raises(RequestError, match=r"column 'sentense', .*did you mean 'sentence'"):
        read(tmp_path / "train.jsonl", columns=["sentense"])
    with pytest.raises(RequestError, match="column 'tags'"):
        read(tmp_path / "train.jsonl", label="tags")
    with pytest.raises(RequestError, match="one column of words or text, got a, b"):
        read(tmp_path / "train.jsonl", columns=["a", "b"])


def test_entities_within_entities_stay(tmp_path):
    spans = [[0, 16, "ORG"], [8, 16, "LOC"], [0, 16, "ORG"]]
    rows = read(write_lines(tmp_path / "train.jsonl", [{"text": "Bank of New York", "label": spans}]))
    assert [spans_in(row) for row in rows] == [[(0, 4, "ORG"), (2, 4, "LOC")]]


def test_spans_that_do_not_end_at_words_are_mended_and_counted(tmp_path):
    spans = [[6, 18, "PER"], [23, 25, "LOC"]]
    data = load_sentences("files", write_lines(tmp_path / "a.jsonl", [{"text": f"Hello {TEXT}", "label": spans}]))
    assert surfaces(data.splits["train"]) == [[("Angela Merkel", "PER"), ("visited", "LOC")]]
    assert data.notes[0] == "train: 2 entities begin or end inside of a word and are widened to it"
    spans = [[5, 20, "PER"]]
    text = f"Hello\u3000{TEXT}"
    data = load_sentences("files", write_lines(tmp_path / "a.jsonl", [{"text": text, "label": spans}]))
    assert surfaces(data.splits["train"]) == [[("Angela Merkel", "PER")]]
    assert data.notes[0] == "train: 1 entities have white space at their borders, which is left out"


def test_chinese_text_is_cut_into_characters(tmp_path):
    row = {
        "text": "浙商银行企业信贷部叶老桂博士",
        "label": {"name": {"叶老桂": [[9, 11]]}, "company": {"浙商银行": [[0, 3]]}},
    }
    data = load_sentences("files", write_lines(tmp_path / "train.json", [row]))
    assert [spans_in(each) for each in data.splits["train"]] == [[(0, 4, "company"), (9, 12, "name")]]
    assert data.notes == (), "nothing had to be mended"
    by_word = read(tmp_path / "train.json", level="word")
    assert words(by_word[0]) == [row["text"]]


@pytest.mark.parametrize(
    ("label", "fault"),
    [
        (
            [[0, 33, "X"]],
            r"the span 0 to 33 \(X\) in line 2 of .*train\.jsonl is not inside \(the text has 32 characters\)",
        ),
        ([[3, 3, "X"]], "is empty"),
        ([[5, 3, "X"]], "ends before it starts"),
        ([[6, 7, "X"]], "white space only"),
        ([[0, "6", "X"]], r"spans of start, end and type, but line 2 of .* has \[0, \"6\", \"X\"\]"),
        ([{"start": 0, "label": "X"}], "spans of start, end and type"),
        ([[0, 6]], "spans of start, end and type"),
        ({"PER": {"Merkel": [[0, 5]]}}, "line 2 of .* has 'Merkel' at 0 to 5"),
        ({"PER": ["Merkel"]}, "places by type and surface"),
    ],
)
def test_spans_that_cannot_be_are_refused(tmp_path, label, fault):
    rows = [{"text": "fine", "label": [[0, 4, "X"]]}, {"text": TEXT, "label": label}]
    with pytest.raises(RequestError, match=fault):
        read(write_lines(tmp_path / "train.jsonl", rows))


def test_rows_that_do_not_fit_are_refused(tmp_path):
    for row, fault in (
        ({"tokens": ["a"], "ner_tags": ["O", "O"]}, "line 1 of .* has 2 tags for 1 words"),
        ({"tokens": ["a"], "ner_tags": [3]}, "'ner_tags', but line 1 of .* has numbers without names"),
        ({"tokens": "a"}, "line 1 of .* has none"),
        ({"tokens": [1]}, "words or a text in 'tokens', but line 1"),
        ({"body": "a"}, "Expected a column named tokens, words, text, found body"),
        ({"tokens": ["a"], "ner_tags": ["PER"]}, "line 1 of .* has 'PER'"),
    ):
        with pytest.raises(RequestError, match=fault):
            read(write_lines(tmp_path / "train.jsonl", [row]))
    for text, fault in (
        ("[1]", "item 1 is '1'"),
        ("[{", "Expected a list of JSON objects"),
        ("{", "line 1"),
        ("[]", "found none"),
    ):
        with pytest.raises(RequestError, match=fault):
            read(write(tmp_path / "train.json", text))


def test_tables_with_the_columns_of_the_hub(tmp_path):
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    features = Features(
        {"id": Value("string"), "tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=names))}
    )
    rows = {"id": ["x", "y"], "tokens": [["Anna", "Lee", "left"], []], "ner_tags": [[1, 2, 0], []]}
    Dataset.from_dict(rows, features).to_parquet(str(tmp_path / "train.parquet"))
    data = load_sentences("files", tmp_path)
    assert surfaces(data.splits["train"]) == [[("Anna Lee", "PER")], []]
    assert data.labels == ("PER", "LOC"), "the order of the schema, also what no row has"
    assert data.splits["train"]["id"][:] == ["x", "y"]


def test_tables_with_names_of_tags(tmp_path):
    write_lines(tmp_path / "train.jsonl", [{"words": ["a", "b"], "tags": ["S-X", "O"]}])
    parquet.write_table(pyarrow.table({"words": [["c"]], "tags": [["S-Y"]]}), tmp_path / "dev.parquet")
    data = load_sentences("files", tmp_path)
    assert surfaces(data.splits["train"]) == [[("a", "X")]]
    assert surfaces(data.splits["validation"]) == [[("c", "Y")]]
    assert data.labels == ("X", "Y")


def test_a_tag_that_is_nothing_is_named(tmp_path):
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-X"]))})
    Dataset.from_dict({"tokens": [["a", "b"]], "ner_tags": [[0, None]]}, features).to_parquet(
        str(tmp_path / "train.parquet")
    )
    with pytest.raises(RequestError, match=r"row 1 of .*train\.parquet has numbers without names"):
        load_sentences("files", tmp_path)


def test_a_test_table_without_tags(tmp_path):
    write_lines(tmp_path / "train.jsonl", [{"tokens": ["a", "b"], "tags": ["B-X", "O"]}])
    write_lines(tmp_path / "test.jsonl", [{"tokens": ["a"]}, {"tokens": ["b"], "tags": None}])
    assert "span_types" not in load_sentences("files", tmp_path).splits["test"].column_names
    write_lines(tmp_path / "test.jsonl", [{"tokens": ["a"]}, {"tokens": ["b"], "tags": ["O"]}])
    with pytest.raises(RequestError, match=r"line 1 of .*test\.jsonl has none"):
        load_sentences("files", tmp_path)


QUERIES = {"NS": "按照地理位置划分的国家,城市,乡镇,大洲", "NR": "人名和虚构的人物形象"}


def questions(**changes):
    """Two sentences, each asked for two types."""
    contexts = ["图 为 马 拉 维 首 都", "李 白 与 杜 甫"]
    answers = {(0, "NS"): ([2], [4]), (1, "NR"): ([0, 3], [1, 4])}
    rows = []
    for sentence, context in enumerate(contexts):
        for number, (kind, query) in enumerate(QUERIES.items(), start=1):
            starts, ends = answers.get((sentence, kind), ([], []))
            row = {"context": context, "query": query, "entity_label": kind, "qas_id": f"{sentence}.{number}"}
            row |= {"start_position": starts, "end_position": ends, "impossible": not starts}
            rows.append({**row, **changes})
    return rows


@pytest.mark.parametrize("changes", [{}, {"qas_id": None}])
def test_questions_about_entities(tmp_path, changes):
    write(tmp_path / "mrc-ner.train", json.dumps(questions(**changes), ensure_ascii=False))
    write(tmp_path / "mrc-ner.dev", json.dumps(questions(**changes), ensure_ascii=False))
    data = load_sentences("files", tmp_path)
    assert data.splits["validation"]["text"][:] == ["图为马拉维首都", "李白与杜甫"]
    assert surfaces(data.splits["train"]) == [[("马拉维", "NS")], [("李白", "NR"), ("杜甫", "NR")]]
    assert load_sentences("files", tmp_path).queries == QUERIES
    named = load_sentences("msra_ner", tmp_path)
    assert named.labels == ("PER", "ORG", "LOC")
    assert surfaces(named.splits["train"]) == [[("马拉维", "LOC")], [("李白", "PER"), ("杜甫", "PER")]]
    assert set(load_sentences("msra_ner", tmp_path).queries) == {"LOC", "PER"}


def test_rows_without_a_question_ask_the_usual_one(tmp_path):
    rows = [{name: value for name, value in row.items() if name != "query"} for row in questions()]
    write(tmp_path / "train.json", json.dumps([questions()[0], *rows[1:]], ensure_ascii=False))
    found = load_sentences("files", tmp_path)
    assert found.queries == {questions()[0]["entity_label"]: questions()[0]["query"]}
    assert surfaces(found.splits["train"]) == [[("马拉维", "NS")], [("李白", "NR"), ("杜甫", "NR")]]


def test_files_that_ask_nothing_have_no_queries(tmp_path):
    assert load_sentences("files", write(tmp_path / "train.conll", COLUMNS)).queries == {}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"start_position": [1], "end_position": [7]}, "all of 7 words, but item 1"),
        ({"start_position": [1], "end_position": []}, r"has \[1\] and \[\]"),
        ({"start_position": [3], "end_position": [2]}, r"has \[3\] and \[2\]"),
        ({"start_position": None}, "start_position"),
        ({"entity_label": None}, "a context and an entity_label"),
        ({"qas_id": "0.1"}, "one context for the rows of sentence 0, but item 3"),
    ],
)
def test_questions_that_do_not_fit_are_refused(tmp_path, changes, fault):
    path = write(tmp_path / "train.json", json.dumps(questions(**changes), ensure_ascii=False))
    with pytest.raises(RequestError, match=fault):
        read(path)


def test_splits_can_be_made_and_limited(tmp_path):
    text = "".join(f"word{number} B-X\nrest O\n\n" for number in range(40))
    data = hold_out(load_sentences("files", write(tmp_path / "train.txt", text)))
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 36, "validation": 4}
    assert len(limit(data.splits, {"train": 5}, seed=0)["train"]) == 5


def test_where_something_is_wrong_is_said_once_and_with_a_remedy(tmp_path):
    with pytest.raises(RequestError) as caught:
        read(write(tmp_path / "train.txt", "a B-X\nb\n"))
    assert re.fullmatch(r"Expected [^.]*, but line 2 of \S* has one field: correct it\.", str(caught.value))
