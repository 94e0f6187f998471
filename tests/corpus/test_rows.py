from __future__ import annotations

import os
import pickle
import random
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_tokenizer

from bertpress.corpus import CorpusSpec
from bertpress.corpus.rows import Rows, build_rows
from bertpress.corpus.store import build_store
from bertpress.engine.length_batches import LengthBatches
from bertpress.errors import RequestError
from bertpress.tasks.classification import Classification

CHINESE = "这些国家在拯救海洋方面具有不容辞的责任深度学习，。"


def chinese_tokenizer() -> Any:
    from transformers import BertTokenizer

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(CHINESE)]
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})


def numbers_tokenizer(count: int = 6000) -> Any:
    """One token for each of many words, so that a token tells where it comes from."""
    from transformers import BertTokenizer

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(count))]
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})


def lines_of(seed: int, count: int, longest: int, chinese: bool = False) -> list[str]:
    generator = random.Random(seed)
    words = list(CHINESE) if chinese else ["the", "house", "zebra", "was", "green", "a"]
    between = "" if chinese else " "
    return [between.join(generator.choices(words, k=generator.randint(1, longest))) for _ in range(count)]


def numbered_documents(sizes: list[int], seed: int = 0) -> tuple[str, list[range]]:
    """Documents in which each word occurs once; for each the range of its words."""
    generator = random.Random(seed)
    number = 0
    blocks, owners = [], []
    for size in sizes:
        begin, lines = number, []
        for _ in range(size):
            length = generator.randint(1, 9)
            lines.append(" ".join(f"w{word}" for word in range(number, number + length)))
            number += length
        blocks.append("\n".join(lines))
        owners.append(range(begin, number))
    return "\n\n".join(blocks), owners


def rows_of(
    text: str,
    folder: Path,
    tokenizer: Any = None,
    max_length: int = 20,
    seed: int = 1,
    split: Any = "train",
    **fields: Any,
) -> Rows:
    file = folder / "text.txt"
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
    spec = CorpusSpec(files=str(folder / "text.txt"), **{"validation": 0.0, **fields})
    store = build_store(spec, tokenizer or make_tokenizer(), folder / "store")
    return build_rows(store, max_length, spec, seed, split)


def segments(row: dict[str, Any]) -> list[list[int]]:
    """The text of the one or two segments, as words of `numbers_tokenizer`."""
    assert row["input_ids"][0] == 2
    assert row["input_ids"][-1] == 3
    inner = row["input_ids"][1:-1]
    if 3 not in inner:
        assert set(row["token_type_ids"]) == {0}
        return [[token - 5 for token in inner]]
    middle = inner.index(3)
    assert row["token_type_ids"] == [0] * (middle + 2) + [1] * (len(inner) - middle)
    return [[token - 5 for token in inner[:middle]], [token - 5 for token in inner[middle + 1 :]]]


@pytest.mark.parametrize("chinese", [False, True])
def test_a_row_a_line_is_what_the_tokenizer_gives(chinese: bool, tmp_path: Path) -> None:
    lines = lines_of(0, 300, 30, chinese)
    tokenizer = chinese_tokenizer() if chinese else make_tokenizer()
    rows = rows_of("\n".join(lines), tmp_path, tokenizer, pack="off", pair_probability=0, overflow="truncate")
    assert len(rows) == len(lines)
    for line, row in zip(lines, rows, strict=True):
        encoded = tokenizer(line, truncation=True, max_length=20)
        assert {name: row[name] for name in encoded} == dict(encoded)


@pytest.mark.parametrize("max_length", [19, 20])
def test_pairs_of_lines_are_what_the_tokenizer_gives(max_length: int, tmp_path: Path) -> None:
    lines = lines_of(0, 300, 15)
    tokenizer = make_tokenizer()
    rows = rows_of(
        "\n".join(lines), tmp_path, max_length=max_length, pack="off", pair_probability=1, overflow="truncate"
    )
    assert len(rows) == 150
    for index, row in enumerate(rows):
        encoded = tokenizer(*lines[2 * index : 2 * index + 2], truncation=True, max_length=max_length)
        assert {name: row[name] for name in encoded} == dict(encoded)


@pytest.mark.parametrize("chinese", [False, True])
@pytest.mark.parametrize(
    "fields", [{}, {"pack": "off"}, {"pack": "off", "pair_probability": 0}, {"format": "documents"}], ids=str
)
@pytest.mark.parametrize("longest", [6, 60])
def test_every_token_of_the_text_is_in_one_row(
    fields: dict[str, Any], longest: int, chinese: bool, tmp_path: Path
) -> None:
    lines = lines_of(1, 400, longest, chinese)
    text = "\n".join(chain.from_iterable((line, "") if index % 9 == 8 else (line,) for index, line in enumerate(lines)))
    tokenizer = chinese_tokenizer() if chinese else make_tokenizer()
    rows = rows_of(text, tmp_path, tokenizer, **{"format": "lines", **fields})
    special = set(tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]"]))
    given = [token for row in rows for token in row["input_ids"] if token not in special]
    assert given == [token for line in lines for token in tokenizer(line, add_special_tokens=False)["input_ids"]]
    assert max(rows.lengths) <= 20
    if longest == 60:
        assert 20 in rows.lengths


def test_rows_keep_to_their_document(tmp_path: Path) -> None:
    text, owners = numbered_documents([3, 1, 12, 4, 7, 1, 1, 9])
    for fields in ({}, {"next_sentence": "consecutive"}):
        for row in rows_of(text, tmp_path, numbers_tokenizer(), **fields):
            words = {word for segment in segments(row) for word in segment}
            assert sum(bool(words & set(owner)) for owner in owners) == 1
    packed = rows_of(text, tmp_path, numbers_tokenizer(), format="lines")
    mixed = [{word for segment in segments(row) for word in segment} for row in packed]
    assert any(sum(bool(words & set(owner)) for owner in owners) > 1 for words in mixed), "lines are just lines"


def test_half_of_the_second_segments_come_from_elsewhere(tmp_path: Path) -> None:
    generator = random.Random(0)
    text, owners = numbered_documents([generator.randint(6, 14) for _ in range(50)])
    fields = {"next_sentence": "random50", "short_probability": 0.0}
    elsewhere = []
    seen: Counter[int] = Counter()
    for seed in range(5):
        for row in rows_of(text, tmp_path, numbers_tokenizer(), seed=seed, max_length=24, **fields):
            first, second = segments(row)
            assert first
            assert second
            assert len(row["input_ids"]) <= 24
            own = next(owner for owner in owners if first[0] in owner)
            assert set(first) <= set(own)
            inside = [word in own for word in second]
            assert all(inside) or not any(inside)
            assert second == list(range(second[0], second[0] + len(second)))
            other = next(owner for owner in owners if second[0] in owner)
            assert set(second) <= set(other), "one document"
            assert not inside[0] or second[0] > first[-1], "never from elsewhere in the own document"
            elsewhere.append(not inside[0])
            seen.update(first)
    assert 0.5 <= np.mean(elsewhere) <= 0.65, "half, and all of single sentences"
    assert len(seen) > 0.95 * sum(map(len, owners)), "the replaced sentences are used again"


def test_another_document_is_drawn_by_its_number_of_sentences(tmp_path: Path) -> None:
    text, owners = numbered_documents([40, 30, 10, *[1] * 60])
    drawn: Counter[int] = Counter()
    for seed in range(40):
        fields = {"next_sentence": "random50", "short_probability": 0.0}
        for row in rows_of(text, tmp_path, numbers_tokenizer(), max_length=16, seed=seed, **fields):
            first, second = segments(row)
            if first[0] in owners[0] and second[0] not in owners[0]:
                drawn[min(3, next(index for index, owner in enumerate(owners) if second[0] in owner))] += 1
    total = drawn.total()
    assert total > 200
    for index, share in ((1, 0.3), (2, 0.1), (3, 0.6)):
        assert drawn[index] / total == pytest.approx(share, abs=0.08)


def test_short_rows_are_those_of_whole_documents(tmp_path: Path) -> None:
    text, owners = numbered_documents([30] * 15)
    fields = {"next_sentence": "consecutive"}
    rows = rows_of(text, tmp_path, numbers_tokenizer(), max_length=64, short_probability=0.5, **fields)
    longest = [max(len(row["input_ids"]) for row in rows if segments(row)[0][0] in owner) for owner in owners]
    assert 3 <= sum(length < 55 for length in longest) <= 12
    never = rows_of(text, tmp_path, numbers_tokenizer(), max_length=64, short_probability=0.0, **fields)
    assert all(max(len(row["input_ids"]) for row in never if segments(row)[0][0] in owner) >= 55 for owner in owners)


def test_one_document_has_no_other(tmp_path: Path) -> None:
    text, _ = numbered_documents([40])
    for _ in range(2):  # drawn, then found
        rows = rows_of(text, tmp_path, numbers_tokenizer(), format="documents", next_sentence="random50")
        assert len(rows.notes) == 1
        assert "all pairs are consecutive" in rows.notes[0]
    pairs = [segments(row) for row in rows]
    assert all(pair[0][-1] < pair[1][0] for pair in pairs if len(pair) == 2)


@pytest.mark.parametrize("next_sentence", ["none", "consecutive", "random50"])
@pytest.mark.parametrize("documents", [110, 4], ids=["whole documents", "runs of lines"])
def test_held_out_text_is_in_no_row_of_training(documents: int, next_sentence: str, tmp_path: Path) -> None:
    generator = random.Random(0)
    text, owners = numbered_documents([generator.randint(1, 880 // documents) for _ in range(documents)])
    found: dict[str, set[int]] = {}
    held = set()
    for max_length, seed in ((16, 1), (32, 2)):
        for split in ("train", "validation"):
            rows = rows_of(
                text,
                tmp_path,
                numbers_tokenizer(),
                max_length,
                seed,
                split,
                validation=0.1,
                next_sentence=next_sentence,
            )
            words = {word for row in rows for segment in segments(row) for word in segment}
            found.setdefault(split, set()).update(words)
            if split == "validation":
                held.add(frozenset(index for index, owner in enumerate(owners) if words & set(owner)))
    assert not found["train"] & found["validation"]
    assert len(held) == 1, "the same documents for every seed and length"


def test_validation_files_are_the_validation_split(tmp_path: Path) -> None:
    (tmp_path / "dev.txt").write_text("the house\nwas green\n")
    rows = rows_of("a day\n" * 9, tmp_path, split="validation", validation=str(tmp_path / "dev.txt"))
    assert [row["input_ids"] for row in rows] == [make_tokenizer()("the house was green")["input_ids"]]
    train = rows_of("a day\n" * 9, tmp_path, validation=str(tmp_path / "dev.txt"))
    assert train.lengths.tolist() == [20]


def test_a_single_line_is_trained_and_scored(tmp_path: Path) -> None:
    rows = [rows_of("the house", tmp_path, split=split, validation=0.01) for split in ("train", "validation")]
    assert rows[0][0]["input_ids"] == rows[1][0]["input_ids"] == make_tokenizer()("the house")["input_ids"]
    assert not rows[0].notes
    assert "nothing can be held out" in rows[1].notes[0]
    with pytest.raises(RequestError, match="validation=0 holds nothing out"):
        rows_of("the house", tmp_path, split="validation")
    store = build_store(CorpusSpec(files=str(tmp_path / "text.txt")), make_tokenizer(), tmp_path / "store")
    with pytest.raises(RequestError, match="made without validation files"):
        build_rows(store, 20, CorpusSpec(files="text.txt", validation="dev.txt"), 1, "validation")


def test_many_short_documents_are_said(tmp_path: Path) -> None:
    text = "a\n\n" + "the house was\n" * 100
    few = rows_of(text, tmp_path, max_length=32)
    assert not few.notes
    (tmp_path / "many").mkdir()
    many = rows_of("a\n\n" * 9 + text, tmp_path / "many", max_length=32)
    assert [note.split(",")[0] for note in many.notes] == ["50% of the rows have less than 4 of 32 tokens"]


def test_the_same_rows_for_the_same_seed(tmp_path: Path) -> None:
    text, _ = numbered_documents([8] * 20)

    def ids(folder: Path, seed: int, **fields: Any) -> list[list[int]]:
        folder.mkdir(exist_ok=True)
        rows = rows_of(text, folder, numbers_tokenizer(), seed=seed, next_sentence="random50", **fields)
        return [row["input_ids"] for row in rows]

    first = ids(tmp_path / "a", 1)
    assert ids(tmp_path / "b", 1) == first
    assert ids(tmp_path / "a", 2) != first
    assert ids(tmp_path / "a", 1, max_length=30) != first
    assert len(list((tmp_path / "a" / "store" / "rows").glob("[!.]*"))) == 3, "side by side"
    (tmp_path / "a" / "store" / "tokens.bin").chmod(0o444)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*.bin")}
    assert ids(tmp_path / "a", 1) == first
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*.bin")}, "used again"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pack": "off"}, "pack=off needs format=lines, but the text is read as format=documents"),
        ({"short_probability": 0.2}, "short_probability=0.2 needs format=documents and pairs"),
        ({"next_sentence": "random50", "overflow": "truncate"}, "overflow=truncate needs format=lines or"),
        ({"pair_probability": 0.0}, "pair_probability=0.0 needs format=lines"),
    ],
)
def test_fields_without_effect_are_refused(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message):
        rows_of("the\nday\n\na house", tmp_path, **fields)


def test_fields_without_effect_on_a_given_format_are_refused_before_the_text_is_read() -> None:
    with pytest.raises(ValueError, match=r"next_sentence=random50 needs format=documents, but the text is set to"):
        CorpusSpec(files="nowhere", format="lines", next_sentence="random50")


def test_wrong_requests(tmp_path: Path) -> None:
    for length in (7, 65_536):
        with pytest.raises(RequestError, match=rf"8 to 65535 tokens, got {length}"):
            rows_of("the", tmp_path, max_length=length)
    with pytest.raises(ValueError, match=r"pair_probability=0.5 needs pack=off"):
        CorpusSpec(files="a", pair_probability=0.5)
    assert CorpusSpec(files="a", validation="dev.txt").validation == ("dev.txt",)
    assert CorpusSpec(files=["a", "b"], validation=0.2).files == ("a", "b")
    for wrong in (1.0, -0.1, ()):
        with pytest.raises(ValueError, match="validation"):
            CorpusSpec(files="a", validation=wrong)


def test_rows_stand_in_for_an_encoded_split(task: Classification, tmp_path: Path) -> None:
    from torch.utils.data import DataLoader

    rows = rows_of("\n".join(lines_of(0, 200, 15)), tmp_path, pack="off")
    assert rows["length"].dtype == np.uint16
    assert rows["length"].tolist() == [len(row["input_ids"]) for row in rows] == [row["length"] for row in rows]
    some = rows[[3, 1]]
    assert list(some) == rows.column_names
    assert some == {name: [rows[3][name], rows[1][name]] for name in rows.column_names}
    assert rows[2:4] == rows[[2, 3]]
    assert rows[-1] == rows[len(rows) - 1] == rows[np.int64(len(rows) - 1)]
    with pytest.raises(IndexError):
        rows[len(rows)]
    with pytest.raises(KeyError, match="only the column 'length'"):
        rows["input_ids"]
    sampler = LengthBatches(rows["length"], 8, 1)
    seen = []
    for batch in DataLoader(rows, batch_size=8, sampler=sampler, collate_fn=task.collate):  # type: ignore[arg-type]
        assert batch["input_ids"].shape == batch["token_type_ids"].shape == batch["attention_mask"].shape
        seen += batch["row"].tolist()
    assert seen == list(sampler)


def test_rows_can_be_sent_to_other_processes(tmp_path: Path) -> None:
    rows = rows_of("\n".join(lines_of(0, 50, 15)), tmp_path)
    first = rows[0]
    copy = pickle.loads(pickle.dumps(rows))
    assert list(copy) == list(rows)
    assert copy[0] == first
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    del copy
    if descriptors is not None:
        assert len(os.listdir("/proc/self/fd")) == descriptors - 2, "files are closed"


def test_tokenizers_without_segments_give_none(tmp_path: Path) -> None:
    tokenizer = make_tokenizer("roberta")
    rows = rows_of("the house\nwas green", tmp_path, tokenizer, pack="off")
    assert rows.column_names == ["input_ids", "attention_mask", "row", "length"]
    assert len(rows) == 2, "and no pairs by default"
    assert rows[0] == {**tokenizer("the house"), "row": 0, "length": 4}


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "form", "sentences"),
    [("plain_text_en", "lines", 30_957), ("plain_text_zh", "lines", 22_339), ("wikitext2", "documents", 23_767)],
)
def test_real_text(name: str, form: str, sentences: int, tmp_path: Path) -> None:
    from bertpress.engine.loading import load_tokenizer

    spec = CorpusSpec(files=str(Path(os.environ["BERTPRESS_DATA"], name)))
    tokenizer = load_tokenizer("packaged-minilm")
    store = build_store(spec, tokenizer, tmp_path / "store")
    assert store.format == form
    assert store.manifest["sentences"] == pytest.approx(sentences, abs=5)
    train, validation = (build_rows(store, 128, spec, 1, split) for split in ("train", "validation"))
    special = [len(rows) * 2 for rows in (train, validation)]
    text = int(train.lengths.sum(dtype=int)) - special[0] + int(validation.lengths.sum(dtype=int)) - special[1]
    assert text == store.manifest["tokens"], "every token once"
    assert 0.005 < len(validation) / len(train) < 0.02
    assert train.lengths.max() == 128
    assert (train.lengths.mean() > 95) == (form == "lines"), "lines fill rows, sections of an article often cannot"
    assert tokenizer.decode(train[0]["input_ids"]).startswith("[CLS]")
