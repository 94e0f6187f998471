"""Which tokens stay, and tokenizers of every kind with these alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from methods.vocabularies import KINDS, LINES, ODD, SEEN, trained

from bertpress.engine.loading import load_tokenizer
from bertpress.errors import RequestError
from bertpress.methods.vocabulary.pieces import check_kind, merged, merges_of, needed_ids, parts_needed, tokens_of
from bertpress.methods.vocabulary.rewriting import kept_ids, numbering, rewritten, rewritten_settings
from bertpress.methods.vocabulary.steps import content_of, counted_texts, read_tokenizer, write_tokenizer

each_kind = pytest.mark.parametrize("kind", KINDS)
WORDPIECE: dict[str, Any] = {
    "added_tokens": [{"id": 3, "content": "[UNK]"}, {"id": 0, "content": "[PAD]"}],
    "post_processor": {
        "type": "Sequence",
        "processors": [{"type": "BertProcessing", "sep": ["x", 1], "cls": ["y", 9]}],
    },
    "model": {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "vocab": dict(zip(("[PAD]", "x", "no", "[UNK]", "n", "##o", "o", "not", "on", "y"), range(10), strict=True)),
    },
}
BPE: dict[str, Any] = {
    "truncation": {"max_length": 4},
    "padding": {"pad_id": 0},
    "added_tokens": [{"id": 0, "content": "<s>"}, {"id": 8, "content": "<new>"}],
    "post_processor": {"type": "TemplateProcessing", "special_tokens": {"<s>": {"id": "<s>", "ids": [0]}}},
    "model": {
        "type": "BPE",
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "vocab": {"<s>": 0, "a": 1, "b": 2, "c": 3, "ab": 4, "bc": 5, "abc": 6, "cab": 7},
        "merges": ["a b", ["b", "c"], ["ab", "c"], ["c", "ab"]],
    },
}
UNIGRAM: dict[str, Any] = {
    "added_tokens": [{"id": 0, "content": "<unk>"}],
    "post_processor": None,
    "model": {
        "type": "Unigram",
        "unk_id": 0,
        "vocab": [["<unk>", 0.0], ["▁", -2.0], ["ab", -3.0], ["a", -4.0], ["<0x0A>", -5.0], ["aa", -9.0], ["a▁", -7.0]],
    },
}


def test_merges_are_carried_out_by_rank_from_the_left() -> None:
    ranks = {("b", "c"): 0, ("a", "b"): 1, ("a", "bc"): 2, ("d", "d"): 3}
    assert merged("abcab", ranks) == ["bc", "ab", "abc"]
    assert merged("dddd", ranks) == ["dd", "dd"]
    assert merged("x", ranks) == merged("", ranks) == []


def test_what_stays_is_needed_or_the_most_frequent_with_its_parts() -> None:
    counts, parts = np.array([0, 5, 3, 3, 0, 1, 0]), {2: {4}}

    def kept(**limits: int) -> list[int]:
        return kept_ids(counts, {0}, lambda number: parts.get(number, set()), **limits)

    assert kept() == [0, 1, 2, 3, 4, 5]
    assert kept(min_count=3) == [0, 1, 2, 3, 4]
    assert kept(most=4) == [0, 1, 2, 4]
    assert kept(most=3) == [0, 1]  # token 2 does not fit with what it is built of, and ends it
    assert kept_ids(counts, {2}, lambda number: parts.get(number, set()), most=2) == [2, 4]


def test_a_wordpiece_vocabulary_keeps_characters_and_what_these_cannot_write() -> None:
    needed = {piece for piece, number in tokens_of(WORDPIECE).items() if number in needed_ids(WORDPIECE)}
    # "no" is n ##o; "not" and "on" have letters that nothing inside of a word stands for
    assert needed == {"[PAD]", "[UNK]", "x", "y", "n", "o", "##o", "not", "on"}
    assert parts_needed(WORDPIECE)(7) == set()


def test_a_unigram_vocabulary_keeps_bytes_and_the_least_likely_piece() -> None:
    # "aa" is the least likely, "ab" has a letter without a piece; "a▁" can be written
    assert needed_ids(UNIGRAM) == {0, 1, 2, 3, 4, 5}
    result = rewritten(UNIGRAM, [0, 1, 3, 4, 5])["model"]
    assert result["vocab"] == [["<unk>", 0.0], ["▁", -2.0], ["a", -4.0], ["<0x0A>", -5.0], ["aa", -9.0]]
    assert result["unk_id"] == 0


def test_a_merge_stays_with_both_parts_and_what_they_make() -> None:
    assert merges_of(BPE) == [("a", "b"), ("b", "c"), ("ab", "c"), ("c", "ab")]
    assert needed_ids(BPE) == {0, 1, 2, 3, 8}
    assert parts_needed(BPE)(6) == {4, 6}
    assert parts_needed(BPE)(8) == set()
    result = rewritten(BPE, [0, 1, 2, 3, 4, 6, 8])
    assert result["model"]["vocab"] == {"<s>": 0, "a": 1, "b": 2, "c": 3, "ab": 4, "abc": 5}
    assert result["model"]["merges"] == [["a", "b"], ["ab", "c"]]
    assert result["added_tokens"] == [{"id": 0, "content": "<s>"}, {"id": 6, "content": "<new>"}]
    assert result["truncation"] is result["padding"] is None
    assert BPE["model"]["vocab"]["cab"] == 7


def test_ids_around_texts_and_in_settings_follow() -> None:
    kept = sorted(needed_ids(WORDPIECE))
    assert kept == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    part = rewritten(WORDPIECE, kept)["post_processor"]["processors"][0]
    assert (part["sep"], part["cls"]) == (["x", 1], ["y", 8])
    assert rewritten(BPE, [0, 8])["post_processor"]["special_tokens"]["<s>"]["ids"] == [0]
    settings = {"unk_id": 3, "added_tokens_decoder": {"9": "y"}, "unk_token": "[UNK]"}
    assert rewritten_settings(settings, kept) == {"unk_id": 2, "added_tokens_decoder": {"8": "y"}, "unk_token": "[UNK]"}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"type": "WordLevel"}, "got WordLevel, which has no smaller pieces"),
        ({"type": "BPE", "continuing_subword_prefix": None, "end_of_word_suffix": "</w>"}, "got '</w>'"),
    ],
)
def test_other_kinds_are_refused(model: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        check_kind({"model": model})
    for data in (WORDPIECE, BPE, UNIGRAM):
        check_kind(data)


def pressed(tokenizer: Any, folder: Path, texts: list[str]) -> tuple[Any, list[int]]:
    """The tokenizer with the tokens of these texts, written and read; and the ids that stayed."""
    data = content_of(tokenizer)
    counts = counted_texts(texts, tokenizer, len(tokenizer))
    kept = kept_ids(counts, needed_ids(data), parts_needed(data))
    write_tokenizer(tokenizer, kept, folder / "small")
    return read_tokenizer(folder / "small"), kept


@each_kind
def test_texts_of_kept_tokens_are_read_as_before_and_others_without_new_unknowns(kind: str, tmp_path: Path) -> None:
    tokenizer = trained(kind)
    small, kept = pressed(tokenizer, tmp_path, SEEN)
    assert len(small) == len(kept) < len(tokenizer) - 20
    assert type(small) is type(tokenizer)
    numbers, pairs = numbering(kept), (SEEN, SEEN[::-1])
    before, after = tokenizer(*pairs), small(*pairs)
    assert [[numbers[number] for number in ids] for ids in before["input_ids"]] == after["input_ids"]
    assert {name: after[name] for name in after if name != "input_ids"} == {
        name: before[name] for name in before if name != "input_ids"
    }
    assert small.convert_ids_to_tokens(range(len(small))) == tokenizer.convert_ids_to_tokens(kept)
    assert small.special_tokens_map == tokenizer.special_tokens_map
    assert small.model_max_length == tokenizer.model_max_length
    for text in (*LINES, *ODD):
        old, new = (each(text)["input_ids"] for each in (tokenizer, small))
        assert new.count(small.unk_token_id) <= old.count(tokenizer.unk_token_id), text
        assert len(new) >= len(old)
        if tokenizer.unk_token_id not in old:
            assert small.decode(new) == tokenizer.decode(old)


def test_a_kept_token_is_still_built_when_what_it_is_built_of_never_occurs(tmp_path: Path) -> None:
    tokenizer = trained("bytes")
    counts = counted_texts(SEEN, tokenizer, len(tokenizer))
    data = content_of(tokenizer)
    alone = kept_ids(counts, needed_ids(data), lambda _: set())
    with_parts = kept_ids(counts, needed_ids(data), parts_needed(data))
    assert set(alone) < set(with_parts)
    write_tokenizer(tokenizer, alone, tmp_path / "broken")
    assert read_tokenizer(tmp_path / "broken").tokenize(SEEN[0]) != tokenizer.tokenize(SEEN[0])
    # Each token alone, however rare: what merges its text passes through is what `parts_needed` says.
    for number in range(261, len(tokenizer), 7):
        kept = sorted(needed_ids(data) | {number} | parts_needed(data)(number))
        write_tokenizer(tokenizer, kept, tmp_path / "one")
        text = tokenizer.decode([number])
        assert (
            read_tokenizer(tmp_path / "one").tokenize(text)
            == tokenizer.tokenize(text)
            == [tokenizer.convert_ids_to_tokens(number)]
        )


def test_the_packaged_vocabulary_loses_what_a_text_does_not_need(tmp_path: Path) -> None:
    tokenizer = load_tokenizer("packaged-minilm")
    texts = ["Smaller vocabularies make small encoders smaller.", "Unused rows of embeddings go."]
    small, kept = pressed(tokenizer, tmp_path, texts)
    assert len(kept) < 2100
    assert small.convert_ids_to_tokens(small(texts)["input_ids"][0]) == tokenizer.convert_ids_to_tokens(
        tokenizer(texts)["input_ids"][0]
    )
    assert small.tokenize("unseen é") == ["u", "##n", "##s", "##e", "##e", "##n", "e"]
    assert (small.pad_token_id, small.unk_token_id) == (0, 1)
    assert {file.name for file in (tmp_path / "small").iterdir()} == {"tokenizer.json", "tokenizer_config.json"}


def test_a_class_that_reads_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bertpress.methods.vocabulary import steps

    tokenizer = trained("wordpiece")
    monkeypatch.setattr(steps, "read_tokenizer", lambda folder: tokenizer)
    with pytest.raises(RequestError, match="BertTokenizer does not read a smaller vocabulary"):
        write_tokenizer(tokenizer, sorted(needed_ids(content_of(tokenizer))), tmp_path / "small")


def test_what_is_written_names_no_old_id(tmp_path: Path) -> None:
    tokenizer = trained("deberta")
    pressed(tokenizer, tmp_path, SEEN)
    data = json.loads((tmp_path / "small" / "tokenizer.json").read_text())
    settings = json.loads((tmp_path / "small" / "tokenizer_config.json").read_text())
    assert settings["unk_id"] == data["model"]["unk_id"] == 3
    added = {entry["content"]: entry["id"] for entry in data["added_tokens"]}
    assert added["[MASK]"] == len(data["model"]["vocab"])
