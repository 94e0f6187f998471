"""Questions as records: checked, answers put where they stand, kept on disk; and the splits of a data set.

What is wrong with an answer is mended where that can be done, and told in notes: one that stands elsewhere than its
offset says is taken from the nearest place, one that is not in the text is not learned, and a training question of
which that holds for all answers is left out, as it would teach that the text does not say.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError
from bertpress.files import content_digest, reading
from bertpress.tasks import named
from bertpress.tasks.data import TextData, is_invisible, without_halves
from bertpress.tasks.reading.formats import Names, Question, of_row, read_questions
from bertpress.tasks.reading.named import NAMED, check_name, find_files, no_files, settings_for
from bertpress.tasks.reading.places import place_of
from bertpress.tasks.reading.settings import ReadingSettings
from bertpress.tasks.stored import stored_rows
from bertpress.tasks.tables import SPLIT_STEMS

if TYPE_CHECKING:
    from datasets import Dataset

FORMAT = 2
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


def records_of(questions: Iterable[Question], split: str, tally: Counter[str]) -> Iterator[dict[str, Any]]:
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
        name = without_halves(question.id or f"row-{number}")[0]
        if name in seen:
            raise RequestError(f"Expected different ids, but {question.place} has '{name}' again: rename it.")
        seen.add(name)
        tally["headless"] += question.headless
        tally["unnamed"] += question.id is None
        tally["contradictory"] += question.contradictory
        tally["silent"] += is_invisible(question.question)
        tally["empty"] += is_invisible(question.context)
        texts = {"title": question.title, "question": question.question, "context": question.context}
        mended = {column: without_halves(text) for column, text in texts.items()}
        tally["halves"] += sum(halved for _, halved in mended.values())
        record: dict[str, Any] = {"id": name, **{column: text for column, (text, _) in mended.items()}}
        if question.answers is not None:
            record |= _truth(question, record["context"], tally)
            if split == "train" and question.answers and not record["answer_starts"]:
                tally["left_out"] += 1
                continue
        yield record


def _truth(question: Question, context: str, tally: Counter[str]) -> dict[str, Any]:
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


def stored_records(
    questions: Callable[[], Iterable[Question]], split: str, where: str, key: Sequence[str]
) -> tuple[Dataset, list[str]]:
    """The records of a split, which memory does not hold, and remarks on them.

    Args:
        questions: gives them from the first.
        where: names them in messages.
        key: what they depend on.

    Raises:
        RequestError: there are none, or training questions without answers.
    """
    first = next(iter(questions()), None)
    if first is None:
        raise RequestError(f"Expected questions in {where}, but it holds none: add some or remove the file.")
    if first.answers is None and split == "train":
        raise RequestError(f"Expected answers to the training questions, but {first.place} has none: add them.")
    types = {**TEXTS, **(TRUTH if first.answers is not None else {})}
    parts = (f"reading {FORMAT}", *key, str(split == "train"))
    tally: Counter[str] = Counter()

    def rows() -> Iterator[dict[str, Any]]:
        tally.clear()
        return records_of(questions(), split, tally)

    def counts() -> Iterator[dict[str, Any]]:
        if not tally:  # the records were made by a process that did not come so far
            for _ in rows():
                pass
        yield {"names": list(tally), "counts": list(tally.values())}

    records = stored_rows("records", parts, types, rows)
    (found,) = stored_rows("records", (*parts, "counts"), {"names": "list<string>", "counts": "list<int64>"}, counts)
    if not len(records):
        raise RequestError(f"Expected answers that stand in their text in {where}, but none does: correct them.")
    numbers = dict(zip(found["names"], found["counts"], strict=True))
    return records, [f"{split}: {text.format(numbers[name])}" for name, text in REMARKS.items() if numbers.get(name)]


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
    folders = NAMED[name].folders if name in NAMED else ()
    paths = named.locate((name, *folders), data_dir, lambda place: find_files(place, name))
    if data_dir and not paths:
        raise no_files(Path(data_dir), name)
    splits: dict[str, Dataset] = {}
    notes: list[str] = []
    for split, (questions, where, key) in (_in_files(paths, names) if paths else _on_hub(name, names)).items():
        splits[split], remarks = stored_records(questions, split, where, key)
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


Source = tuple[Callable[[], Iterable[Question]], str, tuple[str, ...]]
"""What gives the questions of a split, its name for messages, and what they depend on."""


def _names(columns: Sequence[str] | None, label: str | None) -> Names:
    if columns is not None and len(set(columns)) != 2:
        came = ", ".join(columns) or "none"
        raise RequestError(f"Expected the columns of questions and of texts, got {came}: name these two in that order.")
    question, context = columns or (Names.question, Names.context)
    return Names(question, context, label or Names.answers)


def _in_files(paths: Any, names: Names) -> dict[str, Source]:
    def source(path: Path) -> Source:
        key = (
            content_digest(path),
            "".join(path.suffixes[-2:]),
            json.dumps([names.question, names.context, names.answers]),
        )
        return (lambda: read_questions(path, names)), str(path), key

    return {split: source(path) for split, path in paths.items()}


def _on_hub(name: str, names: Names) -> dict[str, Source]:
    repository = NAMED[name].hub
    if repository is None:
        files = " and ".join(stems[0] for stems in NAMED[name].files.values())
        raise RequestError(f"Expected the files of {name} as MRQA publishes them ({files}.jsonl.gz): give --data-dir.")
    hub = named.from_hub(name, repository, None)

    def source(split: str) -> Source:
        where = f"{name} {split}"

        def questions() -> Iterator[Question]:
            for number, row in enumerate(hub[split], start=1):
                yield of_row(row, names, f"row {number} of {where}")

        return questions, where, (repository, split, str(hub[split]._fingerprint))

    return {split: source(split) for split in SPLIT_STEMS if split in hub}


def _folded(splits: dict[str, Dataset], paths: Any) -> tuple[dict[str, Dataset], Path, str]:
    """The splits with the validation articles of the training fold moved to the training rows; the file; a remark."""
    from datasets import concatenate_datasets

    if not {"train", "validation"} <= set(paths):
        raise RequestError(f"Folds need the files of train and validation, got {', '.join(paths) or 'none'}.")
    file = paths["validation"].with_name(FOLDS)
    if not file.is_file():
        raise RequestError(f"Expected {FOLDS} with train_fold and eval_fold beside {paths['validation']}: add it.")
    with reading(file, "write it as {train_fold: [titles], eval_fold: [titles]}"):
        content = json.loads(file.read_text(encoding="utf-8"))
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
