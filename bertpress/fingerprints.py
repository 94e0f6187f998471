"""What tells tokenizers and weights apart from others: for stores that must not be used with anything else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertpress.errors import RequestError
from bertpress.files import digest

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bertpress.tasks.rows import Rows
    from bertpress.tasks.task import Task

CHUNK = 1024
"""Rows that are read at a time."""


def plain_backend(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """A copy of the tokenizer's core that cuts and pads nothing, whatever was encoded with it before.

    Raises:
        RequestError: a tokenizer without such a core.
    """
    from tokenizers import Tokenizer

    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise RequestError(f"Expected a fast tokenizer, got {type(tokenizer).__name__}: save it as tokenizer.json.")
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Equal for tokenizers that give every text the same ids."""
    return digest(plain_backend(tokenizer).to_str().encode())


def weights_digest(model: PreTrainedModel) -> str:
    """Equal for models of equal weights."""
    import torch

    parts: list[bytes] = []
    for name, value in sorted(model.state_dict().items()):
        parts += [name.encode(), value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()]
    return digest(*parts)


def rows_digest(rows: Rows, numbers: Sequence[int]) -> str:
    """Equal for rows that hold the same in the same columns, in the same order.

    Args:
        numbers: of the rows that are looked at.
    """
    parts = []
    for start in range(0, len(numbers), CHUNK):
        columns = rows[list(numbers[start : start + CHUNK])]
        # Values are numbers, texts and lists of them, or arrays in their place.
        parts.append(json.dumps(dict(columns), sort_keys=True, default=lambda array: array.tolist()).encode())
    return digest(*parts)


def split_digest(task: Task, split: str) -> str:
    """Equal for splits whose encoded rows, labels included, are the same."""
    rows = task.encoded(split)
    return rows_digest(rows, range(len(rows)))
