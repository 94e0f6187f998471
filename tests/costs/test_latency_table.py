"""The table of measured latencies: how far it is off, its file, and when it may not be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_tables import table_of

from bertpress.costs.latency_table import check_table, linear_fit, load_table, mean_error, validation_of
from bertpress.errors import RequestError


def test_errors_and_fits_by_hand() -> None:
    predicted, measured = np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 5.0])
    assert mean_error(predicted, measured) == pytest.approx((0.5 + 0 + 0.2) / 3)
    assert linear_fit(predicted, 3 + 2 * predicted) == pytest.approx((3, 2))


def test_a_correction_that_does_not_help_is_not_kept() -> None:
    predicted = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    # those it is fitted to fall with the prediction, so the slope would be negative
    found = validation_of(predicted, [5.0, 2.5, 3.0, 5.0, 1.0, 7.0])
    assert found.error > 0.1
    assert found.correction is None
    assert validation_of(predicted[:4], [2.0, 4.0, 6.0, 8.0]).correction is None  # two networks are no fit
    table = table_of({"1x12": 1.0}, validation=found)
    assert "more than 10%, and no linear correction helps" in table.remark()


def test_a_table_goes_through_its_file(tmp_path: Path) -> None:
    validation = validation_of([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2.0, 4.0, 6.0, 8.0, 10.0, 12.0])
    assert validation.correction is not None
    table = table_of({"1x12": 1.5, "2x24": 2.25}, validation=validation)
    table.save(tmp_path / "table.json")
    assert load_table(tmp_path / "table.json") == table
    values = json.loads((tmp_path / "table.json").read_text())
    assert values["layers_ms"]["2x24"]["median"] == 2.25
    assert "was not compared" in table_of({}).remark()


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"There is no table of latencies .*table.json"):
        load_table(tmp_path / "table.json")
    for text in ("{", "[]", "\N{SNOWMAN}"):
        (tmp_path / "table.json").write_text(text, encoding="utf-8")
        with pytest.raises(RequestError, match="expected a mapping in JSON"):
            load_table(tmp_path / "table.json")
    (tmp_path / "table.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RequestError, match="expected a mapping in JSON"):
        load_table(tmp_path / "table.json")
    values = table_of({"1x12": 1.5}).model_dump(mode="json")
    values["layers_ms"]["1x12"]["median"] = -1
    (tmp_path / "table.json").write_text(json.dumps(values))
    with pytest.raises(RequestError, match=r"table.json.layers_ms.1x12.median: .* greater than or equal to 0"):
        load_table(tmp_path / "table.json")


def test_other_settings_are_refused_with_the_differences() -> None:
    table = table_of({"1x12": 1.0})
    other = table.settings.model_copy(update={"threads": 8, "batch_size": 32})
    check_table(table, table.settings)
    with pytest.raises(RequestError, match=r"other settings \(threads 1, now 8; batch_size 1, now 32\); go back"):
        check_table(table, other)
