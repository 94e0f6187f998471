"""Classification and regression of one or two texts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor
from torch.nn import functional

from bertpress.errors import RequestError
from bertpress.files import content_digest
from bertpress.tasks.data import MARK, SCORES, TextData
from bertpress.tasks.encoding import encode, pad
from bertpress.tasks.heads import name_outputs
from bertpress.tasks.metrics import METRICS
from bertpress.tasks.rows import Rows
from bertpress.tasks.task import OWN_TEXTS, Task

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


class Classification(Task):
    """Text rows with a class each, or with a number each (regression).

    Args:
        data: the rows; see `TextData`.
        tokenizer: encodes them.
        max_length: longest input in tokens, special ones included; longer texts are cut.
    """

    head = "sequence-classification"
    splits: Mapping[str, Dataset]

    def __init__(self, data: TextData, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        self.data, self.tokenizer, self.max_length = data, tokenizer, max_length
        self.name, self.splits, self.made_splits = data.name, data.splits, data.made
        self.metrics, self.primary = data.metrics, data.primary
        self.labels, self.columns = data.labels, data.columns
        self.positive = data.labels.index(data.positive) if data.labels and data.positive else 1
        self.kind = "regression" if data.labels is None else "classification"
        self.inputs = tuple(tokenizer.model_input_names)
        self._encoded: dict[str, Dataset] = {}

    @property
    def data_notes(self) -> tuple[str, ...]:
        return self.data.notes

    @property
    def sources(self) -> dict[str, str]:
        return {str(path): content_digest(path) for path in self.data.sources}

    def configure(self, config: PretrainedConfig) -> PretrainedConfig:
        names = self.labels or ("score",)
        name_outputs(config, names)
        config.problem_type = "regression" if self.labels is None else "single_label_classification"
        return config

    def aligned(self, config: PretrainedConfig) -> Classification:
        head = tuple(config.id2label[index] for index in sorted(config.id2label))
        if self.data.unlabelled and head != self.labels:
            return self._of_head(head, config)
        if self.labels is None:
            if len(head) != 1:
                raise RequestError(f"{self.name} needs a head with one output, but the model's head has {len(head)}.")
            return self
        if head == self.labels:
            return self
        spelled = {_plain(name): name for name in self.labels}
        if len(spelled) == len(head) and set(map(_plain, head)) == set(spelled):
            own = tuple(spelled[_plain(name)] for name in head)  # the task's spelling in the order of the head
            if own == self.labels:
                return self
            return Classification(
                dataclasses.replace(self.data, **self._reordered(own)), self.tokenizer, self.max_length
            )
        if len(head) == len(self.labels) and all(re.fullmatch(r"LABEL_\d+", name) for name in head):
            raise RequestError(
                f"The model's head names its labels {', '.join(head)}, so their order is unknown; "
                f"give it with --head-labels {','.join(self.labels)} (in the order of the head)."
            )
        raise RequestError(
            f"The model's head has {_listed(head)}, but {self.name} has {_listed(self.labels)}; "
            "fine-tune the model on this task first."
        )

    def _of_head(self, head: tuple[str, ...], config: PretrainedConfig) -> Classification:
        """This task with the labels of a trained head, where the training rows have none that would tell."""
        regression = len(head) == 1 or config.problem_type == "regression"
        if (self.labels and (regression or not set(self.labels) <= set(head))) or (
            self.labels is None and not regression
        ):
            raise RequestError(
                f"The model's head has {_listed(head)}, but {self.name} has {_listed(self.labels or ('scores',))}."
            )
        changed = SCORES | {"labels": None} if regression else self._reordered(head)
        return Classification(dataclasses.replace(self.data, **changed), self.tokenizer, self.max_length)

    def _reordered(self, head: tuple[str, ...]) -> dict[str, Any]:
        assert self.labels is not None
        new_ids = [head.index(name) for name in self.labels]

        def renumber(row: dict[str, Any]) -> dict[str, Any]:
            known = row["label"] is not None and row["label"] >= 0
            return {"label": new_ids[row["label"]] if known else row["label"]}

        splits = {
            name: _plain_labels(split).map(renumber) if "label" in split.column_names else split
            for name, split in self.splits.items()
        }
        return {"labels": head, "splits": splits}

    def encoded(self, split: str) -> Dataset:
        if split not in self.splits:
            made = ", or make it with --make-splits 80/10/10" if split in ("validation", "test") else ""
            raise RequestError(
                f"{self.name} has no split '{split}'; it has {', '.join(self.splits)}. Put one beside them{made}."
            )
        if split not in self._encoded:
            rows = self.splits[split]
            texts = list(zip(*(rows[column][:] for column in self.data.columns), strict=True))
            encoded = encode(self.tokenizer, texts, self.max_length)
            if self.has_labels(split):
                encoded = encoded.add_column("labels", rows["label"][:])
            if MARK in rows.column_names:
                encoded = encoded.add_column("augmented", rows[MARK][:])
            self._encoded[split] = encoded
        return self._encoded[split]

    def with_train(self, rows: Rows) -> Classification:
        splits = {**self.splits, "train": cast("Dataset", rows)}
        result = Classification(dataclasses.replace(self.data, splits=splits), self.tokenizer, self.max_length)
        result._encoded = {split: encoded for split, encoded in self._encoded.items() if split != "train"}
        return result

    def divided(self, splits: Mapping[str, Sequence[int]]) -> Classification:
        train, encoded = self.splits["train"], self.encoded("train")
        chosen = {name: train.select(rows) for name, rows in splits.items()}
        data = dataclasses.replace(self.data, splits={**self.splits, **chosen})
        result = Classification(data, self.tokenizer, self.max_length)
        result._encoded = {**self._encoded, **{name: encoded.select(rows) for name, rows in splits.items()}}
        return result

    def with_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> Classification:
        return Classification(self.data, tokenizer, self.max_length)

    def with_texts(self, texts: Sequence[tuple[str, ...]]) -> Classification:
        from datasets import Dataset

        cells = dict(zip(("text", "text_pair"), zip(*texts, strict=True), strict=False))
        rows = Dataset.from_dict({name: list(column) for name, column in cells.items()})
        data = dataclasses.replace(self.data, splits={OWN_TEXTS: rows}, columns=tuple(cells))
        return Classification(data, self.tokenizer, self.max_length)

    def collate(self, rows: Sequence[Mapping[str, Any]], draw: tuple[int, ...] | None = None) -> dict[str, Tensor]:
        batch = pad(self.tokenizer, rows)
        if "labels" in rows[0]:
            kind = torch.float32 if self.labels is None else torch.long
            batch["labels"] = torch.tensor([row["labels"] for row in rows], dtype=kind)
        if "augmented" in rows[0]:
            batch["augmented"] = torch.tensor([row["augmented"] for row in rows])
        return batch

    def example_losses(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        logits = outputs.logits.float()
        if self.labels is None:
            return functional.mse_loss(logits.squeeze(-1), batch["labels"], reduction="none")
        return functional.cross_entropy(logits, batch["labels"], reduction="none")

    def distillation_losses(
        self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        if self.labels is None:
            return functional.mse_loss(student.float(), teacher.float(), reduction="none").mean(-1)
        return loss(student, teacher)

    def score(self, logits: np.ndarray, split: str) -> dict[str, float]:
        if not self.has_labels(split):
            raise RequestError(f"The {split} split of {self.name} has no labels to score against.")
        labels = np.asarray(self.splits[split]["label"][:])
        predictions = logits[:, 0] if self.labels is None else logits.argmax(axis=1)
        return {name: METRICS[name](labels, predictions, self.positive) for name in self.metrics}

    def truths(self, logits: np.ndarray, split: str) -> list[Any]:
        encoded = self.encoded(split)
        return encoded["labels"][:] if "labels" in encoded.column_names else super().truths(logits, split)

    def has_labels(self, split: str) -> bool:
        """True if every row of the split has a label; the leaderboard's test splits have none."""
        rows = self.splits[split]
        if "label" not in rows.column_names:
            return False
        known = np.array(rows["label"][:], dtype=np.float64)  # None is nan
        return bool((~np.isnan(known) if self.labels is None else known >= 0).all())

    def chance_score(self, split: str) -> float:
        if self.labels is None:
            return 0.0
        shares = self._shares(split)
        always = np.eye(len(self.labels))[shares.argmax()]
        return self.score(np.tile(always, (len(self.splits[split]), 1)), split)[self.primary]

    def _shares(self, split: str) -> np.ndarray:
        """Share of each label in a split."""
        labels = np.asarray(self.splits[split]["label"][:])
        return np.bincount(labels, minlength=len(self.labels or ())) / len(labels)

    def agreement(self, own: np.ndarray, other: np.ndarray) -> float:
        """Share of rows of the same class; of scores their correlation."""
        if self.labels is None:
            return METRICS["pearson"](other[:, 0], own[:, 0], 1)
        return super().agreement(own, other)

    def decode(self, logits: np.ndarray, split: str) -> list[dict[str, Any]]:
        if self.labels is None:
            return [{"prediction": float(value)} for value in logits[:, 0]]
        empty = self._rows_without_text(split)
        if empty and "train" in self.splits and self.has_labels("train"):
            logits = logits.copy()
            logits[empty] = np.log(np.maximum(self._shares("train"), 1e-9))
        best, shares = logits.argmax(axis=1), softmax(logits, axis=1)
        return [
            {"prediction": self.labels[index], "probability": float(row[index])}
            for index, row in zip(best, shares, strict=True)
        ]

    def _rows_without_text(self, split: str) -> list[int]:
        rows = self.splits[split]
        texts = zip(*(rows[column][:] for column in self.data.columns), strict=True)
        return [row for row, parts in enumerate(texts) if not any(part.strip() for part in parts)]


def data_of_head(config: PretrainedConfig) -> TextData:
    """Data without rows for the labels of a trained head: to predict texts that belong to no task."""
    names = tuple(config.id2label[index] for index in sorted(config.id2label))
    regression = len(names) == 1 or config.problem_type == "regression"
    return TextData("your texts", {}, (), None if regression else names, (), "")


def _plain(name: str) -> str:
    """A label's name but for case, spaces, underscores and hyphens."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def _plain_labels(split: Dataset) -> Dataset:
    """The split with labels as plain integers, so that they may be renumbered."""
    from datasets import Value

    return split.cast_column("label", Value("int64"))


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:8])
    return f"{len(names)} labels ({shown}{', ...' if len(names) > 8 else ''})"
