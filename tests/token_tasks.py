"""Tiny tasks made of the rows of `conftest` whose answers are in a text, one of each kind; and embedding.

Words that tell a row's label are its entities, those that stand side by side one. The answer to a question is the
first of them; every fourth question has none. Multi-hop: the row as a paragraph of two sentences after one that says
nothing; it supports the answer by the sentence that holds it, and every fourth answer is yes. Candidates: the labels.
Of options the right one is a word of the row, the others of the other label, so that a quarter of the rows makes as
many inputs as there are rows. Pairs of texts are more alike where their labels are the same.
"""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path
from typing import Any

from conftest import LABELS, ROWS, WORDS, make_tokenizer

from bertpress.config import build
from bertpress.recipe import TaskSpec
from bertpress.tasks import load_task
from bertpress.tasks.task import Task

HEADS: dict[str, Any] = {
    "classification": "sequence-classification",
    "masked-lm": "masked-lm",
    "tagging": "token-classification",
    "mrc": "token-classification",
    "qa": "question-answering",
    "multihop": "multi-hop",
    "candidates": "token-classification",
    "choice": "multiple-choice",
    "embedding": None,
}
"""Kind of task to its head."""
OUTPUTS = {
    "tagging": ("O", *(f"{letter}-{name}" for name in LABELS for letter in "BI")),
    "mrc": ("start", "end"),
    "qa": ("start", "end"),
    "multihop": ("start", "end", "span", "yes", "no", "other", "supporting"),
    "candidates": ("candidate",),
    "choice": ("score",),
}
FOLDERS = {
    "tagging": "sentences",
    "mrc": "sentences",
    "qa": "questions",
    "multihop": "hops",
    "candidates": "candidates",
    "choice": "choices",
    "embedding": "pairs",
}
"""Kind of task to the folder of its files."""
QUERIES = {"bad": "dull house", "good": "bright house"}


def label_fields(kind: str) -> dict[str, Any]:
    """The fields of a configuration that name the outputs of a head for a kind of task; none for others."""
    names = OUTPUTS.get(kind)
    if names is None:
        return {}
    return {"id2label": dict(enumerate(names)), "label2id": {name: number for number, name in enumerate(names)}}


def tagged(text: str, label: str) -> list[tuple[str, str]]:
    """The words of a text with their tags."""
    words = text.split()
    inside = [word in WORDS[LABELS.index(label)] for word in words]
    tags = []
    for is_inside, before in zip(inside, [False, *inside], strict=False):
        tags.append(f"{'I' if before else 'B'}-{label}" if is_inside else "O")
    return list(zip(words, tags, strict=True))


def question_of(number: int, text: str, label: str) -> dict[str, Any]:
    """A row of questions as the Hub has them."""
    answer = next(word for word in text.split() if word in WORDS[LABELS.index(label)])
    start = f" {text} ".index(f" {answer} ")
    answers = {"text": [answer], "answer_start": [start]} if number % 4 else {"text": [], "answer_start": []}
    return {"id": str(number), "title": "", "question": "the quite day", "context": text, "answers": answers}


def choice_of(number: int, text: str, label: str, options: int = 4) -> dict[str, Any]:
    """A row of questions with options; the right one stands at another place in each."""
    answer = next(word for word in text.split() if word in WORDS[LABELS.index(label)])
    found = [f"{word} book" for word in WORDS[1 - LABELS.index(label)][: options - 1]]
    found.insert(number % options, f"{answer} book")
    return {"id": str(number), "context": text, "question": "a quite", "options": found, "answer": number % options}


def pairs_of(rows: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Each row with another one, and a score from 0 to 5."""
    pairs = []
    for number, (text, label) in enumerate(rows):
        other, its_label = rows[(7 * number + 3 + number // 2 % 2) % len(rows)]
        pairs.append({"first": text, "second": other, "label": 4.0 * (label == its_label) + number % 2})
    return pairs


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def hops_of(number: int, text: str, label: str) -> dict[str, Any]:
    """A row of questions on two paragraphs as HotpotQA has them."""
    words = text.split()
    answer = next(word for word in words if word in WORDS[LABELS.index(label)])
    half = len(words) // 2
    sentences = [" ".join(words[:half]), " ".join(words[half:])]
    fact = ["the house", 0 if answer in words[:half] else 1]
    return {
        "_id": str(number),
        "question": "the quite day",
        "answer": answer if number % 4 else "yes",
        "context": [["the road", ["it was", "a book"]], ["the house", sentences]],
        "supporting_facts": [fact],
    }


def candidates_of(number: int, text: str, label: str) -> dict[str, Any]:
    """A row of candidates, the names of the labels, as WikiHop has them."""
    words = text.split()
    half = len(words) // 2
    query, supports = "which day", [" ".join(words[:half]), " ".join(words[half:])]
    return {"id": str(number), "query": query, "candidates": list(LABELS), "supports": supports, "answer": label}


def write_token_tasks(folder: Path) -> dict[str, dict[str, Any]]:
    """The files of these tasks in a folder; kind to how a recipe names the task."""
    for name in sorted(set(FOLDERS.values())):
        (folder / name).mkdir()
    for split, rows in ROWS.items():
        lines = [[f"{word} {tag}\n" for word, tag in tagged(text, label)] for text, label in rows]
        sentences = "".join(itertools.chain.from_iterable([*each, "\n"] for each in lines))
        (folder / "sentences" / f"{split}.conll").write_text(sentences, encoding="utf-8")
        questions = [question_of(number, *row) for number, row in enumerate(rows)]
        write_lines(folder / "questions" / f"{split}.jsonl", questions)
        choices = [choice_of(number, *row) for number, row in enumerate(rows[: len(rows) // 4])]
        write_lines(folder / "choices" / f"{split}.jsonl", choices)
        write_lines(folder / "pairs" / f"{split}.jsonl", pairs_of(rows))
        hops = [hops_of(number, *row) for number, row in enumerate(rows)]
        (folder / "hops" / f"{split}.json").write_text(json.dumps(hops), encoding="utf-8")
        chosen = [candidates_of(number, *row) for number, row in enumerate(rows)]
        (folder / "candidates" / f"{split}.json").write_text(json.dumps(chosen), encoding="utf-8")
    (folder / "queries.json").write_text(json.dumps(QUERIES), encoding="utf-8")
    pairs = {"columns": ["first", "second"], "embedding": {"loss": "cosine"}}  # the others look at whole batches
    sentences_task = {"name": "files", "data_dir": str(folder / "sentences")}
    return {
        "tagging": {**sentences_task, "kind": "tagging"},
        "mrc": {**sentences_task, "kind": "mrc", "mrc": {"queries": str(folder / "queries.json")}},
        "qa": {"name": "files", "data_dir": str(folder / "questions"), "kind": "qa"},
        "multihop": {"name": "files", "data_dir": str(folder / "hops"), "kind": "multihop"},
        "candidates": {
            "name": "files",
            "data_dir": str(folder / "candidates"),
            "kind": "candidates",
            "candidates": {"segments": 2},
        },
        "choice": {"name": "files", "data_dir": str(folder / "choices"), "kind": "choice"},
        "embedding": {"name": "files", "data_dir": str(folder / "pairs"), "kind": "embedding", **pairs},
    }


@functools.cache
def _loaded(values: str, family: str) -> Task:
    return load_task(build(TaskSpec, json.loads(values)), make_tokenizer(family), 32)


def token_task(values: dict[str, Any], family: str = "bert") -> Task:
    """A task that `write_token_tasks` named, for a family's tokenizer."""
    return _loaded(json.dumps(values, sort_keys=True), family)
