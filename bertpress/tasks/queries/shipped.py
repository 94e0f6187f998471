"""The questions: those that come with named data sets, and files of the user's own. No torch here.

Chinese questions for people, places and organisations are those of the TensorFlow project on which Theseus was tried.
The others are ours, after the annotation guidelines of their data sets: arXiv 1910.11476 finds that such descriptions
work best.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from bertpress.errors import RequestError, beside, nearest
from bertpress.tasks.data import is_invisible, without_halves

_CHINESE_NEWS = {
    "ORG": "找出公司，商业机构，社会组织等组织机构",
    "LOC": "找出国家，城市，山川等抽象或具体的地点",
    "PER": "找出真实和虚构的人名",
}

SHIPPED: Mapping[str, Mapping[str, str]] = {
    "msra_ner": _CHINESE_NEWS,
    "peoples_daily_ner": _CHINESE_NEWS,
    "conll2003": {
        "PER": "Find names of people: first, middle and last names of real or fictional persons, without their titles.",
        "ORG": "Find organisations: companies, agencies, parties, institutions, newspapers, bands and sports teams.",
        "LOC": "Find locations: countries, regions, cities, streets, rivers, mountains, buildings and other places.",
        "MISC": "Find other names: nationalities, religions, languages, events, wars, titles of works and products.",
    },
    "cluener": {
        "address": "找出省，市，区，街道，门牌号，路，村等地址",
        "book": "找出小说，杂志，教材，漫画等书籍的名称",
        "company": "找出公司，集团，银行等商业机构的名称，不含中央银行",
        "game": "找出电子游戏，网络游戏和桌面游戏的名称",
        "government": "找出中央和地方的行政机关，包括部委，政府和军队",
        "movie": "找出电影和纪录片的名称",
        "name": "找出真实和虚构的人名，包括小说人物和绰号",
        "organization": "找出球队，乐队，社团，党派等组织的名称",
        "position": "找出职务，职称和官职，如记者，总经理，艺术家",
        "scene": "找出公园，山川，古迹，博物馆等旅游景点的名称",
    },
    "weibo_ner": {
        "GPE.NAM": "找出国家，省，城市等有政府的地区的名称",
        "GPE.NOM": "找出泛指的有政府的地区，如国家，城市，县",
        "LOC.NAM": "找出街道，山川，建筑，景点等地点的名称",
        "LOC.NOM": "找出泛指的地点，如街，山，学校门口",
        "ORG.NAM": "找出公司，学校，媒体，球队等组织机构的名称",
        "ORG.NOM": "找出泛指的组织机构，如公司，医院，球队",
        "PER.NAM": "找出人的姓名，昵称和虚构人物的名字",
        "PER.NOM": "找出泛指的人，如老师，朋友，妈妈",
    },
    "resume_ner": {
        "CONT": "找出国籍，如中国国籍，无境外居留权",
        "EDU": "找出学历和学位，如本科，硕士，博士",
        "LOC": "找出籍贯和其他地点，如浙江绍兴人",
        "NAME": "找出真实的人名",
        "ORG": "找出曾经工作或学习的公司，学校，政府部门等组织机构",
        "PRO": "找出所学的专业，如会计学，机械工程",
        "RACE": "找出民族，如汉族，回族",
        "TITLE": "找出职务，职称和头衔，如董事长，高级工程师",
    },
}
"""Data set to entity type to question."""


def queries_for(
    name: str, types: Sequence[str], file: str | None = None, asked: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Entity type to question, in the order in which the types are asked for.

    Args:
        name: of the data set.
        types: those that its rows have; none where these name no entities, then the file says which there are.
        file: of the user's own, in whose order the types come.
        asked: what the data themselves ask, in place of what is shipped.

    Raises:
        RequestError: a file that cannot be read, that lacks a type, names one that a named data set does not have, or
            has no text for one; no file where none is shipped for these types.
    """
    if file is not None:
        return _checked(_read(Path(file)), types, file, closed=name in SHIPPED)
    shipped = {**SHIPPED.get(name, {}), **(asked or {})}
    missing = [kind for kind in types if kind not in shipped]
    if missing or not types:
        example = json.dumps(dict.fromkeys(types or ("PER",), "what to look for"), ensure_ascii=False)
        which = ", ".join(missing) or "those"
        raise RequestError(
            f"Expected a question for each type of entity, but none is shipped for {which} of {name}: write a file "
            f"queries.json such as {example}, and name it with --queries queries.json."
        )
    return {kind: shipped[kind] for kind in types}


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        found = "it is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error.strerror).lower()
        if isinstance(error, FileNotFoundError):
            found = f"there is none{beside(path)}"
        raise RequestError(f"Expected a YAML or JSON file of queries at {path}, but {found}: correct it.") from None
    try:
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise RequestError(f"Expected YAML or JSON in {path}, but it cannot be read ({reason}): correct it.") from None


def _checked(found: Any, types: Sequence[str], file: str, closed: bool) -> dict[str, str]:
    """The questions of a file.

    Args:
        closed: there are no other types, whereas own sentences may lack one.
    """
    if not isinstance(found, Mapping):
        raise RequestError(f"Expected lines such as 'PER: what to look for' in {file}, found {found!r}: correct it.")
    for kind, query in found.items():
        if closed and types and kind not in types:
            hint = nearest(str(kind), [*types])
            raise RequestError(f"Expected types of entities in {file}, found {kind!r}{hint}: correct it.")
        if not isinstance(query, str) or is_invisible(query) or without_halves(query)[1]:
            raise RequestError(f"Expected a question for {kind} in {file}, found {query!r}: write one.")
    if missing := [kind for kind in types if kind not in found]:
        hint = nearest(missing[0], [*map(str, found)])
        raise RequestError(
            f"Expected a question for each type in {file}, found none for {', '.join(missing)}{hint}: add it."
        )
    return {str(kind): str(query) for kind, query in found.items()}
