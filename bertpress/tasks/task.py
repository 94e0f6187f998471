"""The contract between a task and the engine: methods know nothing of a task's inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


class Task(ABC):
    """Data, how a batch is made of it, its loss per example and its metrics.

    Attributes:
        name: as the user typed it, ``glue/mrpc``.
        kind: ``classification``, ``regression``, ...
        labels: names of the classes in the order of the head; None where there are none.
        positive: index of the positive class of f1.
        columns: the text columns of `splits`.
        metrics: names of what `score` returns; `primary` chooses checkpoints and is the headline.
        splits: the raw rows of each split.
        inputs: names of the batch's tensors that the model takes.
        notes: remarks about the data that the user should read.
        repeats: True if a row is the same in every epoch.
        tokenizer: what encodes the texts.
    """

    name: str
    kind: str
    labels: tuple[str, ...] | None
    positive: int
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    primary: str
    splits: Mapping[str, Dataset]
    inputs: tuple[str, ...]
    notes: tuple[str, ...]
    repeats: bool = True
    tokenizer: PreTrainedTokenizerBase

    @abstractmethod
    def configure(self, config: PretrainedConfig) -> PretrainedConfig:
        """`config` with a head for this task (labels, problem type)."""

    @abstractmethod
    def aligned(self, config: PretrainedConfig) -> Task:
        """This task with labels in the order of a trained head.

        Raises:
            RequestError: the head has other labels.
        """

    @abstractmethod
    def encoded(self, split: str) -> Dataset:
        """The split as token ids, with columns `length` and `row`, and `labels` where it has them. Computed once."""

    @abstractmethod
    def collate(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """A batch of encoded rows, padded to the longest."""

    def forward(self, model: PreTrainedModel, batch: Mapping[str, Tensor], **asked: Any) -> Any:
        """What `model` makes of a batch; `asked` goes to the encoder, such as ``output_hidden_states=True``."""
        return model(**{name: batch[name] for name in self.inputs if name in batch}, **asked)

    @abstractmethod
    def example_losses(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """Loss of each example, shape (batch,)."""

    @abstractmethod
    def distillation_losses(
        self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Distance of a student's logits from its teacher's, shape (batch,).

        Args:
            loss: distance of two sets of logits over the same classes, (rows, classes) twice to (rows,); a task
                without classes uses a distance of its own.
        """

    @abstractmethod
    def score(self, logits: np.ndarray, split: str) -> dict[str, float]:
        """Every metric, as a number of which 1 is the best."""

    @abstractmethod
    def has_labels(self, split: str) -> bool:
        """True if every row of the split can be scored."""

    @abstractmethod
    def chance_score(self, split: str) -> float:
        """The primary metric of always giving the commonest answer."""

    @abstractmethod
    def decode(self, logits: np.ndarray, split: str | None = None) -> list[dict[str, Any]]:
        """One prediction per example, in the order of the rows; rows of `split` that are empty get the commonest."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[tuple[str, ...]]) -> Dataset:
        """Encode texts that belong to no split, without labels."""

    @property
    def dev_split(self) -> str:
        """The split that chooses checkpoints and gives the headline score."""
        return "validation" if "validation" in self.splits else next(iter(self.splits))

    def scored_splits(self) -> list[str]:
        """Splits that every result is scored on: those for development, not the training or the test split."""
        names = [name for name in self.splits if name.startswith("validation")]
        return names or [self.dev_split]
