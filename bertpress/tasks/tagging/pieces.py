"""Word pieces of a text whose words are known: every word is cut on its own, so each piece belongs to one.

A word that stands apart from the one before it gets the mark for a space that its tokenizer would give it in running
text, and one that does not gets none, whatever the tokenizer puts before whole texts. To WordPiece it is all the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from bertpress.errors import RequestError
from bertpress.fingerprints import plain_backend

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_WORDS = 200_000
"""different words that are remembered"""
PROBES = ("a", "1", ".", "的")
"""one of them is known to any tokenizer"""


@dataclass(frozen=True)
class Pieces:
    """The tokens of a text, without special ones."""

    ids: list[int]
    words: list[int]
    """the word of each token, ascending from 0; every word has a token"""


def pieces_of(tokenizer: PreTrainedTokenizerBase, text: str, starts: Sequence[int], ends: Sequence[int]) -> Pieces:
    """The tokens of some words of a text; a word that the tokenizer leaves out is the unknown token.

    Args:
        starts: the first character of each word.
        ends: the character after the last of each word.

    Raises:
        RequestError: a slow tokenizer, or a word without a token where there is no unknown token.
    """
    if tokenizer not in _CUTTERS:
        _CUTTERS[tokenizer] = Cutter(tokenizer)
    cutter = _CUTTERS[tokenizer]
    ids: list[int] = []
    words: list[int] = []
    for word, (start, end, is_apart) in enumerate(zip(starts, ends, apart(text, starts), strict=True)):
        found = cutter.cut(text[start:end], is_apart)
        ids += found
        words += [word] * len(found)
    return Pieces(ids, words)


def apart(text: str, starts: Sequence[int]) -> list[bool]:
    """Which words follow white space; the first of a text counts if another one does, or if it is alone."""
    found = [start > 0 and text[start - 1].isspace() for start in starts]
    if found and starts[0] == 0:
        found[0] = any(found) or len(found) == 1
    return found


class Cutter:
    """Cuts single words into tokens, each of them once."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        from tokenizers import Tokenizer

        self.unknown = tokenizer.unk_token_id
        whole = plain_backend(tokenizer)
        parts = json.loads(whole.to_str())
        bare = {name: without_prefix(parts[name]) for name in ("normalizer", "pre_tokenizer")}
        changed = any(bare[name] != parts[name] for name in bare)
        self.inside = Tokenizer.from_str(json.dumps({**parts, **bare})) if changed else whole
        # Some tokenizers remove white space at the border of a text and then put their mark before it.
        sees_space = any(self._ids(self.inside, f" {text}") != self._ids(self.inside, text) for text in PROBES)
        self.apart, self.space = (self.inside, " ") if sees_space else (whole, "")
        self.known: dict[tuple[str, bool], list[int]] = {}

    def cut(self, word: str, is_apart: bool) -> list[int]:
        """The tokens of a word, at least one.

        Args:
            is_apart: white space stands before it.
        """
        found = self.known.get((word, is_apart))
        if found is None:
            if len(self.known) >= MOST_WORDS:
                self.known.clear()
            found = self.known[word, is_apart] = self._cut(word, is_apart)
        return found

    def _cut(self, word: str, is_apart: bool) -> list[int]:
        ids = self._ids(self.apart, self.space + word) if is_apart else self._ids(self.inside, word)
        if ids:
            return ids
        if self.unknown is None:
            raise RequestError(
                f"The tokenizer gives no token for the word {word!r} and has no unknown token; take another model."
            )
        return [self.unknown]

    @staticmethod
    def _ids(backend: Any, text: str) -> list[int]:
        ids: list[int] = backend.encode(text, add_special_tokens=False).ids
        return ids


def without_prefix(part: Any) -> Any:
    """A normalizer or pre-tokenizer, as a tokenizer's file has it, that puts nothing before a text."""
    if isinstance(part, list):
        return [without_prefix(child) for child in part if child["type"] != "Prepend"]
    if not isinstance(part, dict):
        return part
    if part.get("type") == "Prepend":
        return None
    never = {"add_prefix_space": False, "prepend_scheme": "never"}
    return {
        name: never[name] if name in never else without_prefix(value) if isinstance(value, list) else value
        for name, value in part.items()
    }


_CUTTERS: WeakKeyDictionary[PreTrainedTokenizerBase, Cutter] = WeakKeyDictionary()
