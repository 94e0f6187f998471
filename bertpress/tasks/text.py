"""Plain text as a task: rows of a corpus, with masked tokens to guess, or with nothing asked (for a bare encoder)."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bertpress.corpus import CorpusSpec
from bertpress.corpus.reading import find_files
from bertpress.corpus.rows import build_rows
from bertpress.corpus.store import VERSION, build_store
from bertpress.errors import RequestError
from bertpress.files import digest
from bertpress.fingerprints import tokenizer_digest
from bertpress.tasks.tables import SPLIT_STEMS
from bertpress.tasks.task import Rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedTokenizerBase

SEED = 0
"""What stands in a row is the same for all seeds of a run, so that they are compared on the same rows."""


def load_text(
    spec: CorpusSpec,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    limit: Mapping[str, int] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Rows of train and validation, tokenised once and kept in the cache, and remarks.

    Raises:
        RequestError: no such file, nothing to read in it, or too little to hold anything out.
    """
    spec = with_own_validation(spec)
    store = build_store(spec, tokenizer, cache_folder(spec, tokenizer), say)
    splits: dict[str, Rows] = {}
    notes: tuple[str, ...] = ()
    for split in ("train", "validation"):
        rows = build_rows(store, max_length, spec, SEED, split)
        splits[split], notes = cast("Rows", rows), (*notes, *rows.notes)
    for split, count in (limit or {}).items():
        if split not in splits:
            raise RequestError(f"Plain text has the splits train and validation, not '{split}'; limit one of these.")
        if count < len(splits[split]):
            splits[split] = Chosen(splits[split], sorted(random.Random(split).sample(range(len(splits[split])), count)))
    return splits, tuple(dict.fromkeys(notes))


def corpus_of(data_dir: str | None, column: str | None) -> CorpusSpec:
    """The corpus that a folder or file stands for."""
    if data_dir is None:
        raise RequestError("--task text needs its text: --data-dir with a folder or file, or --corpus with files.")
    return CorpusSpec(files=(data_dir,), **({} if column is None else {"text_column": column}))


def with_own_validation(spec: CorpusSpec) -> CorpusSpec:
    """The corpus with the validation files of its folders held out, where it does not say what is."""
    if "validation" in spec.model_fields_set:
        return spec
    folders = [Path(name) for name in spec.files if Path(name).is_dir()]
    stems = SPLIT_STEMS["validation"]
    files = [path for folder in folders for path in sorted(folder.iterdir()) if path.name.split(".")[0] in stems]
    return spec.model_copy(update={"validation": tuple(map(str, files))}) if files else spec


def cache_folder(spec: CorpusSpec, tokenizer: PreTrainedTokenizerBase) -> Path:
    """Where tokenised text is kept, below BERTPRESS_CACHE or in the user's cache; edited files get a new place."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = Path(os.environ.get("BERTPRESS_CACHE") or user / "bertpress")
    held = spec.validation if isinstance(spec.validation, tuple) else ()
    facts = [str(VERSION), spec.text_column, tokenizer_digest(tokenizer)]
    for part, patterns in (("train", spec.files), ("validation", held)):
        for path in find_files(patterns) if patterns else ():
            status = path.stat()
            facts += [part, str(path.resolve()), str(status.st_size), str(status.st_mtime_ns)]
    return root / "corpus" / digest(*map(str.encode, facts))[:16]


class Chosen:
    """Some rows of a corpus; each keeps the number that it has there, which determines what is drawn for it."""

    def __init__(self, rows: Rows, chosen: list[int]) -> None:
        self.rows, self.chosen = rows, np.asarray(chosen)

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return np.asarray(self.rows[key])[self.chosen]
        return self.rows[int(self.chosen[key]) if isinstance(key, int | np.integer) else self.chosen[key].tolist()]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        return [self[int(index)] for index in indices]
