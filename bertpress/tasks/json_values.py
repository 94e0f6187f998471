"""Values of objects in files: each as what it should be, or an error that names its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bertpress.errors import RequestError, similar
from bertpress.tasks.data import without_halves


def wrong_value(expected: str, came: Any, place: str) -> RequestError:
    """The error for a value that is something else."""
    return RequestError(f"Expected {expected}, but {place} has {str(came)[:40]!r}: correct it.")


def as_text(value: Any, expected: str, place: str) -> str:
    """A value that has to be a text.

    Raises:
        RequestError: it is something else than `expected`.
    """
    if not isinstance(value, str):
        raise wrong_value(expected, value, place)
    return value


def text_at(row: Mapping[str, Any], name: str, place: str) -> str:
    """The text under a name.

    Raises:
        RequestError: there is something else, or nothing.
    """
    return as_text(row.get(name), f"a text as '{name}'", place)


def as_list(value: Any, name: str, place: str) -> list[Any]:
    """A value that has to be a list.

    Raises:
        RequestError: it is something else.
    """
    if not isinstance(value, list):
        raise wrong_value(f"a list as '{name}'", value, place)
    return value


def list_at(row: Mapping[str, Any], name: str, place: str) -> list[Any]:
    """The list under a name.

    Raises:
        RequestError: there is something else, or nothing.
    """
    return as_list(row.get(name), name, place)


def as_whole_number(value: Any, place: str, expected: str = "a whole number") -> int:
    """A value that has to be a whole number; files write some as 3.0.

    Raises:
        RequestError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value % 1:
        raise wrong_value(expected, value, place)
    return int(value)


def identity_at(row: Mapping[str, Any], names: Iterable[str], place: str) -> str | None:
    """The first id under these names; None where they are blank.

    Raises:
        RequestError: a list or an object.
    """
    value = next((row[name] for name in names if row.get(name) not in (None, "")), None)
    if isinstance(value, list | dict):
        raise wrong_value("an id", value, place)
    return None if value is None else without_halves(str(value))[0]


def require_names(row: Mapping[str, Any], names: Iterable[str], place: str) -> None:
    """Refuse a row of a table without these columns.

    Raises:
        RequestError: names the first one that is missing.
    """
    for name in names:
        if name not in row:
            known = f"{', '.join(row)}{similar(name, list(row))}"
            raise RequestError(f"Expected a column '{name}' in {place}, found {known}: name one of these.")
