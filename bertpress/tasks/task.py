"""The contract between a task and the engine: methods know nothing of a task's inside."""

from __future__ import annotations

import copy
import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bertpress.errors import RequestError
from bertpress.tasks.rows import Rows, SomeRows
from bertpress.tasks.used import used_splits

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from bertpress.costs.cost import HeadRows

OWN_TEXTS = "texts"
"""The split of texts that belong to no data set."""


class Task(ABC):
    """Data, how a batch is made of it, its loss per example and its metrics.

    What a model makes of a batch passes through here in four stages: `forward` runs it, `example_losses` is what
    training lowers, `condense` keeps a few numbers per example, of which a whole split is collected, and `score`,
    `results` and `decode` work on these. `splits` hold records, `encoded` gives what a model reads of them: a row for
    each, or several where a record is longer than an input.

    Attributes:
        name: as the user typed it, ``glue/mrpc``.
        kind: a key of `judging.KINDS`, or ``encoder``.
        head: the kind of head that the model needs, a key of `loading.AUTO_CLASSES`; None for a bare encoder.
        asks: False if there are no predictions: none to train, to score or to give.
        labels: names of the classes in the order of the head; None where there are none.
        positive: index of the positive class of f1.
        columns: the text columns of `splits`; none where the records are no texts.
        metrics: names of what `score` returns; `primary` chooses checkpoints and is the headline.
        splits: the rows of each split, as they were read.
        inputs: names of the batch's tensors that the model takes.
        made_splits: where splits were made of the training rows, the numbers that their rows had there, from 0.
        repeats: True if a row is the same in every epoch.
        by_token: True if the head answers for every token, so that logits are (batch, length, outputs).
        augmentable: True if other words in a text leave its answer as it is, as far as augmentation goes.
        together: the column of encoded rows by which equal ones come into a batch together, if that matters.
        least_batch: rows of a batch at least; of fewer, labels teach nothing.
        tokenizer: what encodes the texts.
        max_length: longest input in tokens.
    """

    name: str
    kind: str
    head: str | None
    asks: bool = True
    labels: tuple[str, ...] | None
    positive: int
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    primary: str
    splits: Mapping[str, Rows]
    inputs: tuple[str, ...]
    made_splits: Mapping[str, Sequence[int]] | None = None
    repeats: bool = True
    by_token: bool = False
    augmentable: bool = True
    together: str | None = None
    least_batch: int = 1
    tokenizer: PreTrainedTokenizerBase
    max_length: int

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks that the user should read on the data, and on what a model sees of the splits that a run reads."""
        return (*self.data_notes, *(note for split in used_splits(self) for note in self.notes_on(split)))

    @property
    def data_notes(self) -> tuple[str, ...]:
        """Remarks on the data as they were read; one on a single split begins with its name and a colon."""
        return ()

    def completed(self, config: PretrainedConfig) -> Task:
        """This task with what it cannot know but from a trained head's configuration; the same by default."""
        return self

    def notes_on(self, split: str) -> Iterable[str]:
        """Remarks on what a model sees of a split."""
        return ()

    @property
    def markers(self) -> tuple[int, ...]:
        """Ids of ordinary tokens that the task itself puts into what a model reads."""
        return ()

    @property
    def sources(self) -> dict[str, str]:
        """Path to digest of each file that the rows come from; none where they come from elsewhere."""
        return {}

    @abstractmethod
    def configure(self, config: PretrainedConfig) -> PretrainedConfig:
        """`config` with a head for this task (labels, problem type)."""

    def noted(self, config: PretrainedConfig) -> PretrainedConfig:
        """`config` of a head for this task with what else answers depend on, for texts of one's own."""
        return config

    def companions(self, config: PretrainedConfig) -> dict[str, Any]:
        """File names to contents, as JSON, of what stands beside a saved model of this configuration."""
        return {}

    def check_training(self) -> None:
        """Refuse what no training can do without.

        Raises:
            RequestError: says what to install.
        """
        return  # most tasks need nothing more

    @abstractmethod
    def aligned(self, config: PretrainedConfig) -> Task:
        """This task with labels in the order of a trained head.

        Raises:
            RequestError: the head has other labels.
        """

    @abstractmethod
    def encoded(self, split: str) -> Rows:
        """The split as token ids, computed once."""

    def with_train(self, rows: Rows) -> Task:
        """This task with other training rows, of the same columns; `is_augmented` marks those whose label is a guess.

        Raises:
            RequestError: a task without texts.
        """
        raise RequestError(f"The training rows of {self.name} are no texts, so there is nothing to put in their place.")

    def divided(self, splits: Mapping[str, Sequence[int]]) -> Task:
        """This task with splits that hold these of its training records, rising; `train` is to be one of them.

        Their rows keep their numbers, by which what is drawn for them is drawn.
        """
        encoded = self.encoded("train")
        result = copy.copy(self)
        result.splits = {**self.splits, **{name: SomeRows(encoded, rows) for name, rows in splits.items()}}
        return result

    def with_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> Task:
        """The same rows, encoded by another tokenizer.

        Raises:
            RequestError: a task without texts.
        """
        raise RequestError(f"The rows of {self.name} are no texts, so no other tokenizer can encode them.")

    def with_texts(self, texts: Sequence[tuple[str, ...]]) -> Task:
        """A task with these texts, each a tuple of one or two, as its only split, `OWN_TEXTS`, without labels.

        Raises:
            RequestError: a task without texts.
        """
        raise RequestError(f"The rows of {self.name} are no texts, so there is nothing to put in their place.")

    @abstractmethod
    def collate(self, rows: Sequence[Mapping[str, Any]], draw: tuple[int, ...] | None = None) -> dict[str, Tensor]:
        """A batch of encoded rows, padded to the longest, with `labels` where they are known.

        Args:
            rows: each with its `row`.
            draw: in training, numbers that determine with a row's own what a task draws at random for it; None in
                evaluation, where everybody draws the same.
        """

    def forward(self, model: PreTrainedModel, batch: Mapping[str, Tensor], **asked: Any) -> Any:
        """What `model` makes of a batch; `asked` goes to the encoder, such as ``output_hidden_states=True``."""
        return model(**self.inputs_of(model, batch), **asked)

    def inputs_of(self, model: PreTrainedModel, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What `model` takes of a batch; not every architecture knows segments."""
        taken = _parameters(type(model).forward)
        return {name: batch[name] for name in self.inputs if name in batch and name in taken}

    def groups(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """(batch,) equal numbers for the options of a question, compared with each other; None without any."""
        return None

    def positions(self, tokens: int) -> HeadRows:
        """Number of tokens that `forward` applies the head to in an input of that many; or of each part of the head."""
        return 1

    @abstractmethod
    def example_losses(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """Loss of each example, shape (batch,)."""

    def condense(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """What `score` and `decode` need of each example, of one width for all batches, shape (batch, width)."""
        logits: Tensor = outputs.logits
        return logits

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
        """Every metric of what `condense` gave of a split, as a number of which 1 is the best."""

    def remarks(self, metrics: Mapping[str, float]) -> list[str]:
        """The metrics in other words, where readers expect some."""
        return []

    def results(self, logits: np.ndarray, split: str) -> np.ndarray:
        """What the file of predictions keeps of each record, (records, outputs); its `kind` says what that is."""
        return logits

    def truths(self, logits: np.ndarray, split: str) -> list[Any]:
        """What the answer to each record should have been, in the same terms; None where nobody knows."""
        return [None] * len(self.splits[split])

    def lengths(self, split: str) -> list[int]:
        """Tokens that a model reads of each record, special ones included; of several rows all together."""
        return list(self.encoded(split)["length"][:])

    def parts(self, logits: np.ndarray, split: str) -> dict[str, np.ndarray]:
        """Name of a part of the answers, such as a type of entity, to truth and results of each record in that part.

        Each is of shape (records, 1 + outputs), the truth first, and is judged like the whole.
        """
        return {}

    def agreement(self, own: np.ndarray, other: np.ndarray) -> float:
        """How far two models agree in what their outputs condense to, at most 1: share of rows answered alike."""
        return float((own.argmax(axis=1) == other.argmax(axis=1)).mean())

    @abstractmethod
    def has_labels(self, split: str) -> bool:
        """True if every row of the split can be scored."""

    @abstractmethod
    def chance_score(self, split: str) -> float:
        """The primary metric of always giving the commonest answer."""

    @abstractmethod
    def decode(self, logits: np.ndarray, split: str) -> list[dict[str, Any]]:
        """One prediction per record, in their order; empty records get the commonest answer."""

    def answer_files(self, logits: np.ndarray, split: str) -> dict[str, str]:
        """File names to contents: the predictions in formats that the task's own tools read."""
        return {}

    @property
    def dev_split(self) -> str:
        """The split that chooses checkpoints and gives the headline score."""
        return "validation" if "validation" in self.splits else next(iter(self.splits))

    def scored_splits(self) -> list[str]:
        """Splits that every result is scored on: those for development, not the training or the test split."""
        names = [name for name in self.splits if name.startswith("validation")]
        return names or [self.dev_split]


@functools.cache
def _parameters(forward: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(forward).parameters)
