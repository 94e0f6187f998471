"""Numbers were computed by hand after the evaluation scripts of SQuAD 2.0, MRQA and TriviaQA."""

import numpy as np
import pytest

from bertpress.tasks.reading.metrics import Best, best_threshold, f1_and_match, is_answerable, normalised, summary


@pytest.mark.parametrize(
    ("text", "squad", "triviaqa"),
    [
        ("The Eiffel Tower!", "eiffel tower", "eiffel tower"),
        ("an  apple, a day", "apple day", "apple day"),
        ("U.S.", "us", "u s"),
        ("theatre a-b", "theatre ab", "theatre b"),  # TriviaQA's leaves an article behind
        ("snake_case", "snakecase", "snake case"),
        ("‘quoted’", "‘quoted’", "quoted"),
        ("The", "", ""),
        ("Ångström’s", "ångström’s", "ångström s"),
        ("\u00a01,000\u2003m ", "1000 m", "1 000 m"),
        ("", "", ""),
    ],
)
def test_normalisers(text, squad, triviaqa):
    assert normalised(text) == squad
    assert normalised(text, "triviaqa") == triviaqa


@pytest.mark.parametrize(
    ("prediction", "accepted", "f1", "match"),
    [
        ("the Normans", ["Normans"], 1, 1),
        ("Normans", ["The Normans.", "Norse"], 1, 1),
        ("in the 10th century", ["10th century", "the 10th and 11th centuries"], 4 / 5, 0),
        ("10th and 11th", ["10th century", "10th and 11th centuries"], 6 / 7, 0),
        ("to to be", ["to be be"], 2 / 3, 0),  # common words count as often as both have them
        ("Paris", ["London", "Rome"], 0, 0),
        ("", ["London"], 0, 0),
        ("London", [], 0, 0),
        ("", [], 1, 1),
        ("the", [], 1, 1),  # nothing is left of it
        ("", ["the", "London"], 0, 0),  # an accepted article does not count
        ("", ["the"], 1, 1),
    ],
)
def test_f1_and_exact_match(prediction, accepted, f1, match):
    assert f1_and_match(prediction, accepted) == pytest.approx((f1, match))


@pytest.mark.parametrize(
    ("prediction", "accepted", "f1", "match"),
    [
        ("A", ["the"], 0, 1),  # evaluate-v1.1.py: both are normalised to nothing, and no word is in common
        ("the", ["the", "London"], 0, 1),
        ("the London", ["the", "London"], 1, 1),
        ("Rome", ["the"], 0, 0),
        ("", ["London"], 0, 0),
    ],
)
def test_accepted_texts_of_which_nothing_is_left_count_where_every_question_has_an_answer(
    prediction, accepted, f1, match
):
    assert f1_and_match(prediction, accepted, may_be_nothing=False) == (f1, match)


def test_trivia_aliases_differ_in_punctuation():
    assert f1_and_match("Saint-Denis", ["saint denis"], "triviaqa") == (1, 1)
    assert f1_and_match("Saint-Denis", ["saint denis"], "squad") == (0, 0)


def test_what_has_an_answer():
    assert is_answerable(["a", "London"])
    assert is_answerable(["the", "..."]), "as bool(answers) of evaluate-v2.0.py"
    assert not is_answerable([])
    assert not is_answerable([" "])


def official_best(scores, odds, answerable, predictions):
    """find_best_thresh of evaluate-v2.0.py in other words."""
    current = best = sum(not has for has in answerable)
    threshold = None
    for place in sorted(range(len(odds)), key=lambda place: odds[place]):
        current += scores[place] if answerable[place] else -bool(predictions[place])
        if current > best:
            best, threshold = current, odds[place]
    return best / len(odds), threshold


def test_the_best_threshold_is_the_official_one():
    generator = np.random.default_rng(0)
    for _ in range(50):
        count = generator.integers(1, 12)
        answerable = generator.random(count) < 0.6
        predictions = generator.random(count) < 0.9
        scores = np.where(answerable, generator.random(count).round(1) * predictions, ~predictions)
        odds = generator.permutation(count) - 3.5
        value, threshold = official_best(scores, odds, answerable, predictions)
        found = best_threshold(scores.astype(float), odds, answerable)
        assert found.value == pytest.approx(value)
        assert found.threshold == (odds.min() - 1 if threshold is None else threshold)


def test_by_hand_and_with_equal_odds():
    answerable = np.array([True, True, False, False])
    scores = np.array([1.0, 0.5, 0.0, 0.0])
    # all null: 2; the first answered: 3; the third, too: 2; the second, too: 2.5; all: 1.5
    assert best_threshold(scores, np.array([-3.0, 1.0, 0.0, 2.0]), answerable) == Best(0.75, -3.0)
    # the first two have the same odds, so only both can be answered: one more right, one more wrong
    found = best_threshold(scores, np.array([-3.0, 1.0, -3.0, 2.0]), answerable)
    assert found == Best(0.625, 1.0)
    assert best_threshold(np.zeros(1), np.array([5.0]), np.array([False])) == Best(1.0, 4.0)


def test_means_over_questions_with_and_without_answer():
    results = np.array([[1.0, 1.0], [0.5, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert dict(summary(results, np.array([True, True, False, False]))) == {
        "answer_f1": 0.625,
        "exact_match": 0.5,
        "answer_f1_has_answer": 0.75,
        "exact_match_has_answer": 0.5,
        "exact_match_no_answer": 0.5,
    }
    assert dict(summary(results, np.ones(4, dtype=bool)))["exact_match_no_answer"] == 0
