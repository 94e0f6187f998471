"""The nine tasks of GLUE and its diagnostic set: from the Hub, files with the Hub's columns, or the original archives.

Labels are matched by name: the Hub, the archives and the models of others order them differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError, nearest
from bertpress.tasks import named, tables
from bertpress.tasks.data import TextData
from bertpress.tasks.named import FoundRows
from bertpress.tasks.tables import SPLIT_STEMS

if TYPE_CHECKING:
    from datasets import Dataset

HUB = "nyu-mll/glue"


@dataclass(frozen=True)
class Archive:
    """How the original files of a task look: tab-separated without quoting. Columns count from 0."""

    folders: tuple[str, ...]
    texts: tuple[int, ...]  # of train and dev
    label: int  # of train and dev; -1 is the last column
    test_texts: tuple[int, ...]
    heads: tuple[str, ...]  # what the header says above the texts
    has_header: bool = True  # of train and dev; test always has one
    may_break: bool = False  # some rows are cut short by line breaks in the texts


@dataclass(frozen=True)
class GlueTask:
    """One row of `GLUE`; its key is the Hub's config and the name of the folder under a data root."""

    columns: tuple[str, ...]
    labels: tuple[str, ...]  # in the Hub's order; empty for a score
    archive: Archive
    files: Mapping[str, tuple[str, int]]  # split to the leaderboard's file and its number of rows
    answers: tuple[str, ...] = ()  # what the leaderboard wants for each label; empty: the label itself
    metrics: tuple[str, ...] = ("accuracy",)
    stems: Mapping[str, tuple[str, ...]] | None = None  # names of the split files; None: the usual ones
    positive: str | None = None

    @property
    def primary(self) -> str:
        """The metric that chooses and compares models: the last one."""
        return self.metrics[-1]


_PAIR = ("sentence1", "sentence2")
_PAIR_SCORES = ("accuracy", "f1", "accuracy_f1")
_MNLI_LABELS = ("entailment", "neutral", "contradiction")
_RTE_LABELS = ("entailment", "not_entailment")

GLUE: Mapping[str, GlueTask] = {
    "cola": GlueTask(
        columns=("sentence",),
        labels=("unacceptable", "acceptable"),
        answers=("0", "1"),
        metrics=("matthews_correlation",),
        archive=Archive(("CoLA",), (3,), 1, (1,), ("sentence",), has_header=False),
        files={"test": ("CoLA.tsv", 1063)},
    ),
    "sst2": GlueTask(
        columns=("sentence",),
        labels=("negative", "positive"),
        answers=("0", "1"),
        archive=Archive(("SST-2",), (0,), 1, (1,), ("sentence",)),
        files={"test": ("SST-2.tsv", 1821)},
    ),
    "mrpc": GlueTask(
        columns=_PAIR,
        labels=("not_equivalent", "equivalent"),
        answers=("0", "1"),
        metrics=_PAIR_SCORES,
        archive=Archive(("MRPC",), (3, 4), 0, (3, 4), ("#1 String", "#2 String")),
        files={"test": ("MRPC.tsv", 1725)},
        positive="equivalent",
    ),
    "stsb": GlueTask(
        columns=_PAIR,
        labels=(),
        metrics=("pearson", "spearmanr", "pearson_spearmanr"),
        archive=Archive(("STS-B",), (7, 8), -1, (7, 8), _PAIR),
        files={"test": ("STS-B.tsv", 1379)},
    ),
    "qqp": GlueTask(
        columns=("question1", "question2"),
        labels=("not_duplicate", "duplicate"),
        answers=("0", "1"),
        metrics=_PAIR_SCORES,
        archive=Archive(("QQP",), (3, 4), 5, (1, 2), ("question1", "question2"), may_break=True),
        files={"test": ("QQP.tsv", 390965)},
        positive="duplicate",
    ),
    "mnli": GlueTask(
        columns=("premise", "hypothesis"),
        labels=_MNLI_LABELS,
        archive=Archive(("MNLI",), (8, 9), -1, (8, 9), _PAIR),
        files={"test": ("MNLI-m.tsv", 9796), "test_mismatched": ("MNLI-mm.tsv", 9847)},
        stems={
            "train": ("train",),
            "validation": ("validation", "dev", "val", "validation_matched", "dev_matched"),
            "validation_mismatched": ("validation_mismatched", "dev_mismatched"),
            "test": ("test", "test_matched"),
            "test_mismatched": ("test_mismatched",),
        },
    ),
    "qnli": GlueTask(
        columns=("question", "sentence"),
        labels=_RTE_LABELS,
        archive=Archive(("QNLI",), (1, 2), -1, (1, 2), ("question", "sentence")),
        files={"test": ("QNLI.tsv", 5463)},
    ),
    "rte": GlueTask(
        columns=_PAIR,
        labels=_RTE_LABELS,
        archive=Archive(("RTE",), (1, 2), -1, (1, 2), _PAIR),
        files={"test": ("RTE.tsv", 3000)},
    ),
    "wnli": GlueTask(
        columns=_PAIR,
        labels=("not_entailment", "entailment"),
        answers=("0", "1"),
        archive=Archive(("WNLI",), (1, 2), -1, (1, 2), _PAIR),
        files={"test": ("WNLI.tsv", 146)},
    ),
    "ax": GlueTask(  # the diagnostic set, for models of mnli
        columns=("premise", "hypothesis"),
        labels=_MNLI_LABELS,
        archive=Archive(("AX", "diagnostic"), (1, 2), -1, (1, 2), _PAIR),
        files={"test": ("AX.tsv", 1104)},
        stems={"test": ("test", "AX", "diagnostic")},
    ),
}


def load_glue(name: str, data_dir: str | Path | None = None) -> TextData:
    """A GLUE task from `data_dir`, else from the root in BERTPRESS_DATA, else from the Hub.

    Args:
        name: "mrpc" or "glue/mrpc".
        data_dir: The folder of the task, or one that holds it; with files named after the splits and the Hub's columns,
            or as the original archive unpacks.
    """
    key = glue_key(name)
    task = GLUE[key]
    notes: list[str] = []
    stems = task.stems or SPLIT_STEMS
    paths = named.locate((key, *task.archive.folders), data_dir, lambda folder: tables.find_splits(folder, stems))
    if data_dir and not paths:
        raise tables.no_splits(Path(data_dir), stems)
    if paths:
        rows = {split: _from_file(path, split, task, notes) for split, path in paths.items()}
    else:
        hub = named.from_hub(f"glue/{key}", HUB, key)
        rows = {
            split.removesuffix("_matched"): _from_dataset(dataset, split, f"{key} {split}", task)
            for split, dataset in hub.items()
        }
    return TextData(
        name=f"glue/{key}",
        splits={split: named.encode(rows[split], split, task.labels, notes) for split in rows},
        columns=task.columns,
        labels=task.labels or None,
        metrics=task.metrics,
        primary=task.primary,
        positive=task.positive,
        notes=tuple(notes),
        sources=tuple(paths.values()),
    )


def glue_key(name: str) -> str:
    """The key of `GLUE` that "mrpc" or "glue/mrpc" names."""
    key = name.removeprefix("glue/")
    if key not in GLUE:
        raise RequestError(f"Expected a GLUE task, got '{name}'{nearest(key.lower(), list(GLUE))}: name one of these.")
    return key


def _from_file(path: Path, split: str, task: GlueTask, notes: list[str]) -> FoundRows:
    labelled = not named.is_test(split)
    if path.suffix == ".tsv":
        lines = [line.removesuffix("\r").split("\t") for line in tables.read_text(path).rstrip("\r\n").split("\n")]
        if _is_original(lines[0], task.archive, labelled):
            return _from_archive(lines, path, labelled, task, notes)
    return _from_dataset(tables.read_file(path), split, str(path), task)


def _from_dataset(dataset: Dataset, split: str, where: str, task: GlueTask) -> FoundRows:
    return named.rows_of(dataset, split, where, task.columns, task.labels)


def _is_original(first: list[str], archive: Archive, labelled: bool) -> bool:
    """Whether the first line is that of an original file rather than a header with the Hub's columns."""
    if labelled and not archive.has_header:
        return len(first) > max(archive.texts) and first[archive.label] in ("0", "1")
    columns = archive.texts if labelled else archive.test_texts
    return len(first) > max(columns) and tuple(first[column] for column in columns) == archive.heads


def _from_archive(lines: list[list[str]], path: Path, labelled: bool, task: GlueTask, notes: list[str]) -> FoundRows:
    archive, width = task.archive, len(lines[0])
    rows = range(0 if labelled and not archive.has_header else 1, len(lines))
    short = [row for row in rows if len(lines[row]) < width]
    if short:
        came = f"{len(short)} rows of {path} are too short (the first on line {short[0] + 1})"
        if labelled and not archive.may_break:
            raise RequestError(f"Expected {width} fields in each row, but {came}: download the archive again.")
        done = "left out" if labelled else "predicted as the commonest class"
        notes.append(f"{came}; they are {done}")
    kept = [row for row in rows if not labelled or len(lines[row]) >= width]
    columns = archive.texts if labelled else archive.test_texts
    texts: dict[str, list[Any]] = {
        name: [lines[row][column] if len(lines[row]) >= width else "" for row in kept]
        for name, column in zip(task.columns, columns, strict=True)
    }
    labels = [lines[row][archive.label] for row in kept] if labelled else None
    return FoundRows(texts, labels, lambda index: f"line {kept[index] + 1} of {path}")
