"""The named sets of questions: where their files lie, how they are called, and how they are read by default.

Defaults are those of TR-BERT's published scripts: those of SQuAD for both of its versions, those of
MRQA for NewsQA and Natural Questions, and for TriviaQA several answers to a question, windows that do not overlap and a
softmax that they share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bertpress.config import build
from bertpress.errors import RequestError, beside, nearest
from bertpress.tasks.reading.settings import ReadingSettings
from bertpress.tasks.tables import SPLIT_STEMS, one_each

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".json", ".json.gz")


@dataclass(frozen=True)
class ReadingSet:
    """One row of `NAMED`; its key is the name of the folder under a data root."""

    files: Mapping[str, tuple[str, ...]]
    """split to further names of its file, without suffix, as published"""
    folders: tuple[str, ...] = ()
    """further names of the folder"""
    hub: str | None = None
    """data set on the Hub, if that has columns that are read"""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """settings that differ from those of `ReadingSettings`"""


def _mrqa(name: str) -> dict[str, tuple[str, ...]]:
    """The names that a set has in the shared task MRQA."""
    return {"train": (f"train/{name}", f"{name}-train"), "validation": (f"dev/{name}", f"{name}-dev")}


_MRQA_DEFAULTS = {"question_length": 40, "answers": "first", "drop_windows_without_answer": True}

NAMED: Mapping[str, ReadingSet] = {
    "squad": ReadingSet(
        files={"train": ("train-v1.1",), "validation": ("dev-v1.1",)},
        hub="rajpurkar/squad",
    ),
    "squad_v2": ReadingSet(
        files={"train": ("train-v2.0",), "validation": ("dev-v2.0",)},
        hub="rajpurkar/squad_v2",
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


def find_files(place: Path, name: str) -> dict[str, Path]:
    """The file of each split at `place`, a folder or one file of training rows; nothing if it holds none.

    Raises:
        RequestError: no such folder or file, or two files for a split.
    """
    if place.is_file():
        return {"train": place}
    if not place.is_dir():
        raise RequestError(f"Expected a folder at {place}, found nothing{beside(place)}: give an existing folder.")
    published = NAMED[name].files if name in NAMED else {}
    names = {split: (*stems, *published.get(split, ())) for split, stems in SPLIT_STEMS.items()}
    return one_each(
        place, {split: [place / f"{stem}{suffix}" for stem in names[split] for suffix in SUFFIXES] for split in names}
    )


def no_files(place: Path, name: str) -> RequestError:
    """The error for a folder that holds no file of questions."""
    published = [stems[0] for stems in NAMED[name].files.values()] if name in NAMED else []
    names = ", ".join([*SPLIT_STEMS, *published])
    held = ", ".join(sorted(path.name for path in place.iterdir())[:10]) or "an empty folder"
    return RequestError(f"Expected {names} as {', '.join(SUFFIXES)} in {place}, found {held}: rename your files so.")


def check_name(name: str) -> None:
    """Refuse a name that is neither of `NAMED` nor `files`.

    Raises:
        RequestError: names the nearest.
    """
    if name not in (*NAMED, "files"):
        raise RequestError(f"There is no set of questions '{name}'{nearest(name, [*NAMED, 'files'])}.")
