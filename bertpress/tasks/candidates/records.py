"""Queries with candidates and documents as records: checked, kept on disk; and the splits of a data set.

WikiHop's files are lists of objects with `id`, `query`, `candidates`, `supports` and `answer`; tables have these as
columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError, nearest
from bertpress.tasks.data import TextData, is_invisible
from bertpress.tasks.json_records import PublishedSet, Row, sources_of
from bertpress.tasks.json_values import identity_at, text_at, wrong_value
from bertpress.tasks.recording import Tally, mended, name_of, remarks_on, stored_records

if TYPE_CHECKING:
    from datasets import Dataset

FORMAT = 1
"""Goes up when the same file would give other records."""
TYPES = {"id": "string", "query": "string", "candidates": "list<string>", "supports": "list<string>"}
TRUTH = {"answer": "string"}
METRICS = ("accuracy",)
NAMED: Mapping[str, PublishedSet] = {
    "wikihop": PublishedSet(
        files={"validation": ("dev_sort",)}, folders=("WikiHop", "qangaroo_v1.1/wikihop", "qangaroo/wikihop")
    ),
}
REMARKS = {
    "unnamed": "{} records have no id and are named by their number",
    "silent": "{} queries are empty",
    "empty": "{} records have no documents",
    "single": "{} records have a single candidate, which is always right",
    "blank": "{} candidates are empty",
    "twins": "{} records have the same candidate twice",
    "halves": "{} texts hold halves of surrogate pairs, which are replaced",
}


def load_candidates(name: str, data_dir: str | Path | None = None) -> TextData:
    """The records of a data set of `NAMED` from `data_dir`, else from the root in BERTPRESS_DATA.

    Args:
        name: a key of `NAMED`, or `files` for the user's own.
        data_dir: one file with training records, or a folder with a file per split, or one that holds the data set's.

    Raises:
        RequestError: no such data, or data that cannot be used; names file and place.
    """
    sources, files = sources_of(name, NAMED, data_dir)
    splits: dict[str, Dataset] = {}
    notes: list[str] = []
    for split, source in sources.items():
        first, place = source.first()
        labelled = bool(first.get("answer"))
        if not labelled and split != "test":
            raise RequestError(f"Expected an answer in every record, but {place} has none: add it.")
        types = {**TYPES, **(TRUTH if labelled else {})}
        key = (f"candidates {FORMAT}", str(labelled), *source.key)
        splits[split], tally = stored_records(key, types, source.rows, partial(records_of, labelled=labelled))
        notes += remarks_on(split, tally, REMARKS)
    return TextData(name, splits, ("query",), None, METRICS, METRICS[0], notes=tuple(notes), sources=files)


def records_of(rows: Iterable[Row], tally: Tally, labelled: bool) -> Iterator[dict[str, Any]]:
    """The record of each row; what had to be mended is counted in `tally`.

    Args:
        labelled: answers are known.

    Raises:
        RequestError: something is missing, or is something else; names the record.
    """
    seen: set[str] = set()
    for number, (row, place) in enumerate(rows, start=1):
        given = identity_at(row, ("id",), place)
        place = f"{place} ({given})" if given else place
        name = name_of(given, number, place, seen)
        candidates, supports = (_texts(row, column, place, tally) for column in ("candidates", "supports"))
        if not candidates:
            raise RequestError(f"Expected candidates to choose from, but {place} has none: add them.")
        query = text_at(row, "query", place)
        tally["unnamed"] += given is None
        tally["silent"] += is_invisible(query)
        tally["empty"] += not supports
        tally["single"] += len(candidates) == 1
        tally["blank"] += sum(map(is_invisible, candidates))
        tally["twins"] += len(set(candidates)) < len(candidates)
        record: dict[str, Any] = {"id": name, "query": mended(query, tally)}
        record |= {"candidates": candidates, "supports": supports}
        if labelled:
            record["answer"] = _answer(row, candidates, place, tally)
        yield record


def _answer(row: Mapping[str, Any], candidates: list[str], place: str, tally: Tally) -> str:
    answer = mended(text_at(row, "answer", place), tally)
    if answer not in candidates:
        known = nearest(answer, candidates)
        raise RequestError(f"Expected the answer among the candidates, but {place} has '{answer}'{known}: correct it.")
    return answer


def _texts(row: Mapping[str, Any], column: str, place: str, tally: Tally) -> list[str]:
    values = row.get(column)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise wrong_value(f"a list of texts as '{column}'", values, place)
    return [mended(value, tally) for value in values]
