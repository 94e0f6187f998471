"""The files that the GLUE leaderboard takes: one per test set, named and spelled as it demands."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from bertpress.errors import RequestError
from bertpress.files import new_file, write_text
from bertpress.tasks.data import to_scores
from bertpress.tasks.glue import GLUE, GlueTask, glue_key

ARCHIVE = "submission.zip"


def write_submission(
    name: str, split: str, predictions: Sequence[str] | Sequence[float], folder: str | Path, zip: bool = False
) -> tuple[list[Path], list[str]]:
    """Write the official file of a test split.

    Args:
        name: The GLUE task, "mrpc" or "glue/mrpc".
        split: "test", or "test_mismatched" of MNLI.
        predictions: Names of labels, or scores of STS-B, in the order of the rows.
        folder: Where the file goes; it is created.
        zip: Also pack every official file that the folder holds into submission.zip.

    Returns:
        The paths written, and remarks on what the leaderboard would refuse.
    """
    task = GLUE[glue_key(name)]
    folder = Path(folder)
    if split not in task.files:
        splits = " or ".join(task.files)
        raise RequestError(f"Expected {splits} as the split of a submission for {name}, got '{split}': predict that.")
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"Expected a folder at {folder}, found a file: give another folder.")
    file, size = task.files[split]
    answers = _answers(task, predictions, file)
    rows = [f"{index}\t{answer}\n" for index, answer in enumerate(answers)]
    paths = [folder / file]
    write_text(paths[0], "".join(["index\tprediction\n", *rows]))
    notes = [] if len(rows) == size else [f"{file} has {len(rows)} rows, the leaderboard expects {size}"]
    if zip:
        paths.append(folder / ARCHIVE)
        notes += _pack(folder)
    return paths, notes


def _answers(task: GlueTask, predictions: Sequence[str] | Sequence[float], file: str) -> list[str]:
    if not task.labels:
        scores = to_scores(predictions, lambda row: f"row {row + 1} of {file}")
        return [f"{min(5.0, max(0.0, score)):.3f}" for score in scores]
    answers: dict[object, str] = dict(zip(task.labels, task.answers or task.labels, strict=True))
    for row, prediction in enumerate(predictions, start=1):
        if prediction not in answers:
            known = ", ".join(task.labels)
            raise RequestError(f"Expected one of {known} in row {row} of {file}, got {prediction!r}: give label names.")
    return [answers[prediction] for prediction in predictions]


def _pack(folder: Path) -> list[str]:
    """Zip the official files of `folder`; a remark on those that are missing."""
    official = [file for task in GLUE.values() for file, _ in task.files.values()]
    with new_file(folder / ARCHIVE) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in official:
            if (folder / file).is_file():
                archive.write(folder / file, file)
    missing = [file for file in official if not (folder / file).is_file()]
    return [f"{ARCHIVE} lacks {', '.join(missing)}; the leaderboard wants all {len(official)} files"] if missing else []
