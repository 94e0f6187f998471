"""A JSON file read piece by piece: of a list of articles, only the one in hand is in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

BLOCK = 1 << 16
"""characters that are read at once, at least"""
_DECODER = json.JSONDecoder()
_FOLLOWS = frozenset(" \t\n\r,:]}")
_SPACE = re.compile(r"[ \t\n\r]*")


class JsonStream:
    """A position in a JSON text, from which values are taken one after the other.

    Raises:
        ValueError: from every method, where the text is no JSON.
    """

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._place = file, "", 0

    def _more(self) -> bool:
        """Read on, as much again as is held, so that a long value is tried only a few times; False at the end."""
        block = self._file.read(max(BLOCK, len(self._text) - self._place))
        if block:
            self._text, self._place = self._text[self._place :] + block, 0
        return bool(block)

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            space = _SPACE.match(self._text, self._place)
            assert space is not None  # it matches nothing, too
            self._place = space.end()
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                return ""

    def take(self, expected: str) -> None:
        """Go past a character that has to come next."""
        if (came := self.peek()) != expected:
            raise ValueError(f"expected {expected!r}, got {repr(came) if came else 'the end of the file'}")
        self._place += 1

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._place)
            except ValueError:
                if not self._more():
                    raise
                continue
            except RecursionError:
                raise ValueError("it is nested too deeply") from None
            if self._text[end : end + 1] not in _FOLLOWS and self._more():  # a number may go on: 1, 1. and 1.5
                continue
            self._place = end
            return value

    def elements(self) -> Iterator[Any]:
        """The values of a list."""
        self.take("[")
        more = self.peek() != "]"
        while more:
            yield self.value()
            more = self._goes_on("]")
        self.take("]")

    def members(self) -> Iterator[str]:
        """The keys of an object; whoever asks has to take the value of each before the next."""
        self.take("{")
        more = self.peek() != "}"
        while more:
            if not isinstance(key := self.value(), str):
                raise ValueError(f"expected a key in quotes, got {key!r}")
            self.take(":")
            yield key
            more = self._goes_on("}")
        self.take("}")

    def end(self) -> None:
        """Refuse anything that follows."""
        if came := self.peek():
            raise ValueError(f"expected the end of the file, got {came!r}")

    def _goes_on(self, end: str) -> bool:
        """False before the end of a list or an object; True past a comma."""
        if self.peek() == end:
            return False
        self.take(",")
        return True
