import random

import pytest

from bertpress.errors import RequestError
from bertpress.tasks.tagging.schemes import LETTERS, is_tag, scheme_of, spans_of, tag_names, tags_of

SPANS = [(0, 1, "PER"), (1, 3, "PER"), (3, 7, "LOC"), (8, 9, "LOC")]
WRITTEN = {
    "BIO": "B-PER B-PER I-PER B-LOC I-LOC I-LOC I-LOC O B-LOC O",
    "BIOES": "S-PER B-PER E-PER B-LOC I-LOC I-LOC E-LOC O S-LOC O",
    "BMES": "S-PER B-PER E-PER B-LOC M-LOC M-LOC E-LOC O S-LOC O",
    "BILOU": "U-PER B-PER L-PER B-LOC I-LOC I-LOC L-LOC O U-LOC O",
    "IOB1": "I-PER B-PER I-PER I-LOC I-LOC I-LOC I-LOC O I-LOC O",
}
each_scheme = pytest.mark.parametrize("scheme", list(LETTERS))


@each_scheme
def test_the_same_entities_in_each_scheme(scheme):
    tags = WRITTEN[scheme].split()
    assert tags_of(SPANS, 10, scheme) == tags
    assert spans_of(tags, scheme) == (SPANS, 0)
    assert spans_of(tags, scheme, strict=True) == (SPANS, 0)


def random_spans(generator, length):
    """Entities that do not overlap, many of them next to each other."""
    spans, start = [], 0
    while start < length:
        end = min(length, start + generator.randint(1, 4))
        if generator.random() < 0.6:
            spans.append((start, end, generator.choice(("A", "B", "long-name"))))
        start = end
    return spans


@each_scheme
def test_entities_come_back_from_their_tags(scheme):
    generator = random.Random(scheme)
    for _ in range(200):
        length = generator.randint(0, 12)
        spans = random_spans(generator, length)
        tags = tags_of(spans, length, scheme)
        assert set(tags) <= set(tag_names(("A", "B", "long-name"), scheme))
        assert spans_of(tags, scheme) == spans_of(tags, scheme, strict=True) == (spans, 0)


def test_names_begin_with_outside():
    assert tag_names(("PER", "LOC"), "BIO") == ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    assert tag_names(("X",), "BIOES") == ("O", "B-X", "I-X", "E-X", "S-X")
    assert tag_names(("X",), "BMES") == ("O", "B-X", "M-X", "E-X", "S-X")
    assert tag_names(("X",), "BILOU") == ("O", "B-X", "I-X", "L-X", "U-X")


# What conlleval and seqeval's default make of tags, by hand: (tags, entities, how many of them break the scheme).
LENIENT = [
    ("BIO", "I-PER I-PER O", [(0, 2, "PER")], 1),
    ("BIO", "O I-PER B-PER", [(1, 2, "PER"), (2, 3, "PER")], 1),
    ("BIO", "B-PER I-LOC I-LOC", [(0, 1, "PER"), (1, 3, "LOC")], 1),
    ("BIO", "B-PER I-LOC I-PER", [(0, 1, "PER"), (1, 2, "LOC"), (2, 3, "PER")], 2),
    ("BIOES", "B-PER I-PER O", [(0, 2, "PER")], 1),
    ("BIOES", "E-PER O I-LOC", [(0, 1, "PER"), (2, 3, "LOC")], 2),
    ("BIOES", "S-PER I-PER E-PER", [(0, 1, "PER"), (1, 3, "PER")], 1),
    ("BIOES", "B-PER E-PER E-PER", [(0, 2, "PER"), (2, 3, "PER")], 1),
    ("BIOES", "B-PER B-PER E-PER", [(0, 1, "PER"), (1, 3, "PER")], 1),
    ("BMES", "M-PER E-LOC", [(0, 1, "PER"), (1, 2, "LOC")], 2),
    ("BILOU", "B-PER U-PER", [(0, 1, "PER"), (1, 2, "PER")], 1),
    ("IOB1", "B-PER O B-PER", [(0, 1, "PER"), (2, 3, "PER")], 2),
]


@pytest.mark.parametrize(("scheme", "text", "spans", "broken"), LENIENT)
def test_a_lenient_reader_finds_what_breaks_the_scheme(scheme, text, spans, broken):
    assert spans_of(text.split(), scheme) == (spans, broken)
    strict, again = spans_of(text.split(), scheme, strict=True)
    assert again == broken
    assert len(set(spans) - set(strict)) == broken


STRICT = [
    ("BIO", "B-PER I-LOC I-LOC", [(0, 1, "PER")]),
    ("BIO", "I-PER I-PER B-PER I-PER", [(2, 4, "PER")]),
    ("BIOES", "B-PER I-PER O S-LOC", [(3, 4, "LOC")]),
    ("BIOES", "B-PER B-PER E-PER", [(1, 3, "PER")]),
    ("BIOES", "B-PER I-PER E-LOC", []),
    ("BIOES", "S-PER E-PER", [(0, 1, "PER")]),
    ("IOB1", "I-PER B-PER O B-LOC I-LOC", [(0, 1, "PER"), (1, 2, "PER"), (4, 5, "LOC")]),
]


@pytest.mark.parametrize(("scheme", "text", "spans"), STRICT)
def test_a_strict_reader_leaves_out_what_breaks_the_scheme(scheme, text, spans):
    assert spans_of(text.split(), scheme, strict=True)[0] == spans


def entities_by_borders(tags):
    """Entities of tags in BIOES as conlleval words its rule: where one ends and where one starts, pair by pair."""

    def ends(before, now):
        if before == "O":
            return False
        return before[0] in "ES" or now[0] in "BSO" or before[2:] != now[2:]

    def starts(before, now):
        if now == "O":
            return False
        return now[0] in "BS" or before == "O" or before[0] in "ES" or before[2:] != now[2:]

    padded = ["O", *tags, "O"]
    begins = [place for place in range(len(tags)) if starts(padded[place], padded[place + 1])]
    stops = [place for place in range(len(tags) + 1) if ends(padded[place], padded[place + 1])]
    return [(begin, stop, tags[begin][2:]) for begin, stop in zip(begins, stops, strict=True)]


def entities_by_trying(tags, scheme):
    """Every stretch whose tags are those that the scheme gives an entity there, and that goes on no further."""
    first, inside, last, only = LETTERS[scheme]
    found = []
    for start in range(len(tags)):
        for end in range(start + 1, len(tags) + 1):
            kind = tags[start][2:]
            letters = [only] if end - start == 1 else [first, *[inside] * (end - start - 2), last]
            goes_on = scheme == "BIO" and end < len(tags) and tags[end] == f"I-{kind}"
            if tags[start] != "O" and tags[start:end] == [f"{letter}-{kind}" for letter in letters] and not goes_on:
                found.append((start, end, kind))
    return found


@pytest.mark.parametrize("scheme", ["BIO", "BIOES", "BMES", "BILOU"])
def test_any_tags_at_all_are_read_as_by_two_slower_readers(scheme):
    generator = random.Random(scheme)
    names = tag_names(("A", "B"), scheme)
    plain = dict(zip(LETTERS[scheme], "BIES", strict=True)) | {"I": "I", "B": "B"}
    for _ in range(500):
        tags = [generator.choice(names) for _ in range(generator.randint(0, 8))]
        in_bioes = [tag if tag == "O" else f"{plain[tag[0]]}{tag[1:]}" for tag in tags]
        assert spans_of(tags, scheme)[0] == entities_by_borders(in_bioes), tags
        assert spans_of(tags, scheme, strict=True)[0] == entities_by_trying(tags, scheme), tags


@each_scheme
def test_the_scheme_is_found_out(scheme):
    assert scheme_of([WRITTEN[scheme].split(), ["O"]]) == scheme


def test_the_scheme_of_little_is_the_simplest():
    assert scheme_of([]) == scheme_of([["O", "O"]]) == scheme_of([["B-X", "O"]]) == "BIO"
    assert scheme_of([["I-X", "O", "I-X"]]) == "IOB1"
    assert scheme_of([["I-X", "O", "B-X"]]) == "BIO", "in IOB1 the B would follow an X"
    assert scheme_of([["B-X", "E-X", "S-X"]]) == "BIOES"


def test_tags_of_no_scheme_are_refused():
    with pytest.raises(RequestError, match="sentence 0 has 'PER'"):
        scheme_of([["O", "PER"]])
    with pytest.raises(RequestError, match="row 2 has 'L-X', and those before it are of BMES"):
        scheme_of([["O"], ["M-X", "L-X"]], lambda number: f"row {number + 1}")
    with pytest.raises(RequestError, match=r"a tag of the scheme BIO .* got 'E-PER'"):
        spans_of(["B-PER", "E-PER"], "BIO")


@pytest.mark.parametrize("text", ["B", "B-", "-X", "o", "OO", "B_X", "BX", "", "Q-X"])
def test_what_is_no_tag(text):
    assert not any(is_tag(text, scheme) for scheme in LETTERS)


def test_entities_that_cannot_be_tagged_are_refused():
    for spans in ([(0, 2, "A"), (1, 3, "B")], [(2, 2, "A")], [(0, 4, "A")], [(-1, 1, "A")]):
        with pytest.raises(ValueError, match="do not overlap"):
            tags_of(spans, 3, "BIO")
