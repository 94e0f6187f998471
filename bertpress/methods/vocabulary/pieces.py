"""What the tokens of a tokenizer.json are, kind by kind: those that no text can do without, and what others need.

A vocabulary may lose a token if what it stood for can still be written. WordPiece takes the longest piece at each
place, byte-pair encoding joins characters by its merges, Unigram takes the likeliest pieces: all three write a word
with single characters where they have nothing longer. So these stay, and with them what cannot be written by them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from bertpress.errors import RequestError

KINDS = ("WordPiece", "BPE", "Unigram")
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


def check_kind(data: Mapping[str, Any]) -> None:
    """Refuse a tokenizer whose tokens cannot be left out one by one.

    Args:
        data: the content of its tokenizer.json, as everywhere here.

    Raises:
        RequestError: names the kinds that can.
    """
    model = data["model"]
    if model["type"] not in KINDS:
        raise RequestError(
            f"Expected a tokenizer of the kind {', '.join(KINDS[:-1])} or {KINDS[-1]}, got {model['type']}, which has "
            "no smaller pieces to fall back on: leave the step out."
        )
    if model["type"] == "BPE" and (model["continuing_subword_prefix"] or model["end_of_word_suffix"]):
        raise RequestError(
            "Expected byte-pair encoding without marks inside or behind words, as RoBERTa and ModernBERT have it, got "
            f"'{model['continuing_subword_prefix'] or model['end_of_word_suffix']}': leave the step out."
        )


def pieces_of(data: Mapping[str, Any]) -> dict[str, int]:
    """The pieces of the model, without tokens that were added to it, and their ids."""
    vocabulary = data["model"]["vocab"]
    return dict(vocabulary) if isinstance(vocabulary, dict) else {entry[0]: i for i, entry in enumerate(vocabulary)}


def tokens_of(data: Mapping[str, Any]) -> dict[str, int]:
    """All tokens and their ids."""
    return pieces_of(data) | {entry["content"]: entry["id"] for entry in data["added_tokens"]}


def needed_ids(data: Mapping[str, Any]) -> set[int]:
    """Ids of what stays whatever the texts are: added tokens, single characters, what these cannot write."""
    pieces, model = pieces_of(data), data["model"]
    added = {entry["id"] for entry in data["added_tokens"]} | set(_template_ids(data["post_processor"]))
    unknown = {model.get("unk_id"), pieces.get(model.get("unk_token") or "")} - {None}
    characters = {piece for piece in pieces if len(_bare(piece, model)) == 1}
    alphabet = {pieces[piece] for piece in pieces if piece in characters or _BYTE.fullmatch(piece)}
    needed = added | unknown | alphabet
    if model["type"] != "BPE":  # whose pieces are made of characters that have one, by merges
        needed |= {pieces[piece] for piece in pieces if not set(_written(piece, model)) <= characters}
    if model["type"] == "Unigram":  # its score says how unlikely something unknown is
        needed.add(min(range(len(model["vocab"])), key=lambda number: model["vocab"][number][1]))
    return needed


def _bare(piece: str, model: Mapping[str, Any]) -> str:
    return piece.removeprefix(model.get("continuing_subword_prefix") or "")


def _written(piece: str, model: Mapping[str, Any]) -> list[str]:
    """The pieces of one character by which a piece is written."""
    bare, prefix = _bare(piece, model), model.get("continuing_subword_prefix") or ""
    return [("" if not place and bare == piece else prefix) + character for place, character in enumerate(bare)]


def _template_ids(processor: Mapping[str, Any] | None) -> Iterator[int]:
    """Ids that are put around texts."""
    for part in (processor or {}).get("processors", ()):
        yield from _template_ids(part)
    for role in ("sep", "cls"):
        yield from (processor or {}).get(role, ())[1:]
    for token in (processor or {}).get("special_tokens", {}).values():
        yield from token["ids"]


def parts_needed(data: Mapping[str, Any]) -> Callable[[int], set[int]]:
    """Gives the ids of what a token is built of on the way from single characters; only merges build anything."""
    if data["model"]["type"] != "BPE":
        return lambda _: set()
    ids = pieces_of(data)
    pieces = {number: piece for piece, number in ids.items()}
    ranks = {merge: rank for rank, merge in enumerate(merges_of(data))}
    return lambda number: {ids[piece] for piece in merged(pieces.get(number, ""), ranks) if piece in ids}


def merges_of(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The merges of byte-pair encoding in their order."""
    # A piece may hold a space where merges are pairs; in the older form, one string, it cannot.
    split = (merge.split(" ") if isinstance(merge, str) else merge for merge in data["model"]["merges"])
    return [(left, right) for left, right in split]


def merged(word: str, ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """Every piece that merging a word makes, in order.

    Inside of a longer word the same merges happen: those across its border do not, or it would be no token there.

    Args:
        ranks: merges and their places; the first one that fits is carried out first, the leftmost of equal ones.
    """
    parts: list[str] = list(word)
    made: list[str] = []
    while True:
        found = [(ranks[pair], at) for at, pair in enumerate(pairwise(parts)) if pair in ranks]
        if not found:
            return made
        at = min(found)[1]
        parts[at : at + 2] = ["".join(parts[at : at + 2])]
        made.append(parts[at])
