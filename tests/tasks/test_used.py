"""What of a task is used: splits, sizes in words, and whether a vocabulary knows the texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import make_tokenizer
from token_tasks import token_task, write_token_tasks

from bertpress.tasks import used
from bertpress.tasks.classification import Classification
from bertpress.tasks.encoding import encode


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_token_tasks(tmp_path_factory.mktemp("used"))


class Splits:
    """A task that has some splits."""

    def __init__(self, *names: str) -> None:
        self.splits = dict.fromkeys(names)

    def scored_splits(self) -> list[str]:
        return [name for name in self.splits if name.startswith("validation")] or [next(iter(self.splits))]


@pytest.mark.parametrize(
    ("names", "in_a_run", "predicted"),
    [
        (("train", "validation", "test"), ["train", "validation"], "test"),
        (("train", "validation"), ["train", "validation"], "validation"),
        (
            ("train", "validation", "validation_mismatched", "test", "test_mismatched"),
            ["train", "validation", "validation_mismatched"],
            "test",
        ),
        (("test",), ["test"], "test"),
        (("train",), ["train"], "test"),
        ((), [], "test"),
    ],
)
def test_which_splits_are_used(names: tuple[str, ...], in_a_run: list[str], predicted: str) -> None:
    task: Any = Splits(*names)
    assert used.used_splits(task) == in_a_run
    assert used.split_to_predict(task) == predicted


def test_sizes_tell_rows_from_inputs(tasks: dict[str, Any], task: Classification) -> None:
    assert used.size_of(task, "train") == "96 rows"
    assert used.size_of(token_task(tasks["mrc"]), "train") == "96 rows (192 inputs)", "two types, two questions"
    assert used.size_of(token_task(tasks["choice"]), "validation") == "8 rows (32 inputs)"
    assert used.in_words(12_000, 34_000) == "12,000 rows (34,000 inputs)"


def test_unknown_tokens_are_counted_among_ordinary_ones(task: Classification) -> None:
    tokenizer = make_tokenizer()
    rows = encode(tokenizer, [("the 河 day 流",), ("road",)], 32)
    assert used.unknown_share(rows, tokenizer) == pytest.approx(2 / 5)
    assert used.unknown_share(task.encoded("train"), tokenizer) == 0


@pytest.mark.parametrize("kind", ["tagging", "mrc", "qa", "multihop", "candidates", "choice", "embedding"])
def test_every_kind_of_task_is_looked_at(kind: str, tasks: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    task, said = token_task(tasks[kind]), list[str]()
    used.hint_unknown(task, "validation", said.append)
    assert said == []
    monkeypatch.setattr(used, "MANY", -1.0)
    used.hint_unknown(task, "validation", said.append)
    assert said[0].startswith("hint: 0 % of the tokens of validation are unknown")


def test_texts_of_another_script_get_a_hint(text_data: Callable[..., Any]) -> None:
    said: list[str] = []
    task = Classification(text_data(), make_tokenizer(), 32)
    foreign = task.with_texts([("河 流 в the",), ("日",)])
    used.hint_unknown(foreign, "texts", said.append)
    assert said[0].startswith("hint: 80 % of the tokens of texts are unknown to the model ([UNK]): its vocabulary")
    used.hint_unknown(task.with_texts([("the 河 road day book",)]), "texts", said.append)
    assert len(said) == 1, "one of five is not many"
