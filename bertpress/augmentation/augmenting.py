"""A task's training split augmented in a folder: candidates in shards, then the rows, then the manifest.

request.json       what determines the result, and the files of the texts; another request in the folder is refused
candidates/        a shard per 256 texts, while it is unfinished; several processes share them out
train.parquet      text columns, label, source_row, field, sample_index, is_augmented
<split>.parquet    the task's other splits as they are
manifest.json      written last: its presence means "done"
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress import processes
from bertpress.augmentation.job import ADDED, Job
from bertpress.augmentation.keeping import bring, keep, place_of
from bertpress.augmentation.sampling import Copy, copies, draws, rows_of
from bertpress.augmentation.shards import (
    CandidateTable,
    Slot,
    missing_shards,
    read_shards,
    shard_count,
    shard_path,
    shard_texts,
    write_shard,
)
from bertpress.engine.run import Runtime
from bertpress.errors import RequestError
from bertpress.files import changed_files, digest, locked, new_file, read_json, usable, write_json

if TYPE_CHECKING:
    from datasets import Features

SOURCES = "sources"
"""In a request, path to digest of the files with the texts: to name the one that was edited."""
LOOKED_AT = 50  # rows among which the sample is searched
BLOCK = 1000  # source rows that are written at once


def augment(job: Job, folder: Path, reuse: bool = False) -> dict[str, Any]:
    """Augment the training split of `job` into `folder`, or go on with it; its manifest.

    Returns at once if the folder holds the finished augmentation.

    Args:
        job: what is augmented.
        folder: of the result.
        reuse: take the rows from the user's cache where some run has made the same, and keep new ones there.

    Raises:
        RequestError: the folder holds another augmentation or other files, or another command works on it.
    """
    manifest = folder / "manifest.json"
    first = processes.is_first_process()
    if first:
        _check(folder, job)
    if not (manifest.is_file() or (reuse and place_of(job).is_dir())):
        _ = job.proposer  # a model that cannot be used is refused before anything is written
    if first:
        _write_request(folder, job)
    with locked(folder / "request.json") if first else nullcontext(True) as alone:
        if not alone:
            raise RequestError(f"Another command is working on {folder}; wait for it or choose another --out.")
        if first and reuse and not manifest.is_file():
            bring(job, folder)
        processes.barrier()
        if not manifest.is_file():
            _make(job, folder)
            if first and reuse:
                keep(job, folder)
        if first:
            shutil.rmtree(folder / "candidates", ignore_errors=True)
    processes.barrier()
    result: dict[str, Any] = read_json(manifest)
    return result


def _make(job: Job, folder: Path) -> None:
    """Candidates, then the rows, which one process writes."""
    first = processes.is_first_process()
    if first:
        _show(job)
    _write_candidates(job, folder / "candidates")
    processes.barrier()
    if first:
        _write_rows(job, folder)
        job.runtime.say(f"{folder} is done")


def _check(folder: Path, job: Job) -> None:
    """Refuse a folder that holds something else."""
    file, identity = folder / "request.json", job.identity
    if file.is_file():
        old = read_json(file)
        sources = old.pop(SOURCES, {})
        differing = [name for name in {**old, **identity} if old.get(name) != identity.get(name)]
        if differing == ["data"] and (changed := changed_files(sources, job.task.sources)):
            raise RequestError(
                f"{folder} was begun with other texts: {', '.join(changed[:5])} changed since; put back what was "
                "there, or choose another --out."
            )
        if differing:
            shown = "; ".join(f"{name}: {old.get(name)} there, {identity.get(name)} now" for name in differing[:6])
            raise RequestError(f"{folder} holds another augmentation ({shown}); choose another --out.")
    elif folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file; --out expects a folder.")
    elif folder.exists() and any(not entry.name.startswith(".request.json") for entry in folder.iterdir()):
        raise RequestError(f"{folder} holds files that are no augmentation; choose a new or an empty folder for --out.")


def _write_request(folder: Path, job: Job) -> None:
    if not (folder / "request.json").is_file():
        with usable(folder):
            write_json(folder / "request.json", {**job.identity, SOURCES: job.task.sources})


def _write_candidates(job: Job, folder: Path) -> None:
    """Write this process's share of the shards that are not there yet."""
    count, shares = shard_count(job.texts), processes.world_size()
    for index in missing_shards(folder, count, processes.rank(), shares):
        write_shard(shard_path(folder, index), job.slots_of(shard_texts(job.texts, index)))
        job.runtime.progress("candidates", index + 1, count, {})


def table_of(job: Job, folder: Path) -> CandidateTable:
    """The candidates of all texts, neighbours included."""
    table = read_shards(folder, job.texts)
    return dataclasses.replace(table, neighbours=job.neighbours(table.asked_of_vectors()))


@dataclass
class Counts:
    """What the manifest tells."""

    rows: int = 0
    original_rows: int = 0
    words: int = 0
    """words of all copies that were drawn, also of those left out because another row equals them"""
    eligible: int = 0
    replaced: int = 0


def _write_rows(job: Job, folder: Path) -> None:
    """Write train.parquet, the other splits and the manifest."""
    import pyarrow
    import pyarrow.parquet

    counts, features = Counts(), _features(job)
    table = table_of(job, folder / "candidates")
    with new_file(folder / "train.parquet") as temporary:
        schema = features.arrow_schema
        with pyarrow.parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for block in _blocks(job, table, counts):
                writer.write_table(pyarrow.Table.from_pydict(block, schema=schema))
    for name, split in job.splits.items():
        if name != "train":
            with new_file(folder / f"{name}.parquet") as temporary:
                split.to_parquet(temporary)
    write_json(
        folder / "manifest.json",
        {
            "task": job.task.name,
            **dataclasses.asdict(counts),
            "share_of_eligible": counts.replaced / max(1, counts.eligible),
            "share_of_words": counts.replaced / max(1, counts.words),
            "samples": job.samples,
            "settings": job.settings.model_dump(mode="json"),
            "fingerprint": digest(json.dumps(job.identity, sort_keys=True).encode()),
        },
    )


def _features(job: Job) -> Features:
    from datasets import Features, Value

    added = {name: Value(kind) for name, kind in ADDED.items()}
    return Features({**job.splits["train"].features, **added})


def _blocks(job: Job, table: CandidateTable, counts: Counts) -> Iterator[dict[str, list[Any]]]:
    """The columns of the augmented split, some rows at a time; `counts` is kept up."""
    train, texts_in = job.splits["train"], job.task.columns
    number = {text: index for index, text in enumerate(job.texts)}
    rest = [name for name in train.column_names if name not in texts_in]
    for begin in range(0, len(train), BLOCK):
        source = train[begin : begin + BLOCK]
        columns: dict[str, list[Any]] = {name: [] for name in (*train.column_names, *ADDED)}
        for offset, texts in enumerate(zip(*(source[column] for column in texts_in), strict=True)):
            slots = [table.slots_of(number[text]) for text in texts]
            drawn = copies_of(job, begin + offset, texts, slots)
            _count(job, counts, drawn, texts, slots)
            for row in rows_of(texts, texts_in, drawn, job.settings.pair_mode):
                counts.rows += 1
                counts.original_rows += row.sample == 0
                values = {name: source[name][offset] for name in rest}
                values |= dict(zip(texts_in, row.texts, strict=True))
                values |= {"source_row": begin + offset, "field": "+".join(row.fields)}
                values |= {"sample_index": row.sample, "is_augmented": row.sample > 0}
                for name, value in values.items():
                    columns[name].append(value)
        job.runtime.progress("rows", min(begin + BLOCK, len(train)), len(train), {})
        yield columns


def copies_of(job: Job, row: int, texts: tuple[str, ...], slots: list[Any]) -> list[list[Copy]]:
    """The copies of each text of a row.

    Args:
        row: its number in the training split, which the draws depend on.
        slots: for each text its eligible words with their candidates.
    """
    return [
        copies(text, own, draws(job.settings.seed, row, field, job.samples, len(own)), job.settings.replace_probability)
        for field, (text, own) in enumerate(zip(texts, slots, strict=True))
    ]


def _count(job: Job, counts: Counts, drawn: list[list[Copy]], texts: tuple[str, ...], slots: list[Any]) -> None:
    """Add the words of the copies of one row."""
    for text, own, made in zip(texts, slots, drawn, strict=True):
        counts.words += len(made) * len(job.analyser.words_of(text))
        counts.eligible += len(made) * len(own)
        counts.replaced += sum(copy.replaced for copy in made)


def sample(job: Job, count: int = 5) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Texts of the first rows that change, each with the texts of its first augmented row."""
    found = []
    train = job.splits["train"]
    first = train[: min(LOOKED_AT, len(train))]
    for row, texts in enumerate(zip(*(first[column] for column in job.task.columns), strict=True)):
        slots = [_with_neighbours(job, text, own) for text, own in zip(texts, job.slots_of(texts), strict=True)]
        rows = rows_of(texts, job.task.columns, copies_of(job, row, texts, slots), job.settings.pair_mode)
        found += [(texts, made.texts) for made in rows if made.sample][:1]
        if len(found) == count:
            break
    return found


def _with_neighbours(job: Job, text: str, slots: list[Slot]) -> list[Any]:
    neighbours = job.neighbours([text[slot.start : slot.end] for slot in slots if slot.candidates is None])
    return [
        (
            slot.start,
            slot.end,
            neighbours.get(text[slot.start : slot.end], ()) if slot.candidates is None else slot.candidates,
        )
        for slot in slots
    ]


def _show(job: Job) -> None:
    if job.runtime.say is Runtime().say:  # nobody listens
        return
    shown = sample(job)
    if not shown:
        job.runtime.say(f"None of the first {LOOKED_AT} rows has a word that would be replaced.")
    for original, new in shown:
        job.runtime.say(f"  {' | '.join(original)}\n> {' | '.join(new)}")
