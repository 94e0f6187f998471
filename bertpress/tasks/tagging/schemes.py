"""Tags of words and the entities that they stand for, in each scheme that is in use.

A tag is O, outside of every entity, or a letter, a hyphen and a type: ``B-PER``. What a letter says of its word differs
by scheme. Sequences that no writer of a scheme would write are read as conlleval and seqeval read them by default: what
continues nothing begins an entity, and so does a change of type. Strict reading is that of seqeval's strict mode: what
is not tagged as the scheme asks is no entity.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from bertpress.errors import RequestError
from bertpress.tasks.tagging.spans import Span

Scheme = Literal["BIO", "BIOES", "BMES", "BILOU", "IOB1"]
OUTSIDE = "O"
LETTERS: dict[Scheme, tuple[str, str, str, str]] = {
    "BIO": ("B", "I", "I", "B"),
    "BIOES": ("B", "I", "E", "S"),
    "BMES": ("B", "M", "E", "S"),
    "BILOU": ("B", "I", "L", "U"),
    "IOB1": ("I", "I", "I", "I"),
}
"""The letter of an entity's first word, of those between, of the last, and of an only word.

In IOB1, how CoNLL-2003 was published, a first word is B where an entity of the same type ends just before it.
"""
_ROLES = {"B": "B", "S": "S", "U": "S", "I": "I", "M": "I", "E": "E", "L": "E"}
"""Letter to what it says, in the letters of BIOES."""
_Read = tuple[str, str]
"""Role and type of a tag."""


def is_tag(text: str, scheme: Scheme) -> bool:
    """Whether a text is a tag of the scheme."""
    return text == OUTSIDE or (len(text) > 2 and text[1] == "-" and text[0] in (*LETTERS[scheme], "B"))


def looks_like_tag(text: str) -> bool:
    """Whether a text is a tag of some scheme."""
    return any(is_tag(text, scheme) for scheme in LETTERS)


def tag_names(types: Iterable[str], scheme: Scheme) -> tuple[str, ...]:
    """All tags of some types; O is the first."""
    letters = dict.fromkeys(("B", *LETTERS[scheme]))
    return (OUTSIDE, *(f"{letter}-{kind}" for kind in types for letter in letters))


def tags_of(spans: Iterable[Span], length: int, scheme: Scheme) -> list[str]:
    """The tag of each word of a sentence.

    Args:
        spans: of which no two overlap.
        length: words of the sentence.
    """
    tags = [OUTSIDE] * length
    first, inside, last, only = LETTERS[scheme]
    for start, end, kind in sorted(spans):
        if not 0 <= start < end <= length or any(tag != OUTSIDE for tag in tags[start:end]):
            raise ValueError(f"expected spans inside of {length} words that do not overlap, got {(start, end, kind)}")
        letters = [first, *[inside] * (end - start - 2), last] if end - start > 1 else [only]
        if scheme == "IOB1" and start and _read(tags[start - 1], scheme)[1] == kind:
            letters[0] = "B"
        tags[start:end] = [f"{letter}-{kind}" for letter in letters]
    return tags


def spans_of(tags: Sequence[str], scheme: Scheme, strict: bool = False) -> tuple[list[Span], int]:
    """The entities that tags stand for, in order, and how many of those that a lenient reader finds break the scheme.

    Args:
        strict: leave such entities out.

    Raises:
        RequestError: a tag that is none of the scheme; names it.
    """
    read = [_read(tag, scheme) for tag in tags]
    whole, found = _whole(read, scheme), _found(read)
    return (whole if strict else found), len(set(found) - set(whole))


def scheme_of(sentences: Sequence[Sequence[str]], place: Callable[[int], str] = "sentence {}".format) -> Scheme:
    """The scheme of the tags of a data set: the first that has all letters; IOB1 rather than BIO if only it is kept to.

    Args:
        sentences: the tags of each.
        place: names a sentence in messages.

    Raises:
        RequestError: a tag that is none, or letters that no scheme has together; says where.
    """
    schemes, seen = list(LETTERS), {OUTSIDE}
    for number, tags in enumerate(sentences):
        for tag in tags:
            if tag in seen:
                continue
            seen.add(tag)
            if not looks_like_tag(tag):
                raise RequestError(
                    f"Expected tags such as O and B-PER, but {place(number)} has {tag!r}: write them so."
                )
            left = [scheme for scheme in schemes if is_tag(tag, scheme)]
            if not left:
                before = f"those before it are of {' or '.join(schemes)}"
                raise RequestError(
                    f"Expected tags of one scheme, but {place(number)} has {tag!r}, and {before}: correct it."
                )
            schemes = left
    return "IOB1" if schemes[0] == "BIO" and _keeps_to_iob1(sentences) else schemes[0]


def _keeps_to_iob1(sentences: Sequence[Sequence[str]]) -> bool:
    return any(spans_of(tags, "BIO")[1] for tags in sentences) and not any(
        spans_of(tags, "IOB1")[1] for tags in sentences
    )


@functools.lru_cache(maxsize=10_000)
def _read(tag: str, scheme: Scheme) -> _Read:
    if not is_tag(tag, scheme):
        letters = ", ".join(dict.fromkeys(("B", *LETTERS[scheme])))
        raise RequestError(
            f"Expected a tag of the scheme {scheme} (O, or {letters} and a type), got {tag!r}: correct it."
        )
    return (OUTSIDE, "") if tag == OUTSIDE else (_ROLES[tag[0]], tag[2:])


def _found(read: Sequence[_Read]) -> list[Span]:
    """The entities that a lenient reader finds."""
    spans = []
    start = 0
    before: _Read = (OUTSIDE, "")
    for place, now in enumerate([*read, (OUTSIDE, "")]):
        goes_on = before[0] in "BI" and now[0] in "IE" and before[1] == now[1]
        if not goes_on:
            if before[0] != OUTSIDE:
                spans.append((start, place, before[1]))
            start = place
        before = now
    return spans


def _whole(read: Sequence[_Read], scheme: Scheme) -> list[Span]:
    """The entities that are tagged as the scheme asks."""
    spans = []
    start = 0
    while start < len(read):
        kind = read[start][1]
        end = start + 1
        if _may_begin(read, start, scheme):
            while end < len(read) and read[end - 1][0] in "BI" and read[end][0] in "IE" and read[end][1] == kind:
                end += 1
            if LETTERS[scheme][2] == "I" or read[end - 1][0] in "ES":
                spans.append((start, end, kind))
        start = end
    return spans


def _may_begin(read: Sequence[_Read], place: int, scheme: Scheme) -> bool:
    role, kind = read[place]
    if scheme != "IOB1":
        return role in "BS"
    return role == "I" or (role == "B" and place > 0 and read[place - 1][1] == kind)
