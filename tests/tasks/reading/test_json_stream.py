import io
import json
import tracemalloc

import pytest

from bertpress.tasks.reading import json_stream
from bertpress.tasks.reading.json_stream import JsonStream


class Drops:
    """A file that gives at most so many characters at once."""

    def __init__(self, text, size):
        self.file, self.size = io.StringIO(text), size

    def read(self, count):
        return self.file.read(min(count, self.size))


VALUES = [{"a": [1, 2.5, None]}, 'text \u00e9 \U0001f600 \\ " ]', [], {}, True, -12345678, [[1], {"b": "}"}]]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("indent", [None, 2])
def test_values_come_one_by_one_however_they_are_read(size, indent):
    text = json.dumps(VALUES, indent=indent)
    assert list(JsonStream(Drops(text, size)).elements()) == VALUES
    stream = JsonStream(Drops(json.dumps({"version": 1.25, "data": VALUES, "n": 123456}, indent=indent), size))
    found = {}
    for key in stream.members():
        found[key] = list(stream.elements()) if key == "data" else stream.value()
    assert found == {"version": 1.25, "data": VALUES, "n": 123456}
    assert stream.peek() == ""


def test_empty_lists_and_objects():
    assert list(JsonStream(io.StringIO(" [ ] ")).elements()) == []
    assert list(JsonStream(io.StringIO("{}")).members()) == []


@pytest.mark.parametrize("text", ["", "[1, 2", "[1 2]", '["a', "{", "[1,]", "]", "[1, nul]", '{"a" 1}', "{1: 2}"])
def test_broken_json_is_an_error(text):
    def read():
        stream = JsonStream(io.StringIO(text))
        if text.startswith("{"):
            for _ in stream.members():
                stream.value()
        else:
            list(stream.elements())

    with pytest.raises(ValueError, match=r"."):
        read()


def test_memory_does_not_grow_with_the_file(tmp_path):
    article = json.dumps({"title": "t", "text": "word " * 20_000})  # 100,000 characters
    path = tmp_path / "data.json"
    with path.open("w") as file:
        file.write("[" + ", ".join([article] * 60) + "]")
    with path.open() as file:
        tracemalloc.start()
        count = sum(1 for _ in JsonStream(file).elements())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == 60
    assert peak < 1_500_000, "several times an article, far less than the file's 6 MB"


def test_a_long_value_is_not_tried_for_each_block(monkeypatch):
    tried = []

    class Decoder:
        def raw_decode(self, text, place):
            tried.append(len(text))
            return json.JSONDecoder().raw_decode(text, place)

    monkeypatch.setattr(json_stream, "_DECODER", Decoder())
    assert JsonStream(io.StringIO('"' + "a" * 40 * json_stream.BLOCK + '"')).value()
    assert len(tried) < 10
