import pytest

from bertpress.errors import RequestError
from bertpress.tasks.layouts import News, NumberedCsv, Tree

ARTICLES = """<?xml version="1.0" encoding="UTF-8"?>
<articles>
<article id="0000001" published-at="2017-09-10" title="One"><p>First &amp; <a href="x">linked</a> words.</p><p>Then
more.</p></article>
<article id="0000002" title="Two">Bare <q>quoted</q> text.</article>
</articles>
"""
TRUTH = """<?xml version="1.0" encoding="UTF-8"?>
<articles>
<article hyperpartisan="false" id="0000002" labeled-by="article" url="x"/>
<article hyperpartisan="true" id="0000001" labeled-by="article" url="y"/>
</articles>
"""
TREE = Tree({"train": "train", "test": "test"}, suffix=".txt", skipped=("unsup",))
STARS = NumberedCsv(("1 star", "2 star", "3 stars"))


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def write_news(folder, articles=ARTICLES, truth=TRUTH):
    path = write(folder / "articles-training-byarticle-20181122.xml", articles)
    if truth is not None:
        write(folder / "ground-truth-training-byarticle-20181122.xml", truth)
    return path


def found(rows):
    """Text and label of each row."""
    return list(zip(rows.texts["text"], rows.labels, strict=True))


def test_a_tree_is_read_class_by_class_in_the_order_of_names(tmp_path):
    files = {"pos/1_9.txt": "good", "neg/2_1.txt": "bad", "neg/10_2.txt": "worse", "unsup/1.txt": "?"}
    for name, text in files.items():
        write(tmp_path / "train" / name, text)
    for name in (".hidden/1.txt", "neg/notes.md", "urls_pos.txt"):
        write(tmp_path / "train" / name, "left out")
    assert TREE.find(tmp_path) == {"train": tmp_path / "train"}
    rows = TREE.read(tmp_path / "train")
    assert found(rows) == [("worse", "neg"), ("bad", "neg"), ("good", "pos")]
    assert rows.place(1) == str(tmp_path / "train" / "neg" / "2_1.txt")
    assert TREE.read(tmp_path / "train" / "urls_pos.txt") is None
    assert TREE.find(tmp_path / "train") == {}


def test_the_encoding_of_a_tree(tmp_path):
    file = write(tmp_path / "train" / "pos" / "1.txt", "naïve", "latin-1")
    with pytest.raises(RequestError, match=f"Expected a readable text in utf-8 at {file}, .*: unpack the archive"):
        TREE.read(tmp_path / "train")
    assert Tree({}, encoding="latin-1").read(tmp_path / "train").texts == {"text": ["naïve"]}


def test_csv_without_header(tmp_path):
    path = write(tmp_path / "train.csv", '"3","said \\""yes\\"", twice\\n"\n"1","two\nlines"\n\n"2","last"\n')
    rows = STARS.read(path)
    assert found(rows) == [('said \\"yes\\", twice\\n', "3 stars"), ("two\nlines", "1 star"), ("last", "2 star")]
    assert [rows.place(index) for index in range(3)] == [f"line {line} of {path}" for line in (1, 2, 5)]
    assert STARS.find(tmp_path) == {}
    assert STARS.read(write(tmp_path / "test.csv", "label,text\n0,one\n")) is None
    assert STARS.read(tmp_path / "train.jsonl") is None


@pytest.mark.parametrize(
    ("text", "came"),
    [("1,a\n4,b\n", "line 2 of .*train.csv has the label '4'"), ("0,a\n", "line 1 of .* has the label '0'"),
     ("1,a\n2,b,c\n", "line 2 of .* has 3 fields"), ("1,a\nx\n", "line 2 of .* has 1 fields")],
)  # fmt: skip
def test_csv_with_other_rows(tmp_path, text, came):
    with pytest.raises(RequestError, match=f"whose rows are a label of 1 to 3 and a text, but {came}: correct it"):
        STARS.read(write(tmp_path / "train.csv", text))


def test_lines_with_an_id(tmp_path):
    lines = "0000001 1 An article  of words\u2028and more\r\n\n0000002\t0\tAnother\n3 0\n"
    path = write(tmp_path / "original_data.txt", lines)
    assert News().find(tmp_path) == {"train": path}
    rows = News().read(path)
    assert found(rows) == [("An article  of words\u2028and more", "1"), ("Another", "0"), ("", "0")]
    assert rows.place(1) == f"line 3 of {path}"


def test_lines_in_a_file_for_each_split(tmp_path):
    paths = {split: write(tmp_path / name, "1 0 a\n")
             for split, name in (("train", "train.txt"), ("validation", "dev.txt"), ("test", "test.txt"))}  # fmt: skip
    assert News().find(tmp_path) == paths
    assert News().read(tmp_path / "train.jsonl") is None


def test_articles_of_semeval(tmp_path):
    path = write_news(tmp_path)
    assert News().find(tmp_path) == {"train": path}
    rows = News().read(path)
    assert found(rows) == [("First & linked words. Then more.", "true"), ("Bare quoted text.", "false")]
    assert rows.place(1) == f"article 0000002 of {path}"


ENTITY = '<!DOCTYPE articles [<!ENTITY e SYSTEM "file:///etc/hostname">]>\n'


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"truth": None}, "in ground-truth-training-byarticle-20181122.xml beside it, found none: unpack both"),
        ({"articles": ARTICLES[:-12]}, "Expected SemEval's XML in .*articles-training.*, got '.*': unpack"),
        ({"truth": "no xml"}, "Expected SemEval's XML in .*ground-truth.*, got"),
        ({"articles": ARTICLES.replace("<articles>", f"{ENTITY}<articles>")}, "got 'a document type, which could"),
    ],
)
def test_articles_that_cannot_be_read(tmp_path, changes, message):
    with pytest.raises(RequestError, match=message):
        News().read(write_news(tmp_path, **changes))
