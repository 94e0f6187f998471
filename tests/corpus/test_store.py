from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_tokenizer

from bertpress.corpus import CorpusSpec
from bertpress.corpus.disk import DiskArray, Ends
from bertpress.corpus.store import Store, build_store, open_store
from bertpress.corpus.writing import BATCH_LINES, Writer
from bertpress.errors import RequestError

TEXT = "the house\nwas green\n\na day\n\n\nthe tree is very dull\nand slow\n"


def build(text: str, folder: Path, tokenizer: Any = None, **fields: Any) -> Store:
    folder.mkdir(exist_ok=True)
    file = folder / "text.txt"
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
    spec = CorpusSpec(files=str(folder / "text.txt"), **fields)
    return build_store(spec, tokenizer or make_tokenizer(), folder / "store")


def content(store: Store) -> list[list[list[int]]]:
    """Token ids of each sentence of each document, read back."""
    tokens, sentences, documents = store.tokens(), store.sentences(), store.documents()
    return [
        [
            tokens.read(sentences.before(sentence), sentences.before(sentence + 1)).tolist()
            for sentence in range(documents.before(index), documents.before(index + 1))
        ]
        for index in range(len(documents))
    ]


def naive(text: str, tokenizer: Any) -> list[list[list[int]]]:
    blocks: list[list[list[int]]] = [[]]
    for line in text.split("\n"):
        if not line.strip():
            blocks.append([])
        elif ids := tokenizer(line, add_special_tokens=False)["input_ids"]:
            blocks[-1].append(ids)
    return [block for block in blocks if block]


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_store_has_the_ids_of_the_tokenizer(tmp_path: Path) -> None:
    store = build(TEXT, tmp_path)
    assert content(store) == naive(TEXT, make_tokenizer())
    assert [len(document) for document in content(store)] == [2, 1, 2]
    assert store.format == "documents"
    assert store.manifest["dtype"] == "uint16"
    assert (store.folder / "tokens.bin").stat().st_size == 2 * store.manifest["tokens"]


def test_batches_leave_no_trace(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    words = np.array(["the", "house", "zebra", "was", "\n", "\n\n", "\n\x01\n"])
    text = " ".join(generator.choice(words, size=20_000))
    assert text.count("\n") > 4 * BATCH_LINES
    assert content(build(text, tmp_path)) == naive(text, make_tokenizer())


def test_lines_without_tokens_are_left_out(tmp_path: Path) -> None:
    """A line of control characters is not blank, and has no token."""
    store = build("the\n\x01\x02\nday\n\n\x01\n\nhouse", tmp_path)
    assert [len(document) for document in content(store)] == [2, 1]


def test_the_format_is_that_of_the_text(tmp_path: Path) -> None:
    assert build("the\nday\n", tmp_path / "lines").format == "lines"
    assert build("\n\nthe\nday\n\n\n", tmp_path / "framed").format == "lines", "one block"
    late = build("the day\n" * 30_000 + "\nthe day", tmp_path / "late")
    assert late.format == "documents", "a boundary counts wherever it is"
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("the house\nwas green\n")
    several = build_store(CorpusSpec(files=str(tmp_path / "*.txt")), make_tokenizer(), tmp_path / "several")
    assert several.format == "lines", "two files of lines are no documents"
    assert len(several.documents()) == 2


def test_large_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    from transformers import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(70_000)), "house"]
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    store = build("w3 house\n", tmp_path, tokenizer)
    assert store.manifest["dtype"] == "uint32"
    assert content(store) == [[[8, 70_005]]]


def test_padding_and_truncation_of_the_tokenizer_do_not_count(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=make_tokenizer().backend_tokenizer, pad_token="[PAD]")
    tokenizer.backend_tokenizer.enable_truncation(3)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    store = build(TEXT, tmp_path, tokenizer)
    assert content(store) == naive(TEXT, make_tokenizer())
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    assert build(TEXT, tmp_path, tokenizer).manifest == store.manifest


def test_a_store_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = build(TEXT, tmp_path)
    monkeypatch.setattr(Writer, "write", None)
    source = tmp_path / "text.txt"
    again = build_store(CorpusSpec(files=str(source), format="lines"), make_tokenizer(), store.folder)
    assert again.manifest == store.manifest, "how rows are made does not count"
    monkeypatch.setenv("RANK", "1")
    assert build_store(CorpusSpec(files="nowhere"), make_tokenizer(), store.folder).manifest == store.manifest


def test_an_edit_of_the_same_length_and_time_is_noticed(tmp_path: Path) -> None:
    store = build(TEXT, tmp_path)
    source = tmp_path / "text.txt"
    before = source.stat()
    source.write_text(TEXT.replace("day", "dog"))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(RequestError, match=r"other values of files \(text.txt\)"):
        build_store(CorpusSpec(files=str(source)), make_tokenizer(), store.folder)


def test_two_commands_build_one_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the first and finds its store."""
    import threading

    from bertpress.corpus import store as module

    began, waits = threading.Event(), threading.Event()
    whole, writes = module._write_store, []

    def slow(*arguments: Any) -> None:
        writes.append(1)
        began.set()
        assert waits.wait(20)
        whole(*arguments)

    monkeypatch.setattr(module, "_write_store", slow)
    found: list[Any] = []
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    threads = [threading.Thread(target=lambda: found.append(build(TEXT, tmp_path))) for _ in range(2)]
    threads[0].start()
    assert began.wait(20)
    threads[1].start()
    time.sleep(0.3)
    waits.set()
    for thread in threads:
        thread.join(20)
    assert len(writes) == 1
    assert [content(store) for store in found] == [naive(TEXT, make_tokenizer())] * 2


def test_another_store_is_refused(tmp_path: Path) -> None:
    store = build(TEXT, tmp_path)
    from transformers import BertTokenizer

    with pytest.raises(RequestError, match=r"made with other values of tokenizer: give another folder"):
        build(TEXT, tmp_path, BertTokenizer())
    with pytest.raises(RequestError, match="other values of text_column"):
        build(TEXT, tmp_path, text_column="body")
    with pytest.raises(RequestError, match=r"other values of files \(text.txt\)"):
        build(TEXT.replace("day", "dog"), tmp_path)
    (tmp_path / "more.txt").write_text("more")
    both = CorpusSpec(files=str(tmp_path / "*.txt"))
    with pytest.raises(RequestError, match=r"other values of files \(more.txt, text.txt\)"):
        build_store(both, make_tokenizer(), store.folder)
    held = CorpusSpec(files=str(tmp_path / "text.txt"), validation=str(tmp_path / "more.txt"))
    with pytest.raises(RequestError, match=r"other values of files \(more.txt"):
        build_store(held, make_tokenizer(), store.folder)
    assert content(open_store(store.folder)) == naive(TEXT, make_tokenizer())


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.txt").write_text("important")
    with pytest.raises(RequestError, match="Expected a store or nothing"):
        build(TEXT, tmp_path)
    assert (tmp_path / "store" / "thesis.txt").read_text() == "important"


def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    store = build(TEXT, tmp_path)
    (store.folder / "sentences.bin").write_bytes(b"12345678")
    with pytest.raises(RequestError, match=r"Expected 5 sentences in .*, found others: delete"):
        build(TEXT, tmp_path)
    with pytest.raises(RequestError, match="found none: build it first"):
        open_store(tmp_path)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Writer, "_put", full)
    with pytest.raises(OSError, match="No space left on device"):
        build(TEXT, tmp_path)
    assert visible(tmp_path) == ["text.txt"]
    monkeypatch.undo()
    assert content(build(TEXT, tmp_path)) == naive(TEXT, make_tokenizer())


@pytest.mark.parametrize("text", ["", "\n \n\r\n"])
def test_a_text_without_text(text: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"Expected text in .*text.txt, found none"):
        build(text, tmp_path)
    assert visible(tmp_path) == ["text.txt"]


def test_an_empty_file_among_others_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n")
    (tmp_path / "b.txt").write_text("the day")
    said: list[str] = []
    store = build_store(CorpusSpec(files=str(tmp_path / "*.txt")), make_tokenizer(), tmp_path / "store", said.append)
    assert said[0] == f"{tmp_path / 'a.txt'} holds no text."
    assert "2 tokens, 1 lines, 1 documents" in said[1]
    assert store.manifest["sentences"] == 1


def test_validation_files_follow(tmp_path: Path) -> None:
    for name, text in (("train.txt", "the\nday\n"), ("dev.txt", "a house\n\nwas green\n")):
        (tmp_path / name).write_text(text)
    spec = CorpusSpec(files=str(tmp_path / "train.txt"), validation=str(tmp_path / "dev.txt"))
    store = build_store(spec, make_tokenizer(), tmp_path / "store")
    assert (store.train_sentences, store.manifest["sentences"]) == (2, 4)
    assert store.format == "lines", "that of the training text"
    both = CorpusSpec(files=str(tmp_path), validation=str(tmp_path / "train.txt"))
    with pytest.raises(RequestError, match=r"not trained on, got .*train.txt in both"):
        build_store(both, make_tokenizer(), tmp_path / "other")


@pytest.mark.parametrize("ahead", [0, 1, 7, 1000])
def test_reading_pieces(ahead: int, tmp_path: Path) -> None:
    numbers = np.arange(100, dtype=np.uint64) ** 2
    (tmp_path / "numbers.bin").write_bytes(numbers.tobytes())
    array = DiskArray(tmp_path / "numbers.bin", "uint64", ahead)
    for first, last in [(0, 0), (0, 10), (3, 5), (50, 100), (99, 100), (2, 90), (100, 100)]:
        assert array.read(first, last).tolist() == numbers[first:last].tolist()
    with pytest.raises(IndexError):
        array.read(90, 101)


@pytest.mark.parametrize("count", [1, 5, 4096, 20_000])
def test_the_entry_that_holds_a_position(count: int, tmp_path: Path) -> None:
    ends = np.cumsum(np.random.default_rng(0).integers(1, 5, size=count)).astype(np.uint64)
    (tmp_path / "ends.bin").write_bytes(ends.tobytes())
    find = Ends(DiskArray(tmp_path / "ends.bin", "uint64")).find
    positions = [0, int(ends[-1]) - 1, *np.random.default_rng(1).integers(0, ends[-1], size=200).tolist()]
    assert [find(each) for each in positions] == [int((ends <= each).sum()) for each in positions]
