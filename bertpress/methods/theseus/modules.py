"""Which predecessor layers each module holds, and where the successor's layers come from: pure functions.

Written form of an explicit plan: groups of layers separated by ``|``, each ``first-last``, with ``:n`` for n substitute
layers (default 1) and ``=`` for a group that is kept as it is: ``0-0=|1-4:2|5-11:3``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from bertpress.errors import RequestError

Initialisation = Literal["bottom", "top", "first_of_module", "last_of_module", "mean_of_module", "random"]
_GROUP = re.compile(r"(\d+)(?:-(\d+))?(?::(\d+)|(=))?")


@dataclass(frozen=True)
class Module:
    """Consecutive predecessor layers and the number of successor layers that take their place."""

    layers: tuple[int, ...]
    substitutes: int = 1
    kept: bool = False


def split_evenly(items: tuple[int, ...], parts: int) -> list[tuple[int, ...]]:
    """Cut `items` into consecutive parts whose sizes differ by at most one, the larger ones last.

    The first module of an encoder is the most sensitive one (arXiv 2002.02925, table 5), so it is the smaller.
    """
    small, larger = divmod(len(items), parts)
    sizes = [small] * (parts - larger) + [small + 1] * larger
    starts = [sum(sizes[:i]) for i in range(parts)]
    return [items[start : start + size] for start, size in zip(starts, sizes, strict=True)]


def even_modules(layers: int, successor_layers: int) -> list[Module]:
    """One substitute layer per module, the predecessor cut evenly.

    Raises:
        RequestError: fewer than one or more successor layers than the predecessor has.
    """
    if not 1 <= successor_layers <= layers:
        raise RequestError(
            f"successor_layers must lie between 1 and the predecessor's {layers} layers, got {successor_layers}."
        )
    return [Module(group) for group in split_evenly(tuple(range(layers)), successor_layers)]


def parse_modules(text: str, layers: int) -> list[Module]:
    """Modules of the written plan `text`, which must cover layers 0 to `layers` - 1 in order."""
    modules = []
    following = 0
    for group in text.split("|"):
        match = _GROUP.fullmatch(group.strip())
        if match is None:
            raise RequestError(f"modules: expected groups like '0-1', '2-5:2' or '6-7=', got '{group.strip()}'.")
        first, last = int(match[1]), int(match[2] or match[1])
        if first != following or last < first:
            raise RequestError(
                f"modules: group '{group.strip()}' should begin at layer {following} and not end before."
            )
        size = last - first + 1
        substitutes = size if match[4] else int(match[3] or 1)
        if not 1 <= substitutes <= size:
            raise RequestError(
                f"modules: group '{group.strip()}' of {size} layers cannot have {substitutes} substitutes."
            )
        modules.append(Module(tuple(range(first, last + 1)), substitutes, kept=bool(match[4])))
        following = last + 1
    if following != layers:
        raise RequestError(f"modules: '{text}' covers {following} layers, but the predecessor has {layers}.")
    if all(module.kept for module in modules):
        raise RequestError(f"modules: '{text}' keeps every group, so there is nothing to replace.")
    return modules


def sources(modules: list[Module], start: Initialisation | tuple[int, ...]) -> list[list[tuple[int, ...]]]:
    """For each module and each of its successor layers, the predecessor layers it starts from.

    One layer is copied, several are averaged, none means a fresh random layer.

    Raises:
        RequestError: an explicit list of another length or with layers that do not exist.
    """
    depth = sum(module.substitutes for module in modules)
    layers = modules[-1].layers[-1] + 1
    if not isinstance(start, str) and (len(start) != depth or not all(0 <= layer < layers for layer in start)):
        raise RequestError(f"initialisation must list {depth} layers between 0 and {layers - 1}, got {list(start)}.")
    position = 0
    chosen = []
    for module in modules:
        chunks = split_evenly(module.layers, module.substitutes)
        indices = range(position, position + module.substitutes)
        position += module.substitutes
        if module.kept:
            chosen.append(chunks)
        elif not isinstance(start, str):
            chosen.append([(start[index],) for index in indices])
        else:
            table: dict[str, list[tuple[int, ...]]] = {
                "bottom": [(index,) for index in indices],
                "top": [(layers - depth + index,) for index in indices],
                "first_of_module": [chunk[:1] for chunk in chunks],
                "last_of_module": [chunk[-1:] for chunk in chunks],
                "mean_of_module": chunks,
                "random": [()] * module.substitutes,
            }
            chosen.append(table[start])
    return chosen


def origins(modules: list[Module], start: Initialisation | tuple[int, ...]) -> list[tuple[int, ...]]:
    """For each layer of the successor, the predecessor layers it is made of; the first of them gives its form.

    A fresh random layer has the form of the first layer it stands for.
    """
    return [
        source or chunk[:1]
        for module, chosen in zip(modules, sources(modules, start), strict=True)
        for source, chunk in zip(chosen, split_evenly(module.layers, module.substitutes), strict=True)
    ]


def describe(modules: list[Module]) -> str:
    """The plan in its written form."""
    parts = []
    for module in modules:
        first, last = module.layers[0], module.layers[-1]
        suffix = "=" if module.kept else f":{module.substitutes}" if module.substitutes > 1 else ""
        parts.append(f"{first}-{last}{suffix}")
    return "|".join(parts)
