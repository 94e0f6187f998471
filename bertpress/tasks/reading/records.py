"""Questions as records: checked, answers put where they stand, kept on disk; and the splits of a data set.

What is wrong with an answer is mended where that can be done, and told in notes: one that stands elsewhere than its
offset says is taken from the nearest place, one that is not in the text is not learned, and a training question of
which that holds for all answers is left out, as it would teach that the text does not say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError
from bertpress.files import read_json, reading
from bertpress.tasks import named
from bertpress.tasks.data import TextData, is_invisible, without_halves
from bertpress.tasks.json_records import Source, find_files, in_files, no_files, on_hub
from bertpress.tasks.reading.formats import Names, Question, of_row, read_questions
from bertpress.tasks.reading.named import NAMED, check_name, settings_for
from bertpress.tasks.reading.places import place_of
from bertpress.tasks.reading.settings import ReadingSettings
from bertpress.tasks.recording import Tally, mended, name_of, remarks_on, stored_records

if TYPE_CHECKING:
    from datasets import Dataset

FORMAT = 3
"""Goes up when the same file would give other records."""
TEXTS = {"id": "string", "title": "string", "question": "string", "context": "string"}
TRUTH = {"answer_texts": "list<string>", "answer_starts": "list<int32>", "accepted": "list<string>"}
METRICS: tuple[str, ...] = ("answer_f1", "exact_match")
FOLDS = "validation_folds.json"
REMARKS = {
    "headless": "its lines do not begin with MRQA's header and are read all the same",
    "unnamed": "{} questions have no id and are named by their number",
    "contradictory": "{} questions have no answer though their is_impossible is false; they count as having none",
    "silent": "{} questions are empty",
    "empty": "{} questions have an empty text, which can only be left without an answer",
    "halves": "{} texts hold halves of surrogate pairs, which are replaced",
    "moved": "{} answers are not at their offset and are taken from the nearest place",
    "trimmed": "{} answers have white space around them, which is left out",
    "missing": "{} answers are not in their text and are not learned",
    "unseen": "{} answers have control characters and marks only, which may be no token, and are not learned",
    "left_out": "{} questions are left out, as none of their answers can be pointed at in their text",
}


def records_of(questions: Iterable[Question], tally: Tally, split: str) -> Iterator[dict[str, Any]]:
    """The record of each question; what had to be mended is counted in `tally`.

    Args:
        split: training rows are left out where their answer cannot be pointed at.

    Raises:
        RequestError: an id that comes twice, or answers that only some questions have.
    """
    seen: set[str] = set()
    labelled: bool | None = None
    for number, question in enumerate(questions, start=1):
        if labelled not in (None, question.answers is not None):
            came = "none" if labelled else "some"
            expected = "Expected answers to all questions or to none"
            raise RequestError(f"{expected}, but {question.place} has {came}: add or remove them.")
        labelled = question.answers is not None
        name = name_of(question.id, number, question.place, seen)
        tally["headless"] += question.headless
        tally["unnamed"] += question.id is None
        tally["contradictory"] += question.contradictory
        tally["silent"] += is_invisible(question.question)
        tally["empty"] += is_invisible(question.context)
        texts = {"title": question.title, "question": question.question, "context": question.context}
        record: dict[str, Any] = {"id": name, **{column: mended(text, tally) for column, text in texts.items()}}
        if question.answers is not None:
            record |= _truth(question, record["context"], tally)
            if split == "train" and question.answers and not record["answer_starts"]:
                tally["left_out"] += 1
                continue
        yield record


def _truth(question: Question, context: str, tally: Tally) -> dict[str, Any]:
    """The columns of `TRUTH`."""
    found: dict[int, list[str]] = {}
    for text, start in question.answers or ():
        place = place_of(context, without_halves(text)[0], start)
        if place is None or is_invisible(place.text):
            tally["missing" if place is None else "unseen"] += 1
            continue
        tally["moved"] += place.moved
        tally["trimmed"] += place.trimmed
        if place.text not in found.setdefault(place.start, []):
            found[place.start].append(place.text)
    spans = [(text, start) for start, texts in found.items() for text in texts]
    return {
        "answer_texts": [text for text, _ in spans],
        "answer_starts": [start for _, start in spans],
        "accepted": [without_halves(text)[0] for text in question.accepted],
    }


def load_reading(
    name: str,
    data_dir: str | Path | None = None,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    settings: ReadingSettings | None = None,
) -> TextData:
    """The records of a data set of `NAMED` from `data_dir`, else from the root in BERTPRESS_DATA, else from the Hub.

    Args:
        name: a key of `NAMED`, or `files` for the user's own.
        data_dir: one file with training questions, or a folder with a file per split, or one that holds the data set's.
        columns: of a table, those of questions and texts; by default question and context.
        label: of a table, the column of the answers; by default answers.
        settings: only `folds` and `unanswerable` matter here.

    Raises:
        RequestError: no such data, or data that cannot be used; names file and place.
    """
    check_name(name)
    settings = settings_for(name, settings)
    names = _names(columns, label)
    if name == "files" and not data_dir:
        raise RequestError("Expected a folder or a file with questions, got neither: give --data-dir.")
    own = NAMED.get(name)
    paths = named.locate((name, *(own.folders if own else ())), data_dir, lambda place: find_files(place, own))
    if data_dir and not paths:
        raise no_files(Path(data_dir), own)
    splits: dict[str, Dataset] = {}
    notes: list[str] = []
    for split, source in _sources(name, paths, names).items():
        splits[split], remarks = _stored(source, split)
        notes += remarks
    if label is not None and not any("accepted" in split.column_names for split in splits.values()):
        raise RequestError(f"Expected a column '{label}' with answers in {', '.join(map(str, paths.values()))}.")
    sources = tuple(paths.values())
    if settings.folds:
        splits, file, note = _folded(splits, paths)
        notes.append(note)
        sources = (*sources, file)
    return TextData(
        name=name,
        splits=splits,
        columns=("question", "context"),
        labels=None,
        metrics=METRICS,
        primary=METRICS[0],
        notes=tuple(notes),
        sources=sources,
    )


def _names(columns: Sequence[str] | None, label: str | None) -> Names:
    if columns is not None and len(set(columns)) != 2:
        came = ", ".join(columns) or "none"
        raise RequestError(f"Expected the columns of questions and of texts, got {came}: name these two in that order.")
    question, context = columns or (Names.question, Names.context)
    return Names(question, context, label or Names.answers)


def _sources(name: str, paths: Mapping[str, Path], names: Names) -> dict[str, Source]:
    if paths:
        columns = json.dumps([names.question, names.context, names.answers])
        return in_files(paths, partial(read_questions, names=names), columns)
    if (hub := NAMED[name].hub) is None:
        files = " and ".join(stems[0] for stems in NAMED[name].files.values())
        raise RequestError(f"Expected the files of {name} as MRQA publishes them ({files}.jsonl.gz): give --data-dir.")
    return on_hub(name, *hub, lambda row, place: of_row(row, names, place))


def _stored(source: Source, split: str) -> tuple[Dataset, list[str]]:
    """The records of a split, and remarks on them."""
    first: Question = source.first("questions")
    if first.answers is None and split == "train":
        raise RequestError(
            f"Expected answers to the training questions, but {first.place} has none: add them, or name their "
            "column by --label."
        )
    types = {**TEXTS, **(TRUTH if first.answers is not None else {})}
    key = (f"reading {FORMAT}", *source.key, str(split == "train"))
    records, tally = stored_records(key, types, source.rows, partial(records_of, split=split))
    if not len(records):
        raise RequestError(f"Expected answers that stand in their text in {source.where}, but none does: correct them.")
    return records, remarks_on(split, tally, REMARKS)


def _folded(splits: dict[str, Dataset], paths: Any) -> tuple[dict[str, Dataset], Path, str]:
    """The splits with the validation articles of the training fold moved to the training rows; the file; a remark."""
    from datasets import concatenate_datasets

    if not {"train", "validation"} <= set(paths):
        raise RequestError(f"Folds need the files of train and validation, got {', '.join(paths) or 'none'}.")
    file = paths["validation"].with_name(FOLDS)
    if not file.is_file():
        raise RequestError(f"Expected {FOLDS} with train_fold and eval_fold beside {paths['validation']}: add it.")
    with reading(file, "write it as {train_fold: [titles], eval_fold: [titles]}"):
        content = read_json(file)
        folds = [set(map(str, content[fold])) for fold in ("train_fold", "eval_fold")]
    validation = splits["validation"]
    titles = validation["title"][:]
    if both := folds[0] & folds[1]:
        raise RequestError(f"Expected each article in one fold, but {file} has {min(both)} in both: remove one.")
    if unknown := (folds[0] | folds[1]) - set(titles):
        raise RequestError(f"Expected titles of the validation split in {file}, but {min(unknown)} is none: remove it.")
    if "accepted" not in validation.column_names:
        raise RequestError(f"Folds need answers to the validation questions, but {paths['validation']} has none.")
    starts, accepted = validation["answer_starts"][:], validation["accepted"][:]
    pointed = [bool(first) or not texts for first, texts in zip(starts, accepted, strict=True)]
    added = [row for row, title in enumerate(titles) if title in folds[0] and pointed[row]]
    kept = [row for row, title in enumerate(titles) if title in folds[1]]
    note = (
        f"folds: trained on {len(splits['train'])} questions of train and {len(added)} of validation "
        f"({len(folds[0])} articles), evaluated on {len(kept)} of validation ({len(folds[1])} articles); "
        "such scores cannot be compared with published ones"
    )
    train = concatenate_datasets([splits["train"], validation.select(added)])
    return {**splits, "train": train, "validation": validation.select(kept)}, file, note
