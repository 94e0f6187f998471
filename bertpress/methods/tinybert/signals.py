"""What a teacher says of each text, computed once, stored, and read again in every epoch and by every student.

A store is a folder with two memory-mapped arrays per split: a record of half-precision numbers for each token (hidden
states, queries, keys, values, and logits of a head that answers for tokens) and float32 logits for each row.
Padding has no influence on either, so a row's record depends neither on the batch that it was computed in nor on the
order of the rows.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bertpress.encoders.scores import Captured
from bertpress.engine.evaluation import batches_by_length
from bertpress.engine.kernels import fastest_kernels
from bertpress.errors import RequestError
from bertpress.files import digest, locked, new_folder, read_json, write_json
from bertpress.fingerprints import tokenizer_digest, weights_digest
from bertpress.methods.tinybert.observing import Observed, Wanted, observe
from bertpress.tasks.heads import kept_settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bertpress.tasks.task import Task

Array = np.memmap[Any, Any]

KEY = "key.json"
FORMAT = 2
"""Goes up when the same selection would be stored otherwise."""
MOST_BYTES = 2 * 10**9
"""What `signals: auto` stores at most."""


def attention_parts(wanted: Wanted) -> tuple[str, ...]:
    """What of a layer's attention is stored."""
    return ("query", "key", "value") if wanted.values else ("query", "key")


@dataclass(frozen=True)
class Field:
    """A run of columns in a token's record."""

    part: str
    """hidden, query, key, value or logits"""
    layer: int
    width: int
    heads: int = 1
    scaling: float = 1.0
    window: int | None = None


class Signals:
    """A stored split of a teacher's signals."""

    def __init__(self, folder: Path, split: str) -> None:
        stored = read_json(folder / f"{split}.json")
        self.fields = [Field(**values) for values in stored["fields"]]
        self.rows = np.fromfile(folder / f"{split}.rows", np.int64)
        lengths = np.fromfile(folder / f"{split}.lengths", np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])
        width = sum(field.width for field in self.fields)
        tokens, logits = folder / f"{split}.tokens", folder / f"{split}.logits"
        self.tokens = np.memmap(tokens, np.float16, "r", shape=(self.offsets[-1], width)) if width else None
        shape = (len(self.rows), stored["outputs"])
        self.logits = np.memmap(logits, np.float32, "r", shape=shape) if stored["outputs"] else None

    def read(self, rows: Tensor, length: int, device: torch.device) -> Observed:
        """The signals of the rows of these numbers, padded with zeros to `length` tokens."""
        places = np.searchsorted(self.rows, rows.cpu().numpy())
        found = Observed()
        if self.logits is not None:
            found.logits = torch.from_numpy(self.logits[places]).to(device)
        if self.tokens is None:
            return found
        block = np.zeros((len(places), length, self.tokens.shape[1]), np.float16)
        for index, place in enumerate(places.tolist()):
            start, stop = self.offsets[place], self.offsets[place + 1]
            block[index, : stop - start] = self.tokens[start:stop]
        columns = torch.split(torch.from_numpy(block).to(device).float(), [one.width for one in self.fields], dim=-1)
        parts: dict[int, dict[str, Any]] = {}
        for field, column in zip(self.fields, columns, strict=True):
            if field.part == "hidden":
                found.hidden[field.layer] = column
            elif field.part == "logits":
                found.logits = column
            else:
                heads = column.reshape(*column.shape[:2], field.heads, -1).transpose(1, 2)
                settings = {"value": None, "scaling": field.scaling, "window": field.window}
                parts.setdefault(field.layer, settings)[field.part] = heads
        found.attention = {layer: Captured(**part) for layer, part in parts.items()}
        return found


def store(
    folder: Path, teacher: PreTrainedModel, task: Task, splits: list[str], wanted: Wanted, batch_size: int = 32
) -> dict[str, Signals]:
    """Compute and store the signals of `splits`, or open them where they are stored already.

    A folder serves one teacher, tokenizer and text; what was selected of its signals lies in a folder below it, so that
    students that look at other layers share the rest.

    Raises:
        RequestError: the folder holds signals of another teacher, tokenizer or text (names which), or another command
            is storing there.
    """
    key = key_of(teacher, task, splits)
    if not (folder / KEY).is_file():
        write_json(folder / KEY, key)
    stored = read_json(folder / KEY)
    if differing := [name for name, value in key.items() if stored.get(name) != value]:
        raise RequestError(
            f"{folder} holds the signals of another {' and another '.join(differing)}; name another folder."
        )
    below = folder / digest(json.dumps([FORMAT, asdict(wanted)]).encode())[:16]
    if not below.is_dir():
        with locked(folder / KEY) as alone:
            if not alone:
                raise RequestError(
                    f"Another command is storing signals in {folder}; wait for it or name another folder."
                )
            with new_folder(below) as temporary:
                for split in splits:
                    _write(temporary, teacher, task, split, wanted, batch_size)
    return {split: Signals(below, split) for split in splits}


def key_of(teacher: PreTrainedModel, task: Task, splits: list[str]) -> dict[str, str]:
    """What stored signals depend on, part by part."""
    texts = hashlib.sha256()
    for split in splits:
        rows = task.encoded(split)
        for start in range(0, len(rows), 1000):
            for ids in rows[list(range(start, min(start + 1000, len(rows))))]["input_ids"]:
                texts.update(np.asarray(ids, np.int32).tobytes() + b";")
    kept = task.noted(copy.deepcopy(teacher.config))  # such as the pooling of a text's vector
    reading = [task.kind, *task.inputs, kept_settings(kept, task.kind)]
    return {
        "teacher": weights_digest(teacher),
        "tokenizer": tokenizer_digest(task.tokenizer),
        "text": texts.hexdigest(),
        "task": digest(json.dumps(reading, sort_keys=True).encode()),
    }


def bytes_needed(teacher: PreTrainedModel, task: Task, splits: list[str], wanted: Wanted) -> int:
    """Size of a store."""
    width = int(teacher.config.hidden_size)
    outputs = width if task.head is None else int(teacher.config.num_labels)
    parts = len(wanted.hidden) + len(attention_parts(wanted)) * len(wanted.attention)
    tokens = sum(int(np.sum(task.encoded(split)["length"][:])) for split in splits)
    rows = sum(len(task.encoded(split)) for split in splits)
    answers = (2 * tokens if task.by_token else 4 * rows) * outputs
    return 2 * tokens * parts * width + answers * wanted.logits


def _write(folder: Path, teacher: PreTrainedModel, task: Task, split: str, wanted: Wanted, batch_size: int) -> None:
    """Write one split; rows of similar length are computed together, each is stored in its place."""
    encoded, device = task.encoded(split), teacher.device
    lengths = np.asarray(encoded["length"][:], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    numbers = np.empty(len(encoded), np.int64)
    fields: list[Field] | None = None
    tokens = logits = None
    with torch.inference_mode(), fastest_kernels(device):
        for chosen, batch in batches_by_length(task, encoded, device, batch_size):
            seen = observe(teacher, task, batch, wanted)
            numbers[chosen] = batch["row"].cpu().numpy()
            if fields is None:  # once: opening empties the files
                fields = _fields(seen, wanted)
                tokens, logits = _open(folder, split, seen, fields, int(offsets[-1]), len(encoded))
            if logits is not None and seen.logits is not None:
                logits[chosen] = seen.logits.float().cpu().numpy()
            if tokens is not None:
                block = torch.cat([_columns(seen, field) for field in fields], dim=-1).to(torch.float16)
                if not torch.isfinite(block).all():
                    raise RequestError("The teacher's signals do not fit into half precision; set signals to none.")
                for row, record in zip(chosen, block.cpu().numpy(), strict=True):
                    tokens[offsets[row] : offsets[row + 1]] = record[: lengths[row]]
    for array in (tokens, logits):
        if array is not None:
            array.flush()
    numbers.tofile(folder / f"{split}.rows")
    lengths.tofile(folder / f"{split}.lengths")
    outputs = 0 if logits is None else int(logits.shape[1])
    write_json(folder / f"{split}.json", {"outputs": outputs, "fields": [asdict(field) for field in fields or ()]})


def _fields(seen: Observed, wanted: Wanted) -> list[Field]:
    """The layout of a token's record."""
    fields = [Field("hidden", number, state.shape[-1]) for number, state in seen.hidden.items()]
    if seen.logits is not None and _by_token(seen):
        fields.append(Field("logits", 0, seen.logits.shape[-1]))
    for layer, found in seen.attention.items():
        heads, width = found.query.shape[1], found.query.shape[1] * found.query.shape[3]
        fields += [Field(part, layer, width, heads, found.scaling, found.window) for part in attention_parts(wanted)]
    return fields


def _by_token(seen: Observed) -> bool:
    """Whether the logits are of each token, (batch, length, outputs), and not of each row."""
    return seen.logits is not None and seen.logits.dim() == 3


def _open(
    folder: Path, split: str, seen: Observed, fields: list[Field], tokens: int, rows: int
) -> tuple[Array | None, Array | None]:
    """Empty arrays of the right size, reserved on disk at once, so that a full disk is noticed here."""
    width = sum(field.width for field in fields)
    outputs = 0 if seen.logits is None or _by_token(seen) else seen.logits.shape[-1]
    return (
        _reserved(folder / f"{split}.tokens", np.float16, (tokens, width)) if width else None,
        _reserved(folder / f"{split}.logits", np.float32, (rows, outputs)) if outputs else None,
    )


def _reserved(path: Path, kind: type[np.generic], shape: tuple[int, int]) -> Array:
    with path.open("wb") as file:
        size = max(1, shape[0] * shape[1] * np.dtype(kind).itemsize)
        if hasattr(os, "posix_fallocate"):  # Linux
            os.posix_fallocate(file.fileno(), 0, size)
    return np.memmap(path, kind, "r+", shape=shape)


def _columns(seen: Observed, field: Field) -> Tensor:
    """A field of every token, shape (batch, length, width)."""
    if field.part == "hidden":
        return seen.hidden[field.layer]
    if field.part == "logits":
        assert seen.logits is not None
        return seen.logits
    part: Tensor = getattr(seen.attention[field.layer], field.part)
    return part.transpose(1, 2).flatten(2)
