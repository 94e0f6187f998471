"""Questions on several paragraphs as records: checked, kept on disk; and the splits of a data set.

A fact that points nowhere is refused in the user's own files. The published sets have a few, and where paragraphs were
retrieved some facts are in others; there they are counted, told, and count as missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError, nearest
from bertpress.tasks.data import TextData, is_invisible, without_halves
from bertpress.tasks.hops.formats import Hops, hops_of
from bertpress.tasks.hops.paragraphs import kind_of_answer, pieces_of, places_of
from bertpress.tasks.json_records import PublishedSet, Row, Source, sources_of
from bertpress.tasks.recording import Tally, mended, name_of, remarks_on, stored_records

if TYPE_CHECKING:
    from datasets import Dataset

FORMAT = 2
"""Goes up when the same file would give other records."""
TEXTS = {
    "id": "string",
    "question": "string",
    "titles": "list<string>",
    "sentences": "list<list<string>>",
    "type": "string",
    "level": "string",
}
TRUTH = {
    "answer": "string",
    "spellings": "list<string>",
    "fact_titles": "list<string>",
    "fact_sentences": "list<int32>",
}
"""The answer; how the paragraphs spell it; title and number of each sentence that it rests on."""
METRICS: tuple[str, ...] = (
    "joint_f1",
    "joint_exact_match",
    "answer_f1",
    "exact_match",
    "facts_f1",
    "facts_exact_match",
    "answer_precision",
    "answer_recall",
    "facts_precision",
    "facts_recall",
    "joint_precision",
    "joint_recall",
)
NAMED: Mapping[str, PublishedSet] = {
    "hotpotqa": PublishedSet(
        files={
            "train": ("hotpot_train_v1.1", "hotpot_train_graph"),
            "validation": ("hotpot_dev_distractor_v1", "rerank_dev_tok"),
        },
        folders=("hotpot_qa", "hotpot"),
        hub=("hotpotqa/hotpot_qa", "distractor"),
    ),
    "2wikimultihopqa": PublishedSet(files={}, folders=("2WikiMultihopQA", "2wikimultihop", "data_ids_april7")),
}
REMARKS = {
    "unnamed": "{} questions have no id and are named by their number",
    "silent": "{} questions are empty",
    "halves": "{} texts hold halves of surrogate pairs, which are replaced",
    "dangling": "{} supporting facts point at no sentence and count as missed",
    "marked_only": "{} questions have marks instead of supporting_facts, which say nothing of paragraphs that were not "
    "retrieved; scores of facts and joint scores are upper bounds",
    "repeated": "{} paragraphs have the title of another; facts mean the first",
    "missing": "{} answers are in none of their paragraphs; no place of theirs is learned",
}


def load_hops(name: str, data_dir: str | Path | None = None) -> TextData:
    """The records of a data set of `NAMED` from `data_dir`, else from the root in BERTPRESS_DATA, else from the Hub.

    Args:
        name: a key of `NAMED`, or `files` for the user's own.
        data_dir: one file with training questions, or a folder with a file per split, or one that holds the data set's.

    Raises:
        RequestError: no such data, or data that cannot be used; names file and place.
    """
    sources, files = sources_of(name, NAMED, data_dir)
    splits: dict[str, Dataset] = {}
    notes: list[str] = []
    for split, source in sources.items():
        labelled = _is_labelled(source, split)
        records = partial(records_of, split=split, labelled=labelled, strict=name == "files")
        key = (f"hops {FORMAT}", str(split == "train"), str(split == "test"), str(name == "files"), *source.key)
        types = {**TEXTS, **(TRUTH if labelled else {})}
        splits[split], tally = stored_records(key, types, source.rows, records)
        notes += remarks_on(split, tally, REMARKS)
    return TextData(
        name=name,
        splits=splits,
        columns=("question",),
        labels=None,
        metrics=METRICS,
        primary=METRICS[0],
        notes=tuple(notes),
        sources=files,
    )


def _is_labelled(source: Source, split: str) -> bool:
    """Whether the first question has an answer; those of a test split may be blank.

    Raises:
        RequestError: training questions without.
    """
    first = hops_of(*source.first())
    if first.answer is None and split == "train":
        raise RequestError(f"Expected answers to the training questions, but {first.place} has none: add them.")
    return first.answer is not None and (split != "test" or bool(first.answer.strip()))


def records_of(rows: Iterable[Row], tally: Tally, split: str, labelled: bool, strict: bool) -> Iterator[dict[str, Any]]:
    """The record of each question; what had to be mended is counted in `tally`.

    Args:
        rows: as files have them.
        labelled: answers and facts are known.
        strict: refuse facts that point nowhere.

    Raises:
        RequestError: an id that comes twice, answers or facts that only some questions have.
    """
    seen: set[str] = set()
    for number, question in enumerate((hops_of(*row) for row in rows), start=1):
        name = name_of(question.id, number, question.place, seen)
        tally["unnamed"] += question.id is None
        tally["silent"] += is_invisible(question.question)
        titles = [mended(paragraph.title, tally) for paragraph in question.paragraphs]
        tally["repeated"] += len(titles) - len(set(titles))
        sentences = [[mended(text, tally) for text in paragraph.sentences] for paragraph in question.paragraphs]
        record: dict[str, Any] = {"id": name, "question": mended(question.question, tally)}
        record |= {"titles": titles, "sentences": sentences, "type": question.type, "level": question.level}
        if labelled:
            record |= _truth(question, titles, sentences, tally, strict and not question.retrieved)
            tally["marked_only"] += question.marked_only and split != "train"
            if split == "train" and not _stands(record):
                tally["missing"] += 1
        elif split != "test" and question.answer is not None:
            raise RequestError(
                f"Expected answers to all questions or to none, but {question.place} has one: remove it."
            )
        yield record


def _truth(question: Hops, titles: list[str], sentences: list[list[str]], tally: Tally, strict: bool) -> dict[str, Any]:
    """The columns of `TRUTH`."""
    if question.answer is None or question.facts is None:
        lacking = "answer" if question.answer is None else "supporting_facts"
        raise RequestError(f"Expected '{lacking}' in every record, but {question.place} has none: add it.")
    counts: dict[str, int] = {}
    for title, own in zip(titles, sentences, strict=True):
        counts.setdefault(title, len(own))
    facts = list(dict.fromkeys((without_halves(title)[0], number) for title, number in question.facts))
    for title, number in facts:
        if 0 <= number < counts.get(title, 0):
            continue
        if strict:
            raise _points_nowhere(question, title, number, counts)
        tally["dangling"] += 1
    answer = without_halves(question.answer)[0]
    return {
        "answer": answer,
        "spellings": [without_halves(text)[0] for text in question.spellings] or [answer],
        "fact_titles": [title for title, _ in facts],
        "fact_sentences": [number for _, number in facts],
    }


def _points_nowhere(question: Hops, title: str, number: int, counts: Mapping[str, int]) -> RequestError:
    if title not in counts:
        known = nearest(title, list(counts))
        return RequestError(
            f"Expected facts in the paragraphs, but {question.place} names '{title}'{known}: correct it."
        )
    return RequestError(
        f"Expected facts among the sentences, but {question.place} names sentence {number} of '{title}', which has "
        f"{counts[title]}, counted from 0: correct it."
    )


def _stands(record: Mapping[str, Any]) -> bool:
    """The answer is yes or no, or is in some paragraph."""
    if kind_of_answer(record["answer"]):
        return True
    texts = ("".join(pieces_of(sentences)) for sentences in record["sentences"])
    return any(places_of(text, record["spellings"]) for text in texts)
