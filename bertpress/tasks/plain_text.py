"""Text of which nothing is asked: what a bare encoder learns another's hidden states and attention from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from bertpress.errors import RequestError
from bertpress.tasks.encoding import encode, pad
from bertpress.tasks.masked_lm import EVALUATION, mask_tokens, vocabulary_of
from bertpress.tasks.masking import Masking
from bertpress.tasks.task import Rows, Task

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


class PlainText(Task):
    """Rows of text for general distillation, with tokens masked if `masking` says which; no head, no labels, no score.

    Args:
        name: as the user typed it.
        rows: encoded rows of each split.
        tokenizer: the one that encoded them.
        max_length: longest input in tokens, for texts that belong to no split.
        masking: which tokens are masked; none by default.
        notes: remarks about the data.
    """

    kind, head = "encoder", None
    labels, positive, columns = None, 1, ()
    metrics, primary = (), "distance"

    def __init__(
        self,
        name: str,
        rows: Mapping[str, Rows],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        masking: Masking | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.name, self.splits, self.notes = name, rows, notes
        self.tokenizer, self.max_length, self.masking = tokenizer, max_length, masking
        self.inputs = tuple(tokenizer.model_input_names)
        self.vocabulary = None if masking is None else vocabulary_of(tokenizer)
        self.repeats = masking is None

    def configure(self, config: PretrainedConfig) -> PretrainedConfig:
        return config

    def aligned(self, config: PretrainedConfig) -> PlainText:
        return self

    def encoded(self, split: str) -> Rows:
        if split not in self.splits:
            raise RequestError(f"{self.name} has no split '{split}'; it has {', '.join(self.splits)}.")
        return self.splits[split]

    def encode_texts(self, texts: Sequence[tuple[str, ...]]) -> Rows:
        rows: Rows = encode(self.tokenizer, texts, self.max_length)
        return rows

    def collate(self, rows: Sequence[Mapping[str, Any]], draw: tuple[int, ...] | None = None) -> dict[str, Tensor]:
        batch = pad(self.tokenizer, rows)
        if self.masking is None or self.vocabulary is None:
            return batch
        key = EVALUATION if draw is None else (1, *draw)
        ids, _ = mask_tokens(batch["input_ids"].numpy(), batch["row"].numpy(), self.vocabulary, self.masking, key)
        return {**batch, "input_ids": torch.from_numpy(ids)}

    def has_labels(self, split: str) -> bool:
        return False

    def example_losses(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        self._refuse()

    def distillation_losses(
        self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        self._refuse()

    def score(self, logits: np.ndarray, split: str) -> dict[str, float]:
        return {}

    def chance_score(self, split: str) -> float:
        return 0.0

    def decode(self, logits: np.ndarray, split: str | None = None) -> list[dict[str, Any]]:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise RequestError(
            "Plain text for a bare encoder asks nothing, so there are no predictions to train or to score; use kind "
            "masked-lm, or only step 1 of tinybert (prediction: null)."
        )
