from __future__ import annotations

import pytest

from bertpress.tasks.queries.legacy import surface_f1


def test_by_hand() -> None:
    # 2 + 1 distinct true strings, 2 + 0 found, 1 right: precision 1/2, recall 1/3
    sentences = [(["Rome", "Rome", "Po"], ["Rome", "Nile", "Nile"]), (["Oslo"], [])]
    assert surface_f1(sentences) == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))


def test_a_string_counts_in_its_own_sentence() -> None:
    assert surface_f1([(["Rome"], []), ([], ["Rome"])]) == 0


def test_where_nothing_is_found_or_there_is_nothing() -> None:
    assert surface_f1([(["Rome"], [])]) == 0
    assert surface_f1([([], ["Rome"])]) == 0
    assert surface_f1([([], [])]) == 0
    assert surface_f1([]) == 0
