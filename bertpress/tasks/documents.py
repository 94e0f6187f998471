"""Four tasks on long documents: from the Hub, files with the Hub's columns, or the files of their authors.

Labels are matched by name or by the Hub's id. What a data set has no split for is made of its training rows elsewhere.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.tasks import data, named, tables
from bertpress.tasks.data import TextData
from bertpress.tasks.layouts import Layout, News, NumberedCsv, Tree
from bertpress.tasks.named import FoundRows

if TYPE_CHECKING:
    from datasets import Dataset


def without_metadata(texts: Sequence[Any]) -> list[Any]:
    """Newsgroup messages without headers, signatures and quotes, which name the group or the writer.

    As `fetch_20newsgroups(remove=("headers", "footers", "quotes"))` of scikit-learn leaves them. Texts of which most
    have no header are returned as they are: that was done before.
    """
    from sklearn.datasets._twenty_newsgroups import (
        strip_newsgroup_footer,
        strip_newsgroup_header,
        strip_newsgroup_quoting,
    )

    if 2 * sum(map(_has_header, texts)) <= len(texts):
        return list(texts)
    stripped = [strip_newsgroup_footer(strip_newsgroup_header(str(text))) for text in texts]
    return [strip_newsgroup_quoting(text) for text in stripped]


def _has_header(text: Any) -> bool:
    head = str(text).partition("\n\n")[0]
    return all(re.search(f"^{field}: ", head, re.MULTILINE) for field in ("From", "Subject"))


@dataclass(frozen=True)
class DocumentTask:
    """One row of `DOCUMENTS`; its key is the name of the folder under a data root."""

    labels: tuple[str, ...]  # in the Hub's order
    hub: tuple[str, str | None]  # data set and config
    folders: tuple[str, ...]  # further names of the folder
    layout: Layout
    label: str = "label"  # the Hub's column; that of a table may also be "label"
    spellings: Mapping[Any, str] = dataclasses.field(default_factory=dict)  # labels as they are written elsewhere
    clean: Callable[[Sequence[Any]], list[Any]] | None = None
    remark: str = ""  # what `clean` did, if it did


_GROUPS = (
    "alt.atheism", "comp.graphics", "comp.os.ms-windows.misc", "comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware",
    "comp.windows.x", "misc.forsale", "rec.autos", "rec.motorcycles", "rec.sport.baseball", "rec.sport.hockey",
    "sci.crypt", "sci.electronics", "sci.med", "sci.space", "soc.religion.christian", "talk.politics.guns",
    "talk.politics.mideast", "talk.politics.misc", "talk.religion.misc",
)  # fmt: skip
_STARS = ("1 star", "2 star", "3 stars", "4 stars", "5 stars")

DOCUMENTS: Mapping[str, DocumentTask] = {
    "imdb": DocumentTask(
        labels=("neg", "pos"),
        hub=("stanfordnlp/imdb", None),
        folders=("aclImdb",),
        layout=Tree({"train": "train", "test": "test"}, suffix=".txt", skipped=("unsup",)),
    ),
    "yelp_review_full": DocumentTask(
        labels=_STARS,
        hub=("Yelp/yelp_review_full", None),
        folders=("yelp_review_full_csv", "yelp_f"),
        layout=NumberedCsv(_STARS),
    ),
    "20newsgroups": DocumentTask(
        labels=_GROUPS,
        hub=("SetFit/20_newsgroups", None),
        folders=("20news-bydate", "20news"),
        layout=Tree({"train": "20news-bydate-train", "test": "20news-bydate-test"}, encoding="latin-1"),
        clean=without_metadata,
        remark="headers, signatures and quotes of the messages are left out, since they name the group",
    ),
    "hyperpartisan": DocumentTask(
        labels=("not_hyperpartisan", "hyperpartisan"),
        hub=("SemEvalWorkshop/hyperpartisan_news_detection", "byarticle"),
        folders=("hyperpartisan_news_detection",),
        layout=News(),
        label="hyperpartisan",
        spellings={
            **dict.fromkeys((False, "false", "False"), "not_hyperpartisan"),
            **dict.fromkeys((True, "true", "True"), "hyperpartisan"),
        },
    ),
}


def load_documents(name: str, data_dir: str | Path | None = None) -> TextData:
    """A task of `DOCUMENTS` from `data_dir`, else from the root in BERTPRESS_DATA, else from the Hub.

    Args:
        name: a key of `DOCUMENTS`.
        data_dir: one file with training rows, or the folder of the task, or one that holds it; with files named after
            the splits and the Hub's columns, or as the authors published them.
    """
    task = DOCUMENTS[name]
    notes: list[str] = []
    paths = named.locate((name, *task.folders), data_dir, lambda folder: _find(folder, task))
    if data_dir and not paths:
        raise tables.no_splits(Path(data_dir), original=task.layout.looks)
    if paths:
        found = {split: _from_path(path, split, task) for split, path in paths.items()}
    else:
        hub = named.from_hub(name, *task.hub)
        found = {
            split: _from_dataset(hub[split], split, f"{name} {split}", task)
            for split in tables.SPLIT_STEMS
            if split in hub
        }
    return TextData(
        name=name,
        splits={split: named.encode(_cleaned(found[split], task, notes), split, task.labels, notes) for split in found},
        columns=("text",),
        labels=task.labels,
        notes=tuple(notes),
        sources=tuple(paths.values()),
        **data.CLASSES,
    )


def _find(place: Path, task: DocumentTask) -> Mapping[str, Path]:
    """The file or folder of each split at `place`, which may itself be a file."""
    if place.is_file():
        return {"train": place}
    return tables.find_splits(place) or task.layout.find(place)


def _from_path(path: Path, split: str, task: DocumentTask) -> FoundRows:
    return task.layout.read(path) or _from_dataset(tables.read_file(path), split, str(path), task)


def _from_dataset(dataset: Dataset, split: str, where: str, task: DocumentTask) -> FoundRows:
    label = "label" if "label" in dataset.column_names else task.label
    return named.rows_of(dataset, split, where, ("text",), task.labels, label)


def _cleaned(rows: FoundRows, task: DocumentTask, notes: list[str]) -> FoundRows:
    """The rows with the task's own spelling of labels, and without what a text must not have."""
    texts = rows.texts["text"]
    if task.clean is not None:
        texts = task.clean(texts)
        if texts != rows.texts["text"] and task.remark not in notes:
            notes.append(task.remark)
    labels = None if rows.labels is None else [task.spellings.get(label, label) for label in rows.labels]
    return dataclasses.replace(rows, texts={"text": texts}, labels=labels)
