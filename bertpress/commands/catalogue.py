"""What `bertpress list` and `bertpress show` print."""

from __future__ import annotations

import inspect
from typing import Any

from bertpress.errors import RequestError, nearest
from bertpress.methods import METHODS
from bertpress.methods.method import Method
from bertpress.recipe import shipped_recipes
from bertpress.tasks import KINDS, TASKS


def _tables() -> dict[str, dict[str, str]]:
    return {
        "methods": {method.name: inspect.cleandoc(method.__doc__ or "").splitlines()[0] for method in METHODS},
        "tasks": TASKS,
        "recipes": {name: text.splitlines()[0].lstrip("# ") for name, text in shipped_recipes().items()},
    }


def entries(what: str) -> list[tuple[str, str]]:
    """(name, one line) of every method, task or recipe.

    Raises:
        RequestError: `what` is none of the three.
    """
    tables = _tables()
    if what not in tables:
        raise RequestError(f"There is nothing called '{what}' to list{nearest(what, list(tables))}.")
    return list(tables[what].items())


def describe(name: str) -> str:
    """All there is to say about one method, task or recipe.

    Raises:
        RequestError: no such name; the nearest is suggested.
    """
    for method in METHODS:
        if method.name == name:
            return _method(method)
    if name in TASKS:
        kinds = KINDS.get(name, ())
        return f"{name}: {TASKS[name]}" + (f"\nkinds (--kind): {', '.join(kinds)}" if len(kinds) > 1 else "")
    recipes = shipped_recipes()
    if name in recipes:
        return recipes[name].rstrip()
    known = [key for table in _tables().values() for key in table]
    raise RequestError(f"There is no method, task or recipe '{name}'{nearest(name, known)}.")


def _method(method: type[Method]) -> str:
    module = inspect.getmodule(method)
    lines = [inspect.cleandoc(getattr(module, "__doc__", "") or ""), "", "Fields:"]
    for field, text, default in method.help():
        lines.append(f"  {field} = {_shown(default)}\n      {' '.join(text.split())}")
    return "\n".join(lines)


def _shown(default: Any) -> str:
    return default.model_dump_json() if hasattr(default, "model_dump_json") else str(default)
