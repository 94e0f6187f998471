from collections import Counter

import pytest

from bertpress.errors import RequestError
from bertpress.tasks.recording import mended, name_of, remarks_on, stored_records


def test_records_have_different_names():
    seen = set()
    assert [name_of(given, number, "here", seen) for number, given in enumerate(["a", None, "\udc00"], 1)] == [
        "a",
        "row-2",
        "\ufffd",
    ]
    with pytest.raises(RequestError, match="different ids, but row 4 has 'row-2' again"):
        name_of("row-2", 4, "row 4", seen)


def test_texts_are_mended_and_counted():
    tally = Counter()
    assert [mended(text, tally) for text in ("a", "\ud800b")] == ["a", "\ufffdb"]
    assert tally["halves"] == 1


def test_records_are_made_once_and_counted_again_where_only_they_are_left(tmp_path, monkeypatch):
    monkeypatch.setenv("BERTPRESS_CACHE", str(tmp_path))
    calls = []

    def records_of(rows, tally):
        calls.append(1)
        for row in rows:
            tally["seen"] += 1
            yield {"number": row}

    def ask():
        records, tally = stored_records(("k",), {"number": "int32"}, lambda: iter([3, 4]), records_of)
        return records["number"][:], dict(tally)

    assert [ask(), ask()] == [([3, 4], {"seen": 2})] * 2
    assert len(calls) == 1
    files = sorted((tmp_path / "records").glob("*.arrow"), key=lambda path: path.stat().st_mtime_ns)
    files[-1].unlink()  # the counts
    assert ask() == ([3, 4], {"seen": 2})
    assert len(calls) == 2


def test_remarks_tell_what_there_is():
    remarks = {"none": "{} of these", "some": "{} of those", "said": "and this"}
    assert remarks_on("train", Counter(some=2, said=1), remarks) == ["train: 2 of those", "train: and this"]
