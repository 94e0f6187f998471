import pytest

from bertpress.errors import RequestError
from bertpress.tasks.tagging.heads import Tags, head_names, read_head
from bertpress.tasks.tagging.schemes import LETTERS, tag_names


@pytest.mark.parametrize("scheme", list(LETTERS))
def test_a_head_tells_its_scheme_and_types(scheme):
    names = tag_names(("PER", "LOC"), scheme)
    tags = read_head(tuple(reversed(names)))
    assert tags.scheme == ("BIO" if scheme == "IOB1" else scheme), "with all its tags IOB1 looks like BIO"
    assert tags.types == ("LOC", "PER")
    assert tags.numbers() == {name: len(names) - 1 - number for number, name in enumerate(names)}


def test_a_head_may_lack_tags_that_its_data_had_not():
    tags = read_head(("B-LOC", "I-LOC", "I-PER", "O"))
    assert tags.scheme == "IOB1"
    assert tags.numbers() == {"O": 3, "B-LOC": 0, "I-LOC": 1, "B-PER": 2, "I-PER": 2}
    assert read_head(("O", "S-X", "B-X", "E-X")).numbers() == {"O": 0, "S-X": 1, "B-X": 2, "I-X": 1, "E-X": 3}


def test_types_are_known_again_in_another_case():
    tags = Tags(("B-Per", "O", "I-Per"), "BIO")
    assert tags.named(["PER"]) == Tags(("B-PER", "O", "I-PER"), "BIO")
    assert tags.named(["PER", "LOC"]) is None
    assert tags.named(["LOC"]) is None


def test_outputs_come_in_the_order_of_their_numbers():
    assert head_names({2: "c", 0: "a", 1: "b"}) == ("a", "b", "c")


@pytest.mark.parametrize("names", [("LABEL_0", "LABEL_1"), ("O",), ("B-X", "I-X"), ("O", "B-X", "M-X", "L-X"), ()])
def test_a_head_without_tags_is_refused(names):
    with pytest.raises(RequestError, match=r"labels are tags such as O, B-PER .*--head-labels"):
        read_head(names)
