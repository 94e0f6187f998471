"""Tokens that mark where something begins, for which a vocabulary may have no place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def markers_of(tokenizer: PreTrainedTokenizerBase, names: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
    """The id of each marker, that of the separator where the vocabulary does not have it; and a remark on those."""
    known = tokenizer.get_vocab()
    missing = [name for name in names if name not in known]
    remark = f"the vocabulary lacks {' and '.join(missing)}; the separator stands in their place"
    return [known.get(name, tokenizer.sep_token_id) for name in names], (remark,) if missing else ()
