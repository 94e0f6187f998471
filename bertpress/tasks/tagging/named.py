"""The named data sets of entities: where they are, what types they have, and how their authors wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class EntityTask:
    """One row of `ENTITIES`; its key is the name of the folder under a data root."""

    hub: str
    types: tuple[str, ...]  # in the order of the Hub's tags
    folders: tuple[str, ...] = ()  # further names of the folder
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # further names of a split's file, no suffix
    spellings: Mapping[str, str] = field(default_factory=dict)  # types as they are written elsewhere
    numbered: bool = False  # a digit after each character says where in its word it stands


_NEWS = ("PER", "ORG", "LOC")
_SIGHAN = {"NR": "PER", "NT": "ORG", "NS": "LOC", "nr": "PER", "nt": "ORG", "ns": "LOC"}

ENTITIES: Mapping[str, EntityTask] = {
    "conll2003": EntityTask(
        hub="lhoestq/conll2003",
        types=("PER", "ORG", "LOC", "MISC"),
        folders=("conll03", "CoNLL-2003"),
        files={"train": ("eng.train",), "validation": ("eng.testa",), "test": ("eng.testb",)},
    ),
    "msra_ner": EntityTask(
        hub="PassbyGrocer/msra-ner",
        types=_NEWS,
        folders=("msra", "MSRA", "zh_msra"),
        files={"train": ("msra_train_bio",), "test": ("msra_test_bio",)},
        spellings=_SIGHAN,
    ),
    "peoples_daily_ner": EntityTask(
        hub="xusenlin/people-daily-ner",
        types=_NEWS,
        folders=("peoples_daily", "people_daily"),
        files={"train": ("example.train",), "validation": ("example.dev",), "test": ("example.test",)},
        spellings=_SIGHAN,
    ),
    "cluener": EntityTask(
        hub="xusenlin/clue-ner",
        types=(
            "address", "book", "company", "game", "government", "movie", "name", "organization", "position", "scene",
        ),
        folders=("cluener_public", "CLUENER2020"),
    ),
    "weibo_ner": EntityTask(
        hub="hltcoe/weibo_ner",
        types=tuple(f"{kind}.{form}" for kind in ("GPE", "LOC", "ORG", "PER") for form in ("NAM", "NOM")),
        folders=("weibo", "WeiboNER"),
        files={
            split: (f"weiboNER_2nd_conll.{stem}", f"weiboNER.conll.{stem}")
            for split, stem in (("train", "train"), ("validation", "dev"), ("test", "test"))
        },
        numbered=True,
    ),
    "resume_ner": EntityTask(
        hub="PassbyGrocer/resume-ner",
        types=("CONT", "EDU", "LOC", "NAME", "ORG", "PRO", "RACE", "TITLE"),
        folders=("ResumeNER", "resume"),
    ),
}  # fmt: skip
