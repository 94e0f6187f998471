"""What of a task is used: which splits, how many rows they have, and whether a model's vocabulary knows their texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertpress.tasks.rows import Rows
    from bertpress.tasks.task import Task

LOOKED_AT = 200
"""Rows in which unknown tokens are counted: a share is known well enough by them, and no split is read again for it."""
MANY = 0.2
"""Share of unknown tokens above which a model reads too little of its texts."""


def used_splits(task: Task) -> list[str]:
    """Splits that a run reads: the training rows, and those that its results are scored on."""
    return [name for name in task.splits if name == "train" or name in task.scored_splits()]


def split_to_predict(task: Task) -> str:
    """The split that is predicted where none is named: the test split, or the validation split where there is none."""
    return next((split for split in ("test", "validation") if split in task.splits), "test")


def size_of(task: Task, split: str) -> str:
    """How large a split is, as `in_words` says it."""
    inputs = len(task.encoded(split))  # which refuses a split that there is not
    return in_words(len(task.splits[split]), inputs)


def in_words(rows: int, inputs: int) -> str:
    """A number of rows, and of inputs of a model where these are more: windows of long texts, options, questions."""
    return f"{rows:,} rows" if rows == inputs else f"{rows:,} rows ({inputs:,} inputs)"


def unknown_share(rows: Rows, tokenizer: PreTrainedTokenizerBase) -> float:
    """Share of the tokens of encoded rows that their vocabulary lacks; special tokens do not count.

    Args:
        rows: at most `LOOKED_AT` of them, at even distances, are looked at.
    """
    unknown, special = tokenizer.unk_token_id, set(tokenizer.all_special_ids)
    if unknown is None or not len(rows):
        return 0.0
    count = min(len(rows), LOOKED_AT)
    chosen = rows[[number * len(rows) // count for number in range(count)]]
    tokens = [token for ids in chosen["input_ids"] for token in ids if token == unknown or token not in special]
    return tokens.count(unknown) / max(1, len(tokens))


def tell_notes(task: Task, splits: Sequence[str], say: Callable[[str], None]) -> None:
    """Say what the user should know of the data and of these splits."""
    for note in task.data_notes:
        subject = note.partition(":")[0].removesuffix(" (before --limit)")
        if subject in splits or subject not in task.splits:
            say(note)
    for split in splits:
        for note in task.notes_on(split):
            say(note)


def hint_unknown(task: Task, split: str, say: Callable[[str], None]) -> None:
    """Say so where much of a split is unknown to the model, as where its texts are of a script that it never saw."""
    share, name = unknown_share(task.encoded(split), task.tokenizer), task.tokenizer.unk_token
    if share > MANY:
        say(
            f"hint: {100 * share:.0f} % of the tokens of {split} are unknown to the model ({name}): "
            "its vocabulary lacks much of these texts, as where they are of another script; choose one that knows it."
        )
