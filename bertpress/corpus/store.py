"""Text that was tokenised once: token ids on disk, where sentences end, where documents end.

A store holds `tokens.bin` (ids without special tokens), `sentences.bin` (for each sentence, how many tokens there are
up to its end), `documents.bin` (for each document, how many sentences) and `store.json`. Validation files follow the
others in the same arrays. Sentences without tokens are left out, and documents without sentences.

A store belongs to files of these names and contents, to a tokenizer and to a column.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertpress.corpus import CorpusSpec, Format
from bertpress.corpus.disk import DiskArray
from bertpress.corpus.framing import Frame, frame_of
from bertpress.corpus.reading import find_files, read_lines
from bertpress.corpus.writing import Say, Writer
from bertpress.errors import RequestError
from bertpress.files import content_digest, held, new_folder, read_json, write_json
from bertpress.fingerprints import plain_backend, tokenizer_digest
from bertpress.processes import is_first_process

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MANIFEST = "store.json"
VERSION = 2
"""Goes up when the same text would give another store, or its manifest would tell it otherwise."""


@dataclass(frozen=True)
class Source:
    """A file of a corpus."""

    path: Path
    part: Literal["train", "validation"]

    @functools.cached_property
    def sha256(self) -> str:
        """Digest of its content, read once."""
        return content_digest(self.path)


@dataclass(frozen=True)
class Store:
    """A finished store; nothing of the text is in memory."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def format(self) -> Format:
        """What `format: auto` stands for: documents if a blank line separates text anywhere in a file."""
        return "documents" if self.manifest["separated"] else "lines"

    @property
    def train_sentences(self) -> int:
        """How many sentences do not come from validation files."""
        return int(self.manifest["train_sentences"])

    @property
    def frame(self) -> Frame:
        """The special tokens of the tokenizer that made the store."""
        single, pair = (
            tuple((token, segment) for token, segment in self.manifest[name]) for name in ("single", "pair")
        )
        return Frame(single, pair, self.manifest["has_segments"])

    def tokens(self) -> DiskArray:
        """All token ids."""
        return DiskArray(self.folder / "tokens.bin", self.manifest["dtype"])

    def sentences(self, ahead: int = 0) -> DiskArray:
        """Where each sentence ends in `tokens`."""
        return DiskArray(self.folder / "sentences.bin", "uint64", ahead)

    def documents(self, ahead: int = 0) -> DiskArray:
        """Where each document ends in `sentences`."""
        return DiskArray(self.folder / "documents.bin", "uint64", ahead)


def build_store(
    spec: CorpusSpec,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    say: Say = lambda _: None,
    sources: Sequence[Source] | None = None,
) -> Store:
    """The store of `spec` in `folder`: the one that is there, or a new one.

    Of several processes the first one builds and the others wait, without a limit: text may take hours.

    Args:
        tokenizer: a fast one; all its threads work unless TOKENIZERS_PARALLELISM is false.
        folder: gets its name when the store is whole, so that what a kill leaves is never taken for a store.
        say: told the progress and what is worth a remark.
        sources: the files of `spec`, where they were found before.

    Raises:
        RequestError: the folder holds another store (says what differs) or something else; the text is empty or cannot
            be read.
    """
    if not is_first_process():
        while not (folder / MANIFEST).is_file():
            time.sleep(1)
        return open_store(folder)
    backend = plain_backend(tokenizer)
    sources = find_sources(spec, say) if sources is None else sources
    identity = identity_of(spec, sources, tokenizer)
    with held(folder.with_name(f".{folder.name}.lock")):  # two commands may want the same text at the same time
        if (folder / MANIFEST).is_file():
            present = open_store(folder)
            _refuse_another(present, identity)
            return present
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RequestError(f"Expected a store or nothing at {folder}, found other files: give another folder.")
        _write_store(folder, identity, sources, tokenizer, backend, say)
    return open_store(folder)


def identity_of(spec: CorpusSpec, sources: Sequence[Source], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What tells a store from another; every file is read for it."""
    return {
        "version": VERSION,
        "tokenizer": tokenizer_digest(tokenizer),
        "text_column": spec.text_column,
        "files": [{"name": one.path.name, "sha256": one.sha256, "part": one.part} for one in sources],
    }


def _write_store(
    folder: Path,
    identity: Mapping[str, Any],
    sources: Sequence[Source],
    tokenizer: PreTrainedTokenizerBase,
    backend: Any,
    say: Say,
) -> None:
    """Make a new store."""
    largest = max(tokenizer.get_vocab().values())
    dtype = "uint16" if largest < 1 << 16 else "uint32"
    frame = frame_of(tokenizer)
    with new_folder(folder) as unfinished:
        with Writer(unfinished, backend, dtype, say) as writer:
            counts = _write_all(writer, sources, identity["text_column"], say)
        made = {**identity, **counts, "dtype": dtype, "single": frame.single, "pair": frame.pair}
        write_json(unfinished / MANIFEST, {**made, "has_segments": frame.has_segments})


def open_store(folder: Path) -> Store:
    """The finished store in `folder`.

    Raises:
        RequestError: there is none, or its files are not as long as they were.
    """
    if not (folder / MANIFEST).is_file():
        raise RequestError(f"Expected a store of tokenised text at {folder}, found none: build it first.")
    store = Store(folder, read_json(folder / MANIFEST))
    for name in ("tokens", "sentences", "documents"):
        path = folder / f"{name}.bin"
        if not path.is_file() or len(getattr(store, name)()) != store.manifest[name]:
            raise RequestError(f"Expected {store.manifest[name]} {name} in {path}, found others: delete {folder}.")
    return store


def find_sources(spec: CorpusSpec, say: Say = lambda _: None) -> list[Source]:
    """The files of a corpus in the order of the store.

    Raises:
        RequestError: no such file, one that holds no text, or one that is trained on and held out.
    """
    train = find_files(spec.files, say)
    held_out = find_files(spec.validation) if isinstance(spec.validation, tuple) else []
    for path in held_out:
        if path.resolve() in {other.resolve() for other in train}:
            raise RequestError(f"Expected validation files that are not trained on, got {path} in both: remove one.")
    return [*(Source(path, "train") for path in train), *(Source(path, "validation") for path in held_out)]


def _refuse_another(present: Store, identity: Mapping[str, Any]) -> None:
    """Raise if the store was made from something else."""
    there = present.manifest
    differing = [name for name in ("version", "tokenizer", "text_column") if there.get(name) != identity[name]]
    old, new = ({tuple(file.values()) for file in files} for files in (there["files"], identity["files"]))
    if there["files"] != identity["files"]:
        changed = sorted({str(name) for name, *_ in old ^ new})
        differing.append(f"files ({', '.join(changed[:5]) or 'their order'})")
    if differing:
        raise RequestError(
            f"The store in {present.folder} was made with other values of {', '.join(differing)}: "
            "give another folder, or delete this one."
        )


def _write_all(writer: Writer, sources: Sequence[Source], column: str, say: Say) -> dict[str, Any]:
    """Write every file; returns the counts for the manifest."""
    separated = False
    train_sentences = train_documents = 0
    for part in ("train", "validation"):
        before = writer.sentences
        paths = [source.path for source in sources if source.part == part]
        for path in paths:
            sentences, documents = writer.sentences, writer.documents
            writer.write(read_lines(path, column))
            separated |= part == "train" and writer.documents - documents > 1
            if writer.sentences == sentences:
                say(f"{path} holds no text.")
        if paths and writer.sentences == before:
            names = ", ".join(str(path) for path in paths[:5])
            raise RequestError(f"Expected text in {names}, found none (only blank lines, or nothing): fill it.")
        if part == "train":
            train_sentences, train_documents = writer.sentences, writer.documents
    writer.report("Tokenised")
    return {
        "separated": separated,
        "train_sentences": train_sentences,
        "train_documents": train_documents,
        "tokens": writer.tokens,
        "sentences": writer.sentences,
        "documents": writer.documents,
    }
