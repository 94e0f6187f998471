from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from bertpress.config import Config, build, choice
from bertpress.errors import RequestError, nearest


class Soft(Config):
    warmth: float = Field(1.0, ge=0)
    """how warm"""


class Hard(Config):
    edges: int = 2
    """how many"""


_PARSE, _DUMP = choice({"soft": Soft, "hard": Hard})


class Thing(Config):
    surface: Annotated[Soft | Hard, _PARSE, _DUMP] = Soft()
    """soft or hard"""
    weight: float = 1.0
    """in grams"""


def test_nearest_names_the_closest_or_all() -> None:
    assert nearest("sof", ["soft", "hard"]) == " (did you mean 'soft'?)"
    assert nearest("xyz", ["soft", "hard"]) == " (known: soft, hard)"


def test_values_are_frozen_and_equal_by_value() -> None:
    thing = Thing()
    with pytest.raises(ValidationError):
        thing.weight = 2.0
    assert thing == Thing(surface=Soft())


def test_an_unknown_field_names_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"unknown field 'wieght' .*did you mean 'weight'"):
        build(Thing, {"wieght": 1})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"soft": {"warmth": 2}}, Soft(warmth=2)),
        ({"hard": {}}, Hard()),
        ({"hard": None}, Hard()),
        ("hard", Hard()),
        (Hard(edges=3), Hard(edges=3)),
    ],
)
def test_a_choice_is_a_mapping_of_one_key_or_an_instance(given: object, expected: Config) -> None:
    assert build(Thing, {"surface": given}).surface == expected


def test_a_choice_is_written_as_it_is_read() -> None:
    thing = Thing(surface=Hard(edges=5))
    assert thing.model_dump(mode="json")["surface"] == {"hard": {"edges": 5}}
    assert build(Thing, thing.model_dump(mode="json")) == thing


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sotf": {}}, "unknown choice 'sotf' .*did you mean 'soft'"),
        ({"soft": {}, "hard": {}}, "the only key"),
        ({"soft": {"warmt": 1}}, "unknown field 'warmt' .*did you mean 'warmth'"),
        ({"soft": {"warmth": -1}}, r"soft\.warmth: .*greater than or equal to 0 .*got -1"),
    ],
)
def test_a_wrong_choice_is_explained(given: object, message: str) -> None:
    with pytest.raises((RequestError, ValidationError), match=message):
        build(Thing, {"surface": given})


def test_a_field_of_a_wrong_type_is_named_with_what_came() -> None:
    with pytest.raises(RequestError, match=r"weight: .*number.*\(got 'heavy'\)"):
        build(Thing, {"weight": "heavy"})
