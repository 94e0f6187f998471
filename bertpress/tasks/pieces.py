"""Which tokens of a vocabulary continue a word."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHARE = 0.05
"""Of the pieces, at least so many begin a word where a mark says so; a single one may also be a character by itself."""


def continuing(tokenizer: PreTrainedTokenizerBase, pieces: Sequence[str]) -> NDArray[np.bool_]:
    """True for the pieces of a fast tokenizer's vocabulary that continue a word.

    They have a prefix (WordPiece: ##); or those that begin one have a mark for the space before them (byte-level BPE
    and SentencePiece), which CJK characters do without. Where no piece has either, every token is a word.
    """
    prefix = json.loads(tokenizer.backend_tokenizer.to_str())["model"].get("continuing_subword_prefix")
    if prefix:
        return np.array([piece.startswith(prefix) for piece in pieces])
    for mark in ("\u0120", "\u2581"):
        begins = np.array([piece.startswith(mark) for piece in pieces])
        if begins.mean() > SHARE:
            return ~begins
    return np.zeros(len(pieces), dtype=np.bool_)
