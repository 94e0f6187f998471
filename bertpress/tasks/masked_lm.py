"""Masked language modelling: guess the tokens that were hidden. Pre-training, as a task like any other."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bertpress.encoders.language_model import masked_lm_logits
from bertpress.errors import RequestError
from bertpress.tasks.encoding import pad
from bertpress.tasks.hiding import EVALUATION, IGNORED, Vocabulary, mask_tokens, vocabulary_of
from bertpress.tasks.masking import Masking
from bertpress.tasks.metrics import METRICS
from bertpress.tasks.rows import Rows
from bertpress.tasks.task import Task

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class MaskedTokens:
    """What a model says about the chosen tokens of a batch, row by row."""

    logits: Tensor  # (chosen, vocabulary)
    labels: Tensor  # (chosen,)
    where: Tensor  # (batch, length), True where a token was chosen
    hidden_states: tuple[Tensor, ...] | None = None  # of the encoder, where they were asked for

    @functools.cached_property
    def losses(self) -> Tensor:
        """Negative log-likelihood of each chosen token, shape (chosen,)."""
        return functional.cross_entropy(self.logits.float(), self.labels, reduction="none")

    def per_row(self, values: Tensor) -> Tensor:
        """Sum over the chosen tokens of each row, shape (batch,)."""
        return torch.zeros_like(self.where, dtype=torch.float32).masked_scatter(self.where, values.float()).sum(dim=1)

    @property
    def counts(self) -> Tensor:
        """Number of chosen tokens of each row, shape (batch,)."""
        return self.where.sum(dim=1)


class TextRows(Task):
    """Encoded rows of plain text: what tasks on it have in common.

    Args:
        name: as the user typed it.
        rows: encoded rows of each split; what they have as `notes` and `digests` is the task's.
        tokenizer: the one that encoded them.
        max_length: longest input in tokens.
        masking: which tokens are masked; the task says what None means.
    """

    labels, positive, columns = None, 1, ()
    masking: Masking | None

    def __init__(
        self,
        name: str,
        rows: Mapping[str, Rows],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        masking: Masking | None = None,
    ) -> None:
        self.name, self.splits = name, rows
        self.tokenizer, self.max_length, self.masking = tokenizer, max_length, masking
        self.inputs = tuple(tokenizer.model_input_names)

    @property
    def data_notes(self) -> tuple[str, ...]:
        found: tuple[str, ...] = getattr(self.splits, "notes", ())
        return found

    @property
    def sources(self) -> dict[str, str]:
        found: dict[str, str] = getattr(self.splits, "digests", {})
        return found

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """What masking needs to know of the tokenizer."""
        return vocabulary_of(self.tokenizer)

    def configure(self, config: PretrainedConfig) -> PretrainedConfig:
        return config

    def encoded(self, split: str) -> Rows:
        if split not in self.splits:
            raise RequestError(f"{self.name} has no split '{split}'; it has {', '.join(self.splits)}.")
        return self.splits[split]

    def with_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> Self:
        splits: Any = self.splits
        return type(self)(self.name, splits.with_tokenizer(tokenizer), tokenizer, self.max_length, self.masking)

    def collate(self, rows: Sequence[Mapping[str, Any]], draw: tuple[int, ...] | None = None) -> dict[str, Tensor]:
        batch = pad(self.tokenizer, rows)
        if self.masking is None:
            return batch
        key = EVALUATION if draw is None else (1, *draw)
        ids, labels = mask_tokens(batch["input_ids"].numpy(), batch["row"].numpy(), self.vocabulary, self.masking, key)
        return {**batch, "input_ids": torch.from_numpy(ids), "labels": torch.from_numpy(labels)}


class MaskedLanguageModel(TextRows):
    """Rows of text of which some tokens are hidden: 15 % of them, unless `masking` says otherwise."""

    kind = head = "masked-lm"
    repeats = False
    metrics, primary = ("masked_accuracy", "mean_probability"), "masked_accuracy"
    masking: Masking

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.masking = self.masking or Masking()
        _ = self.vocabulary  # refuses a tokenizer without a mask token

    def aligned(self, config: PretrainedConfig) -> MaskedLanguageModel:
        if len(self.tokenizer) > config.vocab_size:
            raise RequestError(
                f"The tokenizer has {len(self.tokenizer)} tokens, but the model {config.vocab_size} outputs; "
                "give the model with its own tokenizer."
            )
        return self

    def forward(self, model: PreTrainedModel, batch: Mapping[str, Tensor], **asked: Any) -> MaskedTokens:
        found = model.base_model(**self.inputs_of(model, batch), **asked)
        where = batch["labels"] != IGNORED  # (batch, length)
        whole = found.get("logits")  # of an exported graph, whose head is inside
        logits = masked_lm_logits(model, found.last_hidden_state[where]) if whole is None else whole[where]
        return MaskedTokens(logits, batch["labels"][where], where, found.get("hidden_states"))

    def positions(self, tokens: int) -> int:
        return self.masking.count(tokens)

    def example_losses(self, outputs: MaskedTokens, batch: Mapping[str, Tensor]) -> Tensor:
        return outputs.per_row(outputs.losses) / outputs.counts.clamp(min=1)

    def distillation_losses(
        self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        tokens = MaskedTokens(student, batch["labels"], batch["labels"] != IGNORED)
        return tokens.per_row(loss(student, teacher)) / tokens.counts.clamp(min=1)

    def condense(self, outputs: MaskedTokens, batch: Mapping[str, Tensor]) -> Tensor:
        """Of each row: number of tokens guessed, sum of negative log-likelihoods, number of tokens asked for."""
        guessed = outputs.per_row(outputs.logits.argmax(dim=-1) == outputs.labels)
        return torch.stack([guessed, outputs.per_row(outputs.losses), outputs.counts.float()], dim=1)

    def score(self, logits: np.ndarray, split: str) -> dict[str, float]:
        guessed, losses, counts = logits.astype(np.float64).T
        if not counts.any():
            raise RequestError(f"The {split} split of {self.name} holds no token that could be hidden; add text to it.")
        return {
            "masked_accuracy": METRICS["masked_accuracy"](counts, guessed, self.positive),
            "mean_probability": math.exp(-losses.sum() / counts.sum()),
        }

    def remarks(self, metrics: Mapping[str, float]) -> list[str]:
        probability = metrics["mean_probability"]
        return [f"perplexity of the masked tokens {1 / probability:.1f}"] if probability else []

    def agreement(self, own: np.ndarray, other: np.ndarray) -> float:
        """Share of rows of which as many tokens were guessed."""
        return float((own[:, 0] == other[:, 0]).mean())

    def truths(self, logits: np.ndarray, split: str) -> list[Any]:
        """Number of tokens asked for in each row: what the number of tokens guessed should have been."""
        return [int(count) for count in logits[:, 2]]

    def has_labels(self, split: str) -> bool:
        return True

    def chance_score(self, split: str) -> float:
        """Share of the commonest token among those asked for."""
        rows, found = self.encoded(split), np.zeros(len(self.vocabulary.special), dtype=np.int64)
        for start in range(0, len(rows), 1000):
            batch = self.collate([rows[row] for row in range(start, min(start + 1000, len(rows)))])
            labels = batch["labels"].numpy()
            found += np.bincount(labels[labels != IGNORED], minlength=len(found))
        return float(found.max() / max(1, found.sum()))

    def decode(self, logits: np.ndarray, split: str) -> list[dict[str, Any]]:
        return [
            {"masked": int(count), "guessed": int(guessed), "probability": math.exp(-loss / max(1.0, count))}
            for guessed, loss, count in logits.astype(np.float64).tolist()
        ]
