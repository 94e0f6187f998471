"""Sentences of a few words with entities, as the readers of entities give them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from conftest import make_config, make_tokenizer, randomise
from datasets import Dataset

from bertpress.tasks.data import TextData
from bertpress.tasks.queries.settings import QuerySettings
from bertpress.tasks.queries.task import EntityReading
from bertpress.tasks.tagging.sentences import dataset_of, record
from bertpress.tasks.tagging.words import words_in

TYPES = ("THING", "PLACE", "AREA")
"""in no alphabetical order"""
QUERIES = {"THING": "the book", "PLACE": "a house is", "AREA": "river"}
Made = tuple[str, list[tuple[int, int, str]]]

SENTENCES: list[Made] = [
    ("the zed was green", [(1, 2, "THING")]),
    ("house tree road", [(0, 1, "PLACE"), (1, 3, "PLACE"), (1, 2, "THING")]),
    ("very quite", []),
    ("the old river abc house", [(0, 3, "AREA"), (4, 5, "PLACE")]),
]


def record_of(text: str, spans: Sequence[tuple[int, int, str]] | None, number: int = 0) -> dict[str, Any]:
    """A sentence whose words are separated by single spaces; entities of None are not known."""
    return record(str(number), text, words_in(text, "word"), spans)


def split_of(sentences: Sequence[tuple[str, Sequence[tuple[int, int, str]] | None]]) -> Dataset:
    """A split of sentences; entities are known of all of them or of none."""
    records = [record_of(text, spans, number) for number, (text, spans) in enumerate(sentences)]
    return dataset_of(records, labelled=sentences[0][1] is not None)


def task_of(
    train: Sequence[Made] = SENTENCES,
    validation: Sequence[Made] = SENTENCES,
    max_length: int = 32,
    family: str = "bert",
    **settings: Any,
) -> EntityReading:
    splits = {"train": split_of(train), "validation": split_of(validation)}
    data = TextData("made", splits, ("text",), TYPES, (), "span_f1")
    return EntityReading(data, make_tokenizer(family), max_length, QuerySettings(**settings), QUERIES)


def model_of(task: EntityReading, family: str = "bert", **fields: Any) -> Any:
    """A tiny random model with a head for the task, whose outputs are neither all positive nor all negative."""
    from transformers import AutoModelForTokenClassification

    torch.manual_seed(0)
    model = AutoModelForTokenClassification.from_config(task.configure(make_config(family, **fields)))
    randomise(model)
    return model.eval()


def random_sentences(count: int, seed: int, longest: int = 14) -> list[Made]:
    """Sentences of words of one to four pieces, with entities of which none of a type overlaps another of it."""
    draw = random.Random(seed)
    made: list[Made] = []
    for _ in range(count):
        words = [
            "".join(draw.choices("bcdfgkmn", k=draw.choice((1, 1, 2, 4)))) for _ in range(draw.randint(1, longest))
        ]
        spans = []
        for kind in TYPES:
            place = draw.randint(0, 4)
            while place < len(words):
                stop = min(len(words), place + draw.choice((1, 1, 2, 3)))
                spans.append((place, stop, kind))
                place = stop + draw.randint(0, 4)
        made.append((" ".join(words), spans))
    return made


def whole_batch(task: EntityReading, split: str) -> dict[str, torch.Tensor]:
    rows = task.encoded(split)
    return task.collate([rows[number] for number in range(len(rows))])


def condensed_truth(task: EntityReading, split: str) -> np.ndarray:
    """What a model that marks exactly the true starts and ends is condensed to."""
    batch = whole_batch(task, split)
    logits = torch.where(batch["labels"] == 1, 20.0, -20.0)
    # Nothing may come from places where nothing is asked, whatever stands there.
    logits = torch.where(batch["labels"] == -100, 20.0, logits)
    return task.condense(SimpleNamespace(logits=logits), batch).numpy()
