"""Multi-hop reading as a task: an answer from several paragraphs, and the sentences that it rests on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bertpress.config import build
from bertpress.models.multihop import NOWHERE, OUTPUTS
from bertpress.tasks.data import TextData
from bertpress.tasks.heads import PARAMETERS, keep_settings, kept_settings, name_outputs, require_outputs
from bertpress.tasks.hops.decoding import HEAD, condensed, decision_of
from bertpress.tasks.hops.features import TYPES, Reader
from bertpress.tasks.hops.losses import multihop_distances, multihop_losses
from bertpress.tasks.hops.metrics import Score, answer_score, facts_score, joint_score
from bertpress.tasks.hops.paragraphs import YES_NO, pieces_of
from bertpress.tasks.hops.records import METRICS
from bertpress.tasks.hops.settings import HopSettings
from bertpress.tasks.reading.losses import IGNORED
from bertpress.tasks.windows import Windowed, require_pairs

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from bertpress.tasks.rows import Rows

Array = NDArray[np.floating]
NAMES = ("start", "end", "span", "yes", "no", "other", "supporting")
"""Of the head's outputs, in order."""
KINDS = ("span", *YES_NO)
SHOWN = ("paragraphs", "char_starts", "char_ends", "sentence_paragraphs", "sentence_numbers")
"""Columns of an input that an answer is read from."""


class MultiHop(Windowed):
    """Questions on several paragraphs, each answered by a span, yes or no, and by the sentences that say so.

    Every record is one input; what does not fit is cut, told in a remark, and counts as missed.

    Args:
        data: records of `records.load_hops`.
        tokenizer: a fast one.
        max_length: tokens of an input, special ones included.
        hops: how they are read.
    """

    kind, head = "multihop", "multi-hop"
    labels = None
    truth = "answer"
    types = TYPES

    def __init__(
        self, data: TextData, tokenizer: PreTrainedTokenizerBase, max_length: int, hops: HopSettings | None = None
    ) -> None:
        super().__init__(data, tokenizer, max_length)
        self.hops = hops or HopSettings()
        self.reader = Reader(tokenizer, max_length, self.hops)
        self.inputs = (*self.inputs, "sentences")

    @property
    def settings(self) -> dict[str, Any]:
        fields = {"question_length", "title_marker", "text_marker", "max_answer_spans", "max_sentences"}
        return self.hops.model_dump(mode="json", include=fields)

    @property
    def data_notes(self) -> tuple[str, ...]:
        return (*self.data.notes, *self.reader.notes)

    @property
    def markers(self) -> tuple[int, ...]:
        return tuple(self.reader.markers)

    def notes_on(self, split: str) -> Iterator[str]:
        yield self._cut(split)
        if longer := self.reader.too_long(self.splits[split]["question"][:]):
            yield f"{split}: {longer} questions have more than {self.reader.question_length} tokens and are cut there"

    def _cut(self, split: str) -> str:
        """A remark on what does not fit into the inputs of a split."""
        encoded, records = self.encoded(split), self.splits[split]
        read = sum(map(len, encoded["sentence_numbers"][:]))
        every = sum(len(own) for sentences in records["sentences"] for own in sentences)
        text = f"{split}: {read} of {every} sentences stand whole in an input of {self.max_length} tokens"
        if not self.has_labels(split):
            return text
        facts = sum(map(len, records["fact_titles"][:]))
        found = sum(map(sum, encoded["supporting"][:]))
        spans = [list(starts) != [0] for kind, starts in self._answers(encoded) if kind == 0]
        return f"{text}, {found} of {facts} supporting facts and {sum(spans)} of {len(spans)} answers that are spans"

    def _answers(self, encoded: Dataset) -> Iterator[tuple[int, Sequence[int]]]:
        return zip(encoded["answer_kind"][:], encoded["starts"][:], strict=True)

    def windows_of(self, records: Mapping[str, list[Any]], split: str) -> Iterator[list[dict[str, Any]]]:
        for row in self.reader.inputs_of(records, training=split == "train"):
            yield [row]

    def with_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> Self:
        result = super().with_tokenizer(tokenizer)
        result.reader = Reader(tokenizer, self.max_length, self.hops)
        result.inputs = (*result.inputs, "sentences")
        return result

    def with_texts(self, texts: Sequence[tuple[str, ...]]) -> Self:
        """This task with pairs of a question and a text as its only split, `OWN_TEXTS`.

        Blank lines part the text into paragraphs without a title, other line ends part these into sentences.

        Raises:
            RequestError: other than pairs.
        """
        require_pairs(texts)
        paragraphs = [[part.split("\n") for part in re.split(r"\n\s*\n", text.strip("\n"))] for _, text in texts]
        columns: dict[str, list[Any]] = {"id": [f"row-{number + 1}" for number in range(len(texts))]}
        columns |= {"question": [question for question, _ in texts], "sentences": paragraphs}
        columns["titles"] = [[""] * len(each) for each in paragraphs]
        return self.with_records(columns)

    def configure(self, config: PretrainedConfig) -> PretrainedConfig:
        name_outputs(config, NAMES)
        return self.noted(config)

    def noted(self, config: PretrainedConfig) -> PretrainedConfig:
        keep_settings(config, self.kind, self.hops.model_dump(mode="json"))
        return config

    def aligned(self, config: PretrainedConfig) -> Self:
        require_outputs(config, self.name, OUTPUTS, ", ".join(NAMES))
        return self

    def collate(self, rows: Sequence[Mapping[str, Any]], draw: tuple[int, ...] | None = None) -> dict[str, Tensor]:
        """A batch; `labels` is the kind of the answer, beside `spans` and `supporting`."""
        batch = super().collate(rows, draw)
        sentences = [_pairs(row, "firsts", "lasts") for row in rows]
        places = [[pair for pair, _ in each] or [(NOWHERE, NOWHERE)] for each in sentences]
        batch["sentences"] = _filled(places, NOWHERE)
        length = batch["input_ids"].shape[1]
        batch["paragraphs"] = torch.tensor(
            [[*row["paragraphs"], *[NOWHERE] * (length - len(row["paragraphs"]))] for row in rows]
        )
        if rows[0].get("answer_kind") is not None:
            batch["labels"] = torch.tensor([row["answer_kind"] for row in rows])
            spans = [[pair for pair, _ in _pairs(row, "starts", "ends")] or [(0, 0)] for row in rows]
            batch["spans"] = _filled(spans, IGNORED)
            marks = [[(row["supporting"][number],) for _, number in each] or [(IGNORED,)]
                     for row, each in zip(rows, sentences, strict=True)]  # fmt: skip
            batch["supporting"] = _filled(marks, IGNORED)[..., 0]
        return batch

    def positions(self, tokens: int) -> tuple[int, ...]:
        """How often the head's parts are applied: to tokens, once, and twice to as many sentences as usual there."""
        sentences = round(tokens * _sentences_per_token(self.encoded(self.dev_split)))
        return tokens, 1, sentences, sentences

    def example_losses(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        return multihop_losses(
            outputs.logits,
            batch["spans"],
            batch["labels"],
            batch["supporting"],
            batch["sentences"],
            batch["attention_mask"],
        )

    def distillation_losses(
        self, student: Tensor, teacher: Tensor, batch: Mapping[str, Tensor], loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        sides = 2.0 if self.hops.span_reduction == "sum" else 1.0
        return multihop_distances(student, teacher, batch["sentences"], batch["attention_mask"], loss, sides)

    def condense(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        hops = self.hops
        return condensed(
            outputs.logits, batch["paragraphs"], batch["sentences"], hops.longest_answer, hops.max_sentences
        )

    def answers(self, condensed: Array, split: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each record, and what is answered to it: its kind, its text, and the facts as title and number."""
        encoded = self.encoded(split).select_columns(list(SHOWN))
        for record, kept, (number,) in self.by_record(condensed, split):
            row, decision = encoded[number], decision_of(kept[0])
            places = zip(row["sentence_paragraphs"], row["sentence_numbers"], strict=True)
            chosen = sorted(place for number, place in enumerate(places) if number in decision.supporting)
            text = KINDS[decision.kind] if decision.kind else _text(record, row, decision.span)
            facts = [[record["titles"][paragraph], sentence] for paragraph, sentence in chosen]
            yield record, {"prediction": text, "kind": KINDS[decision.kind], "supporting_facts": facts}

    def record_scores(self, condensed: Array, split: str) -> Iterator[tuple[Score, Score, Score]]:
        """Of each record the score of its answer, of its facts, and of both together."""
        self.require_labels(split)
        for record, answer in self.answers(condensed, split):
            own = answer_score(answer["prediction"], record["answer"])
            facts = zip(record["fact_titles"], record["fact_sentences"], strict=True)
            found = facts_score([tuple(fact) for fact in answer["supporting_facts"]], list(facts))
            yield own, found, joint_score(own, found)

    def results(self, condensed: Array, split: str) -> Array:
        """F1 and exact match of the answer, of the facts and of both, of each record, (records, 6)."""
        return np.array(
            [[value for score in scores for value in score[:2]] for scores in self.record_scores(condensed, split)]
        )

    def score(self, condensed: Array, split: str) -> dict[str, float]:
        means = np.array(list(self.record_scores(condensed, split))).mean(axis=0)  # (answer, facts, joint; Score)
        found = {
            f"{what}_{field}": value
            for what, row in zip(("answer", "facts", "joint"), means.tolist(), strict=True)
            for field, value in zip(("f1", "exact_match", "precision", "recall"), row, strict=True)
        }
        found["exact_match"] = found["answer_exact_match"]
        return {name: found[name] for name in METRICS}

    def decode(self, condensed: Array, split: str) -> list[dict[str, Any]]:
        return [{"id": record["id"], **answer} for record, answer in self.answers(condensed, split)]

    def answer_files(self, condensed: Array, split: str) -> dict[str, str]:
        """The file that HotpotQA's evaluation script reads."""
        decoded = self.decode(condensed, split)
        content = {
            "answer": {row["id"]: row["prediction"] for row in decoded},
            "sp": {row["id"]: row["supporting_facts"] for row in decoded},
        }
        return {f"{split}_predictions.json": json.dumps(content, ensure_ascii=False) + "\n"}

    def chance_score(self, split: str) -> float:
        """The joint F1 of answering yes and naming no sentence, which is 0."""
        self.require_labels(split)
        return 0.0

    def agreement(self, own: Array, other: Array) -> float:
        """Share of inputs with the same kind of answer, the same best span and the same supporting sentences."""
        same = own[:, :3].argmax(axis=1) == other[:, :3].argmax(axis=1)
        same &= (own[:, 3:HEAD] == other[:, 3:HEAD]).all(axis=1)
        same &= ((own[:, HEAD:] > 0) == (other[:, HEAD:] > 0)).all(axis=1)
        return float(same.mean())


def of_head(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, max_length: int) -> MultiHop:
    """A task without rows for a trained head, with the settings that its configuration keeps: to answer own texts."""
    kept = kept_settings(config, MultiHop.kind)
    data = TextData("your texts", {}, ("question",), None, METRICS, METRICS[0])
    task = MultiHop(data, tokenizer, max_length, build(HopSettings, kept, where=f"{PARAMETERS}.multihop"))
    return task.aligned(config)


def _text(record: Mapping[str, Any], row: Mapping[str, Any], span: tuple[int, int] | None) -> str:
    """The characters of a span of an input; nothing where there is none."""
    if span is None:
        return ""
    first, last = span
    text = "".join(pieces_of(record["sentences"][row["paragraphs"][first]]))
    return text[row["char_starts"][first] : row["char_ends"][last]].strip()


@lru_cache(maxsize=1)
def _sentences_per_token(encoded: Rows) -> float:
    return float(sum(map(len, encoded["firsts"][:])) / max(1, sum(encoded["length"][:])))


def _pairs(row: Mapping[str, Any], first: str, last: str) -> list[tuple[tuple[int, int], int]]:
    """Pairs of tokens that lie in the row, with their numbers; rows that were shortened for a measurement lose some."""
    found = enumerate(zip(row[first], row[last], strict=True))
    return [(pair, number) for number, pair in found if pair[1] < len(row["input_ids"])]


def _filled(rows: Sequence[Sequence[tuple[int, ...]]], value: int) -> Tensor:
    """(rows, most, width), filled up with `value`."""
    most, width = max(map(len, rows)), len(rows[0][0])
    return torch.tensor([[*row, *[(value,) * width] * (most - len(row))] for row in rows])
