"""What `search` asks for, as a recipe: one yoco step that searches a super-network instead of training one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertpress.recipe import make_recipe, read_recipe, task_values

if TYPE_CHECKING:
    from bertpress.api import Result
    from bertpress.engine.run import Runtime

CARRIED = ("max_length", "limit", "precision", "head_labels")
"""Fields of the recipe that trained a super-network which a search of it goes on with."""
LEARNING = ("learning", "learning_step", "exploit", "learn_from_explored")
"""Fields of its step that the search's distribution learns by."""


def recipe_values(run: str, task: Any = None, **fields: Any) -> dict[str, Any]:
    """The plain values of the recipe that searches a run's super-network, with that run's settings of space and search.

    Args:
        run: a run with a yoco step, or the folder of a super-network.
        task: plain values; default the task of the run.
        fields: of the yoco step.

    Raises:
        RequestError: there is no super-network.
    """
    from bertpress.methods.yoco.super_network import find_super_network

    folder = find_super_network(run)
    recipe = folder.parents[2] / "recipe.yaml"  # RUN/NN-yoco/supernet/model
    if not recipe.is_file():
        return {"model": str(folder), "task": task, "steps": [{"yoco": {"super_network": run, **fields}}]}
    trained = read_recipe(str(recipe))
    number = int(folder.parents[1].name[:2])
    own = trained["steps"][number]["yoco"]
    settings = {**own["search"], "rounds": None, **fields.pop("search", {})}
    space = {**own["space"], **fields.pop("space", {})}
    learning = {name: own[name] for name in LEARNING}
    step = {"yoco": {"super_network": run, **learning, **fields, "space": space, "search": settings}}
    model = trained["model"]
    if number:
        (before,) = trained["steps"][number - 1]
        model = str(folder.parents[2] / f"{number - 1:02d}-{before}" / "model")
    carried = {name: trained[name] for name in CARRIED if trained.get(name)}
    return {**carried, "model": model, "task": trained["task"] if task is None else task, "steps": [step]}


def search(
    run: str | Path,
    out: str | Path,
    *,
    task: str | Mapping[str, Any] | None = None,
    runtime: Runtime | None = None,
    seed: int = 1,
    rounds: int | None = None,
    **fields: Any,
) -> Result:
    """Find the best sub-network of a trained super-network within a budget, and make it a model of its own.

    Args:
        run: a run with a yoco step, or the folder of a super-network.
        out: the new run's folder; resumed if it holds the same search.
        task: a task's name, or a mapping that says where your own data are; default the task of the run.
        runtime: device, threads, progress.
        rounds: of the search; 0 answers from what an earlier one has looked at.
        **fields: of the method: the budget (``parameters="15M"``, ``macs="40%"``, ``flops``, ``latency_ms``; none of
            them: the whole front), ``servable`` and so on.

    Raises:
        RequestError: the request was wrong; nothing was written.
        AnswerNo: no sub-network is within the budget; names the nearest that is.
    """
    from bertpress import api

    if rounds is not None:
        fields["search"] = {**fields.get("search", {}), "rounds": rounds}
    values = recipe_values(str(run), None if task is None else task_values(task), **fields)
    return api.run_recipe(make_recipe({**values, "seed": seed}), out, runtime)
