"""The files of a TensorFlow checkpoint: where they are, and what TensorFlow's own reader makes of them."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bertpress.errors import RequestError, beside

if TYPE_CHECKING:
    import numpy as np

    from bertpress.importing.reading import Request

Variables = Mapping[str, "np.ndarray"]

OPTIMIZER = re.compile(r"(.*/)?(global_step|(adam|lamb)_[mv]|Adam(_1)?|beta[12]_power)")
"""Names of what only a training needs."""


def find_checkpoint(given: Path) -> tuple[Path, Path]:
    """The folder, and the path that the checkpoint's files begin with, that a user's path stands for.

    Args:
        given: a folder with one checkpoint, or with several and the file ``checkpoint`` that names the last; or the
            path of a checkpoint, with or without the ending of one of its files.

    Raises:
        RequestError: no checkpoint, or several and nothing that chooses.
    """
    if given.is_dir():
        return given, _in_folder(given)
    prefix = given.with_name(re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", given.name))
    if not _index(prefix).is_file():
        raise RequestError(
            f"There is no TensorFlow checkpoint {prefix} (no {_index(prefix).name}){beside(given)}; give its "
            "folder, or its path without an ending."
        )
    return prefix.parent, prefix


def _index(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.index")


def _in_folder(folder: Path) -> Path:
    named = folder / "checkpoint"
    last = re.search(r'^model_checkpoint_path: *"(.+)"', named.read_text("utf-8") if named.is_file() else "", re.M)
    if last:
        prefix = folder / re.split(r"[/\\]", last[1])[-1]  # its folder may be that of another machine
        if not _index(prefix).is_file():
            raise RequestError(
                f"{named} names {prefix.name}, of which there is no {_index(prefix).name} beside it: put it there."
            )
        return prefix
    there = sorted(folder.glob("*.index"))
    if len(there) > 1:
        names = ", ".join(file.stem for file in there[:4])
        raise RequestError(f"{folder} holds {len(there)} checkpoints ({names}); give the path of one instead.")
    if not there:
        raise RequestError(
            f"There is no TensorFlow checkpoint in {folder} (no file that ends with .index): give the folder of one."
        )
    return there[0].with_suffix("")


def find_config(request: Request) -> Path:
    """The file bert_config.json, or one whose name has more than that: beside the checkpoint, above it, or where the
    tokenizer is.

    Raises:
        RequestError: there is none, or several in one folder.
    """
    named = Path(request.tokenizer) if request.tokenizer is not None else request.folder
    for place in (request.folder, request.folder.absolute().parent, named.parent if named.is_file() else named):
        there = sorted(place.glob("*bert_config*.json"))
        if len(there) > 1:
            raise RequestError(f"{place} holds {len(there)} files *bert_config*.json; leave the one that fits.")
        if there:
            return there[0]
    raise RequestError(
        f"There is no bert_config.json in {request.folder} or above it; put it there, or name the folder that has it "
        "and vocab.txt with --tokenizer."
    )


def read_variables(prefix: Path) -> Variables:
    """All variables but those of optimizers, by TensorFlow's reader; no graph is built, nothing is run.

    Raises:
        RequestError: TensorFlow is not installed, or its reader refuses the files.
    """
    with _silenced():
        try:
            import tensorflow
        except ImportError:
            raise RequestError(
                'Reading a TensorFlow checkpoint needs TensorFlow; run: pip install "bertpress[tensorflow]"'
            ) from None
        try:
            reader = tensorflow.train.load_checkpoint(str(prefix))
            names = [name for name in reader.get_variable_to_shape_map() if not OPTIMIZER.fullmatch(name)]
            return {name: reader.get_tensor(name) for name in names}
        except Exception as error:  # whatever a broken file makes the reader raise
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise RequestError(
                f"{prefix} is no readable TensorFlow checkpoint ({first}): copy its files anew."
            ) from None


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Without standard error of the process: TensorFlow writes there before it has read how much to say."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
