"""Whether a folder may be taken for a run: a new one, or one that goes on with the same recipe on the same data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bertpress.errors import RequestError
from bertpress.files import changed_files, read_json, usable, write_json, write_text

if TYPE_CHECKING:
    from bertpress.recipe import Recipe


LOCK = ".lock"
"""Held by the command that works on a run; other files are replaced, which would give their lock away."""


def check_run(folder: Path, recipe: Recipe) -> bool:
    """True if `folder` holds this recipe already, False if it can be taken for it.

    Raises:
        RequestError: the folder holds another recipe (with the differing fields), or other files.
    """
    with usable(folder):
        file = folder / "recipe.yaml"
        if file.is_file():
            old, new = _identity_on_disk(file), recipe.identity()
            differing = [path for path in {**old, **new} if old.get(path) != new.get(path)]
            if differing:
                shown = "; ".join(f"{path}: {old.get(path)} there, {new.get(path)} now" for path in differing[:6])
                raise RequestError(f"{folder} holds the run of another recipe ({shown}); choose another --out.")
            return True
        if folder.exists() and not folder.is_dir():
            raise RequestError(f"{folder} is a file; --out expects a folder.")
        if folder.is_dir() and any(not may_stand_there(entry.name) for entry in folder.iterdir()):
            raise RequestError(f"{folder} holds files that are not a run; choose a new or an empty folder for --out.")
    return False


def make_folder(folder: Path) -> None:
    """Make a folder for what a command writes, if it is not there.

    Raises:
        RequestError: it cannot be made.
    """
    with usable(folder):
        folder.mkdir(parents=True, exist_ok=True)


def open_run(folder: Path, recipe: Recipe, sources: Mapping[str, str] | None = None) -> bool:
    """Take `folder` for `recipe`; True if it holds it already, to be resumed.

    Args:
        sources: path to digest of each file that the data come from.

    Raises:
        RequestError: what `check_run` says, the folder cannot be made, or it holds a run on what was in these files
            before they were edited.
    """
    resumed = check_run(folder, recipe)
    if not resumed:
        make_folder(folder)
        write_text(folder / "recipe.yaml", recipe.to_yaml())
    (folder / LOCK).touch()
    if sources:
        same_sources(folder / "sources.json", sources)
    return resumed


def note_recipe(folder: Path, recipe: Recipe) -> None:
    """Let a run's folder hold this recipe, which may differ from what is there in its budget."""
    if (folder / "recipe.yaml").read_text(encoding="utf-8") != recipe.to_yaml():
        write_text(folder / "recipe.yaml", recipe.to_yaml())


def same_sources(file: Path, sources: Mapping[str, str]) -> None:
    """Note what the data files hold, or compare it with what was noted in `file`.

    Raises:
        RequestError: names the files that are not what they were.
    """
    if not file.is_file():
        write_json(file, dict(sources))
    elif changed := changed_files(read_json(file), sources):
        raise RequestError(
            f"{file.parent} was begun with other data: {', '.join(changed[:5])} changed since; put back what was "
            "there, or choose another --out."
        )


def may_stand_there(name: str) -> bool:
    """What a folder may hold before it becomes a run: the rest of a cut-off start, and a model made for it."""
    return name.startswith((".recipe.yaml", ".untrained", LOCK)) or name == "untrained"


def _identity_on_disk(file: Path) -> dict[str, Any]:
    from bertpress.recipe import flatten, make_recipe

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        values = None
    if not isinstance(values, dict):
        raise RequestError(f"{file} is not a recipe; choose another --out or delete the folder.")
    try:
        return make_recipe(values).identity()  # with the defaults of fields that there were not yet
    except RequestError:
        return dict(flatten(values))
