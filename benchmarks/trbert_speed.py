"""What skipping tokens brings in time beside what it promises in multiply-adds: long texts, ragged batches, short ones.

Models of MiniLM's and of BERT-base's shape with random weights, with a policy before layer 1 and before the middle one.
The policies run as in a deployed model: each scores all the tokens that it sees, and a threshold decides. Policies at
random keep any share, so the thresholds are set beforehand, on the very texts that are timed, to where 40 % and then
20 % of all their tokens are kept; rows keep unequal shares, as real ones do, and the promise is computed from these.

Sides, which take turns in one process on 2 threads: the stock model, padded; the same weights packed without decisions;
packed with decisions; packed with decisions that keep everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from results import Interval, arguments, write_result
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from bertpress.costs import cost
from bertpress.costs.latency import measure
from bertpress.encoders.compact import compact, without_decisions
from bertpress.models.token_selection import default_layers
from bertpress.models.walks import Trace
from bertpress.statistics import ratio_interval

SHAPES = {
    "MiniLM": {"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536},
    "BERT-base": {"num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072},
}
SHARES = (0.4, 0.2)
LONG, BATCH, RAGGED = 512, 16, (64, 512)
SHORT = (8, 16, 24, 32, 48, 64, 96, 128)
PADDED, PACKED, KEEP_ALL = "padded stock / reduced", "packed / reduced", "keeping all / packed"
Batch = dict[str, Tensor]


class Side(nn.Module):
    """A model that is always run with the same options."""

    def __init__(self, model: nn.Module, **options: Any) -> None:
        super().__init__()
        self.model, self.options = model, options

    def forward(self, **batch: Tensor) -> Any:
        return self.model(**batch, **self.options)


@dataclass(frozen=True)
class Models:
    """One shape: the stock model, packed without decisions, and packed with policies; the same weights in all."""

    stock: nn.Module
    packed: nn.Module
    reduced: Any

    @classmethod
    def of(cls, **shape: int) -> Models:
        """Models with random weights."""
        torch.manual_seed(1)
        stock = BertForSequenceClassification(BertConfig(**shape)).eval()
        reduced = compact(stock, token_reduction={"layers": default_layers(shape["num_hidden_layers"])})
        return cls(stock, without_decisions(reduced), reduced)


def texts(lengths: Sequence[int], vocabulary: int = 30_000) -> Batch:
    """A batch of random tokens, padded to the longest."""
    generator = torch.Generator().manual_seed(sum(lengths))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": torch.randint(5, vocabulary, mask.shape, generator=generator) * mask, "attention_mask": mask}


def ragged(batches: int) -> list[Batch]:
    """Batches of rows of all lengths."""
    drawn = np.random.default_rng(1).integers(*RAGGED, size=(batches, BATCH), endpoint=True)
    return [texts(lengths) for lengths in drawn.tolist()]


@torch.inference_mode()
def traces(model: Any, batches: Sequence[Batch], thresholds: Sequence[float]) -> list[Trace]:
    """What is kept of each batch with these thresholds."""
    found = [Trace() for _ in batches]
    for batch, trace in zip(batches, found, strict=True):
        model(**batch, token_threshold=thresholds, trace=trace)
    return found


def calibrated(model: Any, batches: Sequence[Batch]) -> list[float]:
    """One threshold for each decision, with which these shares of all tokens are kept."""
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    thresholds: list[float] = []
    for step, share in enumerate(SHARES):
        seen = traces(model, batches, [*thresholds, *[0.0] * (len(SHARES) - step)])
        scores = torch.cat([trace.decisions[step].scores for trace in seen]).sort(descending=True).values  # type: ignore[misc]
        last = max(1, round(share * tokens))
        thresholds.append(float(scores[last - 1 : last + 1].double().mean()))
    return thresholds


def promised(models: Models, batches: Sequence[Batch], thresholds: Sequence[float]) -> float:
    """Multiply-adds of all tokens over those of the tokens kept."""
    full = reduced = 0
    for trace in traces(models.reduced, batches, thresholds):
        assert trace.valid is not None
        lengths = trace.valid.sum(1).tolist()
        full += cost.ideal_macs(models.stock.config, lengths)  # type: ignore[arg-type]
        reduced += cost.ideal_macs(models.reduced.config, lengths, trace.kept().tolist())
    return full / reduced


def compared(models: Models, batches: Sequence[Batch], rounds: int) -> tuple[float, dict[str, Interval]]:
    """The theoretical speed-up, and ratios of times."""
    thresholds = calibrated(models.reduced, batches)
    sides = {
        "reduced": Side(models.reduced, token_threshold=thresholds),
        "padded": Side(models.stock),
        "packed": Side(models.packed),
        "keep all": Side(models.reduced, token_threshold=0.0),
    }
    seconds = dict(zip(sides, measure(list(sides.values()), batches, repeats=rounds), strict=True))
    return promised(models, batches, thresholds), {
        PADDED: ratio_interval(seconds["padded"], seconds["reduced"]),
        PACKED: ratio_interval(seconds["packed"], seconds["reduced"]),
        KEEP_ALL: ratio_interval(seconds["keep all"], seconds["packed"]),
    }


def break_even(speedups: Mapping[int, Interval]) -> Interval:
    """The length from which on skipping is faster, by the middle of the intervals, their high and their low ends.

    Twice the longest length where even that one is not.
    """

    def first(end: int) -> float:
        slower = [length for length, interval in speedups.items() if interval[end] <= 1]
        return float(min((length for length in speedups if length > max(slower, default=0)), default=2 * max(speedups)))

    return first(0), first(2), first(1)


def scaled(interval: Interval, factor: float) -> Interval:
    """An interval in another unit."""
    return interval[0] * factor, interval[1] * factor, interval[2] * factor


def measured(name: str, rounds: int, steps: int) -> tuple[list[dict[str, Any]], dict[str, Interval]]:
    """Everything about one shape: rows of the result, and its claims."""
    models = Models.of(**SHAPES[name])
    long = compared(models, [texts([LONG])], rounds)
    many = compared(models, ragged(steps), rounds)
    short = {length: compared(models, [texts([length])], rounds) for length in SHORT}
    settings = [(1, str(LONG), long), (BATCH, "-".join(map(str, RAGGED)), many)]
    settings += [(1, str(length), found) for length, found in short.items()]
    rows = [
        {"shape": name, "batch": batch, "tokens": tokens, "theoretical": theoretical, "comparison": comparison}
        | dict(zip(("ratio", "low", "high"), ratio, strict=True))
        for batch, tokens, (theoretical, ratios) in settings
        for comparison, ratio in ratios.items()
    ]
    return rows, {
        "reduction-latency": scaled(long[1][PADDED], 1 / long[0]),
        "reduction-throughput": scaled(many[1][PACKED], 1 / many[0]),
        "reduction-throughput-padded": scaled(many[1][PADDED], 1 / many[0]),
        "reduction-keep-all": many[1][KEEP_ALL],
        "reduction-break-even": break_even({length: ratios[PADDED] for length, (_, ratios) in short.items()}),
    }


WORSE_IS_MORE = ("reduction-keep-all", "reduction-break-even")


def worst(found: Sequence[Mapping[str, Interval]]) -> dict[str, Interval]:
    """Of each claim the interval of the shape that is further from keeping it."""
    return {
        claim: max((one[claim] for one in found), key=lambda interval: interval[2])
        if claim in WORSE_IS_MORE
        else min((one[claim] for one in found), key=lambda interval: interval[1])
        for claim in found[0]
    }


def main() -> None:
    options = arguments(__doc__, rounds=15, steps=3)
    torch.set_num_threads(2)
    found = [measured(name, options.rounds, options.steps) for name in SHAPES]
    rows = [row for one, _ in found for row in one]
    claims = worst([one for _, one in found])
    write_result("trbert_speed", "python benchmarks/trbert_speed.py", rows, claims, options.out)


if __name__ == "__main__":
    main()
