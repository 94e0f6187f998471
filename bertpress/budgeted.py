"""Whether a finished run meets the budget of its recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bertpress.goals import missed as missed_of
from bertpress.recipe import make_recipe, parse_yaml


def missed(folder: str | Path) -> list[str]:
    """What the result of a run lacks of its budget, a sentence each; nothing if it meets it, or has none.

    A swept run stands for its best cell.
    """
    run = Path(folder)
    if (run / "summary.json").is_file():
        run /= _read(run / "summary.json")["best"]
    recipe = make_recipe(parse_yaml((run / "recipe.yaml").read_text(encoding="utf-8"), f"{run}/recipe.yaml"))
    if recipe.budget is None:
        return []
    last = f"{len(recipe.steps) - 1:02d}-{recipe.steps[-1].name}"
    return missed_of(recipe.budget, _read(run / "start" / "result.json"), _read(run / last / "result.json"))


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))
