"""Augmentation one word at a time: what the batched program must equal.

Written after the paper's algorithm with a string per masked word and the model's own whole forward; it shares only the
settings and the files of stop words with the package, and the numbers drawn with the test of these.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from test_draws import reference

from bertpress.augmentation.words import stop_words

STOP = stop_words("en")


def letters_only(text: str) -> list[re.Match[str]]:
    return [match for match in re.finditer(r"[^\W_]+", text) if re.fullmatch("[A-Za-z]+", match[0])]


def cased(word: str, new: str) -> str:
    if word.isupper() and len(word) > 1:
        return new.upper()
    return new[0].upper() + new[1:] if word[0].isupper() and word[1:].islower() | (len(word) == 1) else new


def proposals(text: str, start: int, end: int, model: Any, tokenizer: Any, count: int, pair: bool) -> list[str]:
    """The most probable words at the place of one."""
    masked = text[:start] + tokenizer.mask_token + text[end:]
    batch = tokenizer(*([masked, text] if pair else [masked]), return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits[0]
    place = batch["input_ids"][0].tolist().index(tokenizer.mask_token_id)
    found: list[str] = []
    for token in torch.argsort(logits[place], descending=True).tolist():
        word = tokenizer.convert_ids_to_tokens(token)
        if word is None or word in tokenizer.all_special_tokens or word.startswith("##"):
            continue
        if word.isalpha() and word.lower() != text[start:end].lower():
            found.append(word)
        if len(found) == count:
            break
    return found


def neighbours(word: str, names: Sequence[str], matrix: np.ndarray, count: int) -> list[str]:
    """The words of highest cosine."""
    known = [name for name in (word, word.lower()) if name in names]
    if not known:
        return []
    own = matrix[names.index(known[0])]
    cosine = [float(row @ own / np.linalg.norm(row) / np.linalg.norm(own)) for row in matrix]
    order = sorted(range(len(names)), key=lambda index: -cosine[index])
    return [names[index] for index in order if names[index].lower() != word.lower()][:count]


def samples(
    text: str, row: int, field: int, model: Any, tokenizer: Any, table: tuple[list[str], np.ndarray], settings: Any,
    number: int,
) -> list[str]:  # fmt: skip
    """All copies of a text, the equal ones included."""
    words = [match for match in letters_only(text) if match[0].lower() not in STOP]
    lists = []
    for match in words:
        if len(tokenizer.tokenize(match[0])) == 1:
            pair = settings.context == "pair"
            found = proposals(text, *match.span(), model, tokenizer, settings.candidates, pair)
        else:
            found = neighbours(match[0], *table, settings.candidates)
        lists.append(sorted({cased(match[0], word) for word in found}))
    made, place = [], 0
    for _ in range(number):
        copy, shift = text, 0
        for match, candidates in zip(words, lists, strict=True):
            whether, which = (reference((settings.seed, field), row, place + more) for more in range(2))
            place += 2
            if candidates and whether < settings.replace_probability:
                new = candidates[int(which * len(candidates))]
                copy = copy[: match.start() + shift] + new + copy[match.end() + shift :]
                shift += len(new) - len(match[0])
        made.append(copy)
    return made


def pair_rows(first: str, second: str, ours: list[str], others: list[str]) -> list[tuple[str, str]]:
    """The rows of a pair: the original, copies of the first text, copies of the second one."""
    rows = [(first, second)]
    for row in [*((copy, second) for copy in ours), *((first, copy) for copy in others)]:
        if row not in rows:
            rows.append(row)
    return rows
