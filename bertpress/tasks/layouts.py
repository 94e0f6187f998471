"""How authors laid out long documents: folders by class, csv without header, lines with an id, the XML of SemEval.

A layout finds its splits in a folder, and reads one; of a file that is an ordinary table it reads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

from bertpress.errors import RequestError
from bertpress.tasks import tables
from bertpress.tasks.named import FoundRows


class Layout(Protocol):
    """The files of a data set as its authors published them."""

    @property
    def looks(self) -> str:
        """What to look for, for messages."""

    def find(self, folder: Path) -> dict[str, Path]:
        """The file or folder of each split that has no name of an ordinary table."""

    def read(self, path: Path) -> FoundRows | None:
        """A split; None if `path` is an ordinary table."""


@dataclass(frozen=True)
class Tree:
    """A folder per split; in it one per class, named so; in it one text per file."""

    folders: Mapping[str, str]  # split to the name of its folder
    suffix: str = ""
    encoding: str = "utf-8"
    skipped: tuple[str, ...] = ()  # folders that are no classes

    @property
    def looks(self) -> str:
        return f"the folders {' and '.join(self.folders.values())} with one of texts per class"

    def find(self, folder: Path) -> dict[str, Path]:
        return {split: folder / name for split, name in self.folders.items() if self._classes(folder / name)}

    def read(self, path: Path) -> FoundRows | None:
        if not path.is_dir():
            return None
        files = [file for kind in self._classes(path) for file in sorted(kind.glob(f"*{self.suffix}"))]
        texts = [self._text(file) for file in files]
        return FoundRows({"text": texts}, [file.parent.name for file in files], lambda index: str(files[index]))

    def _classes(self, folder: Path) -> list[Path]:
        if not folder.is_dir():
            return []
        inside = sorted(entry for entry in folder.iterdir() if entry.is_dir())
        return [entry for entry in inside if not entry.name.startswith(".") and entry.name not in self.skipped]

    def _text(self, file: Path) -> str:
        try:
            return file.read_bytes().decode(self.encoding)
        except (UnicodeDecodeError, OSError) as error:
            reason = f"a readable text in {self.encoding} at {file}, got '{type(error).__name__}'"
            raise RequestError(f"Expected {reason}: unpack the archive again.") from error


@dataclass(frozen=True)
class NumberedCsv:
    """csv files without header: the number of the class, from 1, and the text. They are named like tables."""

    classes: tuple[str, ...]

    @property
    def looks(self) -> str:
        return f"csv files without header whose rows are a label of 1 to {len(self.classes)} and a text"

    def find(self, folder: Path) -> dict[str, Path]:
        return {}

    def read(self, path: Path) -> FoundRows | None:
        if path.suffix.lower() != ".csv":
            return None
        found = list(tables.records(path, ","))
        if not found or not found[0][1][0].strip().isdigit():
            return None  # it has a header
        names = {str(number): name for number, name in enumerate(self.classes, start=1)}
        for line, record in found:
            if len(record) != 2 or record[0].strip() not in names:
                came = f"{len(record)} fields" if len(record) != 2 else f"the label {record[0]!r}"
                raise RequestError(f"Expected {self.looks}, but line {line} of {path} has {came}: correct it.")
        labels = [names[record[0].strip()] for _, record in found]
        lines = [line for line, _ in found]
        return FoundRows({"text": [text for _, (_, text) in found]}, labels, lambda row: f"line {lines[row]} of {path}")


@dataclass(frozen=True)
class News:
    """Articles on hyperpartisan news: lines of an id, a label and a text; or SemEval-2019's XML, labels beside it."""

    looks: str = "original_data.txt with lines of an id, a label and a text, or SemEval's XML of articles and truth"

    def find(self, folder: Path) -> dict[str, Path]:
        names = {split: [f"{stem}.txt" for stem in stems] for split, stems in tables.SPLIT_STEMS.items()}
        names["train"] += ["original_data.txt", "articles-training-byarticle-20181122.xml"]
        names["test"] += ["articles-test-byarticle-20181207.xml"]
        there = {split: [folder / name for name in names[split] if (folder / name).is_file()] for split in names}
        return {split: paths[0] for split, paths in there.items() if paths}

    def read(self, path: Path) -> FoundRows | None:
        if path.suffix.lower() == ".xml":
            return _read_articles(path)
        return _read_lines(path) if path.suffix.lower() == ".txt" else None


def _read_lines(path: Path) -> FoundRows:
    """Lines such as `0000017 1 An article ...`; one without text has an empty one."""
    lines = enumerate(tables.read_text(path).split("\n"), start=1)
    split = ((number, line.strip().split(maxsplit=2)) for number, line in lines)
    found = [(number, [*fields, "", ""]) for number, fields in split if fields]
    texts: list[Any] = [fields[2] for _, fields in found]
    return FoundRows({"text": texts}, [fields[1] for _, fields in found], lambda row: f"line {found[row][0]} of {path}")


def _read_articles(path: Path) -> FoundRows:
    """The texts of an XML file of articles, with the labels of the file of truth beside it, matched by id."""
    truth = path.with_name(path.name.replace("articles-", "ground-truth-", 1))
    if truth == path or not truth.is_file():
        raise RequestError(f"Expected the labels of {path} in {truth.name} beside it, found none: unpack both.")
    labels = {article.get("id"): article.get("hyperpartisan") for article in _parse(truth).findall("article")}
    articles = _parse(path).findall("article")
    numbers = [article.get("id") for article in articles]
    texts: list[Any] = [_text_of(article) for article in articles]
    return FoundRows(
        {"text": texts}, [labels.get(number) for number in numbers], lambda row: f"article {numbers[row]} of {path}"
    )


def _text_of(article: ElementTree.Element) -> str:
    """The text of an article without its tags; paragraphs are apart whether or not white space is between them."""
    pieces = [article.text, *(piece for part in article for piece in ("".join(part.itertext()), part.tail))]
    return " ".join(" ".join(piece for piece in pieces if piece).split())


class _WithoutDoctype(ElementTree.TreeBuilder):
    """Builds the tree of a file that declares nothing, so that no entity can be expanded or fetched."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ElementTree.ParseError("a document type, which could declare entities")


def _parse(path: Path) -> ElementTree.Element:
    try:
        parser = ElementTree.XMLParser(target=_WithoutDoctype())
        return ElementTree.parse(path, parser).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise RequestError(f"Expected SemEval's XML in {path}, got '{error}': unpack the archive again.") from error
