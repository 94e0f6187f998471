"""A tokenizer with fewer tokens: which ones it keeps, and its files with these alone, numbered anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertpress.methods.vocabulary.pieces import merges_of


def kept_ids(
    counts: NDArray[np.int64],
    needed: Set[int],
    parts: Callable[[int], Set[int]],
    most: int | None = None,
    min_count: int = 1,
) -> list[int]:
    """Ids that stay, rising: what is needed, then the most frequent tokens with what they are built of.

    Args:
        counts: how often each token occurs, (tokens,).
        needed: ids that stay in any case.
        parts: gives the ids that a token is built of.
        most: how many stay at most; the first token that does not fit ends it.
        min_count: occurrences below which a token does not stay.
    """
    kept = set(needed).union(*map(parts, needed))
    for number in np.argsort(-counts, kind="stable").tolist():
        own = {number, *parts(number)} - kept if counts[number] >= max(1, min_count) else set()
        if counts[number] < max(1, min_count) or (most is not None and len(kept) + len(own) > most):
            break
        kept |= own
    return sorted(kept)


def numbering(kept: Sequence[int]) -> dict[int, int]:
    """Old id to new one, in the old order."""
    return {old: new for new, old in enumerate(kept)}


def rewritten(data: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """The content of tokenizer.json with these tokens alone, without limits on lengths.

    A merge stays if both parts and what they make do, in the old order, so that kept tokens are built as before.
    """
    numbers, model = numbering(kept), dict(data["model"])
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        stays = {token: numbers[number] for token, number in vocabulary.items() if number in numbers}
        model["vocab"] = dict(sorted(stays.items(), key=lambda item: item[1]))
    else:
        model["vocab"] = [entry for number, entry in enumerate(vocabulary) if number in numbers]
    if model.get("unk_id") is not None:
        model["unk_id"] = numbers[model["unk_id"]]
    if "merges" in model:
        known = model["vocab"]
        model["merges"] = [
            [left, right] for left, right in merges_of(data) if {left, right, left + right} <= known.keys()
        ]
    added = [{**entry, "id": numbers[entry["id"]]} for entry in data["added_tokens"]]
    around = _renumbered(data["post_processor"], numbers)
    return {
        **data,
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "post_processor": around,
        "model": model,
    }


def _renumbered(processor: Mapping[str, Any] | None, numbers: Mapping[int, int]) -> dict[str, Any] | None:
    """What puts tokens around texts, with their new ids."""
    if processor is None:
        return None
    result = dict(processor)
    if "processors" in processor:
        result["processors"] = [_renumbered(part, numbers) for part in processor["processors"]]
    for role in {"sep", "cls"} & processor.keys():
        result[role] = [processor[role][0], numbers[processor[role][1]]]
    if "special_tokens" in processor:
        result["special_tokens"] = {
            name: {**token, "ids": [numbers[number] for number in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
    return result


def rewritten_settings(settings: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """The content of tokenizer_config.json for these tokens; some classes keep ids there."""
    numbers, result = numbering(kept), dict(settings)
    if settings.get("unk_id") is not None:
        result["unk_id"] = numbers[settings["unk_id"]]
    if "added_tokens_decoder" in settings:
        result["added_tokens_decoder"] = {
            str(numbers[int(number)]): token for number, token in settings["added_tokens_decoder"].items()
        }
    return result
