from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bertpress.tasks.reading.decoding import Candidate, Window, answer_of, keep_best, width
from bertpress.tasks.reading.features import most_context
from bertpress.tasks.windows import cuts

QUESTION = 3  # tokens before the text: the first one, a token of the question, a separator


def reference(context, logits, windows, n_best, longest, may_be_nothing, threshold):
    """The algorithm of BERT's run_squad.py in other words: (text, n-best, odds of no answer).

    Args:
        logits: (start, end) of each window, without padding.
        windows: place in the window to characters of the text, and to whether the window has most context there.
    """
    pairs, null = [], None
    for number, ((starts, ends), (places, most)) in enumerate(zip(logits, windows, strict=True)):
        ranked = [sorted(range(len(side)), key=lambda place: -side[place])[:n_best] for side in (starts, ends)]
        if null is None or starts[0] + ends[0] < sum(null):
            null = (starts[0], ends[0])
        for start in ranked[0]:
            for end in ranked[1]:
                if start not in places or end not in places or not most[start]:
                    continue
                if end < start or end - start + 1 > longest:
                    continue
                pairs.append((starts[start], ends[end], number, start, end))
    assert null is not None
    if may_be_nothing:
        pairs.append((*null, 0, 0, 0))
    pairs.sort(key=lambda pair: pair[0] + pair[1], reverse=True)
    found: list[tuple[str, float, float]] = []
    for start_logit, end_logit, number, start, end in pairs:
        if len(found) >= n_best:
            break
        places = windows[number][0]
        text = context[places[start][0] : places[end][1]] if start else ""
        if text and text in [other for other, _, _ in found]:
            continue
        found.append((text, start_logit, end_logit))
    if may_be_nothing and "" not in [text for text, _, _ in found]:
        found.append(("", *null))
    total = sum(math.exp(a + b) for _, a, b in found)
    nbest = [(text, math.exp(a + b) / total) for text, a, b in found]
    if not may_be_nothing:
        return (nbest[0][0] if nbest else ""), nbest, None
    spans = [(text, a + b) for text, a, b in found if text]
    odds = sum(null) - (spans[0][1] if spans else 0)
    return (spans[0][0] if spans and odds <= threshold else ""), nbest, odds


def random_case(generator, repeated):
    """A text of random words, its windows, and logits for each."""
    count = int(generator.integers(0, 40))
    words = [str(generator.choice(["red", "green", "x"]) if repeated else number) for number in range(count)]
    context = " ".join(words)
    ends = np.cumsum([len(word) + 1 for word in words]) - 1 if words else np.array([], dtype=int)
    starts = np.array([end - len(word) for end, word in zip(ends, words, strict=True)], dtype=int)
    spans = cuts(count, int(generator.integers(1, 25)), int(generator.integers(1, 25)))
    windows, places, logits = [], [], []
    for (first, stop), (low, high) in zip(spans, most_context(spans), strict=True):
        shift = QUESTION - first
        windows.append(Window(QUESTION, low + shift, high + shift, starts[first:stop], ends[first:stop]))
        inside = range(QUESTION, QUESTION + stop - first)
        places.append(
            (
                {place: (int(starts[place - shift]), int(ends[place - shift])) for place in inside},
                {place: low <= place - shift < high for place in inside},
            )
        )
        logits.append(generator.normal(0, 3, (QUESTION + stop - first + 1, 2)).astype(np.float32))
    return context, windows, places, logits


def kept_of(logits, n_best, padding=0):
    """What `keep_best` gives of windows of different lengths, padded with the best scores of all."""
    longest = max(map(len, logits)) + padding
    batch = torch.full((len(logits), longest, 2), 99.0)
    mask = torch.zeros(len(logits), longest, dtype=torch.long)
    for row, values in enumerate(logits):
        batch[row, : len(values)], mask[row, : len(values)] = torch.from_numpy(values), 1
    return keep_best(batch, mask, n_best).numpy()


@pytest.mark.parametrize("may_be_nothing", [False, True])
@pytest.mark.parametrize("repeated", [False, True])
def test_answers_are_those_of_the_original(may_be_nothing, repeated):
    generator = np.random.default_rng(0)
    nulls = 0
    for _ in range(300):
        context, windows, places, logits = random_case(generator, repeated)
        n_best, longest = int(generator.integers(1, 21)), int(generator.integers(1, 9))
        threshold = float(generator.normal(0, 4))
        sides = [(values[:, 0].astype(float), values[:, 1].astype(float)) for values in logits]
        text, nbest, odds = reference(context, sides, places, n_best, longest, may_be_nothing, threshold)
        kept = kept_of(logits, n_best, padding=int(generator.integers(0, 3)))
        found = answer_of(context, kept, windows, longest, may_be_nothing, threshold)
        candidates = list(found.candidates)
        assert [candidate.text for candidate in candidates] == [text for text, _ in nbest]
        assert [candidate.probability for candidate in candidates] == pytest.approx([share for _, share in nbest])
        if n_best > 1 or not may_be_nothing:  # of one candidate the original keeps no span beside no answer
            assert found.chosen.text == text
            assert found.null_odds == (None if odds is None else pytest.approx(odds, abs=1e-5))
        nulls += not found.chosen.text
        for candidate in (*candidates, found.chosen):
            if candidate.text:
                assert context[candidate.start : candidate.end] == candidate.text
            else:
                assert candidate.start is None
    assert 0 < nulls < 300


def test_what_is_kept_by_hand():
    logits = torch.tensor(
        [[[1.0, 9.0], [5.0, 2.0], [5.0, 3.0], [7.0, 8.0]], [[-1.0, -2.0], [-9.0, -8.0], [99, 99], [99, 99]]]
    )
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    kept = keep_best(logits, mask, 3)
    assert kept.shape == (2, width(3)) == (2, 14)
    assert kept[0].tolist() == [7, 5, 5, 3, 1, 2, 9, 8, 3, 0, 3, 2, 1, 9]
    assert kept[1].tolist() == [-1, -9, 0, 0, 1, -1, -2, -8, 0, 0, 1, -1, -1, -2]
    assert keep_best(logits[:, :2].half(), mask[:, :2], 5).shape == (2, width(5))
    assert keep_best(logits.bfloat16(), mask, 3).dtype == torch.float32


def one_window(logits, may_be_nothing=True, threshold=0.0, longest=30, context="one two"):
    words = context.split()
    starts = np.array([context.index(word) for word in words])
    window = Window(2, 2, 2 + len(words), starts, starts + [len(word) for word in words])
    kept = kept_of([np.array(logits, dtype=np.float32)], 4)
    return answer_of(context, kept, [window], longest, may_be_nothing, threshold)


def test_nothing_is_answered_by_its_odds():
    logits = [[4, 1], [0, 0], [2, 1], [0, 1.5], [0, 0]]  # nothing 5, "one two" 3.5, "one" 3, "two" 1.5
    found = one_window(logits)
    assert (found.chosen.text, found.null_odds) == ("", 1.5)
    assert [candidate.text for candidate in found.candidates] == ["", "one two", "one", "two"]
    assert found.span is not None
    assert found.span.text == "one two"
    total = sum(math.exp(score) for score in (5, 3.5, 3, 1.5))
    assert found.chosen.probability == pytest.approx(math.exp(5) / total)
    assert one_window(logits, threshold=1.5).chosen.text == "one two"
    assert one_window(logits, threshold=1.4).chosen.text == ""
    always = one_window(logits, may_be_nothing=False)
    assert (always.chosen.text, always.chosen.start, always.chosen.end, always.null_odds) == ("one two", 0, 7, None)
    assert [candidate.text for candidate in always.candidates] == ["one two", "one", "two"]
    assert one_window(logits, may_be_nothing=False, longest=1).chosen.text == "one"


def test_a_text_without_tokens_has_no_span():
    empty = Window(2, 2, 2, np.array([], dtype=int), np.array([], dtype=int))
    kept = kept_of([np.array([[1, 2], [3, 4]], dtype=np.float32)], 4)
    found = answer_of("", kept, [empty], 30, True)
    assert (found.chosen, found.span, found.null_odds) == (Candidate("", None, None, 1.0, 2.0, 1.0), None, 3.0)
    assert answer_of("", kept, [empty], 30, True, threshold=99.0).chosen.text == ""
    found = answer_of("", kept, [empty], 30, False)
    assert (found.chosen, found.candidates) == (Candidate("", None, None, 0.0, 0.0, 1.0), ())


def test_white_space_around_an_answer_is_cut():
    # tokens that take the space before them with them, as some tokenizers' do
    window = Window(1, 1, 3, np.array([0, 3]), np.array([3, 7]))
    kept = kept_of([np.array([[0, 0], [1, 0], [9, 9], [0, 0]], dtype=np.float32)], 2)
    found = answer_of("one two", kept, [window], 30, False)
    assert (found.chosen.text, found.chosen.start, found.chosen.end) == ("two", 4, 7)
