"""Copies of a text with some words replaced: draws that depend on seed, row and column only, and the splicing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertpress.draws import uniform

Candidates = Sequence[tuple[int, int, Sequence[str]]]
"""For each eligible word of a text its start, its end and its candidates."""


def draws(seed: int, row: int, field: int, samples: int, words: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) for one text, shape (samples, words, 2): whether a word is replaced, and by which.

    They are a function of the seed, the column and the row, so that neither the order of the rows nor the number of
    processes has a say, and few samples are the first ones of many.
    """
    return uniform((seed, field), [row], samples * words * 2).reshape(samples, words, 2)


def carry_case(word: str, candidate: str) -> str:
    """The candidate in the case of the word it replaces: Title and UPPER are carried over, else it stays as it is."""
    if len(word) > 1 and word.isupper():
        return candidate.upper()
    return candidate[:1].upper() + candidate[1:] if word.istitle() else candidate


def splice(text: str, replacements: Sequence[tuple[int, int, str]]) -> str:
    """`text` with parts (start, end, new) replaced; parts are in order and do not overlap."""
    parts, done = [], 0
    for start, end, new in replacements:
        parts += [text[done:start], new]
        done = end
    return "".join([*parts, text[done:]])


@dataclass(frozen=True)
class Copy:
    """A text after one draw."""

    text: str
    replaced: int
    """words that were replaced"""


def copies(text: str, words: Candidates, numbers: NDArray[np.float64], probability: float) -> list[Copy]:
    """One copy for each sample of `numbers`, shape (samples, words, 2); equal copies are not left out here."""
    made = []
    for sample in numbers.tolist():
        new = [
            (start, end, candidates[int(choice * len(candidates))])
            for (start, end, candidates), (whether, choice) in zip(words, sample, strict=True)
            if candidates and whether < probability
        ]
        made.append(Copy(splice(text, new), len(new)))
    return made


@dataclass(frozen=True)
class Row:
    """A row of the augmented data."""

    texts: tuple[str, ...]
    fields: tuple[str, ...]
    """the columns that were augmented, none in an original row"""
    sample: int
    """number of the draw, 0 in an original row"""


def rows_of(
    texts: tuple[str, ...], columns: Sequence[str], copied: Sequence[Sequence[Copy]], pair_mode: str
) -> Iterator[Row]:
    """The original row, then the augmented ones without repetitions.

    Args:
        texts: one or two texts.
        columns: their names.
        copied: for each text its copies.
        pair_mode: `independent` puts a copy of one text beside the other as it was, `both` a copy of each together.
    """
    yield Row(texts, (), 0)
    seen = {texts}
    for row in _all_rows(texts, columns, copied, pair_mode):
        if row.texts not in seen:
            seen.add(row.texts)
            yield row


def _all_rows(
    texts: tuple[str, ...], columns: Sequence[str], copied: Sequence[Sequence[Copy]], pair_mode: str
) -> Iterator[Row]:
    if pair_mode == "both" and len(texts) > 1:
        for sample, together in enumerate(zip(*copied, strict=True), start=1):
            yield Row(tuple(copy.text for copy in together), tuple(columns), sample)
        return
    for field, own in enumerate(copied):
        for sample, copy in enumerate(own, start=1):
            yield Row((*texts[:field], copy.text, *texts[field + 1 :]), (columns[field],), sample)
