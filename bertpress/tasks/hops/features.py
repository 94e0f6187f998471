"""One input for a question and its paragraphs: which of them, in which order, and where everything stands.

The question first, then of each paragraph a marker, its title, a marker, its sentences, as long as there is room.
Source: run_hotpot.py of TR-BERT. In training the paragraphs with supporting facts come first and others are drawn until
the input is full; all are shuffled but the one that overflows, which stands last and is cut. Difference: the draw is a
function of the question's id, so a question is read alike in every epoch; there it is drawn anew. In evaluation the
paragraphs stand as they are given, and what does not fit is cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bertpress import draws
from bertpress.corpus.framing import frame_of
from bertpress.fingerprints import plain_backend
from bertpress.tasks.encoding import bounded, count_longer, ids_of
from bertpress.tasks.hops.paragraphs import kind_of_answer, pieces_of, places_of
from bertpress.tasks.markers import markers_of
from bertpress.tasks.reading.features import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertpress.tasks.hops.settings import HopSettings

NO_TEXT = -1
"""in place of a paragraph's number, of tokens that no answer can stand at"""
TYPES = {
    "paragraphs": "list<int32>",
    "char_starts": "list<int32>",
    "char_ends": "list<int32>",
    "firsts": "list<int32>",
    "lasts": "list<int32>",
    "sentence_paragraphs": "list<int32>",
    "sentence_numbers": "list<int32>",
    "answer_kind": "int8",
    "starts": "list<int32>",
    "ends": "list<int32>",
    "supporting": "list<int8>",
}
"""Columns of an input beside its ids: of each token the paragraph in whose text it stands and its characters there; of
each sentence its first and last token, its paragraph and its number in it; and where answers are known the kind of
answer, the first and last tokens of its places (the first token, where there is none), and which sentences support
it."""


@dataclass(frozen=True)
class Piece:
    """A paragraph as tokens."""

    number: int
    """among the paragraphs of its question"""
    head: list[int]
    """markers and title"""
    tokens: Tokens
    """of the text, with their characters in it"""
    sentences: list[tuple[int, int, int]]
    """number, first and last token of each that has a token"""

    def __len__(self) -> int:
        return len(self.head) + len(self.tokens.ids)


class Reader:
    """Makes inputs of questions on paragraphs.

    Args:
        tokenizer: a fast one.
        max_length: tokens of an input, special ones included.

    Raises:
        RequestError: inputs without room for a question and a paragraph.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int, settings: HopSettings) -> None:
        self.max_length, self.settings = max_length, settings
        self.frame, self.backend = frame_of(tokenizer), plain_backend(tokenizer)
        self.room = self.frame.room(max_length, True, 4, "A question and a paragraph need")
        self.question_length = min(settings.question_length, self.room // 2)
        self.markers, self.notes = markers_of(tokenizer, (settings.title_marker, settings.text_marker))

    def too_long(self, questions: Sequence[str]) -> int:
        """How many of some questions have more tokens than are read."""
        return count_longer(self.backend, questions, self.question_length)

    def inputs_of(self, records: Mapping[str, list[Any]], training: bool) -> Iterator[dict[str, Any]]:
        """The input of each record.

        Args:
            records: columns of `records.TEXTS` and, where answers are known, of `records.TRUTH`.
            training: paragraphs are chosen and ordered as in training, where facts are known.
        """
        for values in zip(*records.values(), strict=True):
            record = dict(zip(records, values, strict=True))
            question = self._ids(record["question"])[: self.question_length]
            room = self.room - len(question)
            gold = gold_paragraphs(record)
            given = gold is None or not training
            chosen = self._given(record, room) if given else self._drawn(record, gold or (), room)
            yield self._input(record, question, chosen, room, gold)

    def _ids(self, text: str) -> list[int]:
        return ids_of(self.backend, text, self.max_length)

    def piece(self, record: Mapping[str, Any], number: int) -> Piece:
        """A paragraph of a record; of a text that is longer than any input only a beginning."""
        title, parts = record["titles"][number], pieces_of(record["sentences"][number])
        head = [self.markers[0], *self._ids(title)[: self.room], self.markers[1]]
        ids: list[int] = []
        starts, ends, sentences, at = [], [], [], 0
        for place, part in enumerate(parts):
            if len(ids) >= self.room:
                break
            encoded = self.backend.encode(bounded(part, self.max_length), add_special_tokens=False)
            if encoded.ids:
                sentences.append((place, len(ids), len(ids) + len(encoded.ids) - 1))
            ids += encoded.ids
            starts += [at + first for first, _ in encoded.offsets]
            ends += [at + last for _, last in encoded.offsets]
            at += len(part)
        return Piece(number, head, Tokens(ids, np.array(starts, np.int32), np.array(ends, np.int32)), sentences)

    def _given(self, record: Mapping[str, Any], room: int) -> list[Piece]:
        chosen: list[Piece] = []
        for number in range(len(record["titles"])):
            if sum(map(len, chosen)) >= room:
                break
            chosen.append(self.piece(record, number))
        return chosen

    def _drawn(self, record: Mapping[str, Any], gold: Sequence[int], room: int) -> list[Piece]:
        count = len(record["titles"])
        key = int.from_bytes(hashlib.sha256(record["id"].encode()).digest()[:7], "big")
        order, places = draws.uniform((), [key], 2 * count)[0].reshape(2, count)
        chosen = [self.piece(record, number) for number in gold]
        last: Piece | None = None
        for number in sorted(set(range(count)) - set(gold), key=lambda number: order[number]):
            if (left := room - sum(map(len, chosen))) <= 0:
                break
            chosen.append(self.piece(record, number))
            last = chosen[-1] if len(chosen[-1]) > left else None
        return sorted(chosen, key=lambda piece: (piece is last, places[piece.number]))

    def _input(
        self,
        record: Mapping[str, Any],
        question: list[int],
        chosen: Sequence[Piece],
        room: int,
        gold: Sequence[int] | None,
    ) -> dict[str, Any]:
        context = [token for piece in chosen for token in (*piece.head, *piece.tokens.ids)][:room]
        ids, segments = self.frame.fill(question, context)
        at = self.frame.before_second(len(question))
        end = at + len(context)
        row: dict[str, Any] = {"input_ids": ids, **self._places(chosen, at, end, len(ids))}
        if self.frame.has_segments:
            row["token_type_ids"] = segments
        sentences = self._sentences(chosen, at, end)
        for place, name in enumerate(("firsts", "lasts", "sentence_paragraphs", "sentence_numbers")):
            row[name] = [sentence[place] for sentence in sentences]
        if gold is not None:
            facts = facts_of(record)
            row["supporting"] = [int(tuple(sentence[2:]) in facts) for sentence in sentences]
            row["answer_kind"] = kind_of_answer(record["answer"])
            spans = [] if row["answer_kind"] else self._spans(record, chosen, gold, at, end)
            row["starts"], row["ends"] = zip(*(spans or [(0, 0)]), strict=True)
        return row

    def _places(self, chosen: Sequence[Piece], at: int, end: int, length: int) -> dict[str, Any]:
        """Of each token of the input the paragraph in whose text it stands, and its characters there."""
        paragraphs = np.full(length, NO_TEXT, np.int32)
        starts, ends = np.zeros((2, length), np.int32)
        for piece in chosen:
            first = at + len(piece.head)
            at += len(piece)
            stop = min(at, end)
            if first < stop:
                paragraphs[first:stop] = piece.number
                starts[first:stop] = piece.tokens.starts[: stop - first]
                ends[first:stop] = piece.tokens.ends[: stop - first]
        return {"paragraphs": paragraphs, "char_starts": starts, "char_ends": ends}

    def _sentences(self, chosen: Sequence[Piece], at: int, end: int) -> list[tuple[int, int, int, int]]:
        """First and last token, paragraph and number of each sentence that is whole in the input."""
        found = []
        for piece in chosen:
            text_at = at + len(piece.head)
            found += [(text_at + a, text_at + b, piece.number, number) for number, a, b in piece.sentences]
            at += len(piece)
        return [sentence for sentence in found if sentence[1] < end][: self.settings.max_sentences]

    def _spans(
        self, record: Mapping[str, Any], chosen: Sequence[Piece], gold: Sequence[int], at: int, end: int
    ) -> list[tuple[int, int]]:
        """Tokens of the answer's places, of those in paragraphs with supporting facts, else of all."""
        found: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        for piece in chosen:
            text_at = at + len(piece.head)
            at += len(piece)
            text = "".join(pieces_of(record["sentences"][piece.number]))
            for first, last in places_of(text, record["spellings"]):
                span = piece.tokens.of(first, last - first)
                if span is not None and text_at + span[1] < end:
                    found[piece.number in gold].append((text_at + span[0], text_at + span[1]))
        return (found[True] or found[False])[: self.settings.max_answer_spans]


def gold_paragraphs(record: Mapping[str, Any]) -> list[int] | None:
    """Numbers of the paragraphs that hold supporting facts; None where these are not known."""
    if "fact_titles" not in record:
        return None
    firsts = first_of_title(record["titles"])
    return sorted({firsts[title] for title in record["fact_titles"] if title in firsts})


def facts_of(record: Mapping[str, Any]) -> set[tuple[int, int]]:
    """The supporting facts as numbers of a paragraph and of a sentence in it; those that point nowhere are left out."""
    firsts = first_of_title(record["titles"])
    facts = zip(record["fact_titles"], record["fact_sentences"], strict=True)
    return {(firsts[title], number) for title, number in facts if title in firsts}


def first_of_title(titles: Sequence[str]) -> dict[str, int]:
    """Title to the number of the first paragraph that has it."""
    return {title: number for number, title in reversed(list(enumerate(titles)))}
