"""Questions with options as records: checked, named, kept on disk; and the splits of a data set."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError, beside
from bertpress.tasks import named
from bertpress.tasks.choices.formats import READERS, Names, Question, of_row, passages_of, read_questions
from bertpress.tasks.data import TextData, is_invisible
from bertpress.tasks.json_records import Source, in_files, on_hub
from bertpress.tasks.recording import Tally, mended, name_of, remarks_on, stored_records
from bertpress.tasks.tables import SPLIT_STEMS, held, one_each

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


def records_of(questions: Iterable[Question], tally: Tally) -> Iterator[dict[str, Any]]:
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
        yield _record(question, name_of(name, number, question.place, seen), tally)


def _record(question: Question, name: str, tally: Tally) -> dict[str, Any]:
    tally["silent"] += is_invisible(question.question)
    tally["blank"] += sum(map(is_invisible, question.options))
    tally["twins"] += len(set(question.options)) < len(question.options)
    texts = (question.context, question.question, *question.options)
    context, asked, *options = (mended(text, tally) for text in texts)
    record = {"id": name, "level": question.level, "context": context, "question": asked, "options": options}
    return record if question.answer is None else {**record, "answer": question.answer}


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
    for split, source in _sources(name, paths, names).items():
        first: Question = source.first("questions")
        if first.answer is None and split == "train":
            raise RequestError(
                f"Expected answers to the training questions, but {first.place} has none: add them, or name their "
                "column by --label."
            )
        types = {**TYPES, **(TRUTH if first.answer is not None else {})}
        splits[split], tally = stored_records((f"choices {FORMAT}", *source.key), types, source.rows, records_of)
        notes += remarks_on(split, tally, REMARKS)
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
    return RequestError(
        f"Expected {', '.join(SPLIT_STEMS)} as {', '.join(READERS)}, or as folders of passages (.txt), in {place}, "
        f"found {held(place)}: rename your files so."
    )


def _names(columns: Sequence[str] | None, label: str | None) -> Names:
    if columns is not None and (len(columns) < 3 or len(set(columns)) < len(columns)):
        raise RequestError(
            f"Expected the columns of contexts, of questions and of options, got {', '.join(columns) or 'none'}: name "
            "these in that order, or a column for each option."
        )
    context, question, *options = columns or (Names.context, Names.question, *Names.options)
    return Names(context, question, tuple(options), label or Names.answer)


def _sources(name: str, paths: Mapping[str, Path], names: Names) -> dict[str, Source]:
    if not paths:
        return on_hub(name, *HUB[name], lambda row, place: of_row(row, names, place))
    columns = [names.context, names.question, *names.options, names.answer]
    return in_files(paths, partial(read_questions, names=names), json.dumps([columns, names.letters_only]))
