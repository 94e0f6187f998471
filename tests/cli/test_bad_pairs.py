"""Requests about sentence embeddings that no training could meet: refused, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Outcome, lines_of, written
from .test_bad_input import refused

Ask = Callable[..., Outcome]
PAIR = ("--columns", "first,second")
TEXTS = lines_of(*({"first": f"the house {number}"} for number in range(12)))


@pytest.mark.parametrize("method", ["trbert", "yoco"])
def test_single_texts_choose_no_checkpoints(method: str, ask: Ask, tmp_path: Path) -> None:
    data = written(tmp_path / "data", train_jsonl=TEXTS, validation_jsonl=TEXTS)
    refused(ask(method, "embedding", "--columns", "first", data=data), f"{method} chooses checkpoints by labels")


@pytest.mark.parametrize(
    ("loss", "size", "least"), [("cosine", 1, 2), ("cosent", 2, 4), ("cosent", 3, 4)], ids=["cosine", "pair", "odd"]
)
def test_batches_that_compare_nothing(loss: str, size: int, least: int, ask: Ask) -> None:
    more = ("--set", f"task.embedding.loss={loss}", "--batch-size", size, "--accumulation", 8)
    refused(ask("finetune", "embedding", *PAIR, *more), "batch_size", f"at least {least}, got {size}")
    outcome = ask("finetune", "embedding", *PAIR, *more[:2], "--batch-size", least, "--dry-run")
    assert outcome.code == 0, outcome.err


def test_a_changed_text_has_no_score(ask: Ask) -> None:
    flags = ("--set", "augmentation={}", "--set", "hard_weight=1", "--set", "layers=2")
    refused(ask("tinybert", "embedding", *PAIR, *flags), "hard_weight", "augmentation")
    outcome = ask("tinybert", "embedding", *PAIR, *flags[:2], *flags[4:], "--dry-run")
    assert outcome.code == 0, outcome.err
