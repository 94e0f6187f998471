"""Texts to token ids, and token ids to padded batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from datasets import Dataset
    from tokenizers import Tokenizer
    from transformers import BatchEncoding, PreTrainedTokenizerBase


def tokenized(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[str, ...]], max_length: int, **options: Any
) -> Iterator[BatchEncoding]:
    """What the tokenizer makes of each text or pair of texts, cut to `max_length`, a thousand at a time.

    Args:
        options: for the tokenizer, such as ``return_offsets_mapping=True``.
    """
    for start in range(0, len(texts), 1000):
        some = zip(*texts[start : start + 1000], strict=True)
        pieces = [[bounded(text, max_length) for text in column] for column in some]
        yield tokenizer(*pieces, truncation=True, max_length=max_length, padding=False, **options)


def bounded(text: str, most: int) -> str:
    """A text without what surely lies behind its first `most` tokens; a tokenizer takes seconds for 10 MB.

    1,000 characters a token are more than any real text needs.
    """
    return text[: 1000 * most]


def ids_of(backend: Tokenizer, text: str, most: int) -> list[int]:
    """Token ids of a text without special tokens, of which the first `most` are all there."""
    ids: list[int] = backend.encode(bounded(text, most), add_special_tokens=False).ids
    return ids


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[str, ...]], max_length: int) -> Dataset:
    """Token ids of each text or pair of texts, cut to `max_length`, with columns `length` and `row`."""
    from datasets import Dataset, concatenate_datasets

    parts, row = [], 0
    for batch in tokenized(tokenizer, texts, max_length):  # made Arrow at once: Python's lists take far more memory
        lengths = [len(ids) for ids in batch["input_ids"]]
        columns: dict[str, list[Any]] = {**batch, "length": lengths, "row": list(range(row, row + len(lengths)))}
        parts.append(Dataset.from_dict(columns))
        row += len(lengths)
    return concatenate_datasets(parts)


def count_longer(backend: Tokenizer, texts: Sequence[str], most: int) -> int:
    """How many of some texts have more than `most` tokens; only those with as many bytes are encoded.

    A byte, not a character, is the least that a token stands for: those of GPT-2 and RoBERTa may be parts of one.
    """
    longer = [bounded(text, most) for text in texts if len(text.encode("utf-8", "surrogatepass")) > most]
    return sum(len(each.ids) > most for each in backend.encode_batch(longer, add_special_tokens=False))


def pad(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """The inputs that the tokenizer names, padded to the longest row, and `row`.

    Every row is one piece where the rows do not say otherwise: an attention mask of its length, one segment.
    """
    lengths = [len(row["input_ids"]) for row in rows]
    longest = max(lengths)
    missing = {"attention_mask": 1, "token_type_ids": 0}
    padding = {"input_ids": tokenizer.pad_token_id or 0}

    def padded(row: Mapping[str, Any], name: str, length: int) -> list[int]:
        values = row[name] if name in row else [missing[name]] * length
        return [*values, *[padding.get(name, 0)] * (longest - length)]

    batch = {
        name: torch.tensor([padded(row, name, length) for row, length in zip(rows, lengths, strict=True)])
        for name in tokenizer.model_input_names
        if name in rows[0] or name in missing
    }
    batch["row"] = torch.tensor([row["row"] for row in rows])
    return batch
