"""Span question answering as a task: a question and its text through windows, a start and an end as the answer."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bertpress.config import build
from bertpress.tasks.data import TextData
from bertpress.tasks.grouping import same_question
from bertpress.tasks.heads import PARAMETERS, keep_settings, kept_settings, name_outputs, require_outputs
from bertpress.tasks.reading.decoding import Answer, Window, answer_of, keep_best
from bertpress.tasks.reading.features import TYPES, Reader
from bertpress.tasks.reading.losses import IGNORED, span_distances, span_losses
from bertpress.tasks.reading.metrics import best_threshold, f1_and_match, is_answerable, summary
from bertpress.tasks.reading.records import METRICS
from bertpress.tasks.reading.settings import ReadingSettings
from bertpress.tasks.windows import Windowed, require_pairs

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Array = NDArray[np.floating]
NULL_METRICS = ("answer_f1_has_answer", "exact_match_has_answer", "exact_match_no_answer")
BEST_METRICS = ("best_answer_f1", "best_exact_match")
OUTPUTS = ("start", "end")
"""The head's, in order."""
WINDOWS_AT_ONCE = 500


@dataclass(frozen=True)
class SpanScores:
    """What a model says about starts and ends."""

    logits: Tensor  # (batch, length, 2)
    hidden_states: tuple[Tensor, ...] | None = None  # of the encoder, where they were asked for

    @property
    def start_logits(self) -> Tensor:
        return self.logits[..., 0]

    @property
    def end_logits(self) -> Tensor:
        return self.logits[..., 1]


class SpanReading(Windowed):
    """Questions, each answered by a span of its text or, where the settings or the data say so, by nothing.

    Args:
        data: records of `records.load_reading`.
        tokenizer: a fast one.
        max_length: tokens of a window, special ones included.
        reading: how they are read; those of the data set are `named.settings_for`.
    """

    kind, head = "qa", "question-answering"
    labels = None
    truth = "accepted"
    types = TYPES

    def __init__(
        self,
        data: TextData,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        reading: ReadingSettings | None = None,
    ) -> None:
        super().__init__(data, tokenizer, max_length)
        self.reading = reading or ReadingSettings()
        given = self.reading.unanswerable
        self._answer_with_nothing(any(map(_lacks_answers, self.splits.values())) if given is None else given)
        self.primary = METRICS[0]
        self.together = "record" if self.reading.shared_normalisation else None
        self.reader = Reader(tokenizer, max_length, self.reading)

    def _answer_with_nothing(self, possible: bool) -> None:
        self.may_be_nothing = possible
        self.metrics = (*METRICS, *(NULL_METRICS + BEST_METRICS if possible else ()))

    @property
    def settings(self) -> dict[str, Any]:
        fields = {"question_length", "step", "answers", "max_answer_positions", "drop_windows_without_answer"}
        return self.reading.model_dump(mode="json", include=fields)

    @property
    def markers(self) -> tuple[int, ...]:
        return tuple(self.reader.markers.values())

    def notes_on(self, split: str) -> Iterator[str]:
        if longer := self.reader.too_long(self.splits[split]["question"][:]):
            most = self.reader.question_length
            yield f"{split}: {longer} questions have more than {most} tokens and are cut there"
        if self.has_labels(split) and (lost := self._lost(split)):
            yield (
                f"{split}: {lost} answers stand whole in no window, so that these texts seem not to say them; try a "
                "longer --max-length, or a shorter task.qa.step"
            )

    def _lost(self, split: str) -> int:
        """How many questions have answers, but none that a window shows."""
        rows = self.encoded(split)
        answered = np.array([len(starts) > 0 for starts in self.splits[split]["answer_starts"]], dtype=bool)
        shown = np.array([ends != [0] for ends in rows["ends"]], dtype=bool)
        answered[np.asarray(rows["record"][:])[shown]] = False
        return int(answered.sum())

    def windows_of(self, records: Mapping[str, list[Any]], split: str) -> Iterator[list[dict[str, Any]]]:
        return self.reader.windows_of(records, training=split == "train")

    def with_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> Self:
        result = super().with_tokenizer(tokenizer)
        result.reader = Reader(tokenizer, self.max_length, self.reading)
        return result

    def with_texts(self, texts: Sequence[tuple[str, ...]]) -> Self:
        """This task with pairs of a question and a text as its only split, `OWN_TEXTS`.

        Raises:
            RequestError: other than pairs.
        """
        require_pairs(texts)
        columns = {"id": [f"row-{number + 1}" for number in range(len(texts))], "title": [""] * len(texts)}
        columns |= {name: [text[place] for text in texts] for place, name in enumerate(("question", "context"))}
        return self.with_records(columns)

    def configure(self, config: PretrainedConfig) -> PretrainedConfig:
        name_outputs(config, OUTPUTS)
        return self.noted(config)

    def noted(self, config: PretrainedConfig) -> PretrainedConfig:
        kept = self.reading.model_dump(mode="json", exclude={"folds", "unanswerable"})
        keep_settings(config, self.kind, {**kept, "unanswerable": self.may_be_nothing})
        return config

    def aligned(self, config: PretrainedConfig) -> Self:
        """This task for a trained head, which may answer with nothing if it was trained to and nobody objects."""
        require_outputs(config, self.name, len(OUTPUTS), "start and end")
        if self.reading.unanswerable is not None or not kept_settings(config, self.kind).get("unanswerable"):
            return self
        result = copy.copy(self)
        result._answer_with_nothing(True)
        return result

    def collate(self, rows: Sequence[Mapping[str, Any]], draw: tuple[int, ...] | None = None) -> dict[str, Tensor]:
        batch = super().collate(rows, draw)
        if rows[0].get("starts") is not None:
            spans = [list(zip(row["starts"], row["ends"], strict=True)) for row in rows]
            most = max(map(len, spans))
            batch["labels"] = torch.tensor([[*found, *[(IGNORED, IGNORED)] * (most - len(found))] for found in spans])
        if self.reading.shared_normalisation:
            batch["record"] = torch.tensor([row["record"] for row in rows])
        return batch

    def forward(self, model: PreTrainedModel, batch: Mapping[str, Tensor], **asked: Any) -> SpanScores:
        found = model(**self.inputs_of(model, batch), **asked)
        logits = torch.stack([found.start_logits, found.end_logits], dim=-1)
        return SpanScores(logits, getattr(found, "hidden_states", None))

    def example_losses(self, outputs: SpanScores, batch: Mapping[str, Tensor]) -> Tensor:
        same = same_question(batch["record"], batch["row"]) if self.reading.shared_normalisation else None
        return span_losses(outputs.logits, batch["labels"], batch["attention_mask"], same)

    def distillation_losses(
        self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        return span_distances(student, teacher, batch["attention_mask"], loss)

    def condense(self, outputs: SpanScores, batch: Mapping[str, Tensor]) -> Tensor:
        return keep_best(outputs.logits, batch["attention_mask"], self.reading.n_best)

    def answers(self, condensed: Array, split: str) -> Iterator[tuple[dict[str, Any], Answer]]:
        """Each record and what is answered to it."""
        windows = _windows(self.encoded(split))
        settings = self.reading
        for record, kept, numbers in self.by_record(condensed, split):
            own = list(islice(windows, len(numbers)))
            yield (
                record,
                answer_of(
                    record["context"], kept, own, settings.longest_answer, self.may_be_nothing, settings.null_threshold
                ),
            )

    def results(self, condensed: Array, split: str) -> Array:
        """F1 and exact match of each record, (records, 2)."""
        self.require_labels(split)
        return np.array([self._right(answer.chosen.text, record) for record, answer in self.answers(condensed, split)])

    def _right(self, text: str, record: Mapping[str, Any]) -> tuple[float, float]:
        return f1_and_match(text, record[self.truth], self.reading.normaliser, self.may_be_nothing)

    def score(self, condensed: Array, split: str) -> dict[str, float]:
        self.require_labels(split)
        return self._scored(self.answers(condensed, split))[0]

    def _scored(self, answers: Iterable[tuple[dict[str, Any], Answer]]) -> tuple[dict[str, float], dict[str, Any]]:
        """The metrics, and the best value and threshold of each of `BEST_METRICS`."""
        rows = [
            (
                *self._right(answer.chosen.text, record),
                *self._right(answer.span.text if answer.span else "", record),
                answer.null_odds or 0.0,
                is_answerable(record[self.truth]),
            )
            for record, answer in answers
        ]
        found = np.array(rows, dtype=np.float64)
        chosen, spans, odds, answerable = found[:, :2], found[:, 2:4], found[:, 4], found[:, 5].astype(bool)
        metrics = dict(summary(chosen, answerable))
        if not self.may_be_nothing:
            return {name: metrics[name] for name in METRICS}, {}
        best = {name: best_threshold(spans[:, side], odds, answerable) for side, name in enumerate(BEST_METRICS)}
        metrics |= {name: value.value for name, value in best.items()}
        return metrics, {name: asdict(value) for name, value in best.items()}

    def decode(self, condensed: Array, split: str) -> list[dict[str, Any]]:
        decoded = []
        for record, answer in self.answers(condensed, split):
            chosen = answer.chosen
            found: dict[str, Any] = {"id": record["id"], "prediction": chosen.text}
            found |= {"start": chosen.start, "end": chosen.end, "probability": chosen.probability}
            if answer.null_odds is not None:
                found["null_odds"] = answer.null_odds
            decoded.append(found)
        return decoded

    def answer_files(self, condensed: Array, split: str) -> dict[str, str]:
        """The three files of SQuAD's scripts, and the best thresholds where there are some."""
        answers = list(self.answers(condensed, split))
        named = {record["id"]: answer for record, answer in answers}
        shown = ("text", "probability", "start_logit", "end_logit")
        files: dict[str, Any] = {
            "predictions": {name: answer.chosen.text for name, answer in named.items()},
            "nbest_predictions": {
                name: [{field: getattr(candidate, field) for field in shown} for candidate in answer.candidates]
                for name, answer in named.items()
            },
        }
        if self.may_be_nothing:
            files["null_odds"] = {name: answer.null_odds for name, answer in named.items()}
            if self.has_labels(split):
                files["thresholds"] = self._scored(answers)[1]
        return {
            f"{split}_{name}.json": json.dumps(content, indent=4, ensure_ascii=False) + "\n"
            for name, content in files.items()
        }

    def chance_score(self, split: str) -> float:
        """F1 of answering nothing to every question."""
        self.require_labels(split)
        truths = self.splits[split][self.truth][:]
        return float(np.mean([self._right("", {self.truth: accepted})[0] for accepted in truths]))

    def agreement(self, own: Array, other: Array) -> float:
        """Share of windows of which two models have the same best start and the same best end."""
        places = [self.reading.n_best, 3 * self.reading.n_best]
        return float((own[:, places] == other[:, places]).all(axis=1).mean())


def of_head(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, max_length: int) -> SpanReading:
    """A task without rows for a trained head, with the settings that its configuration keeps: to answer own texts."""
    kept = kept_settings(config, SpanReading.kind)
    data = TextData("your texts", {}, ("question", "context"), None, METRICS, METRICS[0])
    task = SpanReading(data, tokenizer, max_length, build(ReadingSettings, kept, where=f"{PARAMETERS}.qa"))
    return task.aligned(config)


def _lacks_answers(split: Dataset) -> bool:
    """Some question of the split has no answer."""
    if SpanReading.truth not in split.column_names:
        return False
    return any(not is_answerable(accepted) for accepted in split[SpanReading.truth][:])


def _windows(encoded: Dataset) -> Iterator[Window]:
    """Where the text of each window stands, read a few hundred at a time."""
    names = ("text_at", "most_from", "most_to", "char_starts", "char_ends")
    for batch in encoded.select_columns(list(names)).with_format("arrow").iter(WINDOWS_AT_ONCE):
        columns = [batch.column(name).combine_chunks() for name in names]
        numbers = [column.to_pylist() for column in columns[:3]]
        bounds = columns[3].offsets.to_numpy() - columns[3].offsets[0].as_py()
        characters = [column.flatten().to_numpy() for column in columns[3:]]
        for row, places in enumerate(zip(*numbers, strict=True)):
            start, stop = bounds[row], bounds[row + 1]
            yield Window(*places, *(values[start:stop] for values in characters))
