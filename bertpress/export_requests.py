"""What `export` asks for: a model and perhaps a task, opened on the CPU; the command as a function."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertpress.errors import RequestError
from bertpress.opened.how_opened import OpeningAtSpeed, settled
from bertpress.opened.opening import open_model, open_whole
from bertpress.recipe import TaskSpec


def export(
    model: str,
    out: str | Path,
    *,
    format: str = "onnx",
    task: str | Mapping[str, Any] | TaskSpec | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Write a model for another runtime; what the export says of itself, as in its ``export.json``.

    Args:
        model: folder, run, or hub name.
        out: the folder; one that holds the same export is left as it is.
        format: a key of `exports.EXPORTS`.
        task: rows to compare, score and time the export on; int8 may need its training rows.
        options: settings of the format, such as ``precision="int8"``, and what `OpeningAtSpeed` has.

    Raises:
        RequestError: the request was wrong; nothing was written.
        AnswerNo: int8 loses more than `max_drop`.
    """
    from bertpress import exports
    from bertpress.engine.loading import load_tokenizer
    from bertpress.exports import exporting, making

    opening: Any = {name: options.pop(name) for name in OpeningAtSpeed.__optional_keys__ & options.keys()}
    wanted = exports.of_format(format, options)
    if exports.is_export(model):
        raise RequestError(f"{model} is an export already; give the model that it was made of.")
    runtime, speed, _ = settled(opening)
    runtime, data = dataclasses.replace(runtime, device="cpu"), None
    if task is None:
        if opening.get("limit") or opening.get("head_labels"):
            raise RequestError("--limit and --head-labels describe a task; name it with --task, or leave them out.")
        loaded = open_whole(model, runtime, speed)
    else:
        loaded, data = open_model(model, task, **{**opening, "runtime": runtime})
    tokenizer = load_tokenizer(model, runtime.trust_remote_code) if data is None else data.tokenizer
    source = making.Source(model, loaded, tokenizer, data, runtime.threads)
    return exporting.export(source, wanted, Path(out), runtime.say)
