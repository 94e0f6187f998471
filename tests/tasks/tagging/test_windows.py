import random

import pytest

from bertpress.tasks.tagging.pieces import Pieces
from bertpress.tasks.tagging.windows import merged, windows_of_words


def pieces(*lengths):
    """Words of so many tokens; token ids are their places."""
    words = [word for word, length in enumerate(lengths) for _ in range(length)]
    return Pieces(list(range(len(words))), words)


def shown(*arguments, **options):
    return [(window.ids, window.words) for window in windows_of_words(*arguments, **options)]


def test_a_short_sentence_has_one_window():
    assert shown(pieces(1, 3, 1), 5, 0.25) == [([0, 1, 2, 3, 4], [0, 1, -1, -1, 2])]
    assert shown(pieces(), 5, 0.25) == [([], [])]


def test_windows_by_hand():
    assert shown(pieces(1, 1, 1, 1, 1, 1), 4, 0.25) == [([0, 1, 2, 3], [0, 1, 2, 3]), ([3, 4, 5], [3, 4, 5])]
    assert shown(pieces(1, 1, 1, 1, 1, 1), 4, 0) == [([0, 1, 2, 3], [0, 1, 2, 3]), ([4, 5], [4, 5])]
    # the third word ends before the border, so it is left to the next window
    assert shown(pieces(1, 1, 3, 1), 4, 0) == [([0, 1], [0, 1]), ([2, 3, 4, 5], [2, -1, -1, 3])]
    # as is the stretch of words 1 to 4
    assert shown(pieces(1, 1, 1, 1, 1), 4, 0, [(1, 5)]) == [([0], [0]), ([1, 2, 3, 4], [1, 2, 3, 4])]


def test_of_a_long_word_only_the_beginning_is_read():
    assert shown(pieces(1, 9, 1), 4, 0) == [([0], [0]), ([1, 2, 3, 4], [1, -1, -1, -1]), ([9, 10], [-1, 2])]


@pytest.mark.parametrize("seed", range(20))
def test_every_word_begins_in_a_window_and_none_is_cut(seed):
    generator = random.Random(seed)
    lengths = [generator.randint(1, 4) for _ in range(generator.randint(1, 60))]
    size, overlap = generator.randint(5, 12), generator.choice((0, 0.25, 0.5, 0.9))
    start = generator.randrange(len(lengths))
    whole = [(start, min(len(lengths), start + 2))]
    while sum(lengths[slice(*whole[0])]) > size:
        whole = [(start, start + 1)]
    found = pieces(*lengths)
    windows = list(windows_of_words(found, size, overlap, whole))
    assert {word for window in windows for word in window.words} - {-1} == set(range(len(lengths)))
    stretch = {place for place, word in enumerate(found.words) if whole[0][0] <= word < whole[0][1]}
    for window in windows:
        assert 1 <= len(window.ids) <= size
        assert window.words[0] >= 0, "it begins with a word"
        words = {found.words[place] for place in window.ids}
        assert all(found.words.count(word) == sum(found.words[place] == word for place in window.ids) for word in words)
        assert not stretch & set(window.ids) or stretch <= set(window.ids)


def test_words_of_an_entity_longer_than_a_window_are_not_cut():
    lengths = (3, 1, 2, 2, 3, 3, 1, 3, 1, 3, 3, 1)
    found = pieces(*lengths)
    for window in windows_of_words(found, 8, 0.25, [(3, 11)]):
        words = [found.words[place] for place in window.ids]
        assert all(words.count(word) == lengths[word] for word in set(words))


def test_windows_overlap_as_far_as_they_are_told():
    def repeated(overlap):
        windows = shown(pieces(*[1] * 100), 20, overlap)
        return sum(len(ids) for ids, _ in windows) - 100

    assert repeated(0) == 0
    assert 0 < repeated(0.25) < repeated(0.5)
    assert shown(pieces(*[1] * 100), 20, 0.25)[1][0][0] == 15


def answer(words, name):
    """A window of these words whose every tag is `name`."""
    return list(words), [name] * len(words), [name / 10] * len(words)


def test_a_word_has_the_tag_of_the_window_in_which_it_stands_furthest_from_the_border():
    tags, shares = merged([answer(range(6), 1), answer(range(4, 10), 2), answer(range(8, 12), 3)], 12)
    #           0 .. 3 in one; 4: 1 against 0; 5: 0 against 1; 8: 1 against 0; 9: 0 against 1
    assert tags == [1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3]
    assert shares == [tag / 10 for tag in tags]


def test_the_border_of_the_sentence_is_none():
    tags, _ = merged([answer(range(3), 1), answer(range(1, 4), 2)], 4)
    assert tags == [1, 1, 2, 2], "words 0 and 3 stand at the border of the sentence, and so do 1 and 2 nearly"
    assert merged([answer([0], 1)], 1)[0] == [1]


def test_tokens_that_begin_no_word_say_nothing():
    assert merged([([-1, 0, -1, 1, -1], [9, 1, 9, 2, 9, 9, 9], [0.0, 0.5, 0, 0.25, 0, 0, 0])], 2) == (
        [1, 2],
        [0.5, 0.25],
    )
    assert merged([([-1, -1], [9, 9], [0, 0])], 0) == ([], [])


@pytest.mark.parametrize("seed", range(10))
def test_merging_equals_a_search_through_all_windows(seed):
    generator = random.Random(seed)
    words = generator.randint(10, 40)
    starts = sorted({0, *(generator.randrange(words) for _ in range(5))})
    ranges = [range(start, min(words, generator.randint(following, following + 6)))
              for start, following in zip(starts, [*starts[1:], words], strict=True)]  # fmt: skip
    windows = [answer(each, number) for number, each in enumerate(ranges)]

    def margin(each, word):
        left = word - each[0] if each[0] > 0 else words
        right = each[-1] - word if each[-1] < words - 1 else words
        return min(left, right)

    best = [
        max((number for number, each in enumerate(ranges) if word in each), key=lambda n: (margin(ranges[n], word), -n))
        for word in range(words)
    ]
    assert merged(windows, words)[0] == best
