"""How right an answer is: exact match and F1 as the evaluation scripts of SQuAD, MRQA and TriviaQA have them.

Sources: evaluate-v1.1.py and evaluate-v2.0.py of SQuAD (Rajpurkar et al., arXiv 1606.05250 and 1806.03822), whose
normaliser MRQA's script shares, and triviaqa_evaluation.py (Joshi et al., arXiv 1705.03551). An answer counts as its
best agreement with any accepted text.
Differences: the best threshold is one that can be set, also where several questions have the same odds; and the best
scores are those that a threshold could reach, with the best span of every question, while evaluate-v2.0.py takes the
answers of the file of predictions, which are empty already where the odds exceed the threshold of that time.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Normaliser = Literal["squad", "triviaqa"]
Floats = NDArray[np.float64]
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION: dict[Normaliser, dict[int, Any]] = {
    "squad": str.maketrans("", "", string.punctuation),
    "triviaqa": str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " ")),
}


def normalised(text: str, normaliser: Normaliser = "squad") -> str:
    """A text in lower case without punctuation, articles and superfluous white space.

    Args:
        normaliser: SQuAD's and MRQA's lets punctuation vanish (``U.S.`` is ``us``), TriviaQA's turns it into spaces.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION[normaliser])).split())


def f1_and_match(
    prediction: str, accepted: Sequence[str], normaliser: Normaliser = "squad", may_be_nothing: bool = True
) -> tuple[float, float]:
    """F1 and exact match of an answer, each with the accepted text that is best for it.

    Where there is no accepted text, no answer is right.

    Args:
        may_be_nothing: accepted texts of which nothing is left do not count, as with SQuAD 2.0. The other scripts keep
            them: what is normalised to nothing as well is an exact match, with an F1 of 0.
    """
    texts = [normalised(text, normaliser) for text in accepted]
    texts = [text for text in texts if text or not may_be_nothing]
    own = normalised(prediction, normaliser)
    if not texts:
        return float(not own), float(not own)
    words = own.split()
    return max(_f1(words, text.split()) for text in texts), float(own in texts)


def _f1(words: Sequence[str], accepted: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of the words; 0 where there are none."""
    common = (Counter(words) & Counter(accepted)).total()
    return 2 * common / max(1, len(words) + len(accepted))


def is_answerable(accepted: Sequence[str]) -> bool:
    """Some accepted text is not blank; what is left of it when texts are compared does not matter."""
    return any(text.strip() for text in accepted)


@dataclass(frozen=True)
class Best:
    """The highest mean score over all thresholds, and one that gives it."""

    value: float
    threshold: float


def best_threshold(scores: Floats, odds: Floats, answerable: NDArray[np.bool_]) -> Best:
    """The best mean score if nothing is answered wherever its odds exceed a threshold.

    Args:
        scores: of answering each question by its best span, whatever its odds, or by nothing where there is no span,
            (questions,).
        odds: that there is no answer, (questions,).
        answerable: questions that have one; of the others, no answer scores 1.
    """
    order = np.argsort(odds, kind="stable")
    ordered = odds[order]
    gains = (scores - ~answerable)[order]  # of answering a question by its span
    totals = (~answerable).sum() + np.concatenate([[0.0], np.cumsum(gains)])
    # After so many questions a threshold may stand: before the first, and behind the last of equal odds.
    stands = np.concatenate([[True], np.diff(ordered, append=np.inf) > 0])
    count = int(np.where(stands, totals, -np.inf).argmax())
    return Best(float(totals[count] / len(odds)), float(ordered[count - 1] if count else ordered[0] - 1))


def summary(results: Floats, answerable: NDArray[np.bool_]) -> Iterator[tuple[str, float]]:
    """Names and values of F1 and exact match, over all questions, and over those that have an answer or have none.

    The mean over no question is 0.

    Args:
        results: F1 and exact match of each question, (questions, 2).
    """

    def mean(column: int, where: NDArray[np.bool_]) -> float:
        return float(results[where, column].mean()) if where.any() else 0.0

    everything = np.ones_like(answerable)
    yield "answer_f1", mean(0, everything)
    yield "exact_match", mean(1, everything)
    yield "answer_f1_has_answer", mean(0, answerable)
    yield "exact_match_has_answer", mean(1, answerable)
    yield "exact_match_no_answer", mean(1, ~answerable)
