"""Sentence embeddings as a task: pairs of texts, each text a row, judged by how alike their vectors are.

A pair's two texts are rows of one record, so that they come into a batch together; all that methods do with rows
(states, attention, tokens that are skipped) they do with each text by itself. A pooled mean looks at every token, and
where tokens are skipped it takes their last states.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bertpress.errors import RequestError
from bertpress.tasks.data import MARK, TextData
from bertpress.tasks.embedding import layout as layouts
from bertpress.tasks.embedding.layout import Layout
from bertpress.tasks.embedding.losses import (
    pair_loss,
    pairs_in,
    require_library,
    share_losses,
    similarity_distances,
    vector_distances,
)
from bertpress.tasks.embedding.pooling import embeddings
from bertpress.tasks.embedding.scoring import partners_found, score_range, similarities, unit
from bertpress.tasks.embedding.settings import EmbeddingSettings, Loss
from bertpress.tasks.encoding import tokenized
from bertpress.tasks.metrics import METRICS
from bertpress.tasks.named import is_test
from bertpress.tasks.rows import Rows
from bertpress.tasks.task import OWN_TEXTS
from bertpress.tasks.windows import Windowed

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Array = NDArray[np.floating]
Known = Literal["scores", "pairs"]
"""What is known of the pairs of a split: how alike they are, or that they belong together."""
MEASURED: dict[Known | None, tuple[str, ...]] = {
    "scores": ("spearmanr", "pearson"),
    "pairs": ("retrieval_accuracy",),
    None: (),
}
"""Metrics, the primary one first."""
LOSSES: dict[Known, tuple[Loss, ...]] = {"scores": ("cosent", "cosine"), "pairs": ("ranking",)}
"""What can be learned of them, the default first."""
COMPARED = 1000


@dataclass(frozen=True)
class Sentences:
    """What a model makes of texts."""

    logits: Tensor  # (rows, width): their vectors
    last_hidden_state: Tensor  # (rows, length, width)
    hidden_states: tuple[Tensor, ...] | None = None  # of the encoder, where they were asked for


class Embedding(Windowed):
    """Texts whose vectors are to be alike where the texts are: pairs with scores, pairs that belong together, or texts.

    Args:
        data: one or two columns of texts; scores in "label" where there are any.
        tokenizer: encodes them.
        max_length: longest text in tokens, special ones included; longer ones are cut.
        embedding: settings; those of the data set are `settings.settings_for`.
    """

    head, labels, by_token, augmentable, truth = None, None, False, True, "label"
    types: Mapping[str, str] = {"side": "int8", "labels": "float64", "augmented": "bool"}
    layout: Layout | None = None
    """that of the model whose task this is; None before there is one"""

    def __init__(
        self,
        data: TextData,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        embedding: EmbeddingSettings | None = None,
    ) -> None:
        super().__init__(data, tokenizer, max_length)
        self.embedding = embedding or EmbeddingSettings()
        self.scored = any(self.truth in split.column_names for split in self.splits.values())
        scored = [split for split in self.splits if self.known(split) == "scores"]
        scored.sort(key=lambda split: split != "train")  # the training rows tell the range, if they have scores
        scores = {split: self.splits[split][self.truth][:] for split in scored}
        self.range = score_range(scores, self.embedding.score_range, self.name)
        known = self.known(self.dev_split) if self.splits else None
        self.kind = "retrieval" if known == "pairs" else "embedding"
        self.metrics = MEASURED[known]
        self.primary = self.metrics[0] if self.metrics else "agreement"
        self.together = "record" if len(self.columns) == 2 else None
        self.loss = self._loss()
        self.least_batch = 2 if self.loss == "cosine" else 4  # the others compare pairs

    def known(self, split: str) -> Known | None:
        """What is known of the pairs of a split; a test split without scores is not taken for pairs that belong."""
        if len(self.columns) != 2 or split == OWN_TEXTS:
            return None
        if self.truth in self.splits[split].column_names:
            return "scores"
        return None if self.scored and is_test(split) else "pairs"

    def _loss(self) -> Loss:
        known, asked = self.known("train") if "train" in self.splits else None, self.embedding.loss
        choices = LOSSES[known or "scores"]
        if known is not None and asked is not None and asked not in choices:
            what = "have scores" if known == "scores" else "have no scores"
            raise RequestError(f"The loss {asked} does not go with pairs that {what}; choose {' or '.join(choices)}.")
        return asked or choices[0]

    @property
    def settings(self) -> dict[str, Any]:
        return {"range": self.range, "scored": self.scored, "columns": self.columns}

    @property
    def data_notes(self) -> tuple[str, ...]:
        told = [f"scores from {self.range[0]:g} to {self.range[1]:g} are learned as 0 to 1"] * self.scored
        return (*self.data.notes, *told)

    def scaled(self, scores: Sequence[float]) -> list[float]:
        """Scores as 0 to 1."""
        low, high = self.range
        return [(score - low) / (high - low) for score in scores]

    def windows_of(self, records: Mapping[str, list[Any]], split: str) -> Iterator[list[dict[str, Any]]]:
        known = self.known(split)
        count = len(records[self.columns[0]])
        labels = self.scaled(records[self.truth]) if known == "scores" else [1.0 if known else None] * count
        marks = records.get(MARK, [False] * count)
        sides = [self._read(records[column]) for column in self.columns]
        for label, mark, *texts in zip(labels, marks, *sides, strict=True):
            yield [{**text, "side": side, "labels": label, "augmented": mark} for side, text in enumerate(texts)]

    def _read(self, texts: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Token ids of each text."""
        for batch in tokenized(self.tokenizer, [(text,) for text in texts], self.max_length):
            names = [name for name in ("input_ids", "token_type_ids") if name in batch]
            for values in zip(*(batch[name] for name in names), strict=True):
                yield dict(zip(names, values, strict=True))

    def with_train(self, rows: Rows) -> Self:
        result = copy.copy(self)
        result.splits = {**self.splits, "train": cast("Dataset", rows)}
        result._encoded = {split: encoded for split, encoded in self._encoded.items() if split != "train"}
        return result

    def with_texts(self, texts: Sequence[tuple[str, ...]]) -> Self:
        cells = dict(zip(("text", "text_pair"), zip(*texts, strict=True), strict=False))
        result = self.with_records({name: list(column) for name, column in cells.items()})
        result.columns = tuple(cells)
        return result

    def configure(self, config: PretrainedConfig) -> PretrainedConfig:
        return self.aligned(config).noted(config)

    def noted(self, config: PretrainedConfig) -> PretrainedConfig:
        layouts.note_layout(config, self.layout or Layout())
        return config

    def aligned(self, config: PretrainedConfig) -> Self:
        """This task with the layout of a model; what the settings ask for comes before what the first one says."""
        own = layouts.own_layout(config)
        result = copy.copy(self)
        if self.layout is None:
            asked = self.embedding.model_dump(include={"pooling", "normalize"}, exclude_none=True)
            result.layout = (own or Layout()).model_copy(update=asked)
        else:  # a model beside another, such as a teacher, has its own
            result.layout = own or self.layout
        result.layout = result.layout.reaching(self.max_length)
        return result

    def companions(self, config: PretrainedConfig) -> dict[str, Any]:
        return layouts.files_of(self._layout_of(config), int(config.hidden_size))

    def _layout_of(self, config: PretrainedConfig) -> Layout:
        return layouts.noted_layout(config) or self.layout or Layout()

    def check_training(self) -> None:
        require_library()

    def collate(self, rows: Sequence[Mapping[str, Any]], draw: tuple[int, ...] | None = None) -> dict[str, Tensor]:
        batch = super().collate(rows, draw)
        batch |= {name: torch.tensor([row[name] for row in rows]) for name in ("record", "side", "augmented")}
        if rows[0]["labels"] is not None:
            batch["labels"] = torch.tensor([row["labels"] for row in rows], dtype=torch.float32)
        return batch

    def forward(self, model: PreTrainedModel, batch: Mapping[str, Tensor], **asked: Any) -> Sentences:
        found = model(**self.inputs_of(model, batch), **asked)
        states = found.last_hidden_state
        vectors = embeddings(states, batch["attention_mask"], self._layout_of(model.config))
        return Sentences(vectors, states, found.get("hidden_states"))

    def positions(self, tokens: int) -> int:
        return 1

    def example_losses(self, outputs: Sentences, batch: Mapping[str, Tensor]) -> Tensor:
        pairs = pairs_in(batch["record"], batch["side"])
        return share_losses(outputs.logits, batch["labels"], pairs, pair_loss(self.loss, self.embedding.scale))

    def distillation_losses(
        self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        if student.shape[-1] != teacher.shape[-1]:
            return similarity_distances(student, teacher)
        return vector_distances(student, teacher, self.embedding.distance)

    def similarities(self, vectors: Array, split: str) -> NDArray[np.float64]:
        """(pairs,) how alike the two texts of each record are."""
        return similarities(*_sides(vectors))

    def results(self, vectors: Array, split: str) -> Array:
        """Of each record how alike its texts are; of pairs that belong together whether the second one was found."""
        self.require_labels(split)
        if self.known(split) == "scores":
            return self.similarities(vectors, split)[:, None]
        found = partners_found(*_sides(vectors), self.splits[split][self.columns[1]][:])
        return found[:, None].astype(np.float64)

    def truths(self, vectors: Array, split: str) -> list[Any]:
        """Scores as 0 to 1; of pairs that belong together 1."""
        known = self.known(split)
        if known == "scores":
            return self.scaled(self.splits[split][self.truth][:])
        return [1.0 if known else None] * len(self.splits[split])

    def score(self, vectors: Array, split: str) -> dict[str, float]:
        results = self.results(vectors, split)[:, 0]
        labels = np.asarray(self.truths(vectors, split))
        known = self.known(split)
        if known == "pairs":
            return {"retrieval_accuracy": METRICS["accuracy"](labels, results, 1)}
        return {name: METRICS[name](labels, results, 1) for name in MEASURED[known]}

    def has_labels(self, split: str) -> bool:
        return self.known(split) is not None

    def chance_score(self, split: str) -> float:
        """0 for a correlation; for pairs that belong together the share that guessing finds."""
        if self.known(split) == "scores":
            return 0.0
        return 1 / len(set(self.splits[split][self.columns[1]][:]))

    def agreement(self, own: Array, other: Array) -> float:
        """Mean cosine between vectors; of other widths the correlation of what is alike in each, on some rows."""
        if own.shape[1] == other.shape[1]:
            return float(similarities(own, other).mean())
        alike = [(side @ side.T).ravel() for side in (unit(own[:COMPARED]), unit(other[:COMPARED]))]
        return METRICS["pearson"](alike[1], alike[0], 1)

    def decode(self, vectors: Array, split: str) -> list[dict[str, Any]]:
        """How alike the two texts of each record are; of single texts their vectors."""
        if len(self.columns) == 1:
            return [{"embedding": row} for row in vectors.tolist()]
        return [{"prediction": float(value)} for value in self.similarities(vectors, split)]


def _sides(vectors: Array) -> tuple[Array, Array]:
    """Vectors of the first texts and of the second ones, which are neighbours."""
    return vectors[0::2], vectors[1::2]


def is_sentence_encoder(config: PretrainedConfig) -> bool:
    """True for a bare encoder that says how its states become vectors of texts."""
    bare = "For" not in next(iter(config.architectures or ()), "For")
    return bare and layouts.own_layout(config) is not None


def of_head(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Embedding:
    """A task without rows for an encoder of sentences: to compare or embed texts of your own."""
    data = TextData("your texts", {}, ("text",), None, (), "")
    return Embedding(data, tokenizer, max_length).aligned(config)
