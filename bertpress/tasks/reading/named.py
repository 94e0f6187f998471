"""The named sets of questions: where their files lie, how they are called, and how they are read by default.

Defaults are those of TR-BERT's published scripts: those of SQuAD for both of its versions, those of
MRQA for NewsQA and Natural Questions, and for TriviaQA several answers to a question, windows that do not overlap and a
softmax that they share. All but SQuAD 2.0 have an answer to every question, so their defaults say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bertpress.config import build
from bertpress.errors import RequestError, nearest
from bertpress.tasks.json_records import PublishedSet
from bertpress.tasks.reading.settings import ReadingSettings


@dataclass(frozen=True)
class ReadingSet(PublishedSet):
    """One row of `NAMED`."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    """settings that differ from those of `ReadingSettings`"""


def _mrqa(name: str) -> dict[str, tuple[str, ...]]:
    """The names that a set has in the shared task MRQA."""
    return {"train": (f"train/{name}", f"{name}-train"), "validation": (f"dev/{name}", f"{name}-dev")}


_MRQA_DEFAULTS = {
    "question_length": 40,
    "answers": "first",
    "drop_windows_without_answer": True,
    "unanswerable": False,
}

NAMED: Mapping[str, ReadingSet] = {
    "squad": ReadingSet(
        files={"train": ("train-v1.1",), "validation": ("dev-v1.1",)},
        hub=("rajpurkar/squad", None),
        defaults={"unanswerable": False},
    ),
    "squad_v2": ReadingSet(
        files={"train": ("train-v2.0",), "validation": ("dev-v2.0",)},
        hub=("rajpurkar/squad_v2", None),
        defaults={"unanswerable": True},
    ),
    "newsqa": ReadingSet(files=_mrqa("NewsQA"), folders=("NewsQA", "mrqa"), defaults=_MRQA_DEFAULTS),
    "natural_questions": ReadingSet(
        files=_mrqa("NaturalQuestionsShort"),
        folders=("NaturalQuestionsShort", "NaturalQuestions", "mrqa"),
        defaults=_MRQA_DEFAULTS,
    ),
    "triviaqa": ReadingSet(
        files=_mrqa("TriviaQA-web"),
        folders=("TriviaQA", "TriviaQA-web", "mrqa"),
        defaults={
            "question_length": 55,
            "step": 1024,
            "n_best": 10,
            "shared_normalisation": True,
            "normaliser": "triviaqa",
            "unanswerable": False,
        },
    ),
}


def settings_for(name: str, given: ReadingSettings | None = None) -> ReadingSettings:
    """The settings of a data set, of which those that were given differ from its defaults.

    Args:
        name: a key of `NAMED`, or another, which has no defaults of its own.
        given: what was set in it counts; what was not is the data set's.
    """
    own = NAMED[name].defaults if name in NAMED else {}
    return build(ReadingSettings, {**own, **(given.model_dump(exclude_unset=True) if given else {})})


def check_name(name: str) -> None:
    """Refuse a name that is neither of `NAMED` nor `files`.

    Raises:
        RequestError: names the nearest.
    """
    if name not in (*NAMED, "files"):
        raise RequestError(f"There is no set of questions '{name}'{nearest(name, [*NAMED, 'files'])}.")
