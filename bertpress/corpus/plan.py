"""One pass over a split of the store that draws its rows; at most some 65,000 sentence ends are in memory at a time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from bertpress.corpus import CorpusSpec, Format
from bertpress.corpus.disk import Ends
from bertpress.corpus.drawing import Another, Row, packed, sentence_pairs, single_lines
from bertpress.corpus.holdout import Part, Split, Stretch, part_of
from bertpress.corpus.store import Store
from bertpress.errors import RequestError

MOST_SENTENCES = 1 << 16
"""Longer documents and runs of lines are gone through in parts of so many sentences; rows do not cross their seams."""
AHEAD = MOST_SENTENCES


@dataclass(frozen=True)
class Composition:
    """How the rows of a split are made, nothing left open."""

    format: Format
    next_sentence: Literal["random50", "consecutive", "none"]
    short_probability: float
    pack: Literal["concat", "off"]
    pair_probability: float
    overflow: Literal["split", "truncate"]
    validation: float | tuple[str, ...]
    max_length: int
    seed: int
    split: Split


def composition(store: Store, spec: CorpusSpec, max_length: int, seed: int, split: Split) -> Composition:
    """What `spec` means for the text of the store.

    Raises:
        RequestError: a field was changed that has no effect on this text.
    """
    format: Format = store.format if spec.format == "auto" else spec.format
    if reason := spec.idle(format):
        raise RequestError(f"{reason}, but the text is read as format={format}: change one.")
    probability = spec.pair_probability
    if probability is None:
        probability = 0.5 if spec.pack == "off" and store.frame.has_segments else 0.0
    shared = spec.model_dump(exclude={"files", "text_column", "format", "pair_probability"})
    return Composition(
        **shared, format=format, pair_probability=probability, max_length=max_length, seed=seed, split=split
    )


def part_for(store: Store, made: Composition) -> tuple[Part, list[str]]:
    """The sentences of the split, and remarks.

    Raises:
        RequestError: nothing was to be held out, or the store has no validation files, but rows of validation are
            asked for.
    """
    part = part_of(store, made.format, made.validation, made.split)
    if len(part):
        return part, []
    if isinstance(made.validation, tuple):
        raise RequestError(f"The store in {store.folder} was made without validation files: make another with them.")
    if made.validation == 0:
        raise RequestError("validation=0 holds nothing out, so there are no validation rows: give a share or files.")
    note = "The text is a single line, so nothing can be held out: validation scores are those of the training text."
    return part_of(store, made.format, 0.0, "train"), [note]


def draw_rows(store: Store, part: Part, made: Composition, notes: list[str]) -> Iterator[Row]:
    """The rows of `part` in the order of the text; the same for the same seed. Remarks are added to `notes`."""
    generator = random.Random(made.seed)
    room = made.max_length - store.frame.special(pair=False)
    pair_room = made.max_length - store.frame.special(pair=True)
    split = made.overflow == "split"
    stretches = _documents(store, part) if made.format == "documents" else ((each, each) for each in part.stretches)
    other = _others(store, part, generator, notes) if made.next_sentence == "random50" else None
    ends_of = store.sentences(ahead=AHEAD)
    for (first, last), document in stretches:
        target = pair_room
        if made.next_sentence != "none" and generator.random() < made.short_probability:
            target = generator.randint(2, pair_room)
        for begin in range(first, last, MOST_SENTENCES):
            start = ends_of.before(begin)
            ends = ends_of.read(begin, min(last, begin + MOST_SENTENCES)).tolist()
            if made.next_sentence != "none":
                another = other(document) if other else None
                yield from sentence_pairs(ends, start, pair_room, target, generator, another)
            elif made.format == "lines" and made.pack == "off":
                yield from single_lines(ends, start, room, pair_room, split, made.pair_probability, generator)
            else:
                yield from packed(ends, start, room, split)


def _documents(store: Store, part: Part) -> Iterator[tuple[Stretch, Stretch]]:
    """For each document of the part: its sentences there, and all of them."""
    ends = store.documents(ahead=AHEAD)
    find = Ends(store.documents()).find
    for first, last in part.stretches:
        index = find(first)
        begin = ends.before(index)
        while begin < last:
            end = int(ends.read(index, index + 1)[0])
            yield (max(begin, first), min(end, last)), (begin, end)
            begin, index = end, index + 1


def _others(
    store: Store, part: Part, generator: random.Random, notes: list[str]
) -> Callable[[Stretch], Another] | None:
    """For a document, what draws text of the others; None, with a remark, if there is only one."""
    documents, sentences = store.documents(), store.sentences()
    find = Ends(documents).find
    if find(part.stretches[0][0]) == find(part.stretches[-1][1] - 1):
        notes.append(
            "The text has one document, as no blank line divides it, so no second segment can come from another: "
            "all pairs are consecutive."
        )
        return None

    def outside(document: Stretch) -> Another:
        before, own_end = part.number(document[0]), part.number(document[1])
        own = own_end - before

        def draw(wanted: int) -> tuple[int, int]:
            # A sentence drawn from all others is one of a document drawn in proportion to its number of sentences.
            number = generator.randrange(len(part) - own)
            sentence, stretch = part.stretch(number + own if number >= before else number)
            last = min(stretch[1], int(documents.before(find(sentence) + 1)))
            start = sentences.before(sentence)
            lengths = sentences.read(sentence, min(last, sentence + wanted)).astype("int64") - start
            return start, int(lengths[min(int(lengths.searchsorted(wanted)), len(lengths) - 1)])

        return draw

    return outside
