"""Choosing among candidates as a task: a score at the marker of each candidate."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

from bertpress.errors import RequestError
from bertpress.tasks.candidates.features import TYPES, Reader
from bertpress.tasks.candidates.losses import ABSENT, candidate_distances, candidate_losses
from bertpress.tasks.candidates.settings import CandidateSettings
from bertpress.tasks.grouping import same_question
from bertpress.tasks.heads import keep_settings, kept_settings, name_outputs, require_outputs
from bertpress.tasks.windows import Windowed

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from bertpress.tasks.data import TextData

Array = NDArray[np.floating]
NAME = "candidate"
"""Of the head's only output."""


class Candidates(Windowed):
    """Queries with candidates, of which documents speak for one.

    Args:
        data: records of `records.load_candidates`.
        tokenizer: a fast one.
        max_length: tokens of an input, special ones included.
        candidates: how they are read.
    """

    kind, head = "candidates", "token-classification"
    labels = None
    truth = "answer"
    types = TYPES

    def __init__(
        self,
        data: TextData,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        candidates: CandidateSettings | None = None,
    ) -> None:
        super().__init__(data, tokenizer, max_length)
        self.options = candidates or CandidateSettings()
        self.together = "record" if self.options.segments > 1 else None
        self.reader = Reader(tokenizer, max_length, self.options)

    @property
    def settings(self) -> dict[str, Any]:
        return self.options.model_dump(mode="json")

    @property
    def data_notes(self) -> tuple[str, ...]:
        return (*self.data.notes, *self.reader.notes)

    @property
    def markers(self) -> tuple[int, ...]:
        return self.reader.candidate_marker, self.reader.document_marker

    def notes_on(self, split: str) -> Iterator[str]:
        encoded = self.encoded(split)
        if cut := {row for row, is_cut in zip(encoded["record"][:], encoded["is_cut"][:], strict=True) if is_cut}:
            room = f"{self.options.segments} x {self.max_length} tokens"
            yield f"{split}: {len(cut)} of {len(self.splits[split])} records do not fit into {room} and are cut"
        if longer := self.reader.too_long(self.splits[split]["query"][:]):
            yield f"{split}: {longer} queries have more than {self.reader.query_length} tokens and are cut there"

    def windows_of(self, records: Mapping[str, list[Any]], split: str) -> Iterator[list[dict[str, Any]]]:
        return self.reader.inputs_of(records)

    def with_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> Self:
        result = super().with_tokenizer(tokenizer)
        result.reader = Reader(tokenizer, self.max_length, self.options)
        return result

    def configure(self, config: PretrainedConfig) -> PretrainedConfig:
        name_outputs(config, [NAME])
        return self.noted(config)

    def noted(self, config: PretrainedConfig) -> PretrainedConfig:
        keep_settings(config, self.kind, self.settings)
        return config

    def aligned(self, config: PretrainedConfig) -> Self:
        require_outputs(config, self.name, 1, "a score")
        return self

    def collate(self, rows: Sequence[Mapping[str, Any]], draw: tuple[int, ...] | None = None) -> dict[str, Tensor]:
        batch = super().collate(rows, draw)
        most = max(len(row["places"]) for row in rows)
        # Rows that were shortened for a measurement may end before a candidate.
        places = [[min(place, len(row["input_ids"]) - 1) for place in row["places"]] for row in rows]
        batch["places"] = torch.tensor([[*own, *[ABSENT] * (most - len(own))] for own in places])
        batch["record"] = torch.tensor([row["record"] for row in rows])
        if rows[0].get("answer_number") is not None:
            batch["labels"] = torch.tensor([row["answer_number"] for row in rows])
        return batch

    def example_losses(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        same = same_question(batch["record"], batch["row"])
        return candidate_losses(outputs.logits, batch["places"], same, batch["labels"])

    def distillation_losses(
        self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        same = same_question(batch["record"], batch["row"])
        return candidate_distances(student, teacher, batch["places"], same, loss)

    def condense(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """The score of each candidate in each input, (batch, most candidates); minus infinity where there is none."""
        places = batch["places"]
        own = outputs.logits[..., 0].float().gather(1, places.clamp(min=0)).masked_fill(places == ABSENT, -torch.inf)
        missing = self.options.most_candidates - places.shape[1]
        return torch.nn.functional.pad(own, (0, missing), value=-torch.inf)

    def shares(self, condensed: Array, split: str) -> Iterator[tuple[dict[str, Any], Array]]:
        """Each record, and the probability of each of its candidates, from the mean over its inputs."""
        for record, scores, _ in self.by_record(condensed, split):
            own = scores[:, : len(record["candidates"])].astype(np.float64).mean(axis=0)
            yield record, softmax(own)

    def results(self, condensed: Array, split: str) -> Array:
        """Probability of the right candidate, and whether it is the most probable one, of each record, (records, 2)."""
        self.require_labels(split)
        found = []
        for record, shares in self.shares(condensed, split):
            right = record["candidates"].index(record[self.truth])
            found.append((float(shares[right]), float(shares.argmax() == right)))
        return np.array(found)

    def score(self, condensed: Array, split: str) -> dict[str, float]:
        return {"accuracy": float(self.results(condensed, split)[:, 1].mean())}

    def decode(self, condensed: Array, split: str) -> list[dict[str, Any]]:
        return [
            {
                "id": record["id"],
                "prediction": record["candidates"][int(shares.argmax())],
                "probability": float(shares.max()),
            }
            for record, shares in self.shares(condensed, split)
        ]

    def answer_files(self, condensed: Array, split: str) -> dict[str, str]:
        """Id to answer, as WikiHop's evaluation reads it."""
        answers = {row["id"]: row["prediction"] for row in self.decode(condensed, split)}
        return {f"{split}_predictions.json": json.dumps(answers, indent=1, ensure_ascii=False) + "\n"}

    def chance_score(self, split: str) -> float:
        """The accuracy to expect of any candidate."""
        self.require_labels(split)
        return float(np.mean([1 / len(candidates) for candidates in self.splits[split]["candidates"][:]]))


def no_texts() -> RequestError:
    """The error for texts of one's own, which have no candidates."""
    return RequestError(
        "The model chooses among candidates, which texts of your own do not have; put records into files and give "
        "--task files --kind candidates."
    )


def has_candidates(config: PretrainedConfig) -> bool:
    """Whether a token classification head gives scores of candidates."""
    return bool(kept_settings(config, Candidates.kind)) and config.num_labels == 1
