"""The base of every configuration: frozen, unknown fields refused with the nearest known name, one-key choices.

A choice between classes is written in YAML as a mapping with one key, ``rate: {linear: {base: 0.3}}``, and in Python
as an instance, ``rate=Linear(base=0.3)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError, model_validator

from bertpress.errors import RequestError, nearest

C = TypeVar("C", bound="Config")


class Config(BaseModel):
    """A frozen set of named values; the string below a field is its help text."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            for name in values:
                if name not in cls.model_fields:
                    raise ValueError(f"unknown field '{name}'{nearest(str(name), list(cls.model_fields))}")
        return values


def build(cls: type[C], values: Mapping[str, Any], where: str = "") -> C:
    """Construct `cls` from plain values.

    Raises:
        RequestError: names the field, what was expected and what came.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        wrong = error.errors()
        # A list whose only item is wrong also counts as too short, which would send the reader the wrong way.
        causes = [item for item in wrong if item["type"] != "too_short"] or wrong
        raise RequestError("; ".join(_sentence(item, where) for item in causes)) from None


def _sentence(error: Mapping[str, Any], where: str) -> str:
    path = ".".join(str(part) for part in (where, *error["loc"]) if part != "")
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "model_type":
        message = "expected fields with values, such as {epochs: 3}"
    came = error.get("input")
    if isinstance(came, Mapping) and "type" in str(error["type"]):
        return f"{path}: {message}, got fields ({', '.join(map(str, came))})"
    shown = f" (got {came!r})" if isinstance(came, str | int | float | bool | None) and "got" not in message else ""
    return f"{path}: {message}{shown}" if path else f"{message}{shown}"


def choice(classes: Mapping[str, type[Config]]) -> tuple[BeforeValidator, PlainSerializer]:
    """Annotations for a field that holds an instance of one of `classes`."""

    def parse(value: Any) -> Any:
        if isinstance(value, str):
            value = {value: {}}
        if not isinstance(value, Mapping):
            return value
        if len(value) != 1:
            raise ValueError(f"expected one of {', '.join(classes)} as the only key, got {list(value)}")
        ((name, fields),) = value.items()
        if name not in classes:
            raise ValueError(f"unknown choice '{name}'{nearest(str(name), list(classes))}")
        return build(classes[name], fields or {}, where=str(name))

    def dump(value: Config) -> dict[str, Any]:
        name = next(name for name, cls in classes.items() if type(value) is cls)
        return {name: value.model_dump(mode="json")}

    return BeforeValidator(parse), PlainSerializer(dump)
