"""What rows are made of, against loops over lists of tokens."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest

from bertpress.corpus.drawing import Row, cut_pair, packed, sentence_pairs, single_lines, trimmed


def ends_of(lengths: Sequence[int], start: int) -> list[int]:
    return list(accumulate(lengths, initial=start))[1:]


def random_lengths(seed: int, longest: int, count: int = 200) -> list[int]:
    generator = random.Random(seed)
    return [generator.randint(1, longest) for _ in range(count)]


def test_packing_by_hand() -> None:
    ends = ends_of([3, 4, 2, 25, 1, 9], 100)
    assert list(packed(ends, 100, 10, split=True)) == [
        (100, 9, 0, 0),
        (109, 10, 0, 0),
        (119, 10, 0, 0),
        (129, 6, 0, 0),
        (135, 9, 0, 0),
    ]
    assert list(packed(ends, 100, 10, split=False)) == [
        (100, 9, 0, 0),
        (109, 10, 0, 0),
        (134, 10, 0, 0),
    ]


@pytest.mark.parametrize("longest", [1, 5, 10, 40])
def test_packing_loses_nothing_and_wastes_little(longest: int) -> None:
    lengths = random_lengths(longest, longest)
    rows = list(packed(ends_of(lengths, 7), 7, 10, split=True))
    covered = [token for start, length, *_ in rows for token in range(start, start + length)]
    assert covered == list(range(7, 7 + sum(lengths)))
    begins = {7, *ends_of(lengths, 7)}
    for (start, length, *_), (after, following, *_) in pairwise(rows):
        assert 1 <= length <= 10
        if after in begins:
            sentence = min(end for end in begins if end > after) - after
            assert length + sentence > 10 or after - start != length, "the next sentence would have fitted"
        else:
            assert length == 10, "only sentences longer than a row are cut, where it is full"
            assert following


@pytest.mark.parametrize(("split", "longest"), [(True, 8), (True, 35), (False, 8), (False, 35)])
def test_lines_on_their_own(split: bool, longest: int) -> None:
    lengths = random_lengths(longest, longest)
    expected: list[Row] = []
    begin = 7
    for length in lengths:
        windows = range(0, length, 10) if split else [0]
        expected += [(begin + window, min(10, length - window), 0, 0) for window in windows]
        begin += length
    generator = random.Random(1)
    assert list(single_lines(ends_of(lengths, 7), 7, 10, 9, split, 0.0, generator)) == expected


def test_lines_in_pairs() -> None:
    lengths = random_lengths(3, 12, count=4000)
    ends = ends_of(lengths, 0)
    begins = dict(zip([0, *ends], lengths, strict=False))
    rows = list(single_lines(ends, 0, 10, 9, True, 0.5, random.Random(1)))
    covered = [token for a, m, b, n in rows for token in (*range(a, a + m), *range(b, b + n))]
    assert covered == list(range(sum(lengths))), "split: every token once and in order"
    pairs = [(a, m, b, n) for a, m, b, n in rows if n]
    assert all(begins[a] == m and begins[b] == n and b == a + m and m + n <= 9 for a, m, b, n in pairs)
    cut = list(single_lines(ends, 0, 10, 9, False, 0.5, random.Random(1)))
    share = sum(1 for row in cut if row[3]) / len(cut)
    assert share == pytest.approx(0.5, abs=0.03)
    assert all(m + n <= 9 for _, m, _, n in cut if n)
    assert all(row[3] for row in list(single_lines(ends, 0, 10, 9, False, 1.0, random.Random(1))))
    assert list(single_lines([5], 0, 10, 9, True, 1.0, random.Random(1))) == [(0, 5, 0, 0)], "no next line"


@pytest.mark.parametrize("room", [9, 10])
def test_pairs_are_cut_as_tokenizers_cut(room: int) -> None:
    from conftest import make_tokenizer

    tokenizer = make_tokenizer()
    for first in range(1, 14):
        for second in range(1, 14):
            encoded = tokenizer("the " * first, "day " * second, truncation=True, max_length=room + 3)
            sources = Counter(encoded.sequence_ids(0))
            assert cut_pair(first, second, room, 77) == (sources[0], 77, sources[1]), (first, second)


def naive_trim(a: list[int], b: list[int], room: int, generator: random.Random) -> tuple[list[int], list[int]]:
    a, b = list(a), list(b)
    while len(a) + len(b) > room:
        longer = a if len(a) > len(b) else b
        longer.pop(0 if generator.random() < 0.5 else -1)
    return a, b


def test_trimming_keeps_what_a_loop_keeps() -> None:
    generator = random.Random(0)
    for a_length in range(1, 16):
        for b_length in range(16):
            a, b = naive_trim(list(range(a_length)), list(range(b_length)), 10, generator)
            row = trimmed(100, a_length, 200, b_length, 10, generator)
            assert (row[1], row[3]) == (len(a), len(b))
            assert 100 <= row[0] <= row[0] + row[1] <= 100 + a_length
            assert 200 <= row[2] <= row[2] + row[3] <= 200 + b_length


def test_trimming_takes_front_and_back_alike() -> None:
    """9 of 12 tokens remain: 0, 1, 2 or 3 of the removed stood at the front, 1, 3, 3 and 1 times out of 8."""
    ours, loops = Counter(), Counter()
    generator = random.Random(0)
    for _ in range(8000):
        ours[trimmed(0, 12, 50, 1, 10, generator)[0]] += 1
        loops[naive_trim(list(range(12)), [1], 10, generator)[0][0]] += 1
    for removed, share in enumerate((1 / 8, 3 / 8, 3 / 8, 1 / 8)):
        assert ours[removed] / 8000 == pytest.approx(share, abs=0.02)
        assert loops[removed] / 8000 == pytest.approx(share, abs=0.02)


def naive_pairs(
    sentences: list[list[int]], target: int, generator: random.Random, random_next: bool
) -> list[tuple[list[int], list[int]]]:
    """The pairs before they are cut, in lists; text from elsewhere is [-1] times the number of tokens wanted."""
    made = []
    chunk: list[list[int]] = []
    index = 0
    while index < len(sentences):
        chunk.append(sentences[index])
        if index == len(sentences) - 1 or sum(map(len, chunk)) >= target:
            end = generator.randint(1, len(chunk) - 1) if len(chunk) > 1 else 1
            a = [token for sentence in chunk[:end] for token in sentence]
            if random_next and (len(chunk) == 1 or generator.random() < 0.5):
                b = [-1] * max(1, target - len(a))
                index -= len(chunk) - end
            else:
                b = [token for sentence in chunk[end:] for token in sentence]
            made.append((a, b))
            chunk = []
        index += 1
    return made


@pytest.mark.parametrize("random_next", [True, False])
@pytest.mark.parametrize(("target", "longest"), [(20, 12), (20, 40), (2, 12), (100, 12)])
def test_pairs_of_sentences(random_next: bool, target: int, longest: int) -> None:
    lengths = random_lengths(target, longest)
    ends = ends_of(lengths, 5)
    sentences = [list(range(end - length, end)) for end, length in zip(ends, lengths, strict=True)]

    def another(wanted: int) -> tuple[int, int]:
        return 10_000, wanted

    loop, ours = random.Random(9), random.Random(9)
    expected = naive_pairs(sentences, target, loop, random_next)
    room = 10 * (target + longest)  # nothing is cut
    rows = list(sentence_pairs(ends, 5, room, target, ours, another if random_next else None))
    assert len(rows) == len(expected)
    for (a, a_length, b, b_length), (first, second) in zip(rows, expected, strict=True):
        assert list(range(a, a + a_length)) == first
        assert b_length == len(second)
        if second and second[0] == -1:
            assert b == 10_000
        else:
            assert list(range(b, b + b_length)) == second
    cut = list(sentence_pairs(ends, 5, target + 2, target, random.Random(9), another if random_next else None))
    assert all(0 < row[1] + row[3] <= target + 2 for row in cut)
    if random_next:
        assert all(row[3] for row in cut)
    else:
        assert all(row[3] or row[0] in {5, *ends} or row[1] == target + 2 for row in cut), "a sentence on its own"
