"""Multiple choice as a task: a row for each option of a question, the largest score as the answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor
from torch.nn import functional

from bertpress.errors import RequestError
from bertpress.models import shares_choices
from bertpress.tasks.choices.features import TYPES, Reader
from bertpress.tasks.choices.formats import LETTERS
from bertpress.tasks.choices.losses import choice_distances, choice_losses
from bertpress.tasks.choices.records import METRIC
from bertpress.tasks.choices.settings import ChoiceSettings
from bertpress.tasks.grouping import questions_of
from bertpress.tasks.heads import keep_settings, kept_settings, name_outputs
from bertpress.tasks.metrics import METRICS
from bertpress.tasks.windows import Windowed

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from bertpress.tasks.data import TextData

Array = NDArray[np.floating]
OUTPUTS = {"together": ("score",), "separately": ("wrong", "right")}
"""Way of scoring to the outputs of the head for an option, the one that chooses last."""
HEADS = {"together": "multiple-choice", "separately": "sequence-classification"}


@dataclass(frozen=True)
class OptionScores:
    """What a model says about options."""

    logits: Tensor  # (batch, outputs)
    hidden_states: tuple[Tensor, ...] | None = None  # of the encoder, where they were asked for


class MultipleChoice(Windowed):
    """Questions on a text, each with options of which one is right.

    A model reads an option at a time, so that questions may have any number of them and none is padded to more. Where
    they are scored together, the rows of a question come into a batch together and share a softmax.

    Args:
        data: records of `records.load_choices`.
        tokenizer: a fast one.
        max_length: tokens of a row, special ones included.
        choice: how they are read and scored.
    """

    kind = "choice"
    labels = None
    by_token = False
    truth = "answer"
    types = TYPES

    def __init__(
        self, data: TextData, tokenizer: PreTrainedTokenizerBase, max_length: int, choice: ChoiceSettings | None = None
    ) -> None:
        super().__init__(data, tokenizer, max_length)
        self.choice = choice or ChoiceSettings()
        self.is_shared = self.choice.scoring == "together"
        self.head = HEADS[self.choice.scoring]
        self.together = "record" if self.is_shared else None
        self.least_batch = 2 if self.is_shared else 1
        self.reader = Reader(tokenizer, max_length, self.choice)

    @property
    def settings(self) -> dict[str, Any]:
        return self.choice.model_dump(mode="json", include={"option_length", "fill_blanks"})

    def notes_on(self, split: str) -> Iterator[str]:
        if count := self.reader.too_long(self.splits[split].select_columns(["question", "options"])[:]):
            most = self.reader.option_length
            yield f"{split}: {count} questions have more than {most} tokens with one of their options and are cut there"

    @functools.cached_property
    def mean_options(self) -> float:
        """Options of a question, on average over the split that is trained on, or the only one there is."""
        split = self.splits.get("train", self.splits[self.dev_split])
        return float(np.mean([len(options) for options in split["options"][:]]))

    def windows_of(self, records: Mapping[str, list[Any]], split: str) -> Iterator[list[dict[str, Any]]]:
        return self.reader.windows_of(records)

    def with_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> Self:
        result = super().with_tokenizer(tokenizer)
        result.reader = Reader(tokenizer, self.max_length, self.choice)
        return result

    def positions(self, tokens: int) -> int:
        return 1

    def configure(self, config: PretrainedConfig) -> PretrainedConfig:
        names = OUTPUTS[self.choice.scoring]
        name_outputs(config, names)
        config.problem_type = None if self.is_shared else "single_label_classification"
        return self.noted(config)

    def noted(self, config: PretrainedConfig) -> PretrainedConfig:
        keep_settings(config, self.kind, self.choice.model_dump(mode="json"))
        return config

    def aligned(self, config: PretrainedConfig) -> Self:
        if self.is_shared:
            fits = any(name.endswith("ForMultipleChoice") for name in config.architectures or ())
        else:
            fits = tuple(config.id2label[number] for number in sorted(config.id2label)) == OUTPUTS["separately"]
        if fits:
            return self
        wanted = "a score for each option" if self.is_shared else "the outputs wrong and right for each option"
        other = "separately" if self.is_shared else "together"
        raise RequestError(
            f"{self.name} needs a head with {wanted}, and the model has none; fine-tune it on this task first, or, if "
            f"that is how it was trained, set task.choice.scoring={other}."
        )

    def collate(self, rows: Sequence[Mapping[str, Any]], draw: tuple[int, ...] | None = None) -> dict[str, Tensor]:
        batch = super().collate(rows, draw)
        if rows[0].get("is_right") is not None:
            batch["labels"] = torch.tensor([row["is_right"] for row in rows])
        if self.is_shared:
            for name in ("record", "options"):
                batch[name] = torch.tensor([row[name] for row in rows])
        return batch

    def groups(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        return questions_of(batch["record"], batch["row"]) if self.is_shared else None

    def forward(self, model: PreTrainedModel, batch: Mapping[str, Tensor], **asked: Any) -> OptionScores:
        inputs = self.inputs_of(model, batch)
        if self.is_shared:
            if shares_choices(model.config) and "walk" not in asked:
                asked["groups"] = self.groups(batch)
            inputs = {name: values[:, None] for name, values in inputs.items()}  # questions of one option each
        found = model(**inputs, **asked)
        return OptionScores(found.logits, getattr(found, "hidden_states", None))

    def example_losses(self, outputs: OptionScores, batch: Mapping[str, Tensor]) -> Tensor:
        if not self.is_shared:
            return functional.cross_entropy(outputs.logits.float(), batch["labels"], reduction="none")
        questions = questions_of(batch["record"], batch["row"])
        return self._evenly(choice_losses(outputs.logits[:, 0], batch["labels"], questions), batch)

    def distillation_losses(
        self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        if not self.is_shared:
            return loss(student, teacher)
        questions = questions_of(batch["record"], batch["row"])
        return self._evenly(choice_distances(student[:, 0], teacher[:, 0], questions, loss), batch)

    def _evenly(self, losses: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Losses of questions, one for each row, weighted so that in a mean over rows all questions count the same."""
        return losses * (self.mean_options / batch["options"])

    def chosen(self, condensed: Array, split: str) -> Iterator[tuple[dict[str, Any], int, NDArray[np.float64]]]:
        """Each record, the number of the option that is chosen, the first of equals, and the options' probabilities."""
        for record, outputs, _ in self.by_record(condensed, split):
            scores = outputs[:, -1].astype(np.float64)
            yield record, int(scores.argmax()), softmax(scores)

    def results(self, condensed: Array, split: str) -> Array:
        """Probability of the right option, and whether it was chosen, of each record, (records, 2)."""
        self.require_labels(split)
        found = [
            (shares[record[self.truth]], float(chosen == record[self.truth]))
            for record, chosen, shares in self.chosen(condensed, split)
        ]
        return np.array(found)

    def score(self, condensed: Array, split: str) -> dict[str, float]:
        """Share of questions answered rightly, also by level where there are several; 0 of no question."""
        right = self.results(condensed, split)[:, 1]
        levels = np.asarray(self.splits[split]["level"][:])
        found = {METRIC: float(right.mean())}
        for name in self.metrics[1:]:
            own = right[levels == name.removeprefix(f"{METRIC}_")]
            found[name] = float(own.mean()) if len(own) else 0.0
        return found

    def decode(self, condensed: Array, split: str) -> list[dict[str, Any]]:
        """Of each record its id, the letter, number from 0 and text of its answer, and the options' probabilities."""
        return [
            {
                "id": record["id"],
                "prediction": LETTERS[chosen] if chosen < len(LETTERS) else str(chosen),
                "option": chosen,
                "text": record["options"][chosen],
                "probability": float(shares[chosen]),
                "probabilities": shares.tolist(),
            }
            for record, chosen, shares in self.chosen(condensed, split)
        ]

    def chance_score(self, split: str) -> float:
        """Accuracy of always choosing the option in the place where right ones stand most often."""
        self.require_labels(split)
        answers = np.asarray(self.splits[split][self.truth][:])
        return float(np.bincount(answers).max() / len(answers))

    def agreement(self, own: Array, other: Array) -> float:
        """Correlation of the scores of options."""
        return METRICS["pearson"](other[:, -1], own[:, -1], 1)


def no_options() -> RequestError:
    """The error for texts of one's own without options."""
    return RequestError(
        "The model chooses among the options of a question, which --text and --input cannot give: put the questions "
        "into a folder as test.jsonl, a line each with context, question and options, and name it: --task files --kind "
        "choice --data-dir FOLDER --split test."
    )


def scores_separately(config: PretrainedConfig) -> bool:
    """Whether a classifier says of each option by itself whether it is right."""
    names = tuple(config.id2label[number] for number in sorted(config.id2label))
    return bool(kept_settings(config, MultipleChoice.kind)) and names == OUTPUTS["separately"]
