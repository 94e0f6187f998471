"""What a name on the command line stands for where results are compared: a run, a step, an export, a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpress.comparison.certificate import Certificate
from bertpress.comparison.pairing import BASELINE, of_export, over_cells
from bertpress.errors import RequestError
from bertpress.files import best_cell, is_sweep
from bertpress.recipe import MAX_LENGTH
from bertpress.reports.recorded import cells_of, planned_folders, read_mapping, read_result, results_of
from bertpress.values import mapping, number, words


@dataclass(frozen=True)
class Side:
    """A result of a run, as it lies on disk."""

    name: str
    place: Path
    """the folder of its result.json and its predictions"""
    recipe: Mapping[str, Any]
    result: dict[str, Any]

    @property
    def model(self) -> str:
        """What loads it; a start model lies where its recipe says, or in the step that fine-tuned it."""
        if of_export(self.place):
            return str(self.place)
        tuned = self.place.parent / "00-finetune" / "model"
        if self.place.name == "start" and not tuned.is_dir():
            return words(self.recipe.get("model"))
        return str(tuned if self.place.name == "start" else self.place / "model")

    @property
    def max_length(self) -> int:
        """Longest input that it reads, in tokens."""
        return int(number(self.recipe, "max_length") or MAX_LENGTH)

    @property
    def head_labels(self) -> tuple[str, ...] | None:
        """Names of the start model's outputs, where its recipe had to tell."""
        labels = self.recipe.get("head_labels") if self.place.name == "start" else None
        return tuple(map(words, labels)) if isinstance(labels, list) else None


def side_of(name: str) -> Side:
    """A run's last export or finished step, that of a sweep's best cell, or the step or export whose folder is named.

    Raises:
        RequestError: there is no such result.
    """
    path = Path(name)
    if is_sweep(path):
        return side_of(str(best_cell(path)))
    if (path / "recipe.yaml").is_file():
        recipe = read_mapping(path / "recipe.yaml")
        named = [row for row in results_of(path, planned_folders(recipe)) if row[0] != BASELINE]
        tuned = named if planned_folders(recipe)[:1] == ["00-finetune"] else []  # such a step is listed as the start
        steps = [row for row in named if row[0] != "start"] or tuned
        if not steps:
            raise RequestError(f"The run {name} has no finished step yet; run its command again to finish it.")
        return Side(name, path / steps[-1][1], recipe, steps[-1][2])
    run = path.parent.parent if of_export(path) else path.parent
    if (path / "result.json").is_file() and (run / "recipe.yaml").is_file():
        return Side(name, path, read_mapping(run / "recipe.yaml"), read_result(path / "result.json"))
    raise RequestError(
        f"{name} is neither a run with a finished step nor the folder of a step, so it holds no predictions to "
        "compare; name the task with --task to score both models on it now."
    )


def last_of(name: str) -> str:
    """Of a run what it gives last, an export if it has one, as without a task; anything else as it is."""
    return side_of(name).model if (Path(name) / "recipe.yaml").is_file() or is_sweep(Path(name)) else name


def over_seeds(found: Certificate, sweep: Path) -> dict[str, Any] | None:
    """What the certificate of a sweep's best cell says, for all cells: their differences to the same other model."""
    split, metric = found["split"], mapping(found, "test").get("metric")
    against = ("start", "", {"metrics": {split: {metric: number(found["costs"][0], "score")}}})
    cells = []
    for settings, named in cells_of(sweep):
        steps = [row for row in named if row[0] != "start"]
        tuned = [("finetune", place, result) for _, place, result in named]  # such a step is listed as the start
        cells.append((settings, [against, *(steps or tuned)]))
    return over_cells(cells, split, metric)
