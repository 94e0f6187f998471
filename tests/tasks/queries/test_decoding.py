from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest

from bertpress.tasks.queries.decoding import (
    Entity,
    entities_of,
    flat_spans,
    merged,
    nested_spans,
    without_overlaps,
)
from bertpress.tasks.queries.rows import FIRST, LAST
from bertpress.tasks.queries.settings import QuerySettings


def naive_flat(starts: list[int], ends: list[int], unpaired: str) -> list[tuple[int, int]]:
    """For start s the smallest end e >= s such that no other start lies in (s, e]."""
    spans = []
    for s in starts:
        fitting = [e for e in ends if e >= s and not any(s < other <= e for other in starts)]
        if fitting:
            spans.append((s, min(fitting) + 1))
        elif unpaired == "single":
            spans.append((s, s + 1))
    return spans


def test_flat_spans_by_hand() -> None:
    assert flat_spans([1], [3]) == [(1, 4)]
    assert flat_spans([2], [2]) == [(2, 3)], "an entity of one word"
    assert flat_spans([2, 3], [2, 3]) == [(2, 3), (3, 4)], "two of them side by side"
    assert flat_spans([1, 3], [4]) == [(3, 5)], "two starts before one end: the nearer"
    assert flat_spans([1, 3], [4], "single") == [(1, 2), (3, 5)]
    assert flat_spans([1, 4], [4]) == [(4, 5)], "another start at the end itself"
    assert flat_spans([3], [1, 2]) == [], "ends before the start"
    assert flat_spans([3], [1, 2], "single") == [(3, 4)]
    assert flat_spans([1], [3, 5]) == [(1, 4)], "the second end belongs to nothing"


@pytest.mark.parametrize("unpaired", ["drop", "single"])
def test_flat_spans_equal_a_loop(unpaired: Any) -> None:
    for bits in itertools.product((0, 1), repeat=10):
        starts, ends = ([place for place in range(5) if bits[5 * side + place]] for side in (0, 1))
        found = flat_spans(starts, ends, unpaired)
        assert found == naive_flat(starts, ends, unpaired)
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(found)), "no two overlap"


def test_nested_spans_equal_a_loop() -> None:
    draw = np.random.default_rng(0)
    for _ in range(200):
        starts, ends = (sorted(draw.choice(8, draw.integers(0, 6), replace=False).tolist()) for _ in range(2))
        matches = draw.random((len(starts), len(ends)))
        expected = [
            (s, e + 1, float(matches[i, j]))
            for i, s in enumerate(starts)
            for j, e in enumerate(ends)
            if s <= e and matches[i, j] > 0.6
        ]
        assert nested_spans(starts, ends, matches, 0.6) == expected


def places(starts: list[list[float]], ends: list[list[float]], *match: list[list[float]]) -> np.ndarray:
    return np.array([starts, ends, *match])


def test_entities_with_their_probabilities() -> None:
    # two types, four words
    given = places([[0.9, 0.1, 0.8, 0.4], [0, 0, 0.6, 0]], [[0.2, 0.7, 0.5, 0.2], [0, 0, 0, 0.75]])
    found = entities_of(given, QuerySettings())
    assert [(each.start, each.end, each.type) for each in found] == [(0, 2, 0), (2, 4, 1)]
    assert [each.probability for each in found] == pytest.approx([0.9 * 0.7, 0.6 * 0.75])
    single = entities_of(given, QuerySettings(unpaired="single"))
    assert [(each.start, each.end, each.type) for each in single] == [(0, 2, 0), (2, 3, 0), (2, 4, 1)]
    assert single[1].probability == pytest.approx(0.8), "it has no end"
    low = entities_of(given, QuerySettings(threshold=0.3))
    assert [(each.start, each.end, each.type) for each in low] == [(0, 2, 0), (2, 3, 0), (2, 4, 1)]
    assert entities_of(given, QuerySettings(threshold=0.95)) == []


def test_entities_inside_of_others() -> None:
    # starts 0 and 1, ends 1 and 3; 0 goes with 3, 1 goes with 1; logits of 0 + 3: 2, 0 + 1: -1, 1 + 1: 1, 1 + 3: -?
    given = places([[0.9, 0.8, 0, 0]], [[0, 0.7, 0, 0.6]], [[-0.5, 1.5, 9, 9]], [[9, -0.25, 9, 2.5]])
    found = entities_of(given, QuerySettings(nested=True))
    sure = [0.5 + 0.5 * np.tanh(logit / 2) for logit in (2.0, 1.25, 4.0)]
    assert [(each.start, each.end) for each in found] == [(0, 4), (1, 2), (1, 4)]
    assert [each.probability for each in found] == pytest.approx(
        [0.9 * 0.6 * sure[0], 0.8 * 0.7 * sure[1], 0.8 * 0.6 * sure[2]]
    )
    strict = entities_of(given, QuerySettings(nested=True, threshold=0.55))
    assert [(each.start, each.end) for each in strict] == [(0, 4), (1, 2), (1, 4)]


def entity(start: int, end: int, kind: int, probability: float) -> Entity:
    return Entity(start, end, kind, probability)


def test_overlaps_go_to_the_more_probable() -> None:
    a, b, c = entity(0, 3, 0, 0.9), entity(2, 4, 1, 0.8), entity(3, 5, 2, 0.7)
    assert without_overlaps([c, b, a]) == [a, c], "what was left out hides nothing"
    assert without_overlaps([entity(0, 1, 0, 0.5), entity(1, 2, 1, 0.6)]) == [
        entity(1, 2, 1, 0.6),
        entity(0, 1, 0, 0.5),
    ], "neighbours do not overlap"
    inner, outer = entity(1, 2, 0, 0.5), entity(0, 3, 0, 0.5)
    assert set(without_overlaps([inner, outer])) == {inner, outer}, "of one type"
    assert without_overlaps([inner, outer], within_types=True) == [outer]


def test_overlaps_equal_a_loop() -> None:
    draw = random.Random(0)
    for _ in range(300):
        made = [
            entity(start, start + draw.randint(1, 4), draw.randint(0, 2), draw.random())
            for start in draw.choices(range(8), k=draw.randint(0, 7))
        ]
        left, kept = list(made), []
        while left:
            best = max(left, key=lambda each: each.probability)
            kept.append(best)
            words = set(range(best.start, best.end))
            left = [
                each
                for each in left
                if each is not best and (each.type == best.type or not words & set(range(each.start, each.end)))
            ]
        assert without_overlaps(made) == kept


def test_the_option_resolves_overlaps_between_types() -> None:
    given = places([[0.9, 0], [0.8, 0.7]], [[0, 0.9], [0.8, 0.7]])
    spans = [(each.start, each.end, each.type) for each in entities_of(given, QuerySettings())]
    assert spans == [(0, 1, 1), (0, 2, 0), (1, 2, 1)]
    best = [(each.start, each.end, each.type) for each in entities_of(given, QuerySettings(overlaps="best"))]
    assert best == [(0, 2, 0)]


def test_windows_are_merged_by_the_largest() -> None:
    # word 0 has two pieces, word 1 one, word 2 two; the second window begins inside of word 2
    windows = np.zeros((3, 4, 8))
    windows[0, :, 2:7] = np.array([[1, 2, 3, 4, 5]]) / 10 + np.arange(4)[:, None]
    windows[1, :, 2:4] = np.array([[3, 9]]) / 10 + np.arange(4)[:, None]
    windows[2, :, 3:4] = 0.5
    columns = {
        "query": [0, 0, 1],
        "begin": [2, 2, 3],
        "words": [[0, 0, 1, 2, 2], [1, 2], [1]],
        "marks": [[FIRST, LAST, FIRST | LAST, FIRST, LAST], [FIRST | LAST, LAST], [FIRST | LAST]],
    }
    found = merged(windows, columns, types=2, words=3)
    assert found[0].tolist() == [[0.1, 0.3, 0.4], [0, 0.5, 0]]
    assert found[1].tolist() == [pytest.approx([1.2, 1.3, 1.9]), [0, 0.5, 0]]
    assert found[2, 0] == pytest.approx([2.1, 2.3, 2.4])
    assert found[3].tolist() == [pytest.approx([3.2, 3.3, 3.9]), [-np.inf, 0.5, -np.inf]]


def test_a_sentence_without_words() -> None:
    columns = {"query": [0], "begin": [2], "words": [[]], "marks": [[]]}
    assert entities_of(merged(np.ones((1, 2, 8)), columns, 1, 0), QuerySettings()) == []
