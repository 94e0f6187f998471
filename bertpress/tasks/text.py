"""Plain text as a task: rows of a corpus, with masked tokens to guess, or with nothing asked (for a bare encoder)."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bertpress.corpus import CorpusSpec
from bertpress.corpus.holdout import Split
from bertpress.corpus.rows import build_rows, check_row_length
from bertpress.corpus.store import build_store, find_sources, identity_of
from bertpress.errors import RequestError
from bertpress.files import cache_root, digest
from bertpress.fingerprints import plain_backend
from bertpress.tasks.rows import Rows, SomeRows
from bertpress.tasks.tables import SPLIT_STEMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedTokenizerBase

SPLITS: tuple[Split, ...] = ("train", "validation")
SEED = 0
"""What stands in a row is the same for all seeds of a run, so that they are compared on the same rows."""


def check_text(spec: CorpusSpec, max_length: int, limit: Mapping[str, int]) -> None:
    """Refuse what can be refused without reading the text or knowing a tokenizer.

    Raises:
        RequestError: no such file or split, a length that no row can have, or nothing to score.
    """
    for split in limit:
        if split not in SPLITS:
            raise RequestError(f"Plain text has the splits {' and '.join(SPLITS)}, not '{split}'; limit one of these.")
    check_row_length(max_length)
    if spec.validation == 0:
        raise RequestError("validation=0 holds nothing out, so there are no validation rows: give a share or files.")
    find_sources(with_own_validation(spec))


class TextSplits(Mapping[str, Rows]):
    """Rows of train and validation, tokenised once and kept in the cache.

    Tokenising may take hours, so it waits until rows are asked for: what is wrong with a request is told before.

    Args:
        limit: largest number of rows of a split.
        say: told what takes time.

    Raises:
        RequestError: here, what can be said without reading the text, such as a file that there is not; with the first
            rows, what is wrong with the text.
    """

    def __init__(
        self,
        spec: CorpusSpec,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        limit: Mapping[str, int],
        say: Callable[[str], None],
    ) -> None:
        check_text(spec, max_length, limit)
        self.spec, self.limit, self.say = with_own_validation(spec), limit, say
        self.tokenizer, self.max_length = tokenizer, max_length
        self.sources = find_sources(self.spec, say)
        plain_backend(tokenizer)  # refuses one that the text cannot be tokenised with

    def with_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> TextSplits:
        """The same text as rows of another tokenizer's tokens."""
        return TextSplits(self.spec, tokenizer, self.max_length, self.limit, self.say)

    @functools.cached_property
    def _read(self) -> tuple[dict[str, Rows], tuple[str, ...]]:
        """The rows of each split, and remarks."""
        folder = cache_folder(identity_of(self.spec, self.sources, self.tokenizer))
        store = build_store(self.spec, self.tokenizer, folder, self.say, self.sources)
        splits: dict[str, Rows] = {}
        notes: list[str] = []
        for split in SPLITS:
            rows = build_rows(store, self.max_length, self.spec, SEED, split)
            splits[split], count = cast("Rows", rows), self.limit.get(split, len(rows))
            notes += rows.notes
            if count < len(rows):
                chosen = random.Random(split).sample(range(len(rows)), count)
                splits[split] = SomeRows(splits[split], sorted(chosen))
        return splits, tuple(dict.fromkeys(notes))

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks about the text."""
        return self._read[1]

    @property
    def digests(self) -> dict[str, str]:
        """Path to digest of each file."""
        return {str(source.path): source.sha256 for source in self.sources}

    def __getitem__(self, split: str) -> Rows:
        return self._read[0][split]

    def __iter__(self) -> Iterator[str]:
        return iter(SPLITS)

    def __len__(self) -> int:
        return len(SPLITS)

    def __contains__(self, split: object) -> bool:
        return split in SPLITS


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


def cache_folder(identity: Mapping[str, Any]) -> Path:
    """Where a store is kept; edited files get a new place."""
    return cache_root() / "corpus" / digest(json.dumps(identity, sort_keys=True).encode())[:16]
