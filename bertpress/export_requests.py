"""What `export` asks for: a model and perhaps a task, opened on the CPU; the command as a function."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertpress.errors import RequestError
from bertpress.opening import Speed, open_model, open_whole
from bertpress.recipe import MAX_LENGTH, TaskSpec
from bertpress.run import Runtime


def export(
    model: str,
    out: str | Path,
    *,
    format: str = "onnx",
    task: str | Mapping[str, Any] | TaskSpec | None = None,
    max_length: int = MAX_LENGTH,
    limit: Mapping[str, int] | None = None,
    runtime: Runtime | None = None,
    head_labels: tuple[str, ...] | None = None,
    profile: str | None = None,
    token_threshold: float | Sequence[float] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Write a model for another runtime; what the export says of itself, as in its ``export.json``.

    Args:
        model: folder, run, or hub name.
        out: the folder; one that holds the same export is left as it is.
        format: a key of `exports.EXPORTS`.
        task: rows to compare, score and time the export on; int8 may need its training rows.
        settings: of the format, such as ``precision="int8"``.

    Raises:
        RequestError: the request was wrong; nothing was written.
        AnswerNo: int8 loses more than `max_drop`.
    """
    from bertpress import exports
    from bertpress.exports import exporting, making
    from bertpress.loading import load_tokenizer

    wanted = exports.of_format(format, settings)
    if exports.is_export(model):
        raise RequestError(f"{model} is an export already; give the model that it was made of.")
    runtime, speed = dataclasses.replace(runtime or Runtime(), device="cpu"), Speed(profile, token_threshold)
    data = None
    if task is None:
        loaded = open_whole(model, runtime, speed)
    else:
        loaded, data = open_model(model, task, max_length, limit, runtime, head_labels, speed)
    tokenizer = load_tokenizer(model, runtime.trust_remote_code) if data is None else data.tokenizer
    source = making.Source(model, loaded, tokenizer, data, runtime.threads)
    return exporting.export(source, wanted, Path(out), runtime.say)
