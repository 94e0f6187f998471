"""Hiding tokens of a batch, to be guessed by a masked language model.

Source: Devlin et al., "BERT", arXiv 1810.04805, section 3.1 and appendix A.1. In training the tokens are chosen anew in
every epoch, as in RoBERTa (arXiv 1907.11692, section 4.1): a function of the run's seed, the epoch and the row. In
evaluation they are a function of the row alone, so that all models and all seeds are asked the same.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bertpress.draws import uniform
from bertpress.errors import RequestError
from bertpress.tasks.masking import Masking
from bertpress.tasks.pieces import continuing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""label of a token that is not asked for, as PyTorch's cross-entropy knows it"""
EVALUATION = (0,)
HIDDEN, REPLACED = 0.8, 0.1
Ids = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Vocabulary:
    """What masking needs to know of a tokenizer; each table has one entry per token id."""

    mask: int
    """id of the mask token"""
    special: Flags
    """True for tokens that are never chosen and never stand in for others"""
    continues: Flags
    """True for pieces that continue a word"""

    @functools.cached_property
    def words(self) -> Ids:
        """Ids that may stand in for others."""
        return np.flatnonzero(~self.special)


def vocabulary_of(tokenizer: PreTrainedTokenizerBase) -> Vocabulary:
    """The tables of a tokenizer.

    Raises:
        RequestError: it has no mask token.
    """
    if tokenizer.mask_token_id is None:
        raise RequestError(
            "A masked language model needs a mask token, but the tokenizer has none; take another model."
        )
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    special = np.zeros(len(pieces), dtype=np.bool_)
    special[[number for number in tokenizer.all_special_ids if number < len(pieces)]] = True
    return Vocabulary(tokenizer.mask_token_id, special, continuing(tokenizer, pieces) & ~special)


def chosen_tokens(eligible: Flags, begins: Flags, scores: NDArray[np.float64], counts: NDArray[np.integer]) -> Flags:
    """Whole words by rising score until the next one would exceed the row's count, but at least one word.

    Args:
        eligible: tokens that may be chosen, shape (batch, length) like the next two.
        begins: tokens that begin a word; a word goes on until the next one begins.
        scores: a random number per token; a word's is that of its first.
        counts: largest number of tokens of each row; 0 chooses none, shape (batch,).
    """
    places = np.arange(eligible.shape[1])
    first = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    scores = np.where(eligible, np.take_along_axis(scores, first, axis=1), np.inf)
    order = np.argsort(scores, axis=1, kind="stable")
    ordered = np.take_along_axis(scores, order, axis=1)
    # After the last token of each word in this order, so many tokens are chosen if the word is.
    is_last = np.ones_like(eligible)
    is_last[:, :-1] = ordered[:, 1:] != ordered[:, :-1]
    ends = np.where(is_last, places + 1, len(places) + 1)
    ends = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    fits = (ends <= counts[:, None]) | ((ordered == ordered[:, :1]) & (counts[:, None] > 0))
    chosen = np.zeros_like(eligible)
    np.put_along_axis(chosen, order, fits, axis=1)
    return chosen & eligible


def mask_tokens(
    ids: Ids, rows: NDArray[np.integer], vocabulary: Vocabulary, masking: Masking, key: tuple[int, ...]
) -> tuple[Ids, Ids]:
    """Inputs with chosen tokens changed, and labels that hold their ids (`IGNORED` elsewhere).

    Args:
        ids: padded token ids, shape (batch, length), like both results.
        rows: number of each row, which with `key` determines what is drawn for it.
    """
    eligible = ~vocabulary.special[ids]
    follows = np.zeros_like(eligible)
    if masking.whole_word:
        follows[:, 1:] = vocabulary.continues[ids[:, 1:]] & eligible[:, :-1]
    scores, kinds, others = (uniform((*key, what), rows, ids.shape[1]) for what in range(3))
    counts = np.array([masking.count(tokens) for tokens in eligible.sum(axis=1).tolist()])
    chosen = chosen_tokens(eligible, ~follows, scores, counts)
    changed = np.where(kinds < HIDDEN, vocabulary.mask, ids)
    stand_ins = vocabulary.words[(others * len(vocabulary.words)).astype(np.int64)]
    changed = np.where((kinds >= HIDDEN) & (kinds < HIDDEN + REPLACED), stand_ins, changed)
    return np.where(chosen, changed, ids), np.where(chosen, ids, IGNORED)
