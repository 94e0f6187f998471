import pyarrow
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from bertpress.errors import RequestError
from bertpress.tasks.data import label_values
from bertpress.tasks.tables import SPLIT_STEMS, find_splits, read_file, read_folder

ROWS = {"text": ['he said "no", twice', "tab\tand\nline", "naïve \u2028 separator"], "label": ["a", "b", "a"]}


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def write_rows(path):
    if path.suffix == ".parquet":
        Dataset.from_dict(ROWS).to_parquet(path)
    elif path.suffix == ".jsonl":
        Dataset.from_dict(ROWS).to_json(path)
    else:
        Dataset.from_dict(ROWS).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv", ".tsv"])
def test_every_format_gives_the_same_rows(tmp_path, suffix):
    path = tmp_path / f"train{suffix}"
    write_rows(path)
    assert read_file(path).to_dict() == ROWS


def test_byte_order_mark_blank_lines_and_windows_line_ends(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\r\none,1\r\n\r\ntwo,2\r\n", encoding="utf-8-sig")
    assert read_file(path).to_dict() == {"text": ["one", "two"], "label": ["1", "2"]}
    path = write(tmp_path / "a.jsonl", '{"text": "one"}\r\n\r\n{"text": "two"}', encoding="utf-8-sig")
    assert read_file(path).to_dict() == {"text": ["one", "two"]}


def test_fields_longer_than_the_csv_module_reads_by_default(tmp_path):
    path = write(tmp_path / "a.csv", f"text,label\n{'word ' * 50_000},1\n")
    assert len(read_file(path)["text"][0]) == 250_000


def test_json_rows_may_lack_keys_and_mix_types(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "one", "label": 1}\n{"text": 2, "more": [1]}\n')
    assert read_file(path).to_dict() == {"text": ["one", "2"], "label": [1, None], "more": [None, [1]]}


def test_parquet_keeps_class_labels_and_takes_categories(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    Dataset.from_dict({"text": ["x"], "label": [1]}, features=features).to_parquet(tmp_path / "a.parquet")
    assert label_values(read_file(tmp_path / "a.parquet"), "label") == ["yes"]
    category = pyarrow.array(["b", "a", "b"]).dictionary_encode()
    pyarrow.parquet.write_table(pyarrow.table({"label": category}), tmp_path / "b.parquet")
    assert read_file(tmp_path / "b.parquet").to_dict() == {"label": ["b", "a", "b"]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"x", r"Expected a file of the kinds .parquet, .jsonl, .csv, .tsv, got .*a.txt: convert it"),
        ("a.csv", b"", r"Expected rows in .*a.csv, but the file is empty: add rows"),
        ("a.csv", b"\xef\xbb\xbf", r"Expected rows in .*a.csv, but it holds none"),
        ("a.csv", b"text,label\n", r"Expected rows in .*a.csv, but it holds none"),
        ("a.jsonl", b"\n\n", r"Expected rows in .*a.jsonl, but the file is empty"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\x00\x00", r"Expected UTF-8 text in .*a.csv, but line 1 holds other bytes"),
        ("a.csv", b"text,label\na\x00b,1\n", r"line 2 holds other bytes: save the file as UTF-8"),
        ("a.tsv", "text\tlabel\none\t1\nna\xefve\t2\n".encode("latin-1"), r"line 3 holds other bytes"),
        ("a.csv", "text\none\n".encode("utf-16"), r"line 1 holds other bytes"),
        ("a.csv", b"text,label\none,1\ntwo,2,3\n", r"Expected 2 fields as in the header on line 3 of .*, got 3: quote"),
        ("a.csv", b'text,label\n"one\nline",1\ntwo\n', r"on line 4 of .*, got 1"),
        (
            "a.tsv",
            b'text\tlabel\none\t1\n"two\t2\n',
            r"Expected fields quoted as in CSV on line 3 of .*, got '.*': quote",
        ),
        ("a.csv", b"text,text\none,1\n", r"Expected different column names in .*, but 'text' comes twice: rename"),
        ("a.jsonl", b'{"text": 1}\n{"text"\n', r"Expected a JSON object on line 2 of .*, got '{\"text\"': write a row"),
        ("a.jsonl", b'[{"text": 1}]', r"Expected a JSON object on line 1"),
        ("a.parquet", b"PAR1 is not all", r"Expected a parquet file at .*a.parquet, but it cannot be read: write it"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError, match=message):
        read_file(tmp_path / name)


def test_missing_file_names_the_nearest(tmp_path):
    write_rows(tmp_path / "train.csv")
    with pytest.raises(RequestError, match=r"found none \(did you mean 'train.csv'\?\)"):
        read_file(tmp_path / "trian.csv")


def test_folder_names_of_splits(tmp_path):
    for name in ("train.csv", "dev.jsonl", "test.parquet", "notes.csv"):
        write_rows(tmp_path / name)
    splits = read_folder(tmp_path)
    assert list(splits) == ["train", "validation", "test"]
    assert all(split.to_dict() == ROWS for split in splits.values())
    write_rows(tmp_path / "validation_mismatched.tsv")
    stems = {**SPLIT_STEMS, "validation_mismatched": ("validation_mismatched",)}
    assert list(read_folder(tmp_path, stems)) == ["train", "validation", "test", "validation_mismatched"]


def test_folder_errors(tmp_path):
    (tmp_path / "rows").mkdir()
    with pytest.raises(RequestError, match=r"Expected a folder at .*, found nothing \(did you mean 'rows'\?\): give"):
        find_splits(tmp_path / "row")
    with pytest.raises(
        RequestError, match=r"Expected train or validation or test as .*, found an empty folder: rename"
    ):
        read_folder(tmp_path / "rows")
    write_rows(tmp_path / "rows" / "training.csv")
    with pytest.raises(RequestError, match=r"Expected a folder at .*training.csv, found a file: give"):
        find_splits(tmp_path / "rows" / "training.csv")
    with pytest.raises(RequestError, match=r"found training.csv: rename"):
        read_folder(tmp_path / "rows")
    write_rows(tmp_path / "rows" / "dev.csv")
    write_rows(tmp_path / "rows" / "validation.tsv")
    with pytest.raises(RequestError, match=r"Expected one validation file in .*, found validation.tsv and dev.csv"):
        read_folder(tmp_path / "rows")
