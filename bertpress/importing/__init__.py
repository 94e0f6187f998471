"""Checkpoints of the original programs, made into ordinary model folders: a file per original."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bertpress.errors import RequestError, nearest
from bertpress.importing.reading import Request, find_files
from bertpress.importing.tensorflow import import_tensorflow
from bertpress.importing.tensorflow_files import find_checkpoint
from bertpress.importing.theseus import import_theseus
from bertpress.importing.tinybert import import_tinybert
from bertpress.importing.trbert import import_trbert

SOURCES: dict[str, tuple[Callable[[Path], tuple[Path, Path]], Callable[[Request], list[str]]]] = {
    "theseus": (find_files, import_theseus),
    "tinybert": (find_files, import_tinybert),
    "trbert": (find_files, import_trbert),
    "tensorflow": (find_checkpoint, import_tensorflow),
}
"""Original to what finds the folder and the weights that a user's path stands for, and what imports them."""


def import_model(
    checkpoint: Path,
    source: str,
    out: Path,
    tokenizer: str | None = None,
    head_labels: tuple[str, ...] | None = None,
    keep_head: bool = False,
    cased: bool | None = None,
) -> list[str]:
    """Make an ordinary model folder of an original's checkpoint.

    Args:
        checkpoint: the folder with the original's config.json and pytorch_model.bin, or the file of weights in it; for
            tensorflow the folder of a checkpoint, or the path of one without its ending.
        source: which original; a key of `SOURCES`.
        out: a folder that does not exist or is empty.
        tokenizer: where the tokenizer is, if neither beside the checkpoint nor in the folder above.
        head_labels: names of the head's outputs, in its order.
        keep_head: take a head over although a stock model computes something else with it (TinyBERT).
        cased: whether letters keep their case, where there is a vocab.txt and nothing else to tell; by default they do
            if the vocabulary has capital letters.

    Returns:
        remarks on what was taken.

    Raises:
        RequestError: not such a checkpoint, no tokenizer, other labels, or `out` is taken.
    """
    if source not in SOURCES:
        raise RequestError(f"There is no import from '{source}'{nearest(source, list(SOURCES))}.")
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise RequestError(f"{out} is not empty; choose a new folder for --out.")
    if keep_head and source != "tinybert":
        raise RequestError("--keep-head is for tinybert; from other originals a head is always kept.")
    find, make = SOURCES[source]
    folder, weights = find(checkpoint)
    return make(Request(folder, weights, out, tokenizer, head_labels, keep_head, cased))
