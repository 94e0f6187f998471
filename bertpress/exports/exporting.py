"""From a model to an export folder, whole or not at all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError
from bertpress.exports import GRAPH, RECORD, SCHEMA, OnnxExport, is_export, read_record
from bertpress.exports.adapter import PACKAGES, require_packages
from bertpress.exports.card import card
from bertpress.exports.making import Making, Source
from bertpress.files import content_digest, new_folder, usable, write_json, write_text
from bertpress.models import skips_tokens

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from bertpress.tasks.task import Task


def export(
    source: Source, wanted: OnnxExport, out: Path, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Write an export folder, or find that it is there; what its record says.

    Args:
        source: a model on the CPU, and perhaps a task.
        out: the folder; one that holds the same export is left as it is.

    Raises:
        RequestError: something is missing, or `out` is taken.
        AnswerNo: int8 loses more than is allowed.
        RuntimeError: the model cannot be traced, or the graph does not say what the model says.
    """
    require_packages()
    check_request(wanted, source.task, source.model.config)
    source.model.eval()
    request = {"format": wanted.name, **wanted.model_dump(mode="json"), "sources": source.identity(wanted)}
    with usable(out):
        is_there = _holds(out, request)
    if is_there:
        say(f"{out} holds this export already")
        return read_record(out)
    began = time.perf_counter()
    with _new_export(out) as folder:
        work = folder / "work"
        work.mkdir()
        made = Making(source, wanted, folder, work, say).run()
        shutil.rmtree(work)
        record = {
            "schema": SCHEMA,
            "source": source.name,
            "request": request,
            **made,
            "files": _digests(folder),
            "seconds": time.perf_counter() - began,
            "versions": _versions(),
        }
        write_text(folder / "README.md", card(source.name, source.model, record, source.kind))
        write_json(folder / RECORD, record)
    return record


def check_request(wanted: OnnxExport, task: Task | None, config: PretrainedConfig) -> None:
    """Refuse what a model could not be exported to.

    Args:
        task: gives the rows; None where there is none, or the model has no head for it.
        config: of the model.

    Raises:
        RequestError: says what is missing.
    """
    if wanted.execution == "masked" and not skips_tokens(config):
        raise RequestError("The model skips no tokens, so there are none to hide; leave out execution masked.")
    if task is None:
        if wanted.needs_task:
            what = "max_drop" if wanted.max_drop is not None else "static calibration"
            raise RequestError(f"{what} needs rows of a task; name it with --task.")
        return
    if wanted.needs_task and "train" not in task.splits:
        raise RequestError(
            f"{task.name} has no training rows to measure ranges and sensitivities on; it has {', '.join(task.splits)}."
        )
    if wanted.max_drop is not None and not task.has_labels(task.dev_split):
        raise RequestError(f"max_drop compares scores, but the {task.dev_split} rows of {task.name} have no labels.")


def _fields(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request's own fields and those of its sources."""
    own = {name: value for name, value in request.items() if name != "sources"}
    return {**own, **request.get("sources", {})}


def _holds(out: Path, request: Mapping[str, Any]) -> bool:
    """True if `out` holds this very export, False if it can be taken.

    Raises:
        RequestError: it holds something else.
    """
    if is_export(out):
        record = read_record(out)
        there, asked = _fields(record.get("request", {})), _fields(request)
        differing = [name for name in asked if there.get(name) != asked[name]]
        if differing:
            raise RequestError(f"{out} holds another export (other {', '.join(differing)}); choose another --out.")
        now, noted = _digests(out), record.get("files", {})
        if changed := sorted(name for name in noted if now.get(name) != noted[name]):
            raise RequestError(f"{out} is damaged ({', '.join(changed)} changed since); delete it and export again.")
        return True
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(f"{out} holds files that are no export; choose a new or an empty folder for --out.")
    return False


def _digests(folder: Path) -> dict[str, str]:
    """Of the files that an export is run with."""
    files = [*folder.glob(f"{GRAPH}*"), *folder.glob("*.json")]
    return {file.name: content_digest(file) for file in sorted(files) if file.name not in (RECORD, "result.json")}


@contextmanager
def _new_export(out: Path) -> Iterator[Path]:
    """A folder that takes its name when it is complete.

    Raises:
        RequestError: it cannot be made.
    """
    with ExitStack() as stack:
        with usable(out):
            folder = stack.enter_context(new_folder(out))
        yield folder


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("bertpress", "torch", "transformers", *PACKAGES)}
