"""The methods, as a literal table. Importing it loads no torch."""

from __future__ import annotations

from bertpress.errors import RequestError, nearest
from bertpress.methods.finetune import Finetune
from bertpress.methods.method import Method
from bertpress.methods.theseus import Theseus
from bertpress.methods.tinybert import TinyBert
from bertpress.methods.trbert import TrBert
from bertpress.methods.vocabulary import Vocabulary
from bertpress.methods.yoco import Yoco

METHODS: tuple[type[Method], ...] = (Finetune, Theseus, TinyBert, TrBert, Yoco, Vocabulary)


def method_named(name: str) -> type[Method]:
    """The method class of that name.

    Raises:
        RequestError: no such method; the nearest name is suggested.
    """
    for method in METHODS:
        if method.name == name:
            return method
    raise RequestError(f"There is no method '{name}'{nearest(name, [method.name for method in METHODS])}.")
