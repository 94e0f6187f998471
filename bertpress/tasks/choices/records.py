"""Questions with options as records: checked, named, kept on disk; and the splits of a data set."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError, beside
from bertpress.files import content_digest
from bertpress.tasks import named
from bertpress.tasks.choices.formats import READERS, Names, Question, of_row, passages_of, read_questions
from bertpress.tasks.data import TextData, is_invisible, without_halves
from bertpress.tasks.stored import stored_rows
from bertpress.tasks.tables import SPLIT_STEMS, one_each

if TYPE_CHECKING:
    from datasets import Dataset

FORMAT = 1
"""Goes up when the same file would give other records."""
TYPES = {"id": "string", "level": "string", "context": "string", "question": "string", "options": "list<string>"}
TRUTH = {"answer": "int32"}
METRIC = "accuracy"
NAMED = {"race": Names(context="article", letters_only=True)}
"""The data sets by name, with the columns that they have on the Hub."""
FOLDERS = {"race": ("race", "RACE")}
HUB = {"race": ("ehovy/race", "all")}
"""Name to repository and configuration."""
REMARKS = {
    "unnamed": "{} questions have no id and are named by their number",
    "silent": "{} questions are empty, so that only their options are told apart",
    "blank": "{} options are empty",
    "twins": "{} questions have the same option twice",
    "halves": "{} texts hold halves of surrogate pairs, which are replaced",
}


def records_of(questions: Iterable[Question], tally: Counter[str]) -> Iterator[dict[str, Any]]:
    """The record of each question; what is strange about them is counted in `tally`.

    Questions on one text have its name and their number there as their id.

    Raises:
        RequestError: an id that comes twice, a context of which nothing is visible, or answers to some questions only.
    """
    seen: set[str] = set()
    passages: Counter[str] = Counter()
    labelled: bool | None = None
    for number, question in enumerate(questions, start=1):
        if labelled not in (None, question.answer is not None):
            came = "none" if labelled else "one"
            expected = "Expected answers to all questions or to none"
            raise RequestError(f"{expected}, but {question.place} has {came}: add or remove them.")
        labelled = question.answer is not None
        if is_invisible(question.context):
            raise RequestError(f"Expected a text to choose by, but that of {question.place} is empty: add it.")
        name = question.id
        if name is None and question.passage is not None:
            passages[question.passage] += 1
            name = f"{question.passage}-{passages[question.passage]}"
        tally["unnamed"] += name is None
        name = without_halves(name or f"row-{number}")[0]
        if name in seen:
            raise RequestError(f"Expected different ids, but {question.place} has '{name}' again: rename it.")
        seen.add(name)
        yield _record(question, name, tally)


def _record(question: Question, name: str, tally: Counter[str]) -> dict[str, Any]:
    tally["silent"] += is_invisible(question.question)
    tally["blank"] += sum(map(is_invisible, question.options))
    tally["twins"] += len(set(question.options)) < len(question.options)
    mended = [without_halves(text) for text in (question.context, question.question, *question.options)]
    tally["halves"] += sum(halved for _, halved in mended)
    context, asked, *options = (text for text, _ in mended)
    record = {"id": name, "level": question.level, "context": context, "question": asked, "options": options}
    return record if question.answer is None else {**record, "answer": question.answer}


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
        raise RequestError(f"Expected questions in {where}, but it holds none: add some or remove it.")
    if first.answer is None and split == "train":
        raise RequestError(f"Expected answers to the training questions, but {first.place} has none: add them.")
    types = {**TYPES, **(TRUTH if first.answer is not None else {})}
    parts = (f"choices {FORMAT}", *key)
    tally: Counter[str] = Counter()

    def rows() -> Iterator[dict[str, Any]]:
        tally.clear()
        return records_of(questions(), tally)

    def counts() -> Iterator[dict[str, Any]]:
        if not tally:  # the records were made by a process that did not come so far
            for _ in rows():
                pass
        yield {"names": list(tally), "counts": list(tally.values())}

    records = stored_rows("records", parts, types, rows)
    (found,) = stored_rows("records", (*parts, "counts"), {"names": "list<string>", "counts": "list<int64>"}, counts)
    numbers = dict(zip(found["names"], found["counts"], strict=True))
    return records, [f"{split}: {text.format(numbers[name])}" for name, text in REMARKS.items() if numbers.get(name)]


def load_choices(
    name: str,
    data_dir: str | Path | None = None,
    columns: Sequence[str] | None = None,
    label: str | None = None,
) -> TextData:
    """The records of a data set of `NAMED` from `data_dir`, else from the root in BERTPRESS_DATA, else from the Hub.

    Args:
        name: a key of `NAMED`, or `files` for the user's own.
        data_dir: one file with training questions, or a folder with a file or a folder of passages per split, or one
            that holds the data set's.
        columns: of a table, those of contexts, of questions and of lists of options, or one for each option; by
            default context, question and options.
        label: of a table, the column of the answers; by default answer.

    Raises:
        RequestError: no such data, or data that cannot be used; names file and place.
    """
    names = NAMED.get(name) or _names(columns, label)
    if name == "files" and not data_dir:
        raise RequestError("Expected a folder or a file with questions and options, got neither: give --data-dir.")
    paths = named.locate(FOLDERS.get(name, ()), data_dir, find_files)
    if data_dir and not paths:
        raise _no_files(Path(data_dir))
    splits: dict[str, Dataset] = {}
    notes: list[str] = []
    for split, (questions, where, key) in (_in_files(paths, names) if paths else _on_hub(name, names)).items():
        splits[split], remarks = stored_records(questions, split, where, key)
        notes += remarks
    if label is not None and not any("answer" in split.column_names for split in splits.values()):
        raise RequestError(f"Expected a column '{label}' with answers in {', '.join(map(str, paths.values()))}.")
    return TextData(
        name=name,
        splits=splits,
        columns=("context", "question"),
        labels=None,
        metrics=(METRIC, *(f"{METRIC}_{level}" for level in _levels(splits))),
        primary=METRIC,
        notes=tuple(notes),
        sources=tuple(paths.values()),
    )


def _levels(splits: Mapping[str, Dataset]) -> list[str]:
    """The levels of the questions that are scored, where there are several."""
    scored = [split for name, split in splits.items() if name != "train"] or list(splits.values())
    found = [set(split.unique("level")) for split in scored]
    levels = sorted(set.intersection(*found) - {""})
    return levels if len(levels) > 1 else []


def find_files(place: Path) -> Mapping[str, Path]:
    """The file or the folder of passages of each split at `place`; nothing if it holds none.

    Raises:
        RequestError: no such folder or file, or two for a split.
    """
    if place.is_file():
        return {"train": place}
    if not place.is_dir():
        raise RequestError(f"Expected a folder at {place}, found nothing{beside(place)}: give an existing folder.")
    suffixes = [kind for suffix in READERS for kind in ([suffix, f"{suffix}.gz"] if suffix == ".jsonl" else [suffix])]
    files = one_each(
        place, {split: [place / f"{stem}{kind}" for stem in stems for kind in suffixes] for split, stems in STEMS}
    )
    folders = {split: place / stem for split, stems in STEMS for stem in stems if passages_of(place / stem)}
    if both := set(files) & set(folders):
        raise RequestError(f"Expected a file or a folder of {min(both)} in {place}, found both: remove one.")
    return {split: found for split, _ in STEMS if (found := files.get(split) or folders.get(split))}


STEMS = tuple(SPLIT_STEMS.items())


def _no_files(place: Path) -> RequestError:
    held = ", ".join(sorted(path.name for path in place.iterdir())[:10]) or "an empty folder"
    return RequestError(
        f"Expected {', '.join(SPLIT_STEMS)} as {', '.join(READERS)}, or as folders of passages (.txt), in {place}, "
        f"found {held}: rename your files so."
    )


def _names(columns: Sequence[str] | None, label: str | None) -> Names:
    if columns is not None and (len(columns) < 3 or len(set(columns)) < len(columns)):
        raise RequestError(
            f"Expected the columns of contexts, of questions and of options, got {', '.join(columns) or 'none'}: name "
            "these in that order, or a column for each option."
        )
    context, question, *options = columns or (Names.context, Names.question, *Names.options)
    return Names(context, question, tuple(options), label or Names.answer)


Source = tuple[Callable[[], Iterable[Question]], str, tuple[str, ...]]
"""What gives the questions of a split, its name for messages, and what they depend on."""


def _in_files(paths: Mapping[str, Path], names: Names) -> dict[str, Source]:
    def source(path: Path) -> Source:
        columns = [names.context, names.question, *names.options, names.answer]
        key = (content_digest(path), "".join(path.suffixes[-2:]), json.dumps([columns, names.letters_only]))
        return (lambda: read_questions(path, names)), str(path), key

    return {split: source(path) for split, path in paths.items()}


def _on_hub(name: str, names: Names) -> dict[str, Source]:
    repository, config = HUB[name]
    hub = named.from_hub(name, repository, config)

    def source(split: str) -> Source:
        where = f"{name} {split}"

        def questions() -> Iterator[Question]:
            for number, row in enumerate(hub[split], start=1):
                yield of_row(row, names, f"row {number} of {where}")

        return questions, where, (repository, split, str(hub[split]._fingerprint))

    return {split: source(split) for split in SPLIT_STEMS if split in hub}
