"""What a model that skips tokens reads: which layers each token of each row went through, and why."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from bertpress.errors import RequestError
from bertpress.files import write_text
from bertpress.opened.how_opened import OpeningAtSpeed
from bertpress.opened.opening import Sample, open_sample
from bertpress.recipe import TaskSpec

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from bertpress.models.walks import Trace
    from bertpress.tasks.task import Task

Record = dict[str, Any]


@dataclass(frozen=True)
class Explanation:
    """What happened to the tokens of some rows."""

    model: str
    about: str
    """the rows in words"""
    depth: int
    """layers of the model"""
    selector: str
    layers: tuple[int, ...]
    """decisions were made after so many layers"""
    limits: tuple[str, ...]
    """what each decision kept, in words"""
    macs: float
    """multiply-adds of the rows as a share of the plain model's"""
    rows: list[Record]
    """of each row: `row`, `record` (another number where records have several inputs), `texts`, `prediction` and
    `probability`, `label` and `right` of its record where known; and of each of its tokens: `tokens`, `offsets` and
    `text` (which of the texts they count in; None for what the tokenizer added), `tail` (it continues a word),
    `special`, `scores` (of each decision, None where nothing was asked), `kept` (at each decision) and `last_layer`
    (computed for it, from 0)"""


def explain(
    model: str,
    *,
    task: str | Mapping[str, Any] | TaskSpec | None = None,
    texts: Sequence[tuple[str, ...]] | None = None,
    split: str | None = None,
    out: str | Path | None = None,
    trace: str | Path | None = None,
    **how: Unpack[OpeningAtSpeed],
) -> Explanation:
    """Trace the tokens of texts through a model that skips some of them.

    Args:
        model: folder, run, or hub name.
        task: whose rows to look at; or
        texts: texts of your own, each a tuple of one or two.
        split: of the task; default that for development.
        out: a page of HTML to write.
        trace: a file of JSON lines to write, a line for each row.
        how: see `OpeningAtSpeed`.

    Raises:
        RequestError: the request was wrong; nothing was written.
    """
    from bertpress.reports import trace_page

    loaded, sample = open_sample(model, task, texts, split, **how)
    settings = loaded.base_model.settings
    rows = _traced(loaded, sample)
    explanation = Explanation(
        model=model,
        about="your own texts" if sample.is_own else f"{sample.task.name}, {sample.split}",
        depth=len(loaded.base_model.get_submodule(loaded.base_model.places.layers)),
        selector=settings.selector,
        layers=settings.layers,
        limits=_limits(settings),
        macs=_share_of_macs(loaded, sample.task, rows),
        rows=rows,
    )
    if out is not None:
        write_text(Path(out), trace_page.html(explanation))
    if trace is not None:
        write_text(Path(trace), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return explanation


def _limits(settings: Any) -> tuple[str, ...]:
    if settings.shares is not None:
        return tuple(f"the best {100 * share:.3g} % of a row's tokens" for share in settings.shares)
    thresholds = settings.thresholds or (0.5,) * len(settings.layers)
    return tuple(f"from {threshold:.3g}" for threshold in thresholds)


def _traced(model: PreTrainedModel, sample: Sample) -> list[Record]:
    """The records of all rows, in their order."""
    import numpy as np
    import torch

    from bertpress.engine.evaluation import batches_by_length
    from bertpress.engine.kernels import fastest_kernels
    from bertpress.models.walks import Trace

    task, encoder = sample.task, model.eval().base_model
    records = _located(sample)
    logits: dict[int, np.ndarray] = {}
    with torch.inference_mode(), fastest_kernels(model.device):
        for chosen, batch in batches_by_length(task, sample.encoded, model.device):
            trace = Trace()
            outputs = task.forward(model, batch, trace=trace)
            logits.update(zip(chosen.tolist(), task.condense(outputs, batch).float().cpu().numpy(), strict=True))
            _note(trace, [records[row] for row in chosen], encoder)
    _answer(records, sample, np.stack([logits[row] for row in range(len(records))]))
    return records


def _share_of_macs(model: PreTrainedModel, task: Task, records: list[Record]) -> float:
    """What the rows cost, as a share of what they cost in the plain model."""
    from bertpress.costs import cost
    from bertpress.measurements.skipping import plain_config

    lengths = [len(record["kept"]) for record in records]
    kept = [[sum(column) for column in zip(*record["kept"], strict=True)] for record in records]
    own = cost.ideal_macs(model.config, lengths, kept, head=task.head, positions=task.positions)
    plain = plain_config(model, None)
    return own / cost.ideal_macs(plain, lengths, head=task.head, positions=task.positions)


def _note(trace: Trace, records: list[Record], encoder: Any) -> None:
    """What a batch's trace says of the tokens, into the records of its rows."""
    assert trace.valid is not None
    ends = [*encoder.settings.layers, len(encoder.get_submodule(encoder.places.layers))]
    valid, alive, scores = trace.valid.cpu(), trace.alive().cpu(), trace.scores().cpu()
    for row, record in enumerate(records):
        kept = alive[row][valid[row]].tolist()  # (tokens, decisions)
        record["scores"] = [
            [None if math.isnan(score) else score for score in given] for given in scores[row][valid[row]].tolist()
        ]
        record["kept"] = kept
        record["last_layer"] = [ends[sum(given)] - 1 for given in kept]


def _answer(records: list[Record], sample: Sample, logits: np.ndarray) -> None:
    """Predictions, and labels where they are known, into the records."""
    import numpy as np

    from bertpress.tasks.judging import KINDS

    task, split = sample.task, sample.split
    kind = KINDS[task.kind]
    answers = task.decode(logits, split)
    for record in records:
        record |= {name: value for name, value in answers[record["record"]].items() if name not in record}
        if "entities" in record:
            found = [f"{entity['type']} {entity['text']}" for entity in record["entities"]]
            record["prediction"] = "; ".join(found) or "no entity"
    if not sample.has_labels:
        return
    labels, results = task.truths(logits, split), task.results(logits, split)
    right = None if kind.right is None else kind.right(results, np.asarray(labels, np.float64))
    for record in records:
        label = labels[record["record"]]
        if task.kind == "classification":
            record["label"] = (task.labels or ())[label]
        elif task.kind == "regression":
            record["label"] = label
        if right is not None:
            record["right"] = bool(right[record["record"]])


def _located(sample: Sample) -> list[Record]:
    """The tokens of each row and where in its texts they stand.

    A row that is not simply a record's texts, such as an option of a question, is shown as its tokens spell it.

    Raises:
        RequestError: a tokenizer that does not tell, or rows that are no records' at all.
    """
    from bertpress.tasks.encoding import tokenized

    task, texts = sample.task, sample.texts if sample.task.columns else []
    if not task.tokenizer.is_fast:
        raise RequestError("explain needs a tokenizer that knows where tokens stand: a folder with a tokenizer.json.")
    written: list[Record] = []
    for batch in tokenized(task.tokenizer, texts, task.max_length, return_offsets_mapping=True):
        written += _records(batch, task.tokenizer)
    numbers = _record_numbers(sample)
    if len(numbers) != len(sample.encoded):
        raise RequestError(
            f"explain shows texts as they were written, and the inputs of {task.name} are made otherwise; give texts "
            "of your own with --text or --input."
        )
    spell = _speller(task.tokenizer)
    found = []
    for row, (number, ids) in enumerate(zip(numbers, sample.encoded["input_ids"][:], strict=True)):
        is_written = bool(written) and written[number]["ids"] == list(ids)
        own = {"texts": list(texts[number]), **written[number]} if is_written else spell(ids)
        found.append({"row": row, "record": number, **{name: own[name] for name in own if name != "ids"}})
    return found


def _record_numbers(sample: Sample) -> list[int]:
    """Of each row the number of its record."""
    from bertpress.tasks.windows import Windowed

    if isinstance(sample.task, Windowed):
        return list(sample.encoded["record"][:])
    return list(range(len(sample.texts if sample.task.columns else ())))


def _speller(tokenizer: PreTrainedTokenizerBase) -> Callable[[Sequence[int]], Record]:
    """Gives the tokens of a row and the texts that they spell, one between any two special tokens."""
    from bertpress.tasks.pieces import continuing

    continues = continuing(tokenizer, tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}

    def spell(ids: Sequence[int]) -> Record:
        texts: list[str] = []
        places: list[tuple[int | None, list[int], bool]] = []  # text, characters in it, whether it continues a word
        for number, id in enumerate(ids):
            if id in special:
                places.append((None, [0, 0], False))
                continue
            if not number or ids[number - 1] in special:
                texts.append("")
            tail = bool(texts[-1]) and bool(continues[id])
            before = texts[-1] + " " * (bool(texts[-1]) and not tail)
            texts[-1] = before + tokenizer.decode([id]).strip().removeprefix("##")
            places.append((len(texts) - 1, [len(before), len(texts[-1])], tail))
        which, offsets, tails = (list(column) for column in zip(*places, strict=True))
        tokens = tokenizer.convert_ids_to_tokens(ids)
        is_special = [text is None for text in which]
        return {
            "texts": texts,
            "tokens": tokens,
            "offsets": offsets,
            "text": which,
            "tail": tails,
            "special": is_special,
        }

    return spell


def _records(batch: Any, tokenizer: Any) -> Iterator[Record]:
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    for index, ids in enumerate(batch["input_ids"]):
        texts, words = batch.sequence_ids(index), batch.word_ids(index)
        places = list(zip(texts, words, strict=True))
        yield {
            "ids": ids,
            "tokens": tokenizer.convert_ids_to_tokens(ids),
            "offsets": [list(span) for span in batch["offset_mapping"][index]],
            "text": texts,
            "tail": [
                word is not None and number > 0 and places[number - 1] == (text, word)
                for number, (text, word) in enumerate(places)
            ],
            "special": [text is None or id in special for text, id in zip(texts, ids, strict=True)],
        }
