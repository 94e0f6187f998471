"""Tiny compact models whose policies reject about half of the tokens, and batches for them."""

from __future__ import annotations

from typing import Any

import torch
from conftest import make_config, randomise
from families import FAMILIES
from torch import Tensor

from bertpress.encoders.compact import compact_config
from bertpress.models import COMPACT, architecture_of, module_of
from bertpress.models.compact import HEADS
from bertpress.models.walks import BACKENDS, Trace

Batch = dict[str, Tensor]
KINDS = ("Model", *HEADS)
"""What the names of an architecture's classes end with."""
SHAPES = [
    {"heads": 2, "intermediate_size": 24, "origin": 0},
    {"heads": 1, "intermediate_size": 40, "origin": 1},
    {"heads": 3, "intermediate_size": 8, "origin": 1},
    {"heads": 1, "intermediate_size": 16, "origin": 3},
]
REDUCTION: dict[str, Any] = {"layers": [1, 2]}


def make_compact(family: str = "bert", kind: str = HEADS[2], seed: int = 0, **fields: Any) -> Any:
    """A compact model of 4 layers with random parameters, by default with two decisions by policies."""
    config: Any = compact_config(make_config(family), **{"token_reduction": REDUCTION, **fields})
    model = getattr(module_of(family), f"Compact{COMPACT[family]}{kind}")(config).eval()
    randomise(model, seed)
    model.tie_weights()
    centre(model)
    return model


def centre(model: Any) -> None:
    """Shift the policies so that each rejects half of the tokens of a batch, and clearly."""
    policies = getattr(model.base_model, "policies", ())
    trace = Trace()
    for policy in policies:
        policy.outer.weight.data *= 4
    if policies:
        with torch.no_grad():
            model.base_model(**make_batch(model.base_model, (16, 16, 16)), token_threshold=0.0, trace=trace)
    for policy, decision in zip(policies, trace.decisions, strict=True):
        if decision.scores is None:  # all rows are shorter than `min_tokens`
            continue
        policy.outer.bias.data -= torch.logit(decision.scores.median()) + 1e-3


def make_batch(model: Any, lengths: tuple[int, ...] = (12, 7, 3, 12, 1, 2), seed: int = 1) -> Batch:
    """Rows of random tokens, padded on the right; two segments where the architecture knows some."""
    family = FAMILIES[architecture_of(model.config)]
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(5, 100, mask.shape, generator=generator)
    batch = {"input_ids": torch.where(mask.bool(), ids, family.pad), "attention_mask": mask}
    second = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None] // 2
    batch |= {"token_type_ids": second * mask} if "token_type_ids" in family.inputs else {}
    if type(model).__name__.endswith("ForMultipleChoice"):  # questions of one option each
        return {name: values[:, None] for name, values in batch.items()}
    return batch


def row_of(batch: Batch, row: int) -> Batch:
    """A row alone, without padding."""
    length = int(batch["attention_mask"][row].sum())
    return {name: values[row : row + 1, ..., :length] for name, values in batch.items()}


def run(model: Any, batch: Batch, **options: Any) -> tuple[Tensor, Trace]:
    """What the model says of each row, and what happened to its tokens."""
    trace = Trace()
    with torch.no_grad():
        return answers(model(**batch, trace=trace, **options)), trace


def answers(output: Any) -> Tensor:
    """Logits, those of where spans begin, or states."""
    for name in ("logits", "start_logits", "last_hidden_state"):
        if name in output:
            found: Tensor = output[name]
            return found
    raise AssertionError(output.keys())


def valid_answers(model: Any, batch: Batch, **options: Any) -> Tensor:
    """The answers without those to padding."""
    found = run(model, batch, **options)[0]
    return found[batch["attention_mask"].bool()] if found.shape[:2] == batch["input_ids"].shape else found


__all__ = ["BACKENDS", "KINDS", "REDUCTION", "SHAPES", "answers", "make_batch", "make_compact", "row_of", "run"]
