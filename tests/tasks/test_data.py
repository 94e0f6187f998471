import re

import pytest
from datasets import ClassLabel, Dataset, Features

from bertpress.errors import RequestError
from bertpress.tasks.data import build_split, label_values, require_columns, text_cells, to_scores


def test_missing_column_names_the_nearest():
    with pytest.raises(RequestError, match=re.escape("'txt' in here, found text, label (did you mean 'text'?): name")):
        require_columns(Dataset.from_dict({"text": ["a"], "label": ["b"]}), ["label", "txt"], "here")


def test_text_cells_turn_into_strings():
    assert text_cells(["a", None, 3, 2.5, float("nan"), True], "text", "train") == (
        ["a", "", "3", "2.5", "", "True"],
        [
            "train: 3 of 6 cells of 'text' are not strings and are read as text",
            "train: 2 of 6 cells of 'text' are empty",
        ],
    )
    with pytest.raises(RequestError, match=r"Expected strings or numbers in 'text', but row 2 holds a list: flatten"):
        text_cells(["a", ["b"]], "text", "train")


def test_label_values_mark_what_is_missing():
    values = ["a ", None, "", "b"]
    assert label_values(Dataset.from_dict({"label": values}), "label") == ["a", None, None, "b"]
    assert label_values(Dataset.from_dict({"label": [1.0, float("nan")]}), "label") == [1.0, None]
    features = Features({"label": ClassLabel(names=["a", "b"])})
    assert label_values(Dataset.from_dict({"label": [1, -1, 0]}, features=features), "label") == ["b", None, "a"]


@pytest.mark.parametrize("value", ["x", None, True, float("inf"), "nan"])
def test_scores_are_finite_numbers(value):
    with pytest.raises(RequestError, match=rf"Expected a finite number as label, but row 1 has {value!r}: correct it"):
        to_scores([1, value], lambda index: f"row {index}")


def test_a_split_without_any_text_is_refused():
    with pytest.raises(RequestError, match="Expected text in a or b, but all cells of train are empty: fill them in"):
        build_split({"a": ["", " "], "b": ["", ""]}, [0, 1], ("x", "y"), "train")
