"""What rows are made of: pure functions from the ends of sentences to ranges of tokens.

A row is (start of the first segment, its length, start of the second, its length), in tokens of the store; a second
length of 0 means one segment. Sentences that follow each other lie side by side in the store, so that a range is
enough. `ends` are the ends of consecutive sentences of which the first begins at `start`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

Row = tuple[int, int, int, int]
Another = Callable[[int], tuple[int, int]]
"""Tokens wanted -> start and length of text of another document: whole sentences, until there are so many."""


def packed(ends: Sequence[int], start: int, room: int, split: bool) -> Iterator[Row]:
    """Rows of whole consecutive sentences, as many as fit in `room` tokens.

    A sentence that is longer fills rows of its own; what remains of it opens the next row if `split`, else it is lost.
    """
    opened = begin = start
    for end in ends:
        if end - opened > room:
            if begin > opened:
                yield opened, begin - opened, 0, 0
            opened = begin
            while end - opened > room:
                yield opened, room, 0, 0
                opened = opened + room if split else end
        begin = end
    if begin > opened:
        yield opened, begin - opened, 0, 0


def single_lines(
    ends: Sequence[int],
    start: int,
    room: int,
    pair_room: int,
    split: bool,
    pair_probability: float,
    generator: random.Random,
) -> Iterator[Row]:
    """A row for each line, or for a line and the next as a pair.

    Long lines give several rows if `split`, and then only pairs that fit are made; otherwise both are cut as tokenizers
    cut.
    """
    index = 0
    begin = start
    while index < len(ends):
        end = ends[index]
        index += 1
        if pair_probability and index < len(ends) and generator.random() < pair_probability:
            after = ends[index]
            if not split or after - begin <= pair_room:
                yield begin, *cut_pair(end - begin, after - end, pair_room, end)
                index += 1
                begin = after
                continue
        while begin < end:
            yield begin, min(room, end - begin), 0, 0
            begin = begin + room if split else end
        begin = end


def cut_pair(first: int, second: int, room: int, second_start: int) -> tuple[int, int, int]:
    """Lengths that fit in `room`, the longer one cut first, as tokenizers do; with the second's start in between."""
    shorter = min(first, second)
    if first + second > room:
        low, high = (shorter, room - shorter) if shorter <= room - shorter else (room // 2, room - room // 2)
        first, second = (high, low) if first > second else (low, high)
    return first, second_start, second


def sentence_pairs(
    ends: Sequence[int], start: int, room: int, target: int, generator: random.Random, another: Another | None
) -> Iterator[Row]:
    """Rows of two segments from a document, as BERT's next-sentence prediction had them.

    Sentences are gathered until they have `target` tokens or the document ends, and cut into two at a random sentence.
    With `another`, half of the second segments, and all that would be empty, come from elsewhere, and the sentences
    they replace are used again. Without it, a single sentence is a row of one segment.
    """
    index = 0
    while index < len(ends):
        begin = ends[index - 1] if index else start
        last = index
        while last < len(ends) - 1 and ends[last] - begin < target:
            last += 1
        middle = generator.randint(index, last - 1) if last > index else last
        first = begin, ends[middle] - begin
        second = ends[middle], ends[last] - ends[middle]
        index = last + 1
        if another and (middle == last or generator.random() < 0.5):
            second = another(max(1, target - first[1]))
            index = middle + 1
        yield trimmed(*first, *second, room, generator)


def trimmed(a: int, a_length: int, b: int, b_length: int, room: int, generator: random.Random) -> Row:
    """Both segments within `room` tokens: one token at a time goes from the longer (the second if equal), at its front
    or back with probability 1/2 each.
    """
    keep_a, keep_b = a_length, b_length
    if a_length + b_length > room:
        shorter = min(a_length, b_length)
        if shorter <= room - shorter:
            keep_a, keep_b = (room - shorter, shorter) if a_length > b_length else (shorter, room - shorter)
        else:
            keep_a, keep_b = room - room // 2, room // 2
    return (
        a + _from_the_front(a_length - keep_a, generator),
        keep_a,
        b + _from_the_front(b_length - keep_b, generator),
        keep_b,
    )


def _from_the_front(removed: int, generator: random.Random) -> int:
    """How many of `removed` tokens go at the front: so many coins show heads."""
    return generator.getrandbits(removed).bit_count() if removed else 0
