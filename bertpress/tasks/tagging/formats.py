"""Sentences with entities from files of many kinds, the user's or those of named data sets, as records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath

from bertpress.errors import RequestError, beside
from bertpress.tasks import named, tables
from bertpress.tasks.data import TextData
from bertpress.tasks.tagging.columns import read_text_file, without_numbers
from bertpress.tasks.tagging.named import ENTITIES, EntityTask
from bertpress.tasks.tagging.rows import Found, declared, json_rows, sentences_of, table_rows
from bertpress.tasks.tagging.schemes import OUTSIDE, scheme_of
from bertpress.tasks.tagging.sentences import TRUTH, Reading, Sentence, Words, records_of
from bertpress.tasks.tagging.settings import TaggingSettings
from bertpress.tasks.tagging.words import level_of

SUFFIXES = (
    ".parquet",
    ".jsonl",
    ".json",
    ".conll",
    ".txt",
    ".tsv",
    ".bio",
    ".iob",
    ".iob2",
    ".bmes",
    ".bioes",
    ".char",
)
"""What files may end in, also several in a row"""
BEFORE = ("", "orig_data_", "mrc-ner.")
"""What may stand before the name of a split"""
LOOKS = "train, dev and test as .conll, .txt, .jsonl, .json or .parquet"


def load_sentences(
    name: str,
    data_dir: str | Path | None = None,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    settings: TaggingSettings | None = None,
) -> TextData:
    """The sentences of a named data set, or of the user's files (``files``), with their entities.

    Args:
        name: a key of `ENTITIES`, or ``files``.
        data_dir: a folder with a file per split, or one file of training sentences; of a named data set also a folder
            that holds its own. Without it a named data set is looked for below BERTPRESS_DATA, then on the Hub.
        columns: the one column of words or of text, where rows have columns.
        label: the column of tags or spans.
        settings: only `level`, `read_as` and `strict` matter here.

    Returns:
        `labels` are the types of entities: of a named data set in its order, else in the order of declared tags, else
        sorted; none of sentences without tags, which a trained model can be asked about. `notes` say what had to be
        mended.

    Raises:
        RequestError: no such data, or something in them that cannot be read; says where.
    """
    task, settings = ENTITIES.get(name), settings or TaggingSettings()
    found, paths = _read(name, task, data_dir, columns, label)
    tagged = [sentence for sentence in _all(found) if isinstance(sentence, Words) and sentence.tags is not None]
    reading = Reading(
        scheme=settings.read_as
        or scheme_of([sentence.tags or () for sentence in tagged], lambda number: tagged[number].place),
        level=settings.level or level_of(_text(sentence) for sentence in _all(found)),
        types=task.types if task else None,
        spellings=task.spellings if task else None,
        strict=settings.strict,
    )
    notes: list[str] = []
    splits = {split: records_of(part.sentences, split, reading, notes) for split, part in found.items()}
    seen = {kind for rows in splits.values() if TRUTH in rows.column_names for kinds in rows[TRUTH] for kind in kinds}
    if not seen and any(TRUTH in rows.column_names for rows in splits.values()):
        raise RequestError(f"Expected entities in the data of {name}, found none: add tags or spans.")
    types = task.types if task else _order(found, seen)
    return TextData(
        name=name,
        splits=splits,
        columns=("text",),
        labels=types,
        metrics=("span_f1", "span_precision", "span_recall"),
        primary="span_f1",
        notes=tuple(notes),
        sources=tuple(paths.values()),
        queries=_queries(found, task.spellings if task else {}),
        level=reading.level,
    )


def find_files(place: Path, files: Mapping[str, Sequence[str]]) -> dict[str, Path]:
    """The file of each split in a folder; a file by itself holds the training sentences.

    Args:
        files: names that a split's file may have besides the usual ones, without suffix.
    """
    if place.is_file():
        return {"train": place}
    if not place.is_dir():
        raise RequestError(
            f"Expected a folder or a file at {place}, found nothing{beside(place)}: give an existing one."
        )
    entries = sorted(place.iterdir())
    named = {
        split: {f"{before}{stem}" for before in BEFORE for stem in stems} | set(files.get(split, ()))
        for split, stems in tables.SPLIT_STEMS.items()
    }
    return tables.one_each(
        place, {split: [path for path in entries if _stem(path.name) in stems] for split, stems in named.items()}
    )


def read_file(path: Path, text: str | None = None, label: str | None = None) -> Found:
    """The sentences of a file: a table if it is parquet, JSON if its name says so, else lines of words and tags.

    Raises:
        RequestError: it holds none, or what does not fit.
    """
    found = _in_file(path, text, label)
    if not found.sentences:
        raise RequestError(f"Expected sentences in {path}, found none: add some or remove the file.")
    return found


def _in_file(path: Path, text: str | None, label: str | None) -> Found:
    if path.suffix == ".parquet":
        table = tables.read_file(path)
        found = sentences_of(table_rows(table, str(path)), text, label)
        found.tags = declared(table, label)
        return found
    if {".json", ".jsonl"} & set(path.suffixes) or path.name.startswith("mrc-ner."):
        return sentences_of(json_rows(path), text, label)
    if text or label:
        raise RequestError(f"Expected columns with names in {path}, which has none: leave out --columns and --label.")
    return Found(read_text_file(path))


def _read(
    name: str, task: EntityTask | None, data_dir: str | Path | None, columns: Sequence[str] | None, label: str | None
) -> tuple[dict[str, Found], Mapping[str, Path]]:
    """The sentences of each split, and the files they are in, if they are in files."""
    if columns is not None and len(columns) != 1:
        raise RequestError(f"Expected one column of words or text, got {', '.join(columns) or 'none'}: name one.")
    text = columns[0] if columns else None
    paths: Mapping[str, Path]
    if task is None:
        if not data_dir:
            raise RequestError("Expected a folder or a file with the sentences, got neither: give --data-dir.")
        paths = find_files(Path(data_dir), {})
    else:
        paths = named.locate((name, *task.folders), data_dir, lambda folder: find_files(folder, task.files))
    if data_dir and not paths:
        raise RequestError(
            f"Expected {LOOKS} in {data_dir}, found {tables.held(Path(data_dir))}: rename your files so."
        )
    if paths or task is None:
        found = {split: read_file(path, text, label) for split, path in paths.items()}
    else:
        hub = named.from_hub(name, task.hub, None)
        found = {
            split: sentences_of(table_rows(hub[split], f"{name} {split}"), text, label)
            for split in tables.SPLIT_STEMS
            if split in hub
        }
    if task is not None and task.numbered:
        for part in found.values():
            if all(isinstance(sentence, Words) for sentence in part.sentences):
                part.sentences = without_numbers(part.sentences)  # type: ignore[arg-type]
    return found, paths


def _stem(name: str) -> str:
    """The name of a file without what it ends in."""
    while (suffix := PurePath(name).suffix) and suffix.lower() in SUFFIXES:
        name = name[: -len(suffix)]
    return name


def _all(found: Mapping[str, Found]) -> Iterable[Sentence]:
    return (sentence for part in found.values() for sentence in part.sentences)


def _text(sentence: Sentence) -> str:
    return "".join(sentence.words) if isinstance(sentence, Words) else sentence.text


def _queries(found: Mapping[str, Found], spellings: Mapping[str, str]) -> dict[str, str]:
    """The question about each type of entity that the files ask; none where they ask nothing."""
    return {spellings.get(kind, kind): query for part in found.values() for kind, query in part.queries.items()}


def _order(found: Mapping[str, Found], seen: Iterable[str]) -> tuple[str, ...]:
    """Types in the order of declared tags, then those that only stand in the sentences, sorted."""
    tags = dict.fromkeys(tag for part in found.values() for tag in part.tags if tag != OUTSIDE)
    return tuple(dict.fromkeys((*(tag[2:] for tag in tags), *sorted(seen))))
