"""What `bertpress list` and `bertpress show` print."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from bertpress.config import Config
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
    about = inspect.cleandoc(getattr(module, "__doc__", "") or "")
    return "\n".join([about, "", "Fields:", *_fields(method, None, "", set())])


def _fields(kind: type[Config], group: Config | None, prefix: str, known: set[type[Config]]) -> Iterator[str]:
    """Each field with its default and what it means; behind a group its own fields, of equal groups those of the first.

    Args:
        group: gives the defaults; None takes the class's.
        prefix: where `--set` finds them.
        known: classes of groups that were described; added to.
    """
    for name, field in kind.model_fields.items():
        default = field.default if group is None else getattr(group, name)
        opens = isinstance(default, Config) and type(default) not in known
        value = "" if opens else f" = {_shown(default)}"
        yield f"  {prefix}{name}{value}\n      {' '.join((field.description or '').split())}"
        if opens:
            known.add(type(default))
            yield from _fields(type(default), default, f"{prefix}{name}.", known)


def _shown(default: Any) -> str:
    return default.model_dump_json() if hasattr(default, "model_dump_json") else str(default)
