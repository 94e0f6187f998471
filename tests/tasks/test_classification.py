from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from bertpress.tasks.classification import Classification
from bertpress.tasks.data import TextData
from bertpress.tasks.encoding import encode
from bertpress.tasks.task import OWN_TEXTS


def make(tokenizer: Any, labels: tuple[str, ...] | None, train: list[Any]) -> Classification:
    splits = {
        "train": Dataset.from_dict({"a": ["x"] * len(train), "b": ["y"] * len(train), "label": train}),
        "test": Dataset.from_dict({"a": ["x", " ", ""], "b": ["y", "", "z"]}),
    }
    return Classification(TextData("files", splits, ("a", "b"), labels, ("accuracy",), "accuracy"), tokenizer, 16)


LOGITS = np.array([[3.0, 0.0, 0.0]] * 3)


def test_rows_do_not_depend_on_where_a_thousand_end(tokenizer: Any) -> None:
    texts = [(" ".join(["house"] * (1 + number % 5)),) for number in range(2_500)]
    rows = encode(tokenizer, texts, 16)
    assert rows["row"][:] == list(range(2_500))
    assert rows["length"][:] == [3 + number % 5 for number in range(2_500)]
    few = encode(tokenizer, texts[995:1005], 16)
    assert few["input_ids"][:] == rows["input_ids"][995:1005]


def test_a_row_without_any_text_gets_the_commonest_label_of_the_training_data(tokenizer: Any) -> None:
    task = make(tokenizer, ("no", "maybe", "yes"), [2, 1, 2, 2])
    records = task.decode(LOGITS, "test")
    assert [record["prediction"] for record in records] == ["no", "yes", "no"]
    assert records[1]["probability"] == pytest.approx(0.75, abs=1e-6)
    assert (LOGITS[1] == [3, 0, 0]).all(), "the given logits are left alone"


def test_texts_that_belong_to_no_split_are_predicted_as_they_are(tokenizer: Any) -> None:
    task = make(tokenizer, ("no", "maybe", "yes"), [2, 1, 2, 2]).with_texts([("x", "y"), ("", " ")])
    assert list(task.splits) == [OWN_TEXTS]
    assert not task.has_labels(OWN_TEXTS)
    assert task.encoded(OWN_TEXTS)["length"][:] == [5, 3]
    assert [record["prediction"] for record in task.decode(LOGITS[:2], OWN_TEXTS)] == ["no"] * 2


def test_scores_have_no_commonest(tokenizer: Any) -> None:
    task = make(tokenizer, None, [2.5, 1.0])
    assert task.decode(np.array([[1.0], [2.0], [3.0]]), "test") == [{"prediction": value} for value in (1.0, 2.0, 3.0)]
