"""Checkpoints of the original programs, made into ordinary model folders: a file per original."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bertpress.errors import RequestError, nearest
from bertpress.importing.reading import Request, find_files
from bertpress.importing.theseus import import_theseus
from bertpress.importing.tinybert import import_tinybert

SOURCES: dict[str, Callable[[Request], list[str]]] = {"theseus": import_theseus, "tinybert": import_tinybert}


def import_model(
    checkpoint: Path,
    source: str,
    out: Path,
    tokenizer: str | None = None,
    head_labels: tuple[str, ...] | None = None,
    keep_head: bool = False,
) -> list[str]:
    """Make an ordinary model folder of an original's checkpoint.

    Args:
        checkpoint: the folder with the original's config.json and pytorch_model.bin, or the file of weights in it.
        source: which original; a key of `SOURCES`.
        out: a folder that does not exist or is empty.
        tokenizer: where the tokenizer is, if neither beside the checkpoint nor in the folder above.
        head_labels: names of the head's outputs, in its order.
        keep_head: take a head over although a stock model computes something else with it (TinyBERT).

    Returns:
        remarks on what was taken.

    Raises:
        RequestError: not such a checkpoint, no tokenizer, other labels, or `out` is taken.
    """
    if source not in SOURCES:
        raise RequestError(f"There is no import from '{source}'{nearest(source, list(SOURCES))}.")
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise RequestError(f"{out} is not empty; choose a new folder for --out.")
    folder, weights = find_files(checkpoint)
    return SOURCES[source](Request(folder, weights, out, tokenizer, head_labels, keep_head))
