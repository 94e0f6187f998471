from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_tokenizer
from families import FAMILIES

from bertpress.augmentation import Augmentation
from bertpress.augmentation.candidates import Framing, Masked, Proposer, batches, joint
from bertpress.augmentation.vocabulary import vocabulary_of
from bertpress.augmentation.words import Analyser

from .conftest import make_masked_lm
from .sequential import proposals

TEXTS = [
    "The bright house was quick, and the river clean.",
    'A dull road: "empty" tree\tand GREY day',
    "warm",
    "quite broken green river book house road day tree dirty slow dull",
]


def items_of(tokenizer: Any, texts: list[str]) -> list[tuple[str, tuple[int, int], Masked]]:
    settings = Augmentation(masked_lm="any")
    return [
        (text, (word.start, word.end), Masked(analysis.ids, word.pieces, text[word.start : word.end]))
        for text, analysis in zip(texts, Analyser.of(settings, tokenizer).analyse(texts), strict=True)
        for word in analysis.words
        if word.pieces
    ]


@pytest.mark.parametrize("context", ["pair", "single"])
@pytest.mark.parametrize("family", FAMILIES)
def test_large_batches_propose_what_one_word_at_a_time_gives(family: str, context: Any) -> None:
    model, tokenizer = make_masked_lm(family), make_tokenizer(family)
    items = items_of(tokenizer, TEXTS)
    expected = [proposals(text, *span, model, tokenizer, 6, context == "pair") for text, span, _ in items]
    assert len(items) > 15
    for budget in (1, 100, 16384):
        settings = Augmentation(masked_lm="any", candidates=6, context=context, token_budget=budget)
        found = Proposer(model, tokenizer, settings).propose([item for *_, item in items])
        assert list(map(set, found)) == list(map(set, expected)), budget


def test_the_head_in_small_portions_changes_nothing(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [item for *_, item in items_of(tokenizer, TEXTS)]
    proposer = Proposer(make_masked_lm(), tokenizer, Augmentation(masked_lm="any"))
    whole = proposer.propose(items)
    monkeypatch.setattr("bertpress.augmentation.candidates.LOGITS", 1)
    assert proposer.propose(items) == whole


def test_nothing_but_whole_words_is_proposed(tokenizer: Any) -> None:
    items = [item for *_, item in items_of(tokenizer, TEXTS)]
    found = Proposer(make_masked_lm(), tokenizer, Augmentation(masked_lm="any", candidates=200)).propose(items)
    assert all(word.isalpha() for words in found for word in words)
    sizes = {len(words) for words in found}
    whole = int(vocabulary_of(tokenizer).is_word.sum())
    assert sizes == {whole - 1}, "all words but the one itself"
    kept = Proposer(make_masked_lm(), tokenizer, Augmentation(masked_lm="any", candidates=200, exclude_original=False))
    assert {len(words) for words in kept.propose(items)} == {whole}


def test_masked_and_original_text_are_framed_as_the_tokenizer_does(tokenizer: Any) -> None:
    ids = tokenizer.encode("house road", add_special_tokens=False)
    for context, texts in (("pair", ["house [MASK]", "house road"]), ("single", ["house [MASK]"])):
        made = Framing.of(tokenizer, 64, context).input_of(Masked(ids, (1,), "road"))
        expected = tokenizer(*texts)
        assert made.ids == expected["input_ids"]
        assert made.segments == expected["token_type_ids"]
        assert made.positions == [2]


def test_what_does_not_fit_is_cut_around_the_word(tokenizer: Any) -> None:
    mask = tokenizer.mask_token_id
    framing = Framing.of(tokenizer, 12, "pair")
    ids = list(range(20, 60))
    assert len(framing.input_of(Masked(ids[:4], (2,), "x")).ids) == 11, "as a pair"
    alone = framing.input_of(Masked(ids[:10], (2,), "x"))
    assert alone.ids == [tokenizer.cls_token_id, 20, 21, mask, *ids[3:10], tokenizer.sep_token_id]
    for position in (0, 3, 20, 37, 39):
        window = framing.input_of(Masked(ids, (position,), "x"))
        assert len(window.ids) == 12
        assert window.ids[window.positions[0]] == mask
        place = window.positions[0]
        assert window.ids[place - 1] == (ids[position - 1] if position else tokenizer.cls_token_id)
        assert window.ids[place + 1] == (ids[position + 1] if position < 39 else tokenizer.sep_token_id)
    middle = framing.input_of(Masked(ids, (20,), "x"))
    assert middle.positions == [6], "in the middle of the window"


def test_long_texts_get_candidates(tokenizer: Any) -> None:
    text = " ".join(["house", "road", "day"] * 50)
    items = [item for *_, item in items_of(tokenizer, [text])]
    found = Proposer(make_masked_lm(), tokenizer, Augmentation(masked_lm="any")).propose(items)
    assert len(found) == 150
    assert all(len(words) == 15 for words in found)


def test_batches_keep_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 40, size=200).tolist()
    made = list(batches(lengths, 64))
    assert sorted(itertools.chain(*made)) == list(range(200))
    assert all(len(batch) * max(lengths[index] for index in batch) <= 64 for batch in made)
    assert list(batches([100, 3], 64)) == [[0], [1]]
    assert list(batches([], 64)) == []


def test_the_best_sequences_of_several_positions() -> None:
    rng = np.random.default_rng(0)
    values = -np.sort(-rng.normal(size=(3, 5)), axis=1)
    tokens = rng.permuted(np.tile(np.arange(10), (3, 1)), axis=1)[:, :5]
    every = {
        tuple(tokens[place, choice] for place, choice in enumerate(choices)): sum(values[range(3), list(choices)])
        for choices in itertools.product(range(5), repeat=3)
    }
    assert joint(values, tokens) == sorted(every, key=every.__getitem__, reverse=True)[:5]
    values[1, 1:] = -np.inf
    assert {sequence[1] for sequence in joint(values, tokens)} == {tokens[1, 0]}
    assert joint(np.full((1, 3), -np.inf), tokens[:1, :3]) == []


def test_characters_of_a_segmented_word_are_masked_together(chinese: Any) -> None:
    model = make_masked_lm()
    ids = chinese("我爱北京", add_special_tokens=False)["input_ids"]
    settings = Augmentation(masked_lm="any", candidates=4, context="single")
    (found,) = Proposer(model, chinese, settings).propose([Masked(ids, (2, 3), "北京")])
    batch = chinese("我爱[MASK][MASK]", return_tensors="pt")
    with torch.inference_mode():
        logits = model(**batch).logits[0, 3:5, 5:18]  # the characters
    pairs = (logits[0][:, None] + logits[1]).flatten().argsort(descending=True).tolist()
    characters = "我爱北京上海人大学生你他好"
    expected = [characters[place // 13] + characters[place % 13] for place in pairs]
    assert found == [word for word in expected if word != "北京"][:4]


def test_words_of_a_byte_level_vocabulary(byte_level: Any) -> None:
    vocabulary = vocabulary_of(byte_level)
    numbers = byte_level.get_vocab()
    assert vocabulary.is_word[numbers["Ġhouse"]]
    assert vocabulary.spelling[numbers["Ġhouse"]] == "house"
    assert not vocabulary.is_word[[numbers[token] for token in ("house", "<mask>", "Ġ", "hou", "!", "Ã")]].any()
    assert set(vocabulary.spelled_like(numbers["Ġhouse"], "House")) == {
        numbers[token] for token in ("Ġhouse", "house", "ĠHouse")
    }
