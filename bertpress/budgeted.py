"""Whether a finished run keeps to the budget of its recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bertpress.bounds import judged
from bertpress.certificate_sections import bound_line
from bertpress.errors import RequestError
from bertpress.recipe import make_recipe
from bertpress.recorded import read_mapping, row_of


def broken_bounds(folder: str | Path) -> list[str]:
    """What of its budget the result of a run does not keep, a line each; nothing if it keeps all, or has none.

    A swept run stands for its best cell, and a run with exports for the last of these.

    Raises:
        RequestError: a drop is limited, but nothing tells what was lost.
    """
    run = Path(folder)
    if (run / "summary.json").is_file():
        run /= str(read_mapping(run / "summary.json")["best"])
    recipe = make_recipe(read_mapping(run / "recipe.yaml"))
    if recipe.budget is None:
        return []
    last = f"{len(recipe.steps) - 1:02d}-{recipe.steps[-1].name}"
    if recipe.exports:
        last = f"export/{sorted(export.folder for export in recipe.exports)[-1]}"
    costs = [row_of(place, place, read_mapping(run / place / "result.json"), None, None) for place in ("start", last)]
    found: dict[str, Any] = {"costs": costs}
    if (run / "certificate.json").is_file():
        found["test"] = read_mapping(run / "certificate.json")["test"]
    elif recipe.budget.max_drop is not None:
        raise RequestError(f"{run} has no certificate, since nothing has labels; leave max_drop out of the budget.")
    return [bound_line(bound) for bound in judged(recipe.budget, found) if not bound["kept"]]
