"""What a masked-language model proposes for words, in large batches whose logits exist at masked positions only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bertpress.augmentation.vectors import leave_out
from bertpress.augmentation.vocabulary import Vocabulary, vocabulary_of
from bertpress.corpus.framing import Frame, frame_of
from bertpress.encoders import encoder_of
from bertpress.encoders.language_model import masked_lm_logits
from bertpress.engine.kernels import fastest_kernels

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bertpress.augmentation import Augmentation

LOGITS = 2**24  # logits that are held at once
FAIR = 2048  # tokens in a batch from which on a larger one is hardly faster


@dataclass(frozen=True)
class Masked:
    """A word of a text whose tokens are to be masked."""

    ids: Sequence[int]  # the text without special tokens
    positions: tuple[int, ...]  # the word's tokens
    word: str


@dataclass(frozen=True)
class Input:
    """What the model reads for one word."""

    ids: list[int]
    segments: list[int]
    positions: list[int]  # of the masks


@dataclass(frozen=True)
class Framing:
    """How masked texts become inputs of a model."""

    frame: Frame
    as_pair: bool  # with the original text beside the masked one
    mask: int
    longest: int  # in tokens, special ones included

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, positions: int, context: str) -> Framing:
        """For a tokenizer and a model of that many positions."""
        longest = min(positions, tokenizer.model_max_length)
        return cls(frame_of(tokenizer), context == "pair", tokenizer.mask_token_id, longest)

    def input_of(self, item: Masked) -> Input:
        """Masked and original text as a pair; where that does not fit, the masked text alone or a window of it."""
        masked = list(item.ids)
        for position in item.positions:
            masked[position] = self.mask
        if self.as_pair and 2 * len(masked) + self.frame.special(pair=True) <= self.longest:
            return self._filled(masked, item.ids, item.positions)
        room = self.longest - self.frame.special(pair=False)
        centre = (item.positions[0] + item.positions[-1]) // 2
        start = max(0, min(centre - room // 2, len(masked) - room))
        return self._filled(masked[start : start + room], (), [position - start for position in item.positions])

    def _filled(self, masked: Sequence[int], original: Sequence[int], positions: Sequence[int]) -> Input:
        ids, segments = self.frame.fill(masked, original)
        begin = self.frame.begin(pair=bool(original))
        return Input(ids, segments, [begin + position for position in positions])


class Proposer:
    """A masked-language model that proposes words.

    Args:
        model: in eval mode, on its device.
        tokenizer: has a mask token.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: Augmentation) -> None:
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self.vocabulary: Vocabulary = vocabulary_of(tokenizer)
        self.framing = Framing.of(tokenizer, encoder_of(model.config).positions(model.config), settings.context)
        banned = np.ones(model.config.vocab_size, dtype=bool)
        known = self.vocabulary.is_word[: len(banned)]
        banned[: len(known)] = ~known
        self.banned = torch.from_numpy(banned).to(model.device)

    def propose(self, items: Sequence[Masked]) -> list[list[str]]:
        """At most `candidates` words for each item, the most probable first."""
        inputs = [self.framing.input_of(item) for item in items]
        found: list[list[str]] = [[] for _ in items]
        for batch in batches([len(item.ids) for item in inputs], self.settings.token_budget):
            values, tokens = self._best([inputs[index] for index in batch], [items[index] for index in batch])
            row = 0
            for index in batch:
                count = len(items[index].positions)
                found[index] = self._words(items[index].word, values[row : row + count], tokens[row : row + count])
                row += count
        return found

    def _best(self, inputs: Sequence[Input], items: Sequence[Masked]) -> tuple[np.ndarray, np.ndarray]:
        """Logits and numbers of the best tokens of each masked position, both (positions, K + 1), best first."""
        model, device = self.model, self.model.device
        rows = [row for row, item in enumerate(inputs) for _ in item.positions]
        positions = [position for item in inputs for position in item.positions]
        left_out = [
            self.vocabulary.spelled_like(item.ids[item.positions[0]], item.word)
            if self.settings.exclude_original and len(item.positions) == 1
            else []
            for item in items
            for _ in item.positions
        ]
        count = min(self.settings.candidates + 1, len(self.banned))
        best: list[tuple[Tensor, Tensor]] = []
        with torch.inference_mode(), fastest_kernels(device), _reduced_precision(device):
            hidden = model.base_model(**self._padded(inputs)).last_hidden_state[rows, positions]
            step = max(1, LOGITS // len(self.banned))
            for begin in range(0, len(rows), step):
                logits = masked_lm_logits(model, hidden[begin : begin + step]).float()
                logits = logits.masked_fill(self.banned, -torch.inf)
                leave_out(logits, left_out[begin : begin + step])
                values, tokens = logits.topk(count)
                best.append((values.cpu(), tokens.to(torch.int32).cpu()))
        return torch.cat([values for values, _ in best]).numpy(), torch.cat([tokens for _, tokens in best]).numpy()

    def _padded(self, inputs: Sequence[Input]) -> dict[str, Tensor]:
        longest = max(len(item.ids) for item in inputs)
        columns = {
            "input_ids": [item.ids + [self.tokenizer.pad_token_id] * (longest - len(item.ids)) for item in inputs],
            "token_type_ids": [item.segments + [0] * (longest - len(item.ids)) for item in inputs],
            "attention_mask": [[1] * len(item.ids) + [0] * (longest - len(item.ids)) for item in inputs],
        }
        names = self.tokenizer.model_input_names
        return {name: torch.tensor(rows, device=self.model.device) for name, rows in columns.items() if name in names}

    def _words(self, word: str, values: np.ndarray, tokens: np.ndarray) -> list[str]:
        spelled = ("".join(map(self.vocabulary.spelling.__getitem__, row)) for row in joint(values, tokens))
        if self.settings.exclude_original:
            spelled = (candidate for candidate in spelled if candidate.lower() != word.lower())
        return list(spelled)[: self.settings.candidates]


def joint(values: np.ndarray, tokens: np.ndarray) -> list[tuple[int, ...]]:
    """The best token sequences, best first, as many as `values` has columns.

    Each position chooses by itself, so a sequence is worth the sum of its logits. Among the best sequences there is
    none whose beginning is not among the best beginnings, which makes the search exact.

    Args:
        values: logits of the best tokens of each position, shape (positions, count); -inf for tokens that are banned.
        tokens: their numbers, same shape.
    """
    scores = np.zeros(1)
    sequences: list[tuple[int, ...]] = [()]
    for row, numbers in zip(values.astype(np.float64), tokens.tolist(), strict=True):
        sums = (scores[:, None] + row).ravel()
        order = np.argsort(-sums, kind="stable")[: values.shape[1]]
        order = order[np.isfinite(sums[order])]
        sequences = [(*sequences[place // len(row)], numbers[place % len(row)]) for place in order.tolist()]
        scores = sums[order]
    return sequences


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices by falling length, in batches of at most `budget` tokens with padding; a longer one stands alone.

    A batch that is worth its while ends where the next one would be padded by more than an eighth: on a processor,
    where a large batch is no faster than a fair one, padding was a third of the time.
    """
    batch: list[int] = []
    for index in np.argsort(-np.asarray(lengths), kind="stable").tolist():
        longest = lengths[batch[0]] if batch else 0
        padded = len(batch) * longest >= FAIR and lengths[index] < 7 / 8 * longest
        if batch and (padded or (len(batch) + 1) * longest > budget):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _reduced_precision(device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast(device.type, dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()
