"""Inputs of a query, its candidates and its documents.

The query, then a marker before each candidate, then a marker before each document, as long as there is room; one
separator at the end. Further documents stand in further inputs, before which query and candidates are repeated. Source:
run_wikihop.py of TR-BERT. Differences: candidates that would leave documents less than a quarter of an input are cut
to one length, and texts that cannot fit are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bertpress.corpus.framing import frame_of
from bertpress.errors import RequestError
from bertpress.fingerprints import plain_backend
from bertpress.tasks.encoding import count_longer, ids_of
from bertpress.tasks.markers import markers_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertpress.tasks.candidates.settings import CandidateSettings

TYPES = {"places": "list<int32>", "is_cut": "bool", "answer_number": "int32"}
"""Columns of an input beside its ids: the marker of each candidate; whether documents did not fit into the inputs of
its record, or its query or candidates were cut; and the number of the right candidate, where that is known."""


def lengths_within(lengths: Sequence[int], room: int) -> list[int]:
    """Lengths that together are at most `room`: the longest ones are cut to one length, which is as large as it can be.

    Raises:
        ValueError: there is no room for one of each.
    """
    if sum(lengths) <= room:
        return list(lengths)
    if len(lengths) > room:
        raise ValueError(f"{len(lengths)} lengths do not fit into {room}")
    most = max(most for most in range(1, room + 1) if sum(min(length, most) for length in lengths) <= room)
    return [min(length, most) for length in lengths]


class Reader:
    """Makes inputs of records.

    Args:
        tokenizer: a fast one.
        max_length: tokens of an input, special ones included.

    Raises:
        RequestError: inputs without room for a query, two candidates and a document.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int, settings: CandidateSettings) -> None:
        self.max_length, self.settings = max_length, settings
        self.frame, self.backend = frame_of(tokenizer), plain_backend(tokenizer)
        self.room = self.frame.room(max_length, False, 8, "A query with candidates needs")
        self.query_length = min(settings.query_length, self.room // 4)
        ids, self.notes = markers_of(tokenizer, (settings.candidate_marker, settings.document_marker))
        self.candidate_marker, self.document_marker = ids

    def too_long(self, queries: Sequence[str]) -> int:
        """How many of some queries have more tokens than are read."""
        return count_longer(self.backend, queries, self.query_length)

    def inputs_of(self, records: Mapping[str, list[Any]]) -> Iterator[list[dict[str, Any]]]:
        """The inputs of each record, at least one.

        Raises:
            RequestError: more candidates than are read, or than there is room for; names the record.
        """
        for values in zip(*records.values(), strict=True):
            record = dict(zip(records, values, strict=True))
            head, places, is_cut = self._head(record)
            room = self.room - len(head)
            documents = self._documents(record["supports"], room * self.settings.segments)
            is_cut |= len(documents) > room * self.settings.segments
            pieces = [documents[at : at + room] for at in range(0, len(documents), room)] or [[]]
            yield [self._input(record, head, places, is_cut, piece) for piece in pieces[: self.settings.segments]]

    def _head(self, record: Mapping[str, Any]) -> tuple[list[int], list[int], bool]:
        """The tokens before the documents, the place of each candidate's marker, and whether something was cut."""
        candidates = record["candidates"]
        if len(candidates) > self.settings.most_candidates:
            raise RequestError(
                f"Expected at most {self.settings.most_candidates} candidates, but {record['id']} has "
                f"{len(candidates)}: set task.candidates.most_candidates."
            )
        query = self._ids(record["query"])
        ids = query[: self.query_length]
        texts = [self._ids(text) or [self.candidate_marker] for text in candidates]
        room = self.room * 3 // 4 - len(ids) - len(candidates)
        try:
            lengths = lengths_within(list(map(len, texts)), room)
        except ValueError:
            raise RequestError(
                f"Expected room for the {len(candidates)} candidates of {record['id']}, but an input has "
                f"{self.max_length} tokens: give a larger --max-length."
            ) from None
        places, at = [], self.frame.begin(False) + len(ids)
        for text, length in zip(texts, lengths, strict=True):
            places.append(at)
            ids += [self.candidate_marker, *text[:length]]
            at += 1 + length
        return ids, places, len(query) > self.query_length or lengths != list(map(len, texts))

    def _documents(self, supports: Sequence[str], room: int) -> list[int]:
        """The documents' tokens; of those that cannot fit, a few."""
        ids: list[int] = []
        for text in supports:
            if len(ids) > room:
                break
            ids += [self.document_marker, *self._ids(text)]
        return ids

    def _ids(self, text: str) -> list[int]:
        return ids_of(self.backend, text, self.max_length * self.settings.segments)

    def _input(
        self, record: Mapping[str, Any], head: list[int], places: list[int], is_cut: bool, documents: list[int]
    ) -> dict[str, Any]:
        ids, segments = self.frame.fill([*head, *documents])
        row: dict[str, Any] = {"input_ids": ids, "places": places, "is_cut": is_cut}
        if self.frame.has_segments:
            first = self.frame.begin(False) + len(head)
            row["token_type_ids"] = [*segments[:first], *[1] * (len(ids) - first)]
        if "answer" in record:
            row["answer_number"] = record["candidates"].index(record["answer"])
        return row
