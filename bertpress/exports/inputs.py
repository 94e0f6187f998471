"""Inputs for a graph: made rows for tracing it and for comparing it, and rows of a task."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bertpress.encoders import encoder_of
from bertpress.exports.session import Recording

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from bertpress.exports.session import Feed, OnnxModel
    from bertpress.tasks.rows import Rows
    from bertpress.tasks.task import Task

TRACED = ((9, 5), 3)
"""Lengths of the rows that a graph is traced with, and options of a question: nothing is 1, or equal by accident."""
COMPARED: tuple[tuple[tuple[int, ...], int], ...] = (
    ((12, 7, 3, 12), 2),
    ((1,), 2),
    ((33,), 4),
    ((128, 20), 3),
    ((6, 6, 6), 1),
)
"""The same of batches by which a graph is compared: other sizes and lengths than traced, one row and one token too."""


def input_names(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """What the graph of a model takes: what its tokenizer gives and it knows; and where sentences are, if it asks."""
    known = inspect.signature(type(model).forward).parameters
    names = [*tokenizer.model_input_names, *(["sentences"] if "sentences" in known else [])]
    return tuple(name for name in dict.fromkeys(names) if name in known)


def made_batch(
    config: PreTrainedConfig, names: Sequence[str], lengths: Sequence[int], options: int, seed: int = 0
) -> dict[str, Tensor]:
    """Rows of random tokens, padded on the right; the first token of each is the same.

    Args:
        config: of the model; one for multiple choice gets questions whose options begin alike.
        names: the inputs wanted.
        lengths: tokens of each row, cut to what the model reads.
        options: of each question.
    """
    most = encoder_of(config).positions(config)
    counts = torch.tensor([min(length, most) for length in lengths])
    generator = torch.Generator().manual_seed(seed)
    width = int(counts.max())
    mask = (torch.arange(width) < counts[:, None]).long()
    pad = config.pad_token_id or 0
    ids = torch.randint(0, config.vocab_size - 1, (len(counts), width), generator=generator)
    ids = ids + (ids >= pad)  # every token but that for padding
    ids[:, 0] = ids[0, 0]
    second = (torch.arange(width) >= counts[:, None] // 2).long() * mask
    segments = second if getattr(config, "type_vocab_size", 0) > 1 else torch.zeros_like(second)
    batch = {"input_ids": torch.where(mask.bool(), ids, pad), "attention_mask": mask, "token_type_ids": segments}
    if any(name.endswith("ForMultipleChoice") for name in config.architectures or ()):
        batch = {name: value[:, None].repeat(1, options, 1) for name, value in batch.items()}
        last = torch.randint(0, config.vocab_size - 1, (len(counts), options), generator=generator)
        batch["input_ids"][torch.arange(len(counts)), :, counts - 1] = last + (last >= pad)
    if "sentences" in names:
        # two of each row: its first half and its second one, or none where there is one token
        half = counts // 2
        spans = torch.stack([torch.zeros_like(half), half - 1, half, counts - 1], dim=1).view(-1, 2, 2)
        batch["sentences"] = torch.where((counts > 1)[:, None, None], spans, -1)
    return {name: batch[name] for name in names}


def made_feeds(config: PreTrainedConfig, names: Sequence[str]) -> list[Feed]:
    """The batches by which a graph is compared where there is no task."""
    return [
        {name: value.numpy() for name, value in made_batch(config, names, lengths, options, seed).items()}
        for seed, (lengths, options) in enumerate(COMPARED, start=1)
    ]


def task_rows(task: Task, total: int, count: int) -> list[list[int]]:
    """Numbers of the rows of each batch that `task_feeds` takes: up to 4 single ones, then batches of 8.

    Args:
        total: number of rows.
        count: rows at most.
    """
    from bertpress.measurements.measuring import spread

    alone = min(count, total, 4)
    size = min(8, total)
    batches = (count - alone) // size
    together = task.together is not None
    return spread(total, 1, alone, together) + (spread(total, size, batches, together) if batches else [])


def task_feeds(graph: OnnxModel, task: Task, rows: Rows, count: int) -> list[Feed]:
    """What a task makes of real rows, spread evenly over `rows`.

    Args:
        count: rows at most.
    """
    recording: Any = Recording(graph)  # a graph stands in for its model
    with torch.inference_mode():
        for numbers in task_rows(task, len(rows), count):
            task.forward(recording, task.collate([rows[number] for number in numbers]))
    return list(recording.feeds)


def as_tensors(feed: Feed) -> dict[str, Any]:
    """A feed for PyTorch."""
    return {name: torch.from_numpy(value) for name, value in feed.items()}
