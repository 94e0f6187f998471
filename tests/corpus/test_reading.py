from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from bertpress.corpus.reading import BLOCK, LONGEST, find_files, read_lines
from bertpress.errors import RequestError


def written(folder: Path, data: bytes, name: str = "text.txt") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def parquet(folder: Path, rows: list[object], name: str = "text.parquet") -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"text": rows}), folder / name)
    return folder / name


@pytest.mark.parametrize("name", ["text.txt", "text.txt.gz", "without_suffix"])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"one line", ["one line"]),
        (b"\xef\xbb\xbfone\r\ntwo\r\n", ["one", "two"]),
        (b"  one \t\n\ttwo", ["one", "two"]),
        (b"\n\n \na\nb\n\n\t\n\r\n\nc\n\n\n", ["a", "b", None, "c"]),
        ("深度\r\r\n\u3000学习\u3000\n".encode(), ["深度", "学习"]),
        (b"", []),
        (b" \n\r\n", []),
        (b"\xef\xbb\xbf", []),
    ],
)
def test_lines_and_boundaries(name: str, data: bytes, expected: list[str | None], tmp_path: Path) -> None:
    assert list(read_lines(written(tmp_path, data, name))) == expected


def test_blocks_leave_no_trace(tmp_path: Path) -> None:
    generator = random.Random(0)
    words = ["深度学习", "wörd", "a", "longer words", ""]
    lines = [" ".join(generator.choices(words, k=generator.randint(0, 60))) for _ in range(18_000)]
    text = "\n".join(lines)
    assert len(text.encode()) > 3 * BLOCK
    expected: list[str | None] = []
    for line in (line.strip() for line in lines):
        if line or (expected and expected[-1] is not None):
            expected.append(line or None)
    assert list(read_lines(written(tmp_path, text.encode()))) == (expected[:-1] if expected[-1] is None else expected)


@pytest.mark.parametrize("before", [0, 2, 200_000])
def test_bytes_that_are_not_utf8(before: int, tmp_path: Path) -> None:
    path = written(tmp_path, b"fine line\n" * before + b"caf\xe9\nmore\n")
    with pytest.raises(RequestError, match=rf"Expected UTF-8 text in {path}, but line {before + 1} holds other bytes"):
        list(read_lines(path))


def test_binary_files_are_refused(tmp_path: Path) -> None:
    for data in (b"a\nb\0c", "two bytes a character".encode("utf-16"), bytes(range(128, 192)) * 100_000):
        with pytest.raises(RequestError, match="save the file as UTF-8"):
            list(read_lines(written(tmp_path, data)))
    path = written(tmp_path, b"text\n" * 1000, "cut.txt.gz")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RequestError, match="broken or cut off"):
        list(read_lines(path))
    path.write_bytes(b"no gzip")
    with pytest.raises(RequestError, match="broken or cut off"):
        list(read_lines(path))
    with pytest.raises(RequestError, match="Expected a parquet file"):
        list(read_lines(written(tmp_path, b"no parquet", "text.parquet")))


@pytest.mark.parametrize(("word", "between"), [("word", " "), ("深", ""), ("longer", " ")])
def test_a_very_long_line_comes_in_pieces(word: str, between: str, tmp_path: Path) -> None:
    text = between.join([word] * (3 * BLOCK // len(word)))
    pieces = list(read_lines(written(tmp_path, text.encode())))
    assert all(piece is not None and 0 < len(piece) <= LONGEST for piece in pieces)
    assert between.join(piece for piece in pieces if piece) == text
    assert len(pieces) < 1.2 * len(text) / LONGEST + 8


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet"])
def test_rows_are_lines_and_empty_rows_boundaries(kind: str, tmp_path: Path) -> None:
    rows: list[str | None] = ["one\n", " two", "", None, "three\nfour", "a title\n\nfive\r\n\r\nsix", "seven", ""]
    expected = ["one", "two", None, "three", "four", None, "a title", None, "five", None, "six", None, "seven"]
    if kind == "parquet":
        path = parquet(tmp_path, list(rows))
    else:
        data = "\n".join(json.dumps({"text": row, "id": 1}) for row in rows) + "\n\n"
        path = written(tmp_path, data.encode(), f"text.{kind}")
    assert list(read_lines(path)) == expected


def test_columns_are_checked(tmp_path: Path) -> None:
    table = parquet(tmp_path, ["a"])
    with pytest.raises(RequestError, match=r"Expected a column 'txt' in .*, found text \(did you mean 'text'"):
        list(read_lines(table, "txt"))
    with pytest.raises(RequestError, match=r"Expected text in 'text', but row 1 of .* holds a int"):
        list(read_lines(parquet(tmp_path, [3])))
    lines = written(tmp_path, b'{"text": "a"}\n{"body": "b"}\n', "rows.jsonl")
    with pytest.raises(RequestError, match=r"Expected a column 'text' in line 2 of .*, found body"):
        list(read_lines(lines))
    with pytest.raises(RequestError, match=r"Expected a JSON object on line 1 of .*, got 'plain'"):
        list(read_lines(written(tmp_path, b"plain\n", "plain.jsonl")))


def test_files_are_found(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.jsonl.gz", "d.csv", "README.md"):
        written(tmp_path, b"text", name)

    def names(*patterns: str) -> list[str]:
        return [path.name for path in find_files(tuple(str(tmp_path / pattern) for pattern in patterns))]

    assert names("b.txt", "*.txt") == ["b.txt", "a.txt"]
    assert names(".") == ["a.txt", "b.txt", "c.jsonl.gz"]
    assert names("README.md") == ["README.md"], "a file that is named is read"
    with pytest.raises(RequestError, match=r"found none \(did you mean 'b.txt'\?\): give existing files"):
        names("bb.txt")
    with pytest.raises(RequestError, match=r"Expected text, .jsonl or .parquet, got .*d.csv"):
        names("d.csv")


def test_of_a_folder_with_splits_the_training_text_is_read(tmp_path: Path) -> None:
    for name in ("train-0.txt", "train-1.txt", "validation.txt", "test.txt"):
        written(tmp_path, b"text", name)
    said: list[str] = []
    assert [path.name for path in find_files((str(tmp_path),), said.append)] == ["train-0.txt", "train-1.txt"]
    assert said == []
    written(tmp_path, b"text", "more.txt")
    find_files((str(tmp_path),), said.append)
    assert said == [f"Of {tmp_path}, train-0.txt, train-1.txt is read and more.txt is not."]
    for name in ("train-0.txt", "train-1.txt"):
        (tmp_path / name).unlink()
    assert [path.name for path in find_files((str(tmp_path),))] == ["more.txt"], "no text of other splits"
