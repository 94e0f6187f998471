import random

import pytest
from datasets import Dataset

from bertpress.errors import RequestError
from bertpress.tasks.splits import limit


def test_limit_is_a_seeded_subset_in_order():
    splits = {"train": Dataset.from_dict({"row": list(range(100))}), "test": Dataset.from_dict({"row": [1, 2]})}
    random.seed(0)
    rows = limit(splits, {"train": 10, "test": 5}, seed=1)["train"]["row"][:]
    assert len(rows) == 10
    assert rows == sorted(rows)
    random.seed(5)
    assert limit(splits, {"train": 10}, seed=1)["train"]["row"][:] == rows
    assert limit(splits, {"train": 10}, seed=2)["train"]["row"][:] != rows
    assert limit(splits, {"test": 5}, seed=1) == splits
    with pytest.raises(RequestError, match=r"Expected a split to limit, got 'trian' \(did you mean 'train'\?\): name"):
        limit(splits, {"trian": 5}, seed=1)
    with pytest.raises(RequestError, match="Expected at least 1 row for 'train', got 0: give a positive limit"):
        limit(splits, {"train": 0}, seed=1)
