"""Questions with options in every form, all of the words of the tiny tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PASSAGE = {
    "id": "high7.txt",
    "article": "the house was very warm and the road was grey",
    "questions": ["the house is _ .", "was the road"],
    "options": [["warm", "dull", "green", "slow"], ["grey", "full", "empty", "clean"]],
    "answers": ["A", "C"],
}
OTHER = {
    **PASSAGE,
    "id": "middle3.txt",
    "questions": ["the day"],
    "options": [["quick", "slow", "a"]],
    "answers": ["B"],
}


def write_race(folder: Path) -> Path:
    """The folders of the original, two passages a split."""
    for split in ("train", "dev", "test"):
        for level, passage in (("high", PASSAGE), ("middle", OTHER)):
            place = folder / split / level
            place.mkdir(parents=True)
            (place / f"{str(passage['id']).removeprefix(level)}").write_text(json.dumps(passage), encoding="utf-8")
    return folder


def row(**fields: Any) -> dict[str, Any]:
    """A row of a table."""
    options = ["warm", "dull", "green"]
    return {"context": "the house was warm", "question": "the house is", "options": options, "answer": 0, **fields}


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    """Rows as lines of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


RAGGED = (
    row(options=["warm", "dull"], answer=1),
    row(context="a very clean river", options=["green", "a", "slow", "clean", "the"], answer="clean"),
    row(context="the book", question="the _ was", options=["book", "tree", "day"], answer="A"),
)
"""Three questions with 2, 5 and 3 options, whose answers are named in three ways."""
