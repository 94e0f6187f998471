"""From texts to the tokens that stay, a tokenizer of these on disk, and what that does to a split."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bertpress.corpus.reading import find_files, read_lines
from bertpress.engine.loading import clear_limits, loader
from bertpress.errors import RequestError
from bertpress.files import new_folder, read_json, write_json
from bertpress.fingerprints import plain_backend
from bertpress.methods.vocabulary.pieces import check_kind, needed_ids, parts_needed, tokens_of
from bertpress.methods.vocabulary.rewriting import kept_ids, numbering, rewritten, rewritten_settings
from bertpress.methods.vocabulary.selecting import ids_of_config, select_tokens
from bertpress.processes import barrier, is_first_process

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from bertpress.engine.run import StepRun
    from bertpress.methods.method import Situation
    from bertpress.methods.vocabulary import Vocabulary
    from bertpress.tasks.rows import Rows
    from bertpress.tasks.task import Task

Counts = NDArray[np.int64]
KEPT, TOKENIZER = "kept.json", "tokenizer"
AT_ONCE = 1000
LONGER = 0.02
"""Growth of inputs from which on the user is warned."""


def check_request(method: Vocabulary, situation: Situation) -> None:
    """Refuse what cannot work, before any data are read.

    Raises:
        RequestError: a tokenizer of another kind, fewer tokens than have to stay, or no text in the corpus.
    """
    if situation.task is not None:
        data = content_of(situation.task.tokenizer)
        check_kind(data)
        needed = all_needed(data, situation.task, situation.given)
        most, least = method.most(len(tokens_of(data))), len(needed.union(*map(parts_needed(data), needed)))
        if most is not None and most < least:
            raise RequestError(
                f"tokens={method.tokens} keeps {most} tokens, but {least} have to stay (special ones, single "
                f"characters and what the task puts into texts): give at least {least}."
            )
    if method.corpus and not any(True for path in find_files(method.corpus) for _ in islice(read_lines(path), 1)):
        raise no_text(method)


def no_text(method: Vocabulary) -> RequestError:
    """The refusal of a corpus without a line."""
    return RequestError(f"Expected text in {', '.join(method.corpus)}, found none: give other files.")


def content_of(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What the tokenizer's tokenizer.json holds, without limits on lengths.

    Raises:
        RequestError: a tokenizer that has none.
    """
    data: dict[str, Any] = json.loads(plain_backend(tokenizer).to_str())
    return data


def all_needed(data: dict[str, Any], task: Task, config: PretrainedConfig) -> set[int]:
    """Ids that stay in any case, those that task and configuration name included."""
    named: list[int] = [*task.tokenizer.all_special_ids, *task.markers]
    for value in ids_of_config(config).values():
        named += value if isinstance(value, list) else [value]
    return needed_ids(data) | (set(named) & set(tokens_of(data).values()))


def compressed(method: Vocabulary, model: PreTrainedModel, task: Task, run: StepRun) -> PreTrainedModel:
    """The model with the tokens that stay; they are counted once, then read."""
    folder = run.folder / "counting"
    if not run.is_finished("counting"):
        run.enter("counting")
        with run.timed("counting"):
            if is_first_process():
                _count(method, model, task, run, folder)
            barrier()
    return select_tokens(model, found(folder)["tokens"])


def found(folder: Path) -> dict[str, Any]:
    """What the counting found: ids of `tokens` that stay, parameters of `embeddings` before and after."""
    values: dict[str, Any] = read_json(folder / KEPT)
    return values


def _count(method: Vocabulary, model: PreTrainedModel, task: Task, run: StepRun, folder: Path) -> None:
    """Find out which tokens stay, and write them and the tokenizer that has them."""
    run.runtime.say(f"{run.folder.name}: counting the tokens of the training texts")
    kept = staying(method, task, model.config)
    write_tokenizer(task.tokenizer, kept, folder / TOKENIZER)
    rows, width = model.get_input_embeddings().weight.shape
    write_json(folder / KEPT, {"tokens": kept, "embeddings": [rows * width, len(kept) * width]})


def staying(method: Vocabulary, task: Task, config: PretrainedConfig) -> list[int]:
    """Ids of the tokens that stay, rising, of a task's training texts and the corpus."""
    data = content_of(task.tokenizer)
    size = max(tokens_of(data).values()) + 1
    counts = counted_rows(task.encoded("train"), size) + counted_texts(_texts(method, task), task.tokenizer, size)
    needed = all_needed(data, task, config)
    return kept_ids(counts, needed, parts_needed(data), method.most(len(tokens_of(data))), method.min_count)


def counted_rows(rows: Rows, size: int) -> Counts:
    """How often each of `size` tokens stands in encoded rows, (size,)."""
    counts = np.zeros(size, np.int64)
    for start in range(0, len(rows), AT_ONCE):
        some = rows[list(range(start, min(start + AT_ONCE, len(rows))))]["input_ids"]
        counts += np.bincount(np.concatenate([np.asarray(ids) for ids in some]), minlength=size)
    return counts


def counted_texts(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, size: int) -> Counts:
    """The same of texts as a whole, however long they are."""
    backend, counts, remaining = plain_backend(tokenizer), np.zeros(size, np.int64), iter(texts)
    while some := list(islice(remaining, AT_ONCE)):
        for encoding in backend.encode_batch(some, add_special_tokens=False):
            counts += np.bincount(np.asarray(encoding.ids, np.int64), minlength=size)
    return counts


def _texts(method: Vocabulary, task: Task) -> Iterator[str]:
    """The training texts, of which rows may hold a part, and the lines of the corpus."""
    for column in task.columns:
        yield from task.splits["train"][column][:]
    found = False
    for path in find_files(method.corpus):
        for line in read_lines(path):
            found |= line is not None
            yield from [] if line is None else [line]
    if method.corpus and not found:
        raise no_text(method)


def write_tokenizer(tokenizer: PreTrainedTokenizerBase, kept: list[int], folder: Path) -> None:
    """Write the tokenizer with these tokens alone into a folder, in one step.

    Raises:
        RequestError: its class does not make the same of the file.
    """
    data = content_of(tokenizer)
    with new_folder(folder) as temporary:
        tokenizer.save_pretrained(temporary)
        settings = read_json(temporary / "tokenizer_config.json")
        for file in temporary.iterdir():  # others hold the old vocabulary in other forms
            if file.suffix != ".jinja":
                file.unlink()
        write_json(temporary / "tokenizer.json", rewritten(data, kept))
        write_json(temporary / "tokenizer_config.json", rewritten_settings(settings, kept))
    numbers = numbering(kept)
    expected = {token: numbers[number] for token, number in tokens_of(data).items() if number in numbers}
    if read_tokenizer(folder).get_vocab() != expected:
        raise RequestError(
            f"A {type(tokenizer).__name__} does not read a smaller vocabulary from tokenizer.json: leave the step out."
        )


def read_tokenizer(folder: Path, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer that was written there."""
    tokenizer: PreTrainedTokenizerBase = loader("AutoTokenizer").from_pretrained(
        str(folder), trust_remote_code=trust_remote_code
    )
    clear_limits(tokenizer)
    return tokenizer


def reread(task: Task, run: StepRun) -> tuple[Task, list[str]]:
    """The task by the tokenizer of the result, and what that does to its development split, in sentences."""
    folder = run.folder / "counting"
    after = task.with_tokenizer(read_tokenizer(folder / TOKENIZER, run.runtime.trust_remote_code))
    kept, (before, now) = found(folder)["tokens"], found(folder)["embeddings"]
    sizes = f"{len(kept):,} of {len(task.tokenizer):,} tokens stay; embeddings: {now:,} parameters, before {before:,}"
    remarks = [sizes, *changes(task, after, kept)]
    for line in remarks:
        run.runtime.say(f"{run.folder.name}: {line}")
    return after, remarks


def changes(before: Task, after: Task, kept: list[int]) -> list[str]:
    """What a smaller vocabulary changes on the development split, in sentences."""
    split = before.dev_split
    size = max(before.tokenizer.get_vocab().values()) + 1
    old, new = counted_rows(before.encoded(split), size), counted_rows(after.encoded(split), len(kept))
    texts, longer = len(before.splits[split]), new.sum() / old.sum() - 1
    unknown = [_times(task, counts) for task, counts in ((before, old), (after, new))]
    lines = [
        f"{100 * old[kept].sum() / old.sum():.2f} % of the tokens of {split} are among them; a text has "
        f"{new.sum() / texts:.1f} tokens on average, before {old.sum() / texts:.1f}, and {unknown[1]:,} tokens are "
        f"unknown, before {unknown[0]:,}",
    ]
    if longer > LONGER:
        lines.append(
            f"warning: inputs of {split} became {100 * longer:.1f} % longer; keep more tokens, or name texts like "
            "these in corpus"
        )
    return lines


def _times(task: Task, counts: Counts) -> int:
    """How often something unknown occurs."""
    number = task.tokenizer.unk_token_id
    return 0 if number is None else int(counts[number])
