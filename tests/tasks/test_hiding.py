"""Which tokens are hidden, and what stands in their place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import make_tokenizer

from bertpress.errors import RequestError
from bertpress.tasks.hiding import IGNORED, Vocabulary, chosen_tokens, mask_tokens, vocabulary_of
from bertpress.tasks.masking import Masking

# Ids 0 to 4 are special and 4 is the mask token; of the words, every third number continues the one before it.
IDS = np.arange(1000)
VOCABULARY = Vocabulary(mask=4, special=IDS < 5, continues=(IDS >= 5) & (IDS % 3 == 0))


def rows_of(count: int, length: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ids between a 1 and a 2, with padding of 0 after every second row's middle; and the numbers of the rows."""
    ids = np.random.default_rng(seed).integers(5, 1000, (count, length))
    ids[:, 0], ids[:, -1] = 1, 2
    ids[::2, length // 2 :] = 0
    ids[::2, length // 2] = 2
    return ids, np.arange(count)


def masked(ids: Any, rows: Any, key: tuple[int, ...] = (0,), **masking: Any) -> tuple[np.ndarray, np.ndarray]:
    return mask_tokens(ids, rows, VOCABULARY, Masking(**masking), key)


def test_the_number_of_tokens_by_hand() -> None:
    counts = [Masking().count(tokens) for tokens in (0, 1, 9, 10, 20, 126, 510)]
    assert counts == [0, 1, 1, 2, 3, 19, 77]  # 0.15 of them, rounded half up, at least 1
    assert [Masking(max_predictions=20).count(tokens) for tokens in (0, 1, 126, 510)] == [0, 1, 19, 20]
    assert Masking(probability=0.5, max_predictions=1).count(100) == 1
    for wrong in ({"probability": 0}, {"probability": 1}, {"max_predictions": 0}):
        with pytest.raises(ValueError, match=r"greater than|less than"):
            Masking(**wrong)


def test_fifteen_percent_are_chosen_and_of_these_80_10_10() -> None:
    ids, rows = rows_of(4000, 62)  # 60 words, or 30 where half is padding
    inputs, labels = masked(ids, rows)
    chosen = labels != IGNORED
    assert (chosen.sum(axis=1) == np.where(rows % 2, 9, 5)).all()  # 0.15 * 60, and 4.5 rounded up
    assert (labels[chosen] == ids[chosen]).all()
    assert (inputs[~chosen] == ids[~chosen]).all()
    assert not (chosen & (ids < 5)).any(), "special tokens are never chosen"
    hidden, kept = inputs[chosen] == 4, inputs[chosen] == ids[chosen]
    total = chosen.sum()  # 28,000: standard deviations of 0.0024 and 0.0018
    assert hidden.sum() / total == pytest.approx(0.8, abs=0.01)
    assert kept.sum() / total == pytest.approx(0.1, abs=0.008)
    replaced = inputs[chosen][~hidden & ~kept]
    assert len(replaced) / total == pytest.approx(0.1, abs=0.008)
    assert replaced.min() >= 5, "special tokens never stand in for others"
    assert len(np.unique(replaced)) > 900, "the whole vocabulary does"
    places = chosen[rows % 2 == 1].mean(axis=0)[1:-1]
    assert places == pytest.approx(np.full(60, 0.15), abs=0.04), "every place has the same chance"


def test_a_row_draws_alone_and_anew_for_each_key() -> None:
    ids, rows = rows_of(64, 40)
    inputs, labels = masked(ids, rows, (1, 7, 0))
    some = [5, 3, 60]
    longer = np.pad(ids[some], ((0, 0), (0, 9)))
    again_inputs, again_labels = masked(longer, rows[some], (1, 7, 0))
    assert (again_inputs[:, :40] == inputs[some]).all()
    assert (again_labels[:, :40] == labels[some]).all()
    for key in ((1, 7, 1), (1, 8, 0), (0,)):
        others = masked(ids, rows, key)[1]
        assert 0.05 < ((labels != IGNORED) & (others != IGNORED)).sum() / (labels != IGNORED).sum() < 0.3


def naive_words(eligible: list[bool], begins: list[bool], scores: list[float], count: int) -> list[bool]:
    """The rule in a loop."""
    words: list[list[int]] = []
    for place, (may, new) in enumerate(zip(eligible, begins, strict=True)):
        if not may:
            continue
        if new or not words:
            words.append([])
        words[-1].append(place)
    chosen: list[int] = []
    for word in sorted(words, key=lambda word: scores[word[0]]):
        if count == 0 or (chosen and len(chosen) + len(word) > count):
            break
        chosen += word
    return [place in chosen for place in range(len(eligible))]


def test_whole_words_equal_a_loop() -> None:
    generator = np.random.default_rng(1)
    eligible = generator.random((300, 17)) < 0.8
    begins = (generator.random((300, 17)) < 0.5) | ~eligible
    begins[:, 1:] |= ~eligible[:, :-1]
    begins[:, 0] = True
    scores, counts = generator.random((300, 17)), generator.integers(0, 7, 300)
    found = chosen_tokens(eligible, begins, scores, counts)
    for row in range(300):
        line = [array[row].tolist() for array in (eligible, begins, scores)]
        assert found[row].tolist() == naive_words(*line, int(counts[row])), row


def test_whole_words_are_never_cut() -> None:
    ids, rows = rows_of(500, 40)
    _, labels = masked(ids, rows, whole_word=True)
    chosen, continues = labels != IGNORED, VOCABULARY.continues[ids]
    continues[:, 1:] &= ~VOCABULARY.special[ids[:, :-1]]
    continues[:, 0] = False
    assert (chosen[:, 1:] == chosen[:, :-1])[continues[:, 1:]].all()
    assert continues[chosen].any()
    share = chosen.sum() / (ids >= 5).sum()
    assert 0.12 < share < 0.16, "words that would exceed the number are left out"
    single = masked(ids, rows)[1] != IGNORED
    assert (single[:, 1:] != single[:, :-1])[continues[:, 1:]].any()


def test_a_row_without_words_has_nothing_to_guess() -> None:
    inputs, labels = masked(np.array([[1, 2, 0, 0], [1, 3, 9, 2]]), np.arange(2))
    assert (inputs[0] == [1, 2, 0, 0]).all()
    assert (labels != IGNORED).tolist() == [[False] * 4, [False, False, True, False]]


def test_the_vocabulary_of_a_wordpiece_tokenizer() -> None:
    tokenizer = make_tokenizer()
    vocabulary = vocabulary_of(tokenizer)
    assert vocabulary.mask == tokenizer.mask_token_id
    assert set(np.flatnonzero(vocabulary.special)) == set(tokenizer.all_special_ids)
    pieces = tokenizer.convert_ids_to_tokens(np.flatnonzero(vocabulary.continues).tolist())
    assert sorted(pieces) == sorted(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")
    assert set(vocabulary.words) == set(range(len(tokenizer))) - set(tokenizer.all_special_ids)


def test_the_vocabulary_of_a_tokenizer_with_marked_spaces() -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    pieces = ["<s>", "<mask>", "Ġhouse", "boat", "s", "Ġa", "##"]  # the last one is of three that RoBERTa has
    backend = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, []))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", mask_token="<mask>")
    assert vocabulary_of(tokenizer).continues.tolist() == [False, False, False, True, True, False, True]
    without = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>")
    with pytest.raises(RequestError, match="needs a mask token"):
        vocabulary_of(without)
